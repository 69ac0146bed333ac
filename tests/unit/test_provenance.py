"""The user and the versions that records and results name."""

from __future__ import annotations

import getpass
import os
import platform

import pytest

import taskgrove
from taskgrove.provenance import user_name, version_of, versions


def test_versions_are_those_of_installed_packages_only() -> None:
    found = versions(["msgspec", "no-such-package"])
    assert list(found) == ["python", "taskgrove", "msgspec"]
    assert found["python"] == platform.python_version()
    assert found["taskgrove"] == taskgrove.__version__


@pytest.mark.parametrize("name", ["no-such-package", ""])
def test_a_package_that_is_not_installed_has_no_version(name: str) -> None:
    assert version_of(name) is None


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("no name")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name.__wrapped__() == str(os.geteuid())
