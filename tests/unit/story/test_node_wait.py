"""The waits of nodes and the pause of a run, as notes tell of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, FinishedDetail, LeftOut, NoteDetail, SteeringRequest, TaskEvent
from taskgrove.story.node_wait import pause_in
from taskgrove.story.run_node import RunNode
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import Stream

PATH = "observe/scan"
REQUEST = SteeringRequest(id="r1", verb="pause", who="ann", why="wind")


def failure(attempt: int = 1) -> Cause:
    return Cause(kind="reported", said="no lock", attempt=attempt)


class Scan(Stream):
    """One leaf of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.composed("observe", "SEQUENTIAL", ("scan",), root=True)
        self.composed(PATH, "DEVICE", target="x/y/z")

    def begun(self, attempt: int = 1) -> Scan:
        self.add(PATH, "started", status=TaskStatus.IN_PROGRESS, progress=0, attempt=attempt)
        return self

    def told(self, topic: str, path: str = PATH, attempt: int | None = 1, **more: Any) -> Scan:
        cause = None if attempt is None else failure(attempt)
        self.add(path, "note", message=topic, detail=NoteDetail(topic, cause=cause, **more))
        return self

    def goes_on(self, attempt: int) -> Scan:
        status = TaskStatus.IN_PROGRESS
        self.add(PATH, "progress", status=status, attempt=attempt, progress=5)
        return self

    @property
    def view(self) -> RunView:
        return RunView().apply_all(self.events)

    @property
    def node(self) -> RunNode:
        found = self.view.node(PATH)
        assert found is not None
        return found


@pytest.mark.parametrize("topic", ["held", "undecided", "delayed"])
def test_a_failed_attempt_waits_until_the_next_one_begins(topic: str) -> None:
    scan = Scan().begun().told(topic, data={"until_ns": "77"})
    wait = scan.node.wait
    assert wait is not None
    assert (wait.how, wait.until_ns, wait.is_open) == (topic, 77, True)
    assert wait.failure is not None
    assert wait.failure.cause == failure()
    assert scan.node.state == topic
    assert scan.view.leaf_tally[topic] == 1  # type: ignore[index]
    scan.goes_on(attempt=2)
    assert scan.node.wait is None
    assert +scan.view.leaf_tally == {"running": 1}


def test_a_retry_that_an_operator_asked_for_ends_the_hold() -> None:
    scan = Scan().begun().told("held").told("retry", request=REQUEST)
    assert scan.node.wait is None
    assert scan.node.state == "running"
    again = scan.told("held", attempt=2).node.wait
    assert again is not None
    assert again.failure is not None
    assert again.failure.cause == failure(2)


def test_a_parked_attempt_keeps_the_failure_before_it() -> None:
    wait = Scan().begun().told("held").told("parked", attempt=None).node.wait
    assert wait is not None
    assert (wait.how, wait.is_open) == ("parked", True)
    assert wait.failure is not None
    assert wait.failure.topic == "held"


def test_a_step_that_never_began_is_parked_until_it_begins() -> None:
    scan = Scan().told("parked", attempt=None)
    wait = scan.node.wait
    assert wait is not None
    assert (wait.how, wait.is_open, wait.failure) == ("parked", False, None)
    assert scan.begun().node.wait is None


def test_an_end_ends_every_wait() -> None:
    scan = Scan().begun().told("held").told("hold-expired", attempt=None)
    assert scan.node.state == "held"  # the end follows at once
    scan.ended(PATH, TaskStatus.FAILED, ResultCode.FAILED)
    assert (scan.node.wait, scan.node.state) == (None, "failed")


@pytest.mark.parametrize(
    ("end", "detail", "state"),
    [
        (TaskStatus.COMPLETED, FinishedDetail(accepted=True, accepted_by=("ann",)), "accepted"),
        (
            TaskStatus.REJECTED,
            FinishedDetail(
                skipped=True, left_out=(LeftOut("scan", None, "operator", "left out by ann"),)
            ),
            "left out",
        ),
        (TaskStatus.REJECTED, FinishedDetail(skipped=True), "skipped"),
        (TaskStatus.COMPLETED, FinishedDetail(), "completed"),
    ],
)
def test_the_act_of_a_person_is_seen_in_the_state(
    end: TaskStatus, detail: FinishedDetail, state: str
) -> None:
    scan = Scan()
    scan.ended(PATH, end, detail=detail)
    assert scan.node.state == state


def test_late_events_give_the_same_wait() -> None:
    events = Scan().begun().told("held").told("retry").goes_on(2).told("held", attempt=2).events
    whole = RunView().apply_all(events)
    for order in itertools.permutations(events[2:]):
        view = RunView().apply_all([*events[:2], *order])
        assert view.nodes[PATH].wait == whole.nodes[PATH].wait
        assert view.leaf_tally == whole.leaf_tally
        late = RunNode(PATH)  # without the order of a run
        for event in order:
            late.apply(event)
        assert late.wait == whole.nodes[PATH].wait


def test_a_run_is_paused_until_it_goes_on_or_is_aborted() -> None:
    scan = Scan().told("paused", "observe", None, request=REQUEST)
    root = scan.view.nodes["observe"]
    pause = pause_in(root.notes)
    assert pause is not None
    assert pause.request == REQUEST
    assert root.state == "waiting"
    for topic in ("continued", "abort-asked"):
        ended = Scan().told("paused", "observe", None).told(topic, "observe", None)
        assert pause_in(ended.view.nodes["observe"].notes) is None


def test_an_old_record_knows_no_wait() -> None:
    event = TaskEvent(
        run_id="r", sequence=1, path=PATH, kind="note", monotonic_s=1.0, wall_ns=1,
        message="tried again", detail=NoteDetail("retry", cause=Cause(kind="reported")),
    )  # fmt: skip
    node = RunNode(PATH)
    node.apply(event)
    assert node.wait is None
