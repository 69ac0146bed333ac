"""The end of an analysis in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from taskgrove.analysis.results import TaskResult, TaskStatus
from taskgrove.cli.analysis_words import _result_of


def test_an_integer_of_very_many_digits_is_told_in_words() -> None:
    result = TaskResult(
        "Big", TaskStatus.COMPLETED, "", {"n": 10**5000, "few": [10**5000], 10**5000: 1}
    )
    outcome = cast("Any", SimpleNamespace(result=result, cause=""))
    assert _result_of(outcome) == [
        ("n", "a very large integer"),
        ("few", "[a very large integer]"),
        ("a very large integer", "1"),
    ]
