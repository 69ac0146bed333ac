"""More failures, on devices that follow a script: what came first is not always what decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from taskgrove.commands.main_task_executor import MainTaskExecutor, RunHandle
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.story.run_story import story_of_events, story_of_facts
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from taskgrove.view.snapshot import RunView
from taskgrove.view.why import why
from taskgrove.view.why.rendering import render_why_html
from tests.untold_causes import untold_causes
from tests.why.staging import GUARD_S, Ended, parallel, root, sequence, unexpected

CBF, PSS = "cbf-subarray-01", "pss-subarray-01"
BEAMS = [f"pst-beam-{number:02}" for number in range(1, 5)]
Meanwhile = Callable[[RunHandle, FakeDeviceRunner], object]


def leaf(name: str, **fields: Any) -> LeafTask:
    return LeafTask(name, f"low-{name.replace('-', '/')}", "Configure", {"id": 1}, **fields)


def step(function: Callable[..., Any], name: str) -> LeafTask:
    return LeafTask.from_callable(function, name=name)


def fine() -> tuple[int, str]:
    return 0, "fine"


def boom() -> None:
    raise RuntimeError("disk quota exceeded")


def ran(
    tree: Task,
    scripts: Mapping[str, Script | Sequence[Script]],
    meanwhile: Meanwhile | None = None,
    *,
    workers: int = 1,
    log: EventLog | None = None,
) -> tuple[Ended, EventLog]:
    """Run a tree and explain it; every surface's words are compared on the way."""
    log, fake = EventLog() if log is None else log, FakeDeviceRunner(scripts)
    runners = {TaskExecutionType.DEVICE: fake}
    with MainTaskExecutor(workers, runners, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        if meanwhile is not None:
            meanwhile(handle, fake)
        assert handle.wait(GUARD_S)
    story = replace(story_of_events(log.events, now_ns=time.time_ns()), can_resume=True)
    found = why(story)
    print(f"\n{found}")
    assert untold_causes(log.events) == []
    view = RunView(handle.id)
    for event in log.events:
        view.apply(event)
    again = story_of_facts(view, run_id=handle.id, now_ns=story.now_ns)
    live = why(replace(again, can_resume=True))
    assert live.sentence == found.sentence
    assert live.groups == found.groups
    assert "<script" not in render_why_html(found)
    assert found.first is None or found.first.path == found.groups[0].paths[0]
    return Ended(story, found), log


def told(ended: Ended, *words: str, never_first: Sequence[str] = ()) -> None:
    for word in words:
        assert word in ended.sentence, ended.sentence
    assert unexpected(ended.sentence, words) == []
    head = ended.sentence.partition("; ")[2] and ended.sentence.split("): ")[-1].split("; ")[0]
    for other in never_first:
        assert other not in head, ended.sentence


# -- what came first did not decide ----------------------------------------------------------------


def test_a_beam_that_the_group_got_over_before_the_search_that_failed() -> None:
    tree = root("configure", parallel("configure_pst", *map(leaf, BEAMS)), leaf(PSS),
                step(fine, "tidy"))  # fmt: skip
    ended, _ = ran(tree, {BEAMS[1]: Script.fails("no lock"),
                          PSS: Script.fails("dm out of range", abnormal=True)})  # fmt: skip
    told(
        ended,
        "configure failed",
        'pss-subarray-01 on low-pss/subarray/01 failed: "dm out of range"',
        "it blocked tidy",
        "before it configure_pst/pst-beam-02 failed, but did not decide",
        "see the log of low-pss/subarray/01",
        never_first=("pst-beam-02", "no lock"),
    )
    assert [group.count for group in ended.explanation.groups] == [1, 1]
    assert "DECIDED dm out of range" in str(ended.explanation)


def test_a_beam_beside_the_correlator_that_dominates() -> None:
    tree = parallel("configure", leaf(BEAMS[0]), leaf(CBF), is_root=True)
    ended, _ = ran(
        tree, {BEAMS[0]: Script.fails("no lock"), CBF: Script.fails("receiver 7 has no clock")}
    )
    told(
        ended,
        "low-cbf/subarray/01",
        '"receiver 7 has no clock"',
        "before it pst-beam-01 failed, but did not decide",
        "next: see the log of low-cbf/subarray/01",
        never_first=("no lock",),
    )
    assert ended.explanation.first is not None
    assert ended.explanation.first.device == "low-cbf/subarray/01"


def test_a_quorum_inside_a_group_that_got_over_it() -> None:
    antennas = [leaf(f"ant-a-{number}") for number in range(5)]
    tree = root(
        "configure", parallel("antennas", *antennas, rule={"quorum": 4}), step(boom, "check")
    )
    ended, _ = ran(tree, {"ant-a-1": Script.fails("LNA is dead")})
    told(
        ended,
        "step check raised RuntimeError: disk quota exceeded",
        "before it antennas/ant-a-1 failed, but did not decide",
        "next: fix boom",
        never_first=("LNA",),
    )
    assert "quorum" not in ended.sentence.partition(": ")[0]


def test_a_nested_quorum_counts_a_degraded_one_as_missing() -> None:
    sides = [
        parallel(side, *[leaf(f"ant-{side}-{n}") for n in range(5)], rule={"quorum": 4})
        for side in ("left", "right")
    ]
    tree = parallel("configure", *sides, rule={"quorum": 2}, is_root=True)
    ended, _ = ran(
        tree,
        {"ant-left-1": Script.fails("LNA is dead"), "ant-right-1": Script.fails("fibre cut"),
         "ant-right-2": Script.fails("fibre cut")},
    )  # fmt: skip
    told(
        ended,
        "configure failed",
        "first, left/ant-left-1",
        "3 of 10 failed, 2 causes",
        "also right/ant-right-1",
        "next: see the log of low-ant/left/1",
    )


def test_a_failure_that_degrades_only_is_first_where_the_command_is_degraded() -> None:
    tree = root("configure", parallel("configure_pst", *map(leaf, BEAMS)), leaf(PSS))
    ended, _ = ran(tree, {BEAMS[3]: Script.fails("no lock")})
    told(
        ended,
        "configure completed DEGRADED (PST success 3/4)",
        "pst-beam-04",
        '"no lock"',
        "next: see the log of low-pst/beam/04",
    )


# -- in the order of time --------------------------------------------------------------------------


def test_two_failures_at_the_same_instant_are_told_in_their_order() -> None:
    tree = parallel("configure", leaf(PSS), leaf("pss-subarray-02"), is_root=True)
    ended, log = ran(
        tree, {PSS: Script.fails("a is bad"), "pss-subarray-02": Script.fails("b is bad")}
    )
    at_once = [msgspec.structs.replace(event, wall_ns=1, monotonic_s=1.0) for event in log.events]
    for events in (at_once, at_once[::-1]):
        found = why(story_of_events(events, now_ns=2))
        assert found.first is not None
        assert found.first.path == "configure/pss-subarray-01"
    told(ended, "first, pss-subarray-01", "2 causes", "also pss-subarray-02",
         "next: see the log of low-pss/subarray/01")  # fmt: skip


def test_a_failed_guard_and_a_branch_that_failed_later() -> None:
    log = EventLog()
    tree = parallel(
        "configure",
        sequence("left", leaf(PSS), leaf("pss-subarray-02"), step(fine, "check")),
        sequence("right", step(boom, "guard"), leaf(CBF)),
        is_root=True,
    )

    def in_order(_handle: RunHandle, fake: FakeDeviceRunner) -> None:
        fake.wait_for_call(PSS)
        log.wait_for(kind="finished", path="configure/right/guard", timeout_s=GUARD_S)
        fake.release(PSS)

    ended, _ = ran(
        tree,
        {PSS: Script(hangs=True), "pss-subarray-02": Script.fails("the late one")},
        in_order,
        workers=2,
        log=log,
    )
    told(
        ended,
        "2 of 5 failed, 2 causes",
        "first, step right/guard raised RuntimeError: disk quota exceeded",
        'also left/pss-subarray-02 on low-pss/subarray/02: "the late one"',
        "it blocked right/cbf-subarray-01",
        "next: fix boom",
    )
    skipped = {item.path: item.of for item in ended.explanation.casualties}
    assert skipped == {
        "configure/left/check": "configure/left/pss-subarray-02",
        "configure/right/cbf-subarray-01": "configure/right/guard",
    }


def test_a_retry_that_succeeds_is_no_failure() -> None:
    tree = root("configure", leaf(CBF, retries=2), leaf(PSS), leaf(BEAMS[0]))
    ended, _ = ran(tree, {CBF: [Script.fails("cold", may_retry=True), Script()],
                          PSS: Script.fails("no dm")})  # fmt: skip
    told(ended, 'pss-subarray-01 on low-pss/subarray/01 reported that Configure failed: "no dm"',
         "it blocked pst-beam-01", "next: see the log of low-pss/subarray/01")  # fmt: skip
    assert "cold" not in str(ended.explanation)


# -- limits and aborts -----------------------------------------------------------------------------


def test_a_limit_of_a_parent_whose_children_run() -> None:
    group = parallel("configure_pst", *map(leaf, BEAMS), timeout=1.0)
    hanging = dict.fromkeys(BEAMS[:3], Script(hangs=True))
    ended, _ = ran(root("configure", group, leaf(PSS)), hanging, workers=4)
    told(
        ended,
        "PST success 1/4; 3 of 5 failed, 1 cause",
        "did not finish Configure within 1 s (the timeout set by configure/configure_pst)",
        "increase `timeout` of configure/configure_pst in the map",
    )
    assert [group.count for group in ended.explanation.groups] == [3]


def test_an_operator_stops_a_run_in_which_something_had_failed() -> None:
    def stop(handle: RunHandle, fake: FakeDeviceRunner) -> None:
        fake.wait_for_call(PSS)
        handle.abort("the operator pressed stop")

    tree = root("configure", parallel("configure_pst", *map(leaf, BEAMS)), leaf(PSS), leaf(CBF))
    ended, _ = ran(tree, {BEAMS[1]: Script.fails("no lock"), PSS: Script(hangs=True)}, stop)
    told(
        ended,
        "aborted after a failure (the operator pressed stop; PST success 3/4)",
        '"no lock"',
        "pss-subarray-01 then stopped when asked",
        "1 leaf had not begun",
        "next: see the log of low-pst/beam/02",
    )


# -- nobody says why -------------------------------------------------------------------------------


def test_a_failure_without_words_puts_none_into_the_mouth_of_a_device() -> None:
    for script, words in (
        (Script(result=(ResultCode.FAILED, "")), "reported that Configure failed, without a"),
        (Script(status=TaskStatus.FAILED, result=(ResultCode.FAILED, "  ")), "failed, without a"),
        (Script(status=TaskStatus.REJECTED, result=(ResultCode.REJECTED, "")),
         "refused Configure, without a reason"),
    ):  # fmt: skip
        ended, _ = ran(root("configure", leaf(PSS), leaf(CBF)), {PSS: script})
        told(ended, "pss-subarray-01 on low-pss/subarray/01", words, "it blocked cbf-subarray-01",
             "see the log of low-pss/subarray/01 for details")  # fmt: skip
        assert '"' not in ended.sentence

    def mute() -> tuple[int, str]:
        return 3, ""

    ended, _ = ran(root("configure", step(mute, "mute")), {})
    told(ended, "step mute reported a failure, without a reason", "it reports none")


def test_words_that_act_on_a_terminal_or_a_page_are_harmless() -> None:
    ended, _ = ran(
        root("configure", leaf(PSS)),
        {PSS: Script.fails("one\ntwo \x1b[31m <script>alert(1)</script> low-cbf/subarray/01: x")},
    )
    told(
        ended,
        "pss-subarray-01 on low-pss/subarray/01",
        r"one; two <script>",
        "next: see the log of low-pss/subarray/01",
    )
    assert "\x1b" not in str(ended.explanation)
