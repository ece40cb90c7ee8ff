"""The import contracts of pyproject.toml hold, and each of them fails when it is broken.

A contract that cannot fail protects nothing, so every one is shown a copy of the package with a violation planted.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

VIOLATIONS = [
    ("layers", "selectors/kubernetes.py", "import sallyport.model.state"),
    ("layers", "model/state.py", "import sallyport.apis.core"),
    ("layers", "plan/ids.py", "import sallyport.apis.core"),
    ("layers", "apis/core.py", "import sallyport.plan.ids"),
    ("layers", "reconcile/diff.py", "import sallyport.plan.ids"),
    ("layers", "trace/__init__.py", "import sallyport.plan.ids"),
    ("layers", "plan/ids.py", "import sallyport.drivers.command"),
    ("layers", "drivers/command.py", "import sallyport.kube.client"),
    ("layers", "kube/errors.py", "import sallyport.drivers.command"),
    ("layers", "kube/errors.py", "import sallyport.processes.settings"),
    ("layers", "processes/settings.py", "import sallyport.cli"),
    ("layers", "cli/check.py", "import sallyport.lab"),
    ("layers", "novelty/__init__.py", ""),
    ("cycles", "plan/ids.py", "import sallyport.plan.cluster"),
    ("cycles", "model/settings.py", "import sallyport.plan.ids"),
    ("pure", "plan/ids.py", "import time"),
    ("pure", "plan/ids.py", "from random import choice"),
    ("pure", "apis/core.py", "import asyncio.events"),
    ("pure", "reconcile/diff.py", "def later() -> None:\n    import subprocess"),
    ("pure", "selectors/index.py", "import logging"),
    ("pure", "model/state.py", "import structlog"),
    ("pure", "trace/__init__.py", "import socket"),
    ("pure", "apis/core.py", "from pathlib import Path"),
    ("network", "processes/settings.py", "import aiohttp"),
    ("network", "cli/check.py", "import pyroute2"),
    ("kube", "kube/errors.py", "import sallyport.apis.antrea.types"),
    ("kube", "kube/errors.py", "import sallyport.apis.schema"),
]
"""Contract, module, and the line that breaks the one when it stands in the other."""


def lint(tree: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Check the package `sallyport` that lies in `tree` against the contracts of this repository."""
    options = [word for contract in contracts for word in ("--contract", contract)]
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo", *options]
    return subprocess.run(
        [*command, str(ROOT / "pyproject.toml")],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(tree: Path, module: str, line: str) -> None:
    """Append a line to a module of the package in `tree`, or make the module of that line."""
    path = tree / "sallyport" / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{line}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory that holds a copy of the package."""
    shutil.copytree(ROOT / "src" / "sallyport", tmp_path / "sallyport", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_package_keeps_every_contract(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(("contract", "module", "line"), VIOLATIONS)
def test_a_planted_violation_breaks_its_contract_and_its_package_is_named(
    tree: Path, contract: str, module: str, line: str
) -> None:
    plant(tree, module, line)
    done = lint(tree, contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f".{Path(module).parts[0]}" in done.stdout


def test_every_contract_has_a_violation_planted() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]}
    assert contracts == {contract for contract, _, _ in VIOLATIONS}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("processes/settings.py", "import sallyport.kube.client"),
        ("drivers/command.py", "import sallyport.reconcile.sequence"),
        ("lab/topology.py", "import sallyport.cli"),
        ("kube/errors.py", "import sallyport.apis.core"),
        ("kube/errors.py", "import pyroute2"),
    ],
)
def test_what_the_design_allows_breaks_no_contract(tree: Path, module: str, line: str) -> None:
    plant(tree, module, line)
    done = lint(tree)
    assert done.returncode == 0, done.stdout
