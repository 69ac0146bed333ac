"""A place to work in: a map of internal steps and the manager that has their methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import MANAGER, MAP


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path
