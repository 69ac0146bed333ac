"""Failures made for real: the first line names the true cause, and no casualty first.

Each was caused on purpose, so the cause is known; the explanation has only the events.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import MANAGER
from tests.why.staging import (
    BEAMS,
    CBF,
    HANGING,
    MORTAL,
    NARROW,
    PSS,
    SHORT_GRACE_S,
    Ended,
    Manager,
    Stage,
    killed_runner,
    method,
    parallel,
    refused_before,
    root,
    running,
    sequence,
    unexpected,
)

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

from taskgrove.tango.simulator import SimulatedFleet  # noqa: E402 - it needs tango

COMMAND_S = 0.12


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    devices = [CBF, PSS, *BEAMS, *MORTAL, *HANGING, NARROW]
    with SimulatedFleet(
        devices,
        settings={"duration_s": COMMAND_S, "spread": 0.0},
        device_settings={NARROW: {"max_queued": 1, "duration_s": 1.0}},
    ) as fleet:
        yield Stage(fleet)


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.let_go.set()


def told(ended: Ended, *words: str, never_first: tuple[str, ...] = ()) -> None:
    """Check the first line, and show it to whoever runs the tests with ``-s``."""
    sentence = ended.sentence
    print(f"\n* {sentence}\n")
    print(ended.explanation)
    for word in words:
        assert word in sentence, sentence
    assert unexpected(sentence, words) == []
    head = sentence.partition("; ")[0]
    for casualty in never_first:
        assert casualty not in head, sentence
    assert "\n" not in sentence
    _whole(ended)


def _whole(ended: Ended) -> None:
    """Check what must hold of every explanation."""
    found = ended.explanation
    failed = [path for group in found.groups for path in group.paths]
    assert len(failed) == len(set(failed))
    assert not set(failed) & {casualty.path for casualty in found.casualties}
    if found.first is not None:
        assert found.first.path == found.groups[0].paths[0]
    assert max(len(line) for line in str(found).splitlines()) <= 80


# -- what a device says -------------------------------------------------------------------------


def test_a_correlator_that_fails_blocks_the_beams(stage: Stage) -> None:
    stage.fault(CBF, "fail,message=receiver 7 has no clock")
    ended = stage.run(root("configure", stage.leaf(CBF), stage.beams(BEAMS[:4])))
    stage.fault(CBF, None)
    told(
        ended,
        "cbf-subarray-01 on low-cbf/subarray/01",
        '"receiver 7 has no clock"',
        "it blocked configure_pst (4 leaves)",
        "next: see the log of low-cbf/subarray/01",
        never_first=("pst-beam",),
    )
    assert [item.kind for item in ended.explanation.casualties] == ["skipped"] * 4


def test_two_of_sixteen_beams_fail_for_one_cause(stage: Stage) -> None:
    for device in (BEAMS[2], BEAMS[10]):
        stage.fault(device, f"fail,message=beam {int(device[-2:])}: no lock")
    ended = stage.run(root("configure", stage.leaf(CBF), stage.beams()))
    for device in (BEAMS[2], BEAMS[10]):
        stage.fault(device, None)
    told(
        ended,
        "DEGRADED",
        "PST success 14/16",
        "2 of 17 failed, 1 cause",
        "no lock",
        "(and 1 more) for details",
    )
    (group,) = ended.explanation.groups
    assert sorted(group.devices) == [BEAMS[2], BEAMS[10]]


def test_a_quorum_that_is_missed(stage: Stage) -> None:
    for device in BEAMS[:3]:
        stage.fault(device, "fail,message=no pulses")
    beams = stage.beams(BEAMS[:8], name="configure_beams", rule={"quorum": 0.8})
    ended = stage.run(root("configure", beams))
    for device in BEAMS[:3]:
        stage.fault(device, None)
    told(
        ended,
        "configure failed",
        "quorum 0.8 of 8: 5 succeeded, 7 needed",
        '"no pulses"',
        "(and 2 more) for details",
    )


def test_an_exception_in_a_device(stage: Stage) -> None:
    stage.fault(PSS, "raise,message=division by zero")
    ended = stage.run(root("configure", stage.leaf(PSS), stage.leaf(CBF), skip=False))
    stage.fault(PSS, None)
    told(
        ended,
        "pss-subarray-01 on low-pss/subarray/01",
        "exception",
        "division by zero",
        "next: see the log of low-pss/subarray/01",
    )


def test_a_result_that_makes_no_sense(stage: Stage) -> None:
    stage.fault(CBF, "garbage")
    ended = stage.run(root("configure", stage.leaf(CBF)))
    stage.fault(CBF, None)
    told(
        ended,
        "cbf-subarray-01 on low-cbf/subarray/01",
        "cannot be read",
        "next: see the log of low-cbf/subarray/01",
    )


def test_retries_that_are_used_up(stage: Stage) -> None:
    stage.fault(CBF, "fail,message=no lock")
    stage.fault(PSS, "fail,message=cold start,times=1")
    ended = stage.run(
        root(
            "configure",
            parallel("subsystems", stage.leaf(CBF, retries=2), stage.leaf(PSS, retries=2)),
        )
    )
    stage.fault(CBF, None)
    stage.fault(PSS, None)
    told(
        ended,
        "low-cbf/subarray/01",
        '"no lock"',
        "tried 3 times",
        "next: see the log of low-cbf/subarray/01",
        never_first=("pss",),
    )
    assert "cold start" not in ended.sentence


def test_somebody_else_aborts_the_device(stage: Stage) -> None:
    import tango

    stage.fault(CBF, "hang")

    def abort(_handle: Any, log: Any) -> None:
        running("configure/cbf-subarray-01")(log)
        tango.DeviceProxy(stage.fleet.trl(CBF)).command_inout("Abort")

    ended = stage.run(root("configure", stage.leaf(CBF), stage.leaf(PSS)), abort)
    stage.fault(CBF, None)
    told(
        ended,
        "low-cbf/subarray/01",
        "aborted, but not by this run",
        "it blocked pss-subarray-01",
        "next: find out who aborted low-cbf/subarray/01",
        never_first=("pss",),
    )


# -- refusals -----------------------------------------------------------------------------------


def test_a_full_queue(stage: Stage) -> None:
    leaves = [stage.leaf(NARROW, name=f"step-{number}") for number in range(1, 5)]
    ended = stage.run(root("configure", parallel("burst", *leaves)))
    told(
        ended,
        "on low-cbf/processor/01",
        "refused Configure",
        "Queue is full",
        "next: fix the cause on low-cbf/processor/01",
    )


def test_a_wrong_argument(stage: Stage) -> None:
    ended = stage.run(root("configure", stage.leaf(CBF, argin=7), stage.leaf(PSS)))
    told(
        ended,
        "low-cbf/subarray/01",
        "Configure takes DevString",
        "argument",
        "it blocked pss-subarray-01",
        never_first=("pss",),
    )


def test_a_command_that_does_not_exist(stage: Stage) -> None:
    ended = stage.run(root("configure", stage.leaf(CBF, "Confgure"), stage.leaf(PSS)))
    told(
        ended,
        "low-cbf/subarray/01",
        "has no command Confgure",
        "did you mean Configure",
        "it blocked pss-subarray-01",
        "next: correct command_name Confgure (did you mean Configure?) in map.yaml",
    )


def test_a_device_that_is_not_allowed_to(stage: Stage) -> None:
    stage.fault(PSS, "reject,how=late")
    ended = stage.run(root("configure", stage.leaf(CBF), stage.leaf(PSS), skip=False))
    stage.fault(PSS, None)
    told(
        ended,
        "low-pss/subarray/01",
        "does not allow Configure in its present state",
        "next: bring low-pss/subarray/01 into a state that allows Configure",
    )


def test_guards_that_refuse_before_anything_runs() -> None:
    command_map = {
        "configure": {
            "type": "sequential",
            "allowed_states": {"attr_name": "obsState", "attr_value": ["IDLE"]},
            "tasks": {"internal": {"command_name": "fine"}},
        }
    }
    manager = Manager()
    manager.obsState = "SCANNING"  # type: ignore[attr-defined]
    manager.components = {}  # type: ignore[attr-defined]
    ended = refused_before(command_map, "configure", manager)
    told(
        ended,
        "configure was rejected before anything was started",
        "obsState",
        "SCANNING",
        "allowed: IDLE",
        "next: fix the cause, then run configure again",
    )


# -- devices that are gone ----------------------------------------------------------------------


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_server_that_is_killed_in_mid_command(stage: Stage) -> None:
    device = MORTAL[0]
    stage.fault(device, "hang")

    def kill(_handle: Any, log: Any) -> None:
        running("configure/cbf-subarray-91")(log)
        stage.fleet.kill(device)

    ended = stage.run(
        root("configure", stage.leaf(device), stage.leaf(device, "Scan", name="scan"),
             stage.beams(BEAMS[:3]), skip=False),
        kill,
    )  # fmt: skip
    told(
        ended,
        device,
        "lost its server while Configure was running",
        "1 more command of that device could not run",
        "next: start the server of low-cbf/subarray/91 again",
        never_first=("scan",),
    )
    assert [item.path for item in ended.explanation.casualties] == ["configure/scan"]
    # Stale from now on: the next run finds nobody there.
    again = stage.run(root("configure", stage.leaf(device), stage.beams(BEAMS[:3])))
    told(
        again,
        device,
        "could not be reached",
        "Configure was not sent",
        "it blocked configure_pst (3 leaves)",
        "no server answers at its address",
        "next: start the server of low-cbf/subarray/91, and check that it responds: "
        "taskgrove doctor",
        never_first=("pst-beam",),
    )


@pytest.mark.leaks("the fleet has a new server process; the fleet stops it")
def test_a_server_that_is_restarted_in_mid_command(stage: Stage) -> None:
    device = MORTAL[1]
    stage.fault(device, "restart,for_s=0.2,times=1")
    ended = stage.run(root("configure", stage.leaf(device), stage.beams(BEAMS[:3])))
    told(
        ended,
        device,
        "lost Configure because its server restarted",
        "it blocked",
        "next: find out in the log of low-cbf/subarray/92 why its server restarted",
    )


def test_a_frozen_device(stage: Stage) -> None:
    device = MORTAL[2]
    stage.fault(device, "hang")

    def freeze(_handle: Any, log: Any) -> None:
        running("configure/cbf-subarray-93")(log)
        stage.fleet.suspend(device)

    ended = stage.run(
        root("configure", stage.leaf(device), stage.leaf(PSS)),
        freeze,
        rpc_timeout_s=1.0,
        lost_after_s=1.5,
    )
    stage.fleet.resume(device)
    told(
        ended,
        device,
        "stopped answering while Configure was running",
        "it blocked pss-subarray-01",
        "next: restart the server of low-cbf/subarray/93: it has not answered since ",
        never_first=("pss",),
    )


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_limit_of_the_root_names_the_leaf_that_hung(stage: Stage) -> None:
    stage.fault(HANGING[0], "hang")
    ended = stage.run(
        root(
            "configure",
            sequence(
                "subsystems",
                parallel("inner", stage.beams([BEAMS[3], HANGING[0]]), stage.leaf(CBF)),
            ),
            stage.leaf(PSS),
            timeout=10.0,  # the others end long before
        )
    )
    told(
        ended,
        "pst-beam-81 on low-pst/beam/81",
        "did not finish Configure within 10 s (the timeout set by configure)",
        "1 leaf was not started",
        "next: check low-pst/beam/81",
        never_first=("pss", "pst-beam-04"),
    )


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_limit_that_an_earlier_step_used_up(stage: Stage, manager: Manager) -> None:
    slow = method(manager, "takes_a_while")
    stage.fault(HANGING[1], "hang")
    ended = stage.run(
        root(
            "configure",
            sequence(
                "prepare",
                slow,
                stage.leaf(HANGING[1]),
                stage.leaf(PSS),
                skip=False,
                timeout=2.5,
            ),
            stage.leaf(BEAMS[0]),
        )
    )
    told(
        ended,
        "cbf-subarray-82 on low-cbf/subarray/82",
        "the timeout set by configure/prepare",
        "takes_a_while before it took ",
        "1 leaf was not started",
        "it blocked pst-beam-01",
        "next: check low-cbf/subarray/82",
    )


def test_a_method_that_hangs(stage: Stage, manager: Manager) -> None:
    stage.fault(CBF, "slow,factor=6")
    ended = stage.run(
        root("configure", method(manager, "deaf", timeout=0.5), stage.leaf(CBF), skip=False),
        lambda _, log: log.wait_for(topic="abandoned", timeout_s=30),
        grace_s=SHORT_GRACE_S,
    )
    stage.fault(CBF, None)
    told(
        ended,
        "step deaf did not finish deaf within 0.5 s (its own timeout)",
        "it could not be stopped and may still be running",
        "find out why Manager.deaf takes so long",
    )


# -- methods of the manager ---------------------------------------------------------------------


def test_a_method_that_raises_and_the_skips_below_it(stage: Stage, manager: Manager) -> None:
    inner = sequence("prepare", method(manager, "fine"), method(manager, "check_lock"),
                     stage.leaf(CBF), stage.beams(BEAMS[:4]))  # fmt: skip
    ended = stage.run(root("configure", inner, sequence("observe", stage.leaf(PSS))))
    told(
        ended,
        "step prepare/check_lock raised RuntimeError: oscillator 3 is not locked",
        "it blocked prepare/cbf-subarray-01, prepare/configure_pst (4 leaves) and observe (1 leaf)",
        "next: fix Manager.check_lock",
    )
    assert len(ended.explanation.casualties) == 6


def test_two_failures_that_have_nothing_to_do_with_each_other(
    stage: Stage, manager: Manager
) -> None:
    stage.fault(CBF, "fail,at=90,message=no clock")
    left = sequence("left", method(manager, "unwell"), stage.leaf(PSS, name="left-pss"))
    right = sequence("right", stage.leaf(CBF), stage.leaf(PSS, name="right-pss"))
    ended = stage.run(root("configure", parallel("both", left, right)))
    stage.fault(CBF, None)
    told(
        ended,
        "2 of 4 failed, 2 causes",
        'both/left/unwell reported a failure: "only 3 of 8 fibres are connected"',
        'also both/right/cbf-subarray-01 on low-cbf/subarray/01: "no clock"',
        "it blocked both/left/left-pss",
        "next: fix the failure that Manager.unwell reports",
        never_first=("pss", "no clock"),
    )
    assert "right-pss" not in ended.sentence


# -- stopped ------------------------------------------------------------------------------------


def test_an_abort_by_the_operator(stage: Stage) -> None:
    stage.fault(CBF, "hang")

    def stop(handle: Any, log: Any) -> None:
        running("configure/cbf-subarray-01")(log)
        handle.abort("interrupted by Ctrl-C")

    ended = stage.run(root("configure", stage.leaf(CBF), stage.beams(BEAMS[:4])), stop)
    stage.fault(CBF, None)
    told(
        ended,
        "was aborted: interrupted by Ctrl-C",
        "cbf-subarray-01",
        "cbf-subarray-01 then stopped when asked",
        "4 leaves had not begun",
        "next: when ready: taskgrove resume",
        never_first=("pst-beam",),
    )
    assert ended.explanation.first is None


def test_an_abort_because_of_a_failure(stage: Stage) -> None:
    stage.fault(BEAMS[1], "fail,message=no lock")
    stage.fault(CBF, "hang")

    def stop(handle: Any, log: Any) -> None:
        log.wait_for(kind="finished", path="configure/pst-beam-02")
        running("configure/cbf-subarray-01")(log)
        handle.abort("interrupted by Ctrl-C")

    tree = parallel("configure", stage.leaf(CBF), stage.leaf(BEAMS[1]), is_root=True)
    ended = stage.run(tree, stop)
    stage.fault(BEAMS[1], None)
    stage.fault(CBF, None)
    told(
        ended,
        "aborted after a failure (interrupted by Ctrl-C)",
        "pst-beam-02 on low-pst/beam/02",
        '"no lock"',
        "cbf-subarray-01 then stopped when asked",
        "next: see the log of low-pst/beam/02",
        never_first=("cbf",),
    )


def test_an_abort_that_nobody_hears(stage: Stage, manager: Manager) -> None:
    def stop(handle: Any, log: Any) -> None:
        log.wait_for(kind="started", path="configure/cbf-subarray-01", timeout_s=30)
        handle.abort("interrupted by SIGTERM")

    stage.fault(CBF, "slow,factor=4")
    tree = parallel("configure", method(manager, "deaf"), stage.leaf(CBF), is_root=True)
    ended = stage.run(tree, stop, grace_s=SHORT_GRACE_S)
    manager.let_go.set()
    stage.fault(CBF, None)
    told(
        ended,
        "interrupted by SIGTERM",
        "deaf did not stop when asked and may still be running",
        "cbf-subarray-01 then stopped when asked",
        "next: check deaf",
    )


def test_a_runner_that_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(
        "observe:\n  type: sequential\n  tasks:\n"
        "    first: {handler: internal, command_name: well}\n"
        "    second: {handler: internal, command_name: until_aborted}\n"
        "    third: {handler: internal, command_name: well}\n"
    )
    ended = killed_runner(
        tmp_path,
        "run", "map.yaml", "observe", "--manager", "site_manager:Manager", "--json",
        until=lambda event: event.progress == 10,
    )  # fmt: skip
    told(
        ended,
        "observe lost its runner (last sign of life ",
        "2:05 min ago",
        "while step second was running",
        "1 of 3 leaves had ended",
        "is gone",
        "taskgrove resume",
    )


# -- many, none, and still running --------------------------------------------------------------


@pytest.fixture(scope="module")
def antennas() -> Iterator[Stage]:
    devices = [f"low-mccs/antenna/{number:03d}" for number in range(1, 301)]
    faults = {f"low-mccs/antenna/{number:03d}":
              {"Configure": f"reject,message=antenna {number}: LNA current is {number % 7} mA"}
              for number in range(1, 301)}  # fmt: skip
    with SimulatedFleet(devices, devices_per_process=50, faults=faults) as fleet:
        yield Stage(fleet)


def test_three_hundred_leaves_have_one_cause(antennas: Stage) -> None:
    tree = antennas.beams(antennas.fleet.devices, name="antennas")
    ended = antennas.run(root("configure", tree))
    told(
        ended,
        "300 of 300 failed, 1 cause",
        "LNA current is",
        "next: fix the cause on low-mccs/antenna/",
    )
    assert [group.count for group in ended.explanation.groups] == [300]
    assert len(str(ended.explanation).splitlines()) < 20


def test_nothing_failed(stage: Stage) -> None:
    stage.fault(PSS, "fail,message=cold start,times=1")
    ended = stage.run(root("configure", stage.leaf(CBF), stage.leaf(PSS, retries=1)))
    told(ended, "configure completed: nothing failed, 2 leaves in", "pss-subarray-01 (2 attempts)")
    assert ended.explanation.next_step == ""


def test_what_a_living_run_waits_for(stage: Stage) -> None:
    stage.fault(CBF, "hang")
    tree = root("configure", stage.leaf(BEAMS[0]), stage.leaf(CBF, timeout=30), stage.leaf(PSS))
    ended = stage.run(tree, lambda _, log: running("configure/cbf-subarray-01")(log), end=False)
    stage.fault(CBF, None)
    told(
        ended,
        "configure has been running for",
        "waits for cbf-subarray-01 on low-cbf/subarray/01 to finish Configure",
        "since ",
        "last sign of life",
        "its timeout of 30 s has",
    )
