"""A place to work in: a map of internal steps and the manager that has their methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import MANAGER, MAP


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test see the runs of another: a lost one is told by every command after it."""
    for kind in ("data", "state"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / f".{kind}"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path
