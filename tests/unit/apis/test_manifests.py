"""Objects from text, with their lines."""

from pathlib import Path

import pytest

from sallyport.apis.manifests import read_manifests

OBJECT = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n"


def names(text: str) -> list[str]:
    manifests, flaws = read_manifests(text, "f.yaml")
    assert flaws == []
    return [item.name for item in manifests]


def test_documents_lists_and_json_all_hold_objects() -> None:
    a, b = OBJECT % "a", OBJECT % "b"
    assert names(f"---\n{a}---\n# nothing\n---\n{b}") == ["a", "b"]
    inner = "\n".join(f"  {line}" for line in a.splitlines())
    assert names("-" + inner[1:]) == ["a"]
    assert names("apiVersion: v1\nkind: List\nitems:\n-" + inner[1:]) == ["a"]
    assert names('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}') == ["a"]
    assert names("") == []


def test_each_field_knows_its_line_and_an_absent_one_that_of_its_parent() -> None:
    text = "# first\n- kind: Egress\n  apiVersion: x/v1\n  spec:\n    ipRanges:\n    - cidr: a\n    - start: b\n"
    ((manifest,), _) = read_manifests(text, "f.yaml")
    assert manifest.line == 2
    assert manifest.line_of("spec.ipRanges[1].start") == 7
    assert manifest.line_of("spec.ipRanges[1].end") == 7
    assert manifest.line_of("spec.nodeSelector.matchLabels") == 4
    assert manifest.line_of("metadata.name") == manifest.line_of("") == 2


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: [\n", 3, "not YAML"),
        ("a: b\n\tc: d\n", 2, "not YAML"),
        ("just text\n", 1, "is not an object"),
        ("kind: Egress\n", 1, "apiVersion: Required value"),
        ("apiVersion: v1\nkind: A\nkind: B\n", 3, "kind is given twice"),
        ("- " * 5000 + "a", 1, "nested too deeply"),
        ("x: !!python/object:os.system {}\n", 1, "could not determine a constructor"),
    ],
)
def test_text_that_is_no_manifest_is_pointed_at(text: str, line: int, part: str) -> None:
    manifests, (flaw,) = read_manifests(text, "f.yaml")
    assert manifests == []
    assert flaw.line == line
    assert part in flaw.message


def test_what_stands_before_a_flaw_is_still_read() -> None:
    manifests, flaws = read_manifests(f"{OBJECT % 'a'}---\nb: [\n", "f.yaml")
    assert [item.name for item in manifests] == ["a"]
    assert len(flaws) == 1


def test_dates_stay_the_text_they_are() -> None:
    ((manifest,), _) = read_manifests(OBJECT % "a" + "spec: {day: 2026-01-02}\n", "f.yaml")
    assert manifest.data["spec"] == {"day": "2026-01-02"}


def test_the_published_examples_are_read() -> None:
    examples = Path(__file__).parents[3] / "examples" / "antrea"
    kinds = [item.kind for path in sorted(examples.glob("*.yaml")) for item in read_manifests(path.read_text(), "f")[0]]
    assert kinds == ["ConfigMap", "Egress", "Egress", "Egress", "ExternalIPPool", "ExternalIPPool", "Egress", "Egress"]
