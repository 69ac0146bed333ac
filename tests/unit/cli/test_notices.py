"""One document for each wave of held steps, however many there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from taskgrove.cli.notices import MAX_HELD, HoldWatch
from taskgrove.cli.notifier import Notifier
from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, EventKind, NoteDetail, TaskEvent
from taskgrove.loops.loop import Loop


class AtOnce:
    """A loop that calls at once, and its timers when the test says so."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], object]] = []

    def post(self, function: Callable[..., object], *args: Any) -> None:
        function(*args)

    def after(self, _delay_s: float, action: Callable[[], object]) -> None:
        self.timers.append(action)

    def run_timers(self) -> None:
        timers, self.timers = self.timers, []
        for action in timers:
            action()


class Sent:
    """Keeps what is sent in place of a notifier."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []

    def send(self, lane: str, document: bytes) -> None:
        assert lane == "held"
        self.documents.append(json.loads(document))


class Run:
    """A run whose events a watch hears."""

    def __init__(self, location: str | None = "runs.db") -> None:
        self.sent, self.loop, self._count = Sent(), AtOnce(), 0
        self._watch = HoldWatch(cast(Notifier, self.sent), "run-1", lambda: location)
        self._watch._loop = cast(Loop, self.loop)

    def _tell(self, path: str, kind: EventKind, message: str, detail: NoteDetail | None) -> None:
        self._count += 1
        self._watch(
            TaskEvent(
                run_id="run-1",
                sequence=self._count,
                path=path,
                kind=kind,
                message=message,
                status=TaskStatus.IN_PROGRESS,
                monotonic_s=0.0,
                wall_ns=self._count,
                detail=detail,
            )
        )

    def note(self, path: str, topic: str, message: str = "no lock") -> None:
        cause = Cause(kind="reported", said=message) if topic == "held" else None
        self._tell(path, "note", message, NoteDetail(topic, cause=cause))

    def finish(self, path: str) -> None:
        self._tell(path, "finished", "", None)


def test_a_wave_is_one_document_with_the_count_and_the_first_paths() -> None:
    run = Run()
    for number in range(10_000):
        run.note(f"observe/{number}", "held")
    assert len(run.loop.timers) == 1
    run.loop.run_timers()
    (document,) = run.sent.documents
    assert (document["schema"], document["kind"], document["run"]) == (1, "held", "run-1")
    assert (document["held_count"], document["outcome"]) == (10_000, None)
    assert len(document["held"]) == MAX_HELD
    assert document["held"][0] == {"path": "observe/0", "cause": "no lock", "since_ns": 1}
    assert document["why"] == (
        "observe waits for a decision on observe/0 (and 9,999 more): no lock"
    )
    assert document["commands"] == [
        f"taskgrove {words} --db runs.db"
        for words in (
            "watch run-1",
            "retry run-1 observe/0",
            "accept run-1 observe/0 --why REASON",
            "skip run-1 observe/0",
            "fail run-1 observe/0",
        )
    ]


@pytest.mark.parametrize("decide", [Run.finish, lambda run, path: run.note(path, "retry")])
def test_a_wave_ends_when_nothing_is_held_and_the_next_one_is_told(decide: Any) -> None:
    run = Run()
    run.note("observe/scan", "held")
    run.loop.run_timers()
    run.note("observe/end", "held")  # the same wave
    run.loop.run_timers()
    assert len(run.sent.documents) == 1
    decide(run, "observe/scan")
    decide(run, "observe/end")
    run.note("observe/scan", "held", "no lock again")
    run.loop.run_timers()
    assert [item["held"][0]["cause"] for item in run.sent.documents] == [
        "no lock",
        "no lock again",
    ]


def test_what_was_decided_at_once_is_not_told() -> None:
    run = Run()
    run.note("observe/scan", "held")
    run.note("observe/scan", "retry")
    run.note("observe/end", "held", "of the second wave")
    run.loop.run_timers()
    assert [item["held"][0]["cause"] for item in run.sent.documents] == ["of the second wave"]


def test_other_notes_and_delays_tell_nothing() -> None:
    run = Run()
    for topic in ("undecided", "delayed", "paused", "info"):
        run.note("observe/scan", topic)
    assert run.loop.timers == []


def test_half_a_character_is_replaced() -> None:
    run = Run()
    run.note("observe/scan", "held", "l\u00e4nge \ud800")
    run.loop.run_timers()
    assert run.sent.documents[0]["held"][0]["cause"] == "l\u00e4nge ?"


def test_a_run_without_a_record_is_told_without_commands() -> None:
    run = Run(location=None)
    run.note("observe/scan", "held", "password=hunter2hunter2")
    run.loop.run_timers()
    (document,) = run.sent.documents
    assert document["commands"] == []
    assert "hunter2" not in json.dumps(document)
