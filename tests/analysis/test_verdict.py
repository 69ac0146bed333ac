"""How the end of an analysis is decided, from facts alone."""

from __future__ import annotations

import itertools
import signal
import time
from typing import Any

import pytest

from taskgrove.analysis.batch import Allocation
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.end_verdict import EndFacts, LastWords, decide

S = TaskStatus
JOB = Allocation("Slurm", "77")
AT_LIMIT = Allocation("Slurm", "77", time.time() + 10)

CASES: list[tuple[dict[str, Any], TaskStatus, str]] = [
    ({"return_code": 0, "result_status": S.COMPLETED}, S.COMPLETED, ""),
    ({"return_code": 0}, S.FAILED, "ended without a result (exit status 0)"),
    ({"return_code": 0, "unfinished": True}, S.FAILED, "ended in the midst of a message"),
    ({"return_code": 1, "failed_cause": "ValueError: x"}, S.FAILED, "ValueError: x"),
    ({"return_code": 1, "result_status": S.COMPLETED}, S.FAILED, "exit status 1; its result had"),
    ({"return_code": None, "result_status": S.COMPLETED}, S.FAILED, "is not known"),
    ({"return_code": 0, "result_status": S.FAILED, "result_summary": "bad"}, S.FAILED, "bad"),
    ({"return_code": 0, "result_status": S.CANCELLED}, S.CANCELLED, "its result says CANCELLED"),
    ({"return_code": 0, "result_status": S.TIMEDOUT}, S.TIMEDOUT, "its result says TIMEDOUT"),
    ({"return_code": 0, "result_status": S.RUNNING}, S.FAILED, "RUNNING, which is no end"),
    ({"return_code": 0, "result_status": S.STOPPED}, S.FAILED, "STOPPED, which is no end"),
    ({"return_code": -9}, S.FAILED, "killed by SIGKILL, which was not ours"),
    ({"return_code": -11}, S.FAILED, "killed by SIGSEGV"),
    ({"return_code": -60}, S.FAILED, "killed by signal 60"),
    ({"return_code": -15}, S.CANCELLED, "SIGTERM from outside"),
    ({"return_code": 143, "cancelled": True}, S.CANCELLED, "SIGTERM from outside"),
    ({"return_code": -2}, S.CANCELLED, "SIGINT from outside"),
    ({"return_code": -15, "allocation": JOB}, S.CANCELLED, "SIGTERM from outside, in Slurm job 77"),
    ({"return_code": 143, "allocation": JOB}, S.CANCELLED, "SIGTERM from outside, in Slurm job 77"),
    (
        {"return_code": -15, "allocation": AT_LIMIT},
        S.TIMEDOUT,
        "Slurm job 77 was at its time limit",
    ),
    ({"return_code": 143}, S.FAILED, "exit status 143"),
    ({"return_code": 143, "by_launcher": True}, S.CANCELLED, "SIGTERM from outside"),
    (
        {"return_code": 0, "asked": "cancel", "ask_text": "no", "result_status": S.COMPLETED},
        S.COMPLETED,
        "",
    ),
    ({"return_code": 0, "asked": "cancel", "ask_text": "no"}, S.CANCELLED, "no"),
    (
        {"return_code": -9, "asked": "cancel", "ask_text": "no", "result_status": S.COMPLETED},
        S.CANCELLED,
        "no; its result had come before and is kept",
    ),
    (
        {"return_code": 0, "asked": "timeout", "ask_text": "late", "result_status": S.COMPLETED},
        S.TIMEDOUT,
        "late; its result had come",
    ),
    ({"return_code": -9, "asked": "unresponsive", "ask_text": "silent"}, S.TIMEDOUT, "silent"),
    (
        {"return_code": 1, "asked": "timeout", "ask_text": "late", "failed_cause": "Interrupted"},
        S.TIMEDOUT,
        "late",
    ),
    (
        {"return_code": 0, "channel_trouble": "rubbish", "result_status": S.COMPLETED},
        S.FAILED,
        "its channel broke: rubbish; its result had come before and is kept",
    ),
    (
        {"return_code": -15, "asked": "channel", "channel_trouble": "rubbish"},
        S.FAILED,
        "its channel broke: rubbish",
    ),
    (
        {"return_code": None, "asked": "timeout", "ask_text": "late", "abandoned": True},
        S.TIMEDOUT,
        "late; its process did not end even after SIGKILL",
    ),
    ({"first_party": False, "return_code": 0}, S.COMPLETED, ""),
    (
        {"first_party": False, "return_code": 2, "last_words": LastWords("no")},
        S.FAILED,
        "exit status 2: no",
    ),
    ({"first_party": False, "return_code": 0, "asked": "cancel"}, S.CANCELLED, ""),
    ({"first_party": False, "return_code": 0, "asked": "timeout"}, S.TIMEDOUT, ""),
]


@pytest.mark.parametrize(("facts", "status", "words"), CASES)
def test_cases(facts: dict[str, Any], status: TaskStatus, words: str) -> None:
    found, cause = decide(EndFacts(**{"first_party": True, **facts}))
    assert found is status
    assert words in cause
    assert (cause == "") == (status is S.COMPLETED or not (words or cause))


def test_completed_always_has_its_proof() -> None:
    """Fact W3: COMPLETED for what was killed, timed out, or lost its result."""
    statuses = [None, S.COMPLETED, S.FAILED, S.RUNNING]
    for first, code, asked, result, failed, trouble, cancelled in itertools.product(
        [True, False],
        [None, 0, 1, 143, -signal.SIGKILL, -signal.SIGTERM],
        [None, "cancel", "timeout", "unresponsive", "channel"],
        statuses,
        [None, "ValueError: x"],
        [None, "rubbish"],
        [False, True],
    ):
        facts = EndFacts(
            first_party=first, return_code=code, asked=asked, ask_text="asked",  # type: ignore[arg-type]
            result_status=result, failed_cause=failed, channel_trouble=trouble,
            cancelled=cancelled,
        )  # fmt: skip
        status, cause = decide(facts)
        assert status in {S.COMPLETED, S.FAILED, S.CANCELLED, S.TIMEDOUT}
        if status is S.COMPLETED:
            assert code == 0
            assert asked not in {"timeout", "unresponsive"}
            assert trouble is None
            assert not first or result is S.COMPLETED
            assert first or asked != "cancel"
        else:
            assert cause
        if asked in {"timeout", "unresponsive"}:
            assert status is S.TIMEDOUT
