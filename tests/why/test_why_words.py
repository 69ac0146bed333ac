"""The words of explanations, case by case, from hand-made events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, ComposedDetail, FinishedDetail, NoteDetail, TaskEvent
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import OperatorVerdict, RunStory, story_of_events
from taskgrove.view.terminal_text import ASCII
from taskgrove.view.why import Why, why
from taskgrove.view.why.failed_leaf import CauseReader, normalised
from taskgrove.view.why.rendering import render_why
from tests.unit.event_streams import Stream, beam_run

SECOND = 1_000_000_000
FAILED, REJECTED, ABORTED = TaskStatus.FAILED, TaskStatus.REJECTED, TaskStatus.ABORTED


def tree(*leaves: str, root: str = "configure", execution: Any = "SEQUENTIAL") -> Stream:
    stream = Stream()
    stream.composed(root, execution, leaves, root=True)
    for name in leaves:
        stream.composed(
            f"{root}/{name}", "DEVICE", target=f"low-cbf/unit/{name}", command_name="Configure"
        )
    return stream


def story(stream: Stream | Sequence[TaskEvent], **changes: Any) -> RunStory:
    events = stream.events if isinstance(stream, Stream) else stream
    made = story_of_events(events, now_ns=events[-1].wall_ns)
    return replace(made, **changes)


def explained(stream: Stream | Sequence[TaskEvent], **changes: Any) -> Why:
    return why(story(stream, **changes))


def leaf(message: str, status: TaskStatus, code: ResultCode, execution: Any = "DEVICE") -> Any:
    return RunNode(
        "root/leaf-1",
        composed=ComposedDetail(execution, target="a/b/c", command_name="Configure"),
        status=status,
        result_code=code,
        message=message,
        devices=("a/b/c",) if execution == "DEVICE" else (),
    )


def test_what_varies_between_leaves_is_no_part_of_a_cause() -> None:
    assert normalised("beam 12: no lock, 3.5 dB") == normalised("beam 7: no lock, -12 dB")
    assert normalised("low-pst/beam/01 is gone") == normalised("low-pss/x/y is gone")
    assert normalised("at tango://h:1/a/b/c#dbase=no now") == normalised("at x/y/z now")
    assert normalised("job deadbeef12 lost") == normalised("job 0af45dc91e lost")
    assert normalised("alpha-one failed", "alpha-one") == normalised("beta-two failed", "beta-two")
    assert normalised("no lock") != normalised("no clock")
    assert normalised("a defaced feed") == "a defaced feed"  # hex, but no number


def test_own_limits_are_one_cause_and_limits_of_others_another() -> None:
    def key(path: str, owner: str) -> object:
        node = leaf(f"timed out after 5 s (limit set by {owner})", FAILED, ResultCode.FAILED)
        node.path = path
        return CauseReader().read(node).key

    assert key("root/leaf-1", "root/leaf-1") == key("root/leaf-2", "root/leaf-2")
    assert key("root/leaf-1", "root") != key("root/leaf-2", "root/leaf-2")


def test_the_first_to_end_is_first_and_not_the_first_in_the_tree() -> None:
    stream = tree("one", "two", execution="PARALLEL")
    stream.ended("configure/two", code=ResultCode.FAILED, message="low-cbf/unit/two: no clock")
    stream.ended("configure/one", code=ResultCode.FAILED, message="low-cbf/unit/one: no power")
    stream.ended("configure", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert found.first is not None
    assert found.first.path == "configure/two"
    assert "2 of 2 failed, 2 causes" in found.sentence
    assert [group.cause for group in found.groups] == ["no clock", "no power"]


def test_a_clock_that_is_set_back_does_not_change_which_failure_was_first() -> None:
    stream = tree("one", "two", execution="PARALLEL")
    stream.ended("configure/two", code=ResultCode.FAILED, message="low-cbf/unit/two: no clock")
    before = stream.events[-1].wall_ns - 3600 * SECOND
    stream.ended("configure/one", code=ResultCode.FAILED, message="low-cbf/unit/one: no power")
    stream.events[-1] = msgspec.structs.replace(stream.events[-1], wall_ns=before)
    stream.ended("configure", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert found.first is not None
    assert found.first.path == "configure/two"


def test_an_attempt_that_failed_before_is_no_failure() -> None:
    stream = tree("one")
    stream.note("configure/one", "retry", "attempt 1 of 2 ended COMPLETED: cold start")
    stream.ended("configure/one", attempt=2)
    stream.ended("configure")
    found = explained(stream)
    assert found.first is None
    assert "nothing failed" in found.sentence
    assert "one (2 attempts)" in found.sentence
    assert "cold start" not in str(found)


def test_commands_aborted_with_the_device_are_casualties_of_the_one_that_ran_out_of_time() -> None:
    stream = tree("one", execution="PARALLEL")
    stream.composed("configure/other", "DEVICE", target="low-cbf/unit/one", command_name="Scan")
    stream.ended(
        "configure/one",
        FAILED,
        ResultCode.FAILED,
        "timed out after 2 s (limit set by configure/one)",
    )
    stream.note("configure/one", "abort-acknowledged", "the device accepted Abort")
    stream.ended("configure/other", ABORTED, ResultCode.ABORTED, "Command has been aborted")
    stream.ended("configure", ABORTED, ResultCode.ABORTED)
    found = explained(stream)
    assert [(item.path, item.of) for item in found.casualties] == [
        ("configure/other", "configure/one")
    ]
    assert "one on low-cbf/unit/one did not finish Configure within 2 s" in found.sentence


@pytest.mark.parametrize(
    ("first", "casualties"),
    [
        ("cannot be reached, Configure was not sent: no", ["configure/other"]),
        ("no lock", []),  # it answered: that it cannot be reached later is a failure of its own
    ],
)
def test_a_device_is_gone_only_after_something_showed_it(first: str, casualties: list[str]) -> None:
    stream = tree("one", execution="PARALLEL")
    stream.composed("configure/other", "DEVICE", target="low-cbf/unit/one", command_name="Scan")
    gone = "low-cbf/unit/one: cannot be reached, Scan was not sent: no"
    stream.ended("configure/one", FAILED, ResultCode.FAILED, f"low-cbf/unit/one: {first}")
    stream.ended("configure/other", FAILED, ResultCode.FAILED, gone)
    stream.ended("configure", FAILED, ResultCode.FAILED)
    assert [item.path for item in explained(stream).casualties] == casualties


def test_a_skipped_step_is_a_casualty_of_the_step_that_is_named_and_not_of_the_first() -> None:
    stream = Stream()
    steps = ("beams", "check", "rest")
    stream.composed("go", "SEQUENTIAL", steps, root=True, skip_subtasks=True, rule="all")
    stream.composed("go/beams", "PARALLEL", ("b1",), pst_group=True)
    stream.composed("go/beams/b1", "DEVICE", target="low-pst/beam/01")
    for name in ("check", "rest"):
        stream.composed(f"go/{name}", "DEVICE", target=f"x/y/{name}", command_name="Check")
    stream.ended("go/beams/b1", code=ResultCode.FAILED, message="low-pst/beam/01: no lock")
    stream.ended("go/beams", code=ResultCode.FAILED, health_state="DEGRADED")
    stream.ended("go/check", FAILED, ResultCode.FAILED, "x/y/check: no power")
    skipped = FinishedDetail(skipped=True)
    stream.ended("go/rest", REJECTED, ResultCode.REJECTED, "skipped: check failed", detail=skipped)
    stream.ended("go", FAILED, ResultCode.FAILED, detail=FinishedDetail(rule="all"))
    found = explained(stream)
    assert found.first is not None
    assert found.first.path == "go/beams/b1"
    assert [(item.path, item.of) for item in found.casualties] == [("go/rest", "go/check")]


def test_a_failure_that_the_command_got_over_is_told_after_the_one_that_decided() -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("beams", "check"), root=True)
    stream.composed("go/beams", "PARALLEL", ("b1",), pst_group=True)
    stream.composed("go/beams/b1", "DEVICE", target="low-pst/beam/01")
    stream.composed("go/check", "DEVICE", target="x/y/check", command_name="Check")
    stream.ended("go/beams/b1", code=ResultCode.FAILED, message="low-pst/beam/01: no lock")
    stream.ended("go/beams", code=ResultCode.FAILED, health_state="DEGRADED")
    stream.ended("go/check", FAILED, ResultCode.FAILED, "x/y/check: no power")
    stream.ended("go", FAILED, ResultCode.FAILED, detail=FinishedDetail(rule="default"))
    found = explained(stream)
    assert found.first is not None
    assert found.first.path == "go/check"
    assert "before it beams/b1 failed, but did not decide" in found.sentence


def test_what_never_began_is_a_casualty_of_the_first_leaf_that_was_lost() -> None:
    stream = tree("one", "two", "three")
    lost = "the runner of this run was lost at noon"
    for name in ("two", "one"):
        words = f"low-cbf/unit/{name}: it ran; {lost}"
        stream.ended(f"configure/{name}", FAILED, ResultCode.FAILED, words)
    words = f"low-cbf/unit/three: not started: {lost}"
    stream.ended("configure/three", ABORTED, ResultCode.ABORTED, words)
    stream.ended("configure", FAILED, ResultCode.FAILED)
    assert [(item.path, item.of) for item in explained(stream).casualties] == [
        ("configure/three", "configure/two")
    ]


def test_a_run_without_a_leaf_that_decided_tells_of_the_first_that_failed() -> None:
    stream = Stream()
    stream.composed("go", "PARALLEL", ("part",), root=True)
    stream.composed("go/part", "PARALLEL", ("a", "b"))
    for name in "ab":
        stream.composed(f"go/part/{name}", "DEVICE", target=f"x/y/{name}")
        stream.ended(f"go/part/{name}", FAILED, ResultCode.FAILED, f"x/y/{name}: no power")
    stream.ended("go/part")  # it got over them
    stream.ended("go", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert found.first is not None
    assert found.first.path == "go/part/a"


def test_what_an_abort_made_of_each_leaf() -> None:
    stream = tree("a", "b", "c", "d", "e", execution="PARALLEL")
    for name in ("", "/a", "/d", "/e"):
        stream.running(f"configure{name}")
    asked = "asked to stop: operator asked"
    for name in ("", "/a", "/d", "/e"):
        stream.note(f"configure{name}", "abort-asked", asked)
    stream.note("configure/e", "abandoned", "it goes on after its limit expired")
    for name, status, words in (
        ("a", ABORTED, "abandoned: it did not end within 5 s of being asked to stop"),
        ("b", ABORTED, "not started: operator asked"),
        ("c", FAILED, "not started: the limit of 5 s set by configure expired"),
        ("d", ABORTED, "Command has been aborted"),
        ("e", FAILED, "timed out after 5 s (limit set by configure)"),
    ):
        stream.ended(f"configure/{name}", status, ResultCode(7), f"low-cbf/unit/{name}: {words}")
    stream.ended("configure", ABORTED, ResultCode.ABORTED)
    found = explained(stream)
    assert [(item.path.rpartition("/")[2], item.kind) for item in found.casualties] == [
        ("a", "abandoned"), ("b", "not started"), ("d", "stopped"), ("e", "abandoned"),
    ]  # fmt: skip
    assert found.first is not None
    assert found.first.path == "configure/c"
    assert "a and e did not stop when asked" in " ".join([found.sentence, *found.also])
    assert "1 leaf had not begun" in " ".join([found.sentence, *found.also])


def test_how_late_a_leaf_ended_counts_from_its_limit() -> None:
    """A method that cannot be stopped is waited for: its end comes after its late completion."""
    stream = tree("one")
    stream.note("configure/one", "timeout", "timed out after 2 s")
    for _ in range(1_999):  # a millisecond each
        stream.note("configure", "elsewhere")
    stream.add("configure/one", "note", detail=NoteDetail("late", {"status": "COMPLETED"}))
    cause = FinishedDetail(cause=Cause(kind="timed_out", limit_s=2, limit_owner="configure/one"))
    stream.ended("configure/one", FAILED, ResultCode.FAILED, detail=cause)
    stream.ended("configure", FAILED, ResultCode.FAILED)
    assert "it completed 2.0 s after that" in explained(stream).sentence


def test_a_leaf_that_ended_after_its_limit_says_how_late() -> None:
    stream = tree("one")
    stream.ended(
        "configure/one",
        FAILED,
        ResultCode.FAILED,
        "timed out after 2 s (limit set by configure/one)",
    )
    stream.note("configure/one", "late", "ended COMPLETED after its end was decided")
    stream.ended("configure", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert "it completed 0.0 s after that" in found.sentence
    assert found.next_step.startswith("increase `timeout` of configure/one in the map, then")


def test_a_verdict_is_told_and_changes_nothing() -> None:
    stream = tree("one")
    stream.ended("configure/one", code=ResultCode.FAILED, message="low-cbf/unit/one: no clock")
    stream.ended("configure", FAILED, ResultCode.FAILED)
    stream.add(
        "configure/one",
        "note",
        detail=NoteDetail("operator", {"verdict": "ok", "who": "ada", "why": "clock is spare"}),
    )
    found = explained(stream)
    assert found.outcome == "failed"
    assert "verdict of ada: treat as OK (clock is spare)" in found.sentence
    assert "ada on configure/one: treat as OK" in str(found)
    given = explained(stream, verdicts=(OperatorVerdict("configure/one", "acknowledged", "eve"),))
    assert "verdict of eve: acknowledged" in given.sentence


def test_a_lost_run_says_what_ran_what_runs_on_and_what_to_do() -> None:
    events = beam_run(4, running=(2, 3))
    found = explained(
        events,
        state="lost",
        can_resume=True,
        state_note="process 77 on corr-01 is gone",
        options=("--db", "here.db"),
        now_ns=events[-1].wall_ns + 60 * SECOND,
    )
    assert "configure lost its runner (last sign of life " in found.sentence
    assert "1:00 min ago" in found.sentence
    assert "configure_pst/pst-beam-02 on mid-pst/beam/02 was running with 1 more" in found.sentence
    assert "3 of 5 leaves had ended" in " ".join([found.sentence, *found.also])
    assert "process 77 on corr-01 is gone" in " ".join([found.sentence, *found.also])
    assert found.next_step == (
        "follow the leaves that still run: taskgrove recover run-1 --db here.db, then run the rest:"
        " taskgrove resume run-1 --db here.db"
    )


def test_a_recovered_run_blames_what_was_lost_and_not_what_never_began() -> None:
    stream = tree("one", "two")
    lost = "the runner of this run was lost at 12:00:00 UTC"
    words = f"it was being called; {lost}, and how it ended is not known"
    stream.ended("configure/two", ABORTED, ResultCode.ABORTED, f"not started: {lost}")
    stream.ended("configure/one", FAILED, ResultCode.FAILED, words)
    stream.ended("configure", ABORTED, ResultCode.ABORTED)
    found = explained(stream)
    assert "one on low-cbf/unit/one has no known end: it was being called" in found.sentence
    assert "1 leaf was not started" in found.sentence
    assert found.next_step.startswith("check on low-cbf/unit/one whether Configure was executed")
    assert [item.path for item in found.casualties] == ["configure/two"]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ("timed out after 3 s", FAILED, "did not finish fit within 3 s (its own timeout)"),
        ("killed by SIGSEGV: frame 7", FAILED, 'was killed by SIGSEGV: "frame 7"'),
        ("ValueError: no peaks", FAILED, "raised ValueError: no peaks"),
        ("ended without a result (exit status 0)", FAILED, "gave no result"),
        (
            "process 7 had ended while nobody watched it; what it gave is not known",
            FAILED,
            "has no known end: process 7 had ended while nobody watched it",
        ),
        ("SIGTERM from outside", ABORTED, "was aborted, but not by this run"),
    ],
)
def test_analyses_that_fail(words: str, status: TaskStatus, told: str) -> None:
    stream = Stream()
    stream.composed("reduce", "SEQUENTIAL", ("fit",), root=True)
    stream.composed("reduce/fit", "ANALYSIS", target="run.yaml", command_name="fit")
    stream.ended("reduce/fit", status, ResultCode.FAILED, f"fit: {words}")
    stream.ended("reduce", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert f"reduce failed: analysis fit {told}" in found.sentence
    assert "fit" in found.next_step


@pytest.mark.parametrize(
    ("cause", "notes", "told"),
    [
        (
            Cause(kind="not_started", said="interrupted by Ctrl-C"),
            (),
            "was not started: interrupted",
        ),
        (Cause(kind="not_started"), (), "was not started: the pool is closed"),
        (
            Cause(kind="not_started", limit_s=3, limit_owner="root"),
            (),
            "was not started: 3 s (the timeout set by root) had passed before its turn",
        ),
        (
            Cause(kind="aborted", said="interrupted by Ctrl-C"),
            (NodeNote("abort-asked", "asked to stop: interrupted by Ctrl-C", 1),),
            "was aborted: interrupted by Ctrl-C",
        ),
        (Cause(kind="aborted", said="by hand"), (), 'was aborted, but not by this run: "by hand"'),
    ],
)
def test_a_leaf_that_an_abort_stopped(cause: Cause, notes: tuple[NodeNote, ...], told: str) -> None:
    node = leaf("a/b/c: not started: the pool is closed", ABORTED, ResultCode.ABORTED)
    node = replace(node, finished=FinishedDetail(cause=cause), notes=notes)
    assert CauseReader().read(node).deed(0).startswith(told)


def test_a_living_run_waits_for_what_was_silent_longest() -> None:
    events = beam_run(4, running=(2, 3))
    now_ns = events[-1].wall_ns + 90 * SECOND
    found = explained(events, now_ns=now_ns)
    assert [wait.path.rpartition("/")[2] for wait in found.waiting] == [
        "pst-beam-02",
        "pst-beam-03",
    ]
    assert "waits for configure_pst/pst-beam-02 on mid-pst/beam/02" in found.sentence
    assert "last sign of life 1:30 min ago" in found.sentence
    assert "1 more leaf runs" in found.sentence
    assert found.last_sign_of_life_ns == events[-1].wall_ns
    assert found.next_step == ""


def test_a_limit_from_above_is_told_of_a_living_run() -> None:
    stream = Stream()
    stream.composed("configure", "SEQUENTIAL", ("one",), root=True, timeout_s=60.0)
    stream.composed("configure/one", "DEVICE", target="a/b/c", command_name="Scan")
    stream.running("configure")
    stream.running("configure/one")
    at = stream.events[-1].wall_ns
    found = explained(stream, now_ns=at + 48 * SECOND)
    assert "configure's timeout of 60 s has 12.0 s left" in found.sentence
    late = explained(stream, now_ns=at + 75 * SECOND)
    assert "configure's timeout of 60 s has expired" in late.sentence


def test_of_several_limits_the_one_that_expires_first_is_told() -> None:
    """It need be neither the nearest nor the shortest: a later one may have begun earlier."""
    for root_s, group_s, leaf_s, told in (
        (60.0, 90.0, 120.0, "configure's timeout of 60 s has 12.0 s left"),
        (200.0, 50.0, 120.0, "configure/part's timeout of 50 s has"),
        (200.0, 90.0, 52.0, "its timeout of 52 s has"),
        (60.0, 15.0, 59.0, "configure's timeout of 60 s has 12.0 s left"),
    ):
        stream = Stream()
        stream.composed("configure", "SEQUENTIAL", ("part",), root=True, timeout_s=root_s)
        stream.composed("configure/part", "PARALLEL", ("one",), timeout_s=group_s)
        stream.composed(
            "configure/part/one", "DEVICE", target="a/b/c", command_name="Scan", timeout_s=leaf_s
        )
        stream.running("configure")
        at = stream.events[-1].wall_ns
        stream.running("configure/part")
        stream.running("configure/part/one")
        if group_s == 15.0:  # these two have just begun
            for place in (-2, -1):
                begun = {"wall_ns": at + 47 * SECOND}
                stream.events[place] = msgspec.structs.replace(stream.events[place], **begun)
        found = explained(stream, now_ns=at + 48 * SECOND)
        assert told in found.sentence


def test_all_that_is_known_of_a_leaf_that_is_waited_for_is_told_once() -> None:
    stream = tree("one")
    stream.running("configure")
    stream.running("configure/one")
    at = stream.events[-1].wall_ns
    begun = explained(stream, now_ns=at + 8 * SECOND)
    assert begun.sentence == (
        "configure has been running for 8.0 s and waits for one on low-cbf/unit/one to finish"
        " Configure (for 8.0 s, since 00:00:00 UTC, last sign of life 8.0 s ago)"
    )
    stream.note("configure/one", "abort-asked", "asked to stop: operator asked")
    stream.add("configure/one", "progress", status=TaskStatus.IN_PROGRESS, progress=40)
    asked = explained(stream, now_ns=at + 8 * SECOND)
    assert "(for 8.0 s, since 00:00:00 UTC, 40 % done, last sign of life" in asked.sentence
    assert asked.sentence.endswith(", asked to stop 8.0 s ago)")


def test_a_run_whose_leaves_are_all_queued_waits_for_one_to_begin() -> None:
    stream = tree("one", "two")
    stream.running("configure")
    stream.add("configure/two", "queued", status=TaskStatus.QUEUED)
    queued = stream.events[-1].wall_ns
    [wait] = explained(stream, now_ns=queued + 8 * SECOND).waiting
    assert wait.words == "two on low-cbf/unit/two to begin Configure"
    assert (wait.path, wait.since_ns) == ("configure/two", queued)


def test_a_success_with_a_note_is_no_success_after_several_attempts() -> None:
    stream = tree("one")
    stream.note("configure/one", "info", "warm already")
    stream.ended("configure/one")
    stream.ended("configure")
    assert explained(stream).sentence == "configure completed: nothing failed, 1 leaf"


def test_a_run_that_fails_without_a_leaf_says_what_the_root_says() -> None:
    stream = tree("one")
    stream.ended("configure", FAILED, ResultCode.FAILED, "RuntimeError: no pool")
    found = explained(stream)
    assert found.sentence.startswith("configure failed: RuntimeError: no pool; next: ")


def test_nothing_at_all_is_explained_too() -> None:
    found = why(RunStory("", "configure", "running", (), 0))
    assert found.sentence == "configure is running"
    assert str(found) == found.sentence


def test_failures_beyond_the_twentieth_cause_are_counted() -> None:
    words = [chr(ord("a") + n) * 3 for n in range(26)]
    stream = tree(*words, execution="PARALLEL")
    for name in words:
        path = f"configure/{name}"
        stream.ended(path, code=ResultCode.FAILED, message=f"no {name} any more")
    stream.ended("configure", FAILED, ResultCode.FAILED)
    shown = str(explained(stream))
    assert "26 of 26 failed, 26 causes" in " ".join(shown.split())
    assert "… and 6 more" in shown


def test_the_words_fit_the_width_and_ascii_terminals() -> None:
    found = explained(beam_run(16, failed=(3, 7)))
    for width in (40, 60, 80, 120):
        assert max(map(len, render_why(found, width).splitlines())) <= width
    assert render_why(found, 80, ASCII).replace("→", "->").isascii()


def test_a_line_that_stands_for_several_keeps_its_place_below_short_names() -> None:
    stream = Stream()
    stream.composed("configure", "SEQUENTIAL", ("all",), root=True)
    stream.composed("configure/all", "PARALLEL", ("b1", "b2", "b3"))
    for name in ("b1", "b2", "b3"):
        stream.composed(f"configure/all/{name}", "DEVICE", target="low-pst/beam/01")
    stream.ended("configure/all/b1", FAILED, ResultCode.FAILED, "no lock")
    for name in ("b2", "b3"):
        stream.ended(f"configure/all/{name}", TaskStatus.COMPLETED, ResultCode.OK)
    stream.ended("configure/all", FAILED, ResultCode.FAILED)
    stream.ended("configure", FAILED, ResultCode.FAILED)
    assert "   └─ others: 2 completed" in render_why(explained(stream), 80).splitlines()


def test_a_skipped_tree_is_one_line_and_its_leaves_are_casualties() -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("check", "rest"), root=True, skip_subtasks=True)
    stream.composed("go/check", "INTERNAL", target="Manager", command_name="check")
    stream.composed("go/rest", "PARALLEL", ("a", "b"))
    for name in "ab":
        stream.composed(f"go/rest/{name}", "DEVICE", target=f"x/y/{name}")
    stream.ended("go/check", FAILED, ResultCode.FAILED, "ValueError: no")
    for path in ("go/rest", "go/rest/a", "go/rest/b"):
        detail = FinishedDetail(skipped=True)
        words = "skipped: check failed"
        stream.ended(path, REJECTED, ResultCode.REJECTED, words, detail=detail)
    stream.ended("go", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert found.blocked == ("go/rest",)
    assert "it blocked rest (2 leaves); next: fix Manager.check" in found.sentence
    assert [item.path for item in found.casualties] == ["go/rest/a", "go/rest/b"]
    assert {item.of for item in found.casualties} == {"go/check"}
