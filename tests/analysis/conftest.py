"""The fixtures of tests that run analyses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.analysis.running import handle
from tests.analysis.analysis_runs import GUARD_S, Runs, nothing_left


@pytest.fixture
def analyses(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runs]:
    """Run analyses; the test fails when they leave anything behind.

    Who waits for an end has heard all that came before it, also on a machine that is busy.
    """
    monkeypatch.setattr(handle, "HEARD_WITHIN_S", GUARD_S)
    folder: Path = tmp_path_factory.mktemp("ledgers")
    with nothing_left(folder) as supervisor:
        yield Runs(supervisor)
