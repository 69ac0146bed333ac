"""The fixtures of tests that run analyses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis.analysis_runs import Runs, nothing_left


@pytest.fixture
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Run analyses; the test fails when they leave anything behind."""
    folder: Path = tmp_path_factory.mktemp("ledgers")
    with nothing_left(folder) as supervisor:
        yield Runs(supervisor)
