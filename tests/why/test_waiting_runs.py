"""The explanation of runs that wait for an operator, and of the acts of operators afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    Cause,
    ChainLink,
    FinishedDetail,
    LeftOut,
    NoteDetail,
    SteeringAnswer,
    SteeringObjection,
    SteeringRequest,
)
from taskgrove.story.run_story import RunStory, story_of_events
from taskgrove.view.act_words import wait_summary
from taskgrove.view.snapshot import RunView
from taskgrove.view.tree_html import render_html
from taskgrove.view.tree_text import render_plain
from taskgrove.view.why import Why, why
from taskgrove.view.why.actions import RunCommand
from taskgrove.view.why.rendering import render_why, render_why_html
from tests.unit.event_streams import Stream

ABORTED = TaskStatus.ABORTED
SECOND = 1_000_000_000
#: 2027-01-15 08:00:00 UTC.
BEGAN = 1_800_000_000 * SECOND
RUN = "20270115T080000Z-ab12cd34"
OPTIONS = ("--db", "the record.db")


class Observe(Stream):
    """Two beams at once, a scan and an end, with a second between events."""

    def __init__(self) -> None:
        super().__init__(RUN)
        self.composed("observe", "SEQUENTIAL", ("configure", "scan", "end"), root=True)
        self.composed("observe/configure", "PARALLEL", ("b1", "b2"), rule="all")
        for name in ("b1", "b2"):
            self._leaf(f"observe/configure/{name}", f"mid-pst/beam/{name}", "Configure")
        self._leaf("observe/scan", "x/y/z", "Scan", description="The scan of the night")
        self._leaf("observe/end", "x/y/z", "End")
        self.running("observe")

    def _leaf(self, path: str, device: str, command: str, **more: Any) -> None:
        self.composed(path, "DEVICE", target=device, command_name=command, **more)

    def add(self, path: str, kind: Any, **fields: Any) -> None:
        super().add(path, kind, **fields)
        at = BEGAN + len(self.events) * SECOND
        last = msgspec.structs.replace(self.events[-1], wall_ns=at, monotonic_s=at / SECOND)
        self.events[-1] = last

    def failed(self, path: str, topic: str = "held", said: str = "no lock", **data: str) -> None:
        if not any(event.path == path and event.kind == "started" for event in self.events):
            self.running(path)
        cause = Cause(kind="reported", said=said, attempt=1)
        text = f"attempt 1 of 1 ended FAILED: {said}"
        self.add(
            path, "note", message=text, detail=NoteDetail(topic, {"words": said, **data}, cause)
        )

    def told(
        self, path: str, topic: str, request: SteeringRequest | None = None, **data: str
    ) -> None:
        self.add(path, "note", message=topic, detail=NoteDetail(topic, data, request=request))

    def story(self, **changes: Any) -> RunStory:
        now_ns = self.events[-1].wall_ns + 60 * SECOND
        made = story_of_events(self.events, now_ns=now_ns)
        return replace(made, **{"recorded": True, "options": OPTIONS, **changes})

    def why(self, **changes: Any) -> Why:
        return why(self.story(**changes))

    @property
    def tree(self) -> str:
        return render_plain(RunView().apply_all(self.events), width=120)


def asked(verb: Any, path: str = "", why: str = "", who: str = "ann", **more: Any) -> Any:
    return SteeringRequest(
        id=f"{verb}-{path}-{who}", verb=verb, path=path, who=who, why=why, user="operator",
        host="obs1", asked_ns=BEGAN, **more,
    )  # fmt: skip


def commands(found: Why) -> list[str]:
    told = [*found.actions, *found.choices]
    return [" ".join(it.argv[1:3:2] + it.argv[3:-2]) for it in told if isinstance(it, RunCommand)]


def test_a_held_step_is_what_a_run_waits_for() -> None:
    run = Observe()
    run.failed("observe/scan")
    found = run.why()
    assert found.sentence == (
        'observe waits for a decision on scan on x/y/z, which failed: "no lock" (held since'
        " 08:00:09 UTC, 1:00 min ago); next: see the log of x/y/z for details, then try it again:"
        f" taskgrove retry {RUN} observe/scan --db 'the record.db'"
    )
    assert found.shown_as == "held"
    assert commands(found) == [
        "retry observe/scan",
        "accept observe/scan --why REASON",
        "skip observe/scan",
        "fail observe/scan",
        "abort",
    ]
    (group,) = found.held
    assert (group.how, group.paths, group.devices) == ("held", ("observe/scan",), ("x/y/z",))
    assert (group.kind, group.cause, group.attempt) == ("reported", "no lock", 1)
    assert found.waiting == ()
    assert "◆ held" in run.tree
    assert "held since 08:00:09 UTC: no lock" in run.tree
    assert "◆ held" in render_html(RunView().apply_all(run.events))
    assert "count it as done" in render_why_html(found)


def test_held_steps_of_one_cause_are_one_group_with_one_command() -> None:
    run = Observe()
    for name in ("b1", "b2"):
        run.failed(f"observe/configure/{name}", said=f"no lock on {name}, 3.{name[1]} dB")
    found = run.why()
    (group,) = found.held
    assert len(group.paths) == 2
    assert commands(found)[0] == "retry observe/configure"
    assert "and on 1 more step" in found.sentence
    assert "Waiting (2 steps):" in render_why(found)
    assert "0/2 done, 2 held" in run.tree


def test_causes_that_differ_have_a_command_each() -> None:
    run = Observe()
    run.failed("observe/configure/b1", said="no lock")
    run.failed("observe/configure/b2", said="no power")
    found = run.why()
    assert [group.cause for group in found.held] == ["no lock", "no power"]
    retries = [line for line in commands(found) if line.startswith("retry")]
    assert retries == ["retry observe/configure/b1", "retry observe/configure/b2"]


def test_a_paused_run_tells_who_paused_it_and_how_it_goes_on() -> None:
    run = Observe()
    run.running("observe/configure/b1")
    run.told("observe", "paused", asked("pause", why="wind"))
    run.told("observe/scan", "parked")
    found = run.why()
    assert found.sentence.startswith(
        "observe is paused by ann (wind) since 08:00:09 UTC, 1:01 min ago; 1 leaf still runs, and"
        " its timeout counts; the pause keeps scan from starting; next: end the pause: taskgrove"
    )
    assert commands(found) == ["continue", "skip observe/scan", "abort"]
    assert found.parked == ("observe/scan",)
    assert found.pause is not None
    assert (found.pause.who, found.pause.user, found.pause.host) == ("ann", "operator", "obs1")
    assert "‖ parked" in run.tree
    assert "paused by ann (wind)" in run.tree
    nodes = run.story().nodes
    assert wait_summary(nodes, found.now_ns).endswith("1:01 min ago; 1 step parked")
    run.told("observe", "continued", asked("continue"))
    assert run.why().pause is None


def test_a_pause_that_is_to_come_is_told_until_it_came() -> None:
    run = Observe()
    run.running("observe/configure/b1")
    request = asked("pause", "observe/end", "look at the beam")
    run.told("observe/end", "pause-before", request)
    words = "it will pause when end is about to start, as ann (look at the beam) asked"
    assert words in run.why().sentence + "; ".join(run.why().also)
    run.told("observe/scan", "pause-before")  # by the command line that started the run
    told = run.why().sentence + "; ".join(run.why().also)
    assert "it will pause when scan is about to start" in told
    run.told("observe", "paused", before="observe/scan")
    assert words in run.why().sentence + "; ".join(run.why().also)
    run.told("observe", "paused", request, before="observe/end")
    assert words not in run.why().sentence + "; ".join(run.why().also)


def test_a_run_that_is_paused_and_held_tells_both() -> None:
    run = Observe()
    run.failed("observe/scan")
    run.told("observe", "paused", asked("pause"))
    found = run.why()
    assert "is paused by ann since" in found.sentence
    assert ", and waits for a decision on scan" in found.sentence
    assert commands(found)[:2] == ["retry observe/scan", "continue"]


def test_a_retry_that_a_pause_keeps_can_still_be_decided_otherwise() -> None:
    run = Observe()
    run.failed("observe/scan")
    run.told("observe", "paused", asked("pause"))
    run.told("observe/scan", "parked", asked("retry", "observe/scan"))
    found = run.why()
    assert commands(found) == [
        "continue",
        "accept observe/scan --why REASON",
        "skip observe/scan",
        "fail observe/scan",
        "abort",
    ]


def test_a_step_without_a_decision_yet_is_told_beside_those_that_run() -> None:
    run = Observe()
    run.running("observe/configure/b2")
    run.failed("observe/configure/b1", "undecided")
    found = run.why()
    assert "waits for configure/b2 on mid-pst/beam/b2 to finish Configure" in found.sentence
    told = "; ".join((found.sentence, *found.also))
    assert "configure/b1 failed, and is undecided until all other steps of its group" in told
    assert commands(found)[0] == "accept observe/configure/b1 --why REASON"
    assert "◇ undecided" in run.tree


def test_a_delayed_attempt_is_told_with_its_time() -> None:
    run = Observe()
    run.failed("observe/scan", "delayed", until_ns=str(BEGAN + 3600 * SECOND))
    found = run.why()
    assert "the next attempt of scan begins at 09:00:00 UTC" in found.sentence
    assert "next attempt at 09:00:00 UTC: no lock" in run.tree
    assert found.held[0].until_ns == BEGAN + 3600 * SECOND
    assert commands(found)[:2] == ["retry observe/scan", "accept observe/scan --why REASON"]
    run.told("observe", "paused", asked("pause"))
    told = "; ".join((run.why().sentence, *run.why().also))
    assert "the next attempt of scan is due at 09:00:00 UTC, and begins when the pause ends" in told


def test_a_run_without_a_record_is_decided_where_it_runs() -> None:
    run = Observe()
    run.failed("observe/scan")
    found = run.why(recorded=False)
    assert found.next_step.endswith("then decide in the terminal that runs it")
    assert found.choices == ()


def test_a_run_that_is_being_aborted_asks_for_no_decision() -> None:
    run = Observe()
    run.failed("observe/scan")
    run.told("observe", "abort-asked")
    found = run.why()
    assert found.choices == ()
    assert "decision" not in found.sentence


def test_an_abort_tells_which_steps_waited_and_which_were_running() -> None:
    run = Observe()
    run.failed("observe/configure/b1", "held")
    run.failed("observe/configure/b2", "delayed")
    run.running("observe/scan")
    run.told("observe", "abort-asked", reason="interrupted by Ctrl-C")
    cause = Cause(kind="reported", said="no lock", attempt=1)
    for name in ("configure/b1", "configure/b2", "scan"):
        detail = FinishedDetail(cause=None if name == "scan" else cause)
        run.ended(f"observe/{name}", ABORTED, ResultCode.ABORTED, "no lock", detail=detail)
    run.ended("observe", ABORTED, ResultCode.ABORTED, "aborted", detail=FinishedDetail())
    told = run.why()
    for words in (
        "while scan on x/y/z was running",
        "scan then stopped when asked",
        "configure/b1 had failed and was held",
        "configure/b2 had failed and waited for its next attempt",
    ):
        assert words in told.sentence, told.sentence
    kinds = {item.path.rpartition("/")[2]: item.kind for item in told.casualties}
    assert kinds == {"b1": "waiting", "b2": "waiting", "scan": "stopped"}
    assert "2 had failed and waited (no lock): configure/b1 and configure/b2" in render_why(told)


def test_a_clean_up_that_a_second_abort_stopped_was_not_running_at_the_first() -> None:
    run = Observe()
    run.running("observe/scan")
    run.told("observe", "abort-asked", reason="interrupted by Ctrl-C")
    run.running("observe/end")
    run.ended("observe/scan", ABORTED, ResultCode.ABORTED, "a", detail=FinishedDetail())
    run.ended("observe/end", ABORTED, ResultCode.ABORTED, "a", detail=FinishedDetail())
    run.ended("observe", ABORTED, ResultCode.ABORTED, "aborted", detail=FinishedDetail())
    sentence = run.why().sentence
    assert "while scan on x/y/z was running; scan and end then stopped when asked" in sentence


def decided() -> Observe:
    run = Observe()
    run.failed("observe/scan")
    cause = Cause(kind="reported", said="no lock")
    run.ended(
        "observe/scan",
        message="x/y/z: accepted by ann: seen by eye; no lock",
        detail=FinishedDetail(
            accepted=True,
            accepted_by=("ann",),
            cause=cause,
            request=asked("accept", "observe/scan", "seen by eye"),
        ),
    )
    left_out = (LeftOut("end", None, "operator", "left out by bob", said="no time"),)
    run.ended(
        "observe/end",
        TaskStatus.REJECTED,
        ResultCode.REJECTED,
        "left out by bob: no time",
        detail=FinishedDetail(
            skipped=True, left_out=left_out, request=asked("skip", "observe/end", "no time", "bob")
        ),
    )
    line = "1 of 2 succeeded, 1 accepted by ann, 1 left out by bob → DEGRADED"
    detail = FinishedDetail(accepted=True, line=line, rule_kind="default", left_out=left_out)
    run.ended("observe", health_state="DEGRADED", detail=detail)
    return run


def test_the_acts_that_shaped_a_run_are_told_for_good() -> None:
    run = decided()
    found = run.why()
    assert found.sentence == (
        "observe completed DEGRADED: scan was accepted by ann (seen by eye), although it failed:"
        ' "no lock"; end was left out by bob (no time)'
    )
    assert found.next_step == ""
    assert found.casualties == ()
    told = render_why(found, 120)
    assert "Acts of operators:" in told
    assert "ann (operator@obs1): accepted scan: seen by eye" in told
    assert "bob (operator@obs1): skipped end: no time" in told
    assert "≈ accepted" in run.tree
    assert "∅ left out" in run.tree
    assert "✓ completed" not in run.tree
    plain = msgspec.to_builtins(found)
    assert [act["request"]["verb"] for act in plain["acts"]] == ["accept", "skip"]


def test_an_exception_that_was_accepted_is_told_by_itself() -> None:
    run = Observe()
    cause = Cause(kind="raised", chain=(ChainLink("RuntimeError", "beam lost"),))
    run.ended(
        "observe/scan",
        message="x/y/z: accepted by ann: seen by eye; RuntimeError: beam lost",
        detail=FinishedDetail(
            accepted=True,
            accepted_by=("ann",),
            cause=cause,
            request=asked("accept", "observe/scan"),
        ),
    )
    run.ended("observe", health_state="DEGRADED", detail=FinishedDetail(accepted=True))
    assert run.why().sentence == (
        "observe completed DEGRADED: scan was accepted by ann, although it raised an exception in"
        ' Scan: "RuntimeError: beam lost"'
    )


def test_an_accepted_failure_beside_a_failure_is_still_told() -> None:
    run = decided()
    run.events.pop()
    run.ended("observe/configure/b1", TaskStatus.FAILED, ResultCode.FAILED, "no power")
    run.ended("observe", TaskStatus.FAILED, ResultCode.FAILED, "Task observe failed")
    found = run.why()
    told = "; ".join((found.sentence, *found.also))
    assert found.first is not None
    assert found.first.path == "observe/configure/b1"
    assert 'scan was accepted by ann (seen by eye), although it failed: "no lock"' in told


def test_what_was_below_a_task_that_was_left_out_is_no_consequence() -> None:
    run = Observe()
    run.ended("observe/scan")
    left_out = (LeftOut("configure", None, "operator", "left out by bob"),)
    detail = FinishedDetail(skipped=True, left_out=left_out, request=asked("skip", "", "", "bob"))
    words = (TaskStatus.REJECTED, ResultCode.REJECTED, "left out by bob")
    run.ended("observe/configure", *words, detail=detail)
    below = FinishedDetail(
        skipped=True, cause=Cause(kind="skipped", because_of="observe/configure")
    )
    for name in ("b1", "b2"):
        run.ended(f"observe/configure/{name}", *words, detail=below)
    run.ended("observe", health_state="DEGRADED", detail=FinishedDetail(left_out=left_out))
    found = run.why()
    assert found.casualties == ()
    assert found.sentence == "observe completed DEGRADED: configure was left out by bob"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "asked to retry observe/scan, and has no answer yet"),
        (
            SteeringAnswer(
                request_id="retry-observe/scan-ann",
                fate="refused",
                objections=(SteeringObjection(reason="not_held", path="observe/scan"),),
            ),
            "which was refused: observe/scan: no decision is open on it",
        ),
    ],
)
def test_requests_on_record_that_changed_nothing_are_told(
    answer: SteeringAnswer | None, words: str
) -> None:
    run = Observe()
    request = asked("retry", "observe/scan")
    found = run.why(asked=((request, answer),))
    assert words in render_why(found, 200)
    assert found.acts[0].fate == (None if answer is None else "refused")


def test_a_request_on_record_and_its_events_are_one_act() -> None:
    run = decided()
    request = asked("accept", "observe/scan", "seen by eye")
    answer = SteeringAnswer(
        request_id=request.id, fate="done", paths=("observe/scan",), acted_count=1
    )
    found = run.why(asked=((request, answer),))
    assert [act.request.verb for act in found.acts] == ["accept", "skip"]
    assert found.acts[0].paths == ("observe/scan",)


def test_a_description_is_shown_beside_every_step() -> None:
    run = Observe()
    assert "x/y/z  The scan of the night" in run.tree
    run.failed("observe/scan")
    assert "no lock  Scan x/y/z  The scan of the night" in run.tree
    page = render_html(RunView().apply_all(run.events))
    assert "<i>The scan of the night</i>" in page


def test_a_description_from_a_map_is_harmless() -> None:
    run = Observe()
    run.composed("observe/scan", "DEVICE", description="<b>\x1b[31m" + "long " * 60)
    lines = run.tree.splitlines()
    assert "\x1b" not in run.tree
    assert all(len(line) <= 120 for line in lines)
    assert "&lt;b&gt;" in render_html(RunView().apply_all(run.events))
