"""How an analysis ended: the one function that decides it, from facts alone.

Nothing is assumed: COMPLETED needs a proof (a first-party analysis' result and exit status 0, a
program's exit status 0), and what was asked for, a limit or a cancellation, is not overwritten by
the exit status that it causes.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taskgrove.analysis.batch import Allocation
from taskgrove.analysis.results import TaskStatus
from taskgrove.events import Cause, CauseKind, ChainLink

AskedBy: TypeAlias = Literal["cancel", "timeout", "unresponsive", "channel"]

_SHELL_SIGNAL: Final = 128
#: What a result may say that is an end, besides COMPLETED.
_ENDS: Final = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.TIMEDOUT})
#: Signals by which people and batch systems ask a program to end.
_POLITE: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU})


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a program said of its failure.

    Attributes:
        line: The line that says why, at most 500 characters; empty where it said nothing.
        chain: The exceptions of the Python traceback that the line is taken from, the last one
            first, then those that led to it.
        last_lines: The last lines, as plain text.
        tail: Which of the ends the line stands in, from 0; None: in none.
    """

    line: str = ""
    chain: tuple[ChainLink, ...] = ()
    last_lines: tuple[str, ...] = ()
    tail: int | None = None


NOTHING_SAID: Final = LastWords()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFacts:
    """What is known when an analysis has ended.

    Attributes:
        first_party: Whether it had a channel to send its result by.
        return_code: Exit status, negative for a signal; None where it could not be learnt.
        asked: Why we ended it, if we did.
        ask_text: The words for that.
        result_status: The status that its result gives itself; None: no result came.
        result_summary: The result's summary.
        failed_cause: What it said of its own failure, or None.
        failed_chain: The exceptions that this was, the last one first.
        cancelled: Whether it said that it was cancelled.
        channel_trouble: What was wrong with what came over the channel, or None.
        unfinished: Whether it ended in the midst of a message.
        last_words: What the program's output says of its failure.
        by_launcher: Whether the exit status is that of a launcher or shell, which reports the
            signal of another process as 128 + its number.
        allocation: The batch allocation in which it ran, or None.
        abandoned: Whether it did not end even after SIGKILL.
    """

    first_party: bool
    return_code: int | None
    asked: AskedBy | None = None
    ask_text: str = ""
    result_status: TaskStatus | None = None
    result_summary: str = ""
    failed_cause: str | None = None
    failed_chain: tuple[ChainLink, ...] = ()
    cancelled: bool = False
    channel_trouble: str | None = None
    unfinished: bool = False
    last_words: LastWords = NOTHING_SAID
    by_launcher: bool = False
    allocation: Allocation | None = None
    abandoned: bool = False


def decide(facts: EndFacts) -> tuple[TaskStatus, str]:
    """Return the final status and its cause; the cause of COMPLETED is empty."""
    status, cause = _decide(facts)
    if status is not TaskStatus.COMPLETED and facts.result_status is TaskStatus.COMPLETED:
        cause += "; its result had come before and is kept"
    if facts.abandoned:
        cause += "; its process did not end even after SIGKILL"
    return status, cause


def cause_of_end(facts: EndFacts, status: TaskStatus, limit_s: float | None) -> Cause | None:
    """Return why an analysis ended so, as data; None for one that COMPLETED.

    Args:
        facts: What is known of its end.
        status: What :func:`decide` made of them.
        limit_s: The limit that expired, in seconds, where one did.
    """
    if status is TaskStatus.COMPLETED:
        return None
    kind = _kind_of(facts, status)
    number = _signal_of(facts)
    cause = Cause(
        kind=kind,
        return_code=facts.return_code,
        signal=None if number is None else _signal_name(number),
        last_lines=facts.last_words.last_lines,
    )
    return msgspec.structs.replace(cause, **_told(kind, facts, limit_s))


def _told(kind: CauseKind, facts: EndFacts, limit_s: float | None) -> dict[str, Any]:
    """Return what else is known of an end of that kind."""
    told: dict[str, Any] = {}
    if kind in {"timed_out", "unresponsive"}:
        told["limit_s"] = limit_s
        if facts.asked is None and facts.allocation is not None:
            told["limit_owner"] = facts.allocation.name
    elif kind in {"exited", "signalled", "no_result"}:
        told = {"said": facts.last_words.line, "chain": facts.last_words.chain}
    elif kind == "raised":
        told = {"said": facts.failed_cause, "chain": facts.failed_chain}
        if facts.failed_chain:
            del told["said"]
    elif kind == "reported":
        told["said"] = facts.result_summary
    elif kind == "aborted" and facts.asked == "cancel":
        told["said"] = facts.ask_text
    return told


def _kind_of(facts: EndFacts, status: TaskStatus) -> CauseKind:
    """Return the kind of an end that is not good, in the order in which it is decided."""
    number = _signal_of(facts)
    politely = number in _POLITE or facts.cancelled
    rows: tuple[tuple[bool, CauseKind], ...] = (
        (facts.asked == "timeout", "timed_out"),
        (facts.asked == "unresponsive", "unresponsive"),
        (facts.asked == "cancel", "aborted"),
        (facts.channel_trouble is not None, "unreadable"),
        (facts.failed_cause is not None, "raised"),
        (politely and status is TaskStatus.TIMEDOUT, "timed_out"),
        (politely, "aborted"),
        (number is not None, "signalled"),
        (facts.return_code != 0, "exited"),
        (facts.result_status is None, "no_result"),
        (facts.result_status in _ENDS, "reported"),
    )
    return next((kind for holds, kind in rows if holds), "unreadable")


def _decide(facts: EndFacts) -> tuple[TaskStatus, str]:
    asked = _as_asked(facts)
    if asked is not None:
        return asked
    if facts.channel_trouble is not None:
        return TaskStatus.FAILED, f"its channel broke: {facts.channel_trouble}"
    if facts.failed_cause is not None:
        return TaskStatus.FAILED, facts.failed_cause
    number = _signal_of(facts)
    if number in _POLITE or facts.cancelled:
        return _ended_from_outside(facts, number or signal.SIGTERM)
    if facts.return_code != 0:
        return TaskStatus.FAILED, _exit_cause(facts)
    return _by_result(facts) if facts.first_party else (TaskStatus.COMPLETED, "")


def _as_asked(facts: EndFacts) -> tuple[TaskStatus, str] | None:
    """Return the end that we brought about, or None where it came by itself."""
    if facts.asked in {"timeout", "unresponsive"}:
        return TaskStatus.TIMEDOUT, facts.ask_text
    if facts.asked != "cancel":
        return None
    done = facts.result_status is TaskStatus.COMPLETED and facts.return_code == 0
    if facts.first_party and done and facts.channel_trouble is None:  # it was asked too late
        return TaskStatus.COMPLETED, ""
    return TaskStatus.CANCELLED, facts.ask_text


def _by_result(facts: EndFacts) -> tuple[TaskStatus, str]:
    given = facts.result_status
    if given is None:
        ended = "in the midst of a message" if facts.unfinished else "without a result"
        return TaskStatus.FAILED, f"ended {ended} (exit status 0)"
    if given is TaskStatus.COMPLETED:
        return given, ""
    said = facts.result_summary or f"its result says {given.name}"
    if given in _ENDS:
        return given, said
    return TaskStatus.FAILED, f"its result says {given.name}, which is no end"


def _ended_from_outside(facts: EndFacts, number: int) -> tuple[TaskStatus, str]:
    name = signal.Signals(number).name
    allocation = facts.allocation
    if allocation is None:
        return TaskStatus.CANCELLED, f"{name} from outside"
    if allocation.is_at_limit:
        return (
            TaskStatus.TIMEDOUT,
            f"{name} from outside: {allocation.name} was at its time limit",
        )
    return TaskStatus.CANCELLED, f"{name} from outside, in {allocation.name}"


def _signal_of(facts: EndFacts) -> int | None:
    """Return the signal that ended it, also as a launcher or a shell reports it."""
    code = facts.return_code
    if code is None:
        return None
    if code < 0:
        return -code
    shell = facts.by_launcher or facts.cancelled or facts.allocation is not None
    if shell and code == _SHELL_SIGNAL + signal.SIGTERM:
        return signal.SIGTERM
    return None


def _exit_cause(facts: EndFacts) -> str:
    code = facts.return_code
    if code is None:
        return "its exit status is not known: something else has taken it"
    if code < 0:
        text = f"killed by {_signal_name(-code)}"
        if -code == signal.SIGKILL:
            text += ", which was not ours (out of memory?)"
    else:
        text = f"exit status {code}"
    if facts.unfinished:
        text += " in the midst of a message"
    if facts.last_words.line and facts.result_status is None:
        text += f": {facts.last_words.line}"
    return text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
