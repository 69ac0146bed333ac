"""constraints.txt: one tested version of all that pyproject.toml asks for, for each Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def pins(python: str) -> dict[str, str]:
    """Return the version of each package for a Python on Linux."""
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux",
        "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            [specifier] = pin.specifier
            assert specifier.operator == "==", line
            assert pin.url is None, line
            assert canonicalize_name(pin.name) not in found, line
            found[canonicalize_name(pin.name)] = specifier.version
    return found


def wanted() -> list[Requirement]:
    """Return all that is asked for: the core, every extra, what builds the package."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    ]
    every = [Requirement(text) for texts in lists for text in texts]
    return [item for item in every if item.name != "taskgrove"]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_version_that_it_allows(python: str) -> None:
    found = pins(python)
    for item in wanted():
        version = found.get(canonicalize_name(item.name))
        assert version is not None, f"{item.name}: run `make newest`"
        assert item.specifier.contains(version, prereleases=True), f"{item}: run `make newest`"


def test_the_file_names_no_host_and_no_folder() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or not line.startswith("-"), line
        assert "/" not in line, line
