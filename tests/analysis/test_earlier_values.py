"""Values of analyses that a runner has completed itself."""

from __future__ import annotations

import pytest

from taskgrove.analysis.leaves import earlier_values
from taskgrove.analysis.leaves.earlier_values import RunnerResults
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.events import AnalysisDetail


def _detail(name: str, payload: str) -> AnalysisDetail:
    return AnalysisDetail(analysis=name, payload=payload, summary="fine", parameters='{"n": 3}')


def _origin(experiment: str = "x1", run: int | str = 7) -> PageOrigin:
    return PageOrigin(experiment=experiment, experiment_run=run)


def test_the_newest_of_the_asked_run_counts() -> None:
    results = RunnerResults(None)
    results.keep(_origin(), _detail("A", '{"best": [1, 2]}'))
    results.keep(_origin(), _detail("A", '{"best": [3, 4]}'))
    results.keep(_origin(run=8), _detail("A", '{"best": [5]}'))
    assert results("x1", "7", "A", "payload.best.1") == 4
    assert results("x1", "8", "A", "payload.best.0") == 5
    assert results("", "", "A", "payload.best.0") == 5  # any run: the newest
    assert (results("x1", "7", "A", "n"), results("x1", "7", "A", "summary")) == (3, "fine")
    for question in (("x2", "7", "A", "n"), ("x1", "9", "A", "n"), ("x1", "7", "B", "n")):
        with pytest.raises(LookupError, match="has not run yet, and no record is read"):
            results(*question)
    with pytest.raises(LookupError, match="has no 'm'; there are: payload, summary, n"):
        results("x1", "7", "A", "m")


def test_others_are_asked_for_the_rest() -> None:
    results = RunnerResults(lambda *question: question)
    results.keep(_origin(), _detail("A", "1"))
    assert results("x1", "7", "A", "payload") == 1
    assert results("x1", "6", "A", "payload") == ("x1", "6", "A", "payload")


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_values, "MOST_KEPT", 2)
    results = RunnerResults(None)
    for run in (1, 2, 1, 3):
        results.keep(_origin(run=run), _detail("A", str(run)))
    assert [results("x1", str(run), "A", "payload") for run in (1, 3)] == [1, 3]
    with pytest.raises(LookupError):
        results("x1", "2", "A", "payload")
