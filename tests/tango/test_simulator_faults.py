"""Faults: every written form, every error, and how often they strike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.tango.server.job import LedgerUpdate
from taskgrove.tango.simulation.behaviour import BEHAVIOUR, argin_problem, plan_marks
from taskgrove.tango.simulation.events import EventScrambler
from taskgrove.tango.simulation.fault_text import (
    check_plan,
    parse_command_faults,
    parse_fault,
    parse_fault_argument,
    parse_faults,
    select_faults,
)
from taskgrove.tango.simulation.faults import Fault, FaultKind, FaultTable
from taskgrove.tango.simulation.simulator_settings import (
    SIMULATED_COMMANDS,
    DeviceSpec,
    SimulatorSettings,
    parse_settings,
)

LOCK_LOST = Fault(kind=FaultKind.FAIL, message="lock lost", at=40.0)


@pytest.mark.parametrize(
    "written",
    [
        "fail,message=lock lost,at=40",
        'fail("lock lost"),at=40',
        "fail(lock lost), at = 40",
        'fail,message="lock lost",at=40.0',
        {"kind": "fail", "message": "lock lost", "at": 40},
        {"fail": {"message": "lock lost", "at": 40, "code": "FAILED"}},
        {"FAIL": {"message": "lock lost", "at": "40"}},
        LOCK_LOST,
    ],
)
def test_every_written_form_is_the_same_fault(written):
    assert parse_fault(written) == LOCK_LOST


@pytest.mark.parametrize("kind", [kind.value for kind in FaultKind])
def test_every_kind_is_read_by_its_word_alone(kind):
    assert parse_fault(kind) == Fault(kind=FaultKind(kind))
    assert parse_fault({kind: None}) == Fault(kind=FaultKind(kind))


def test_parameters_have_their_types():
    assert parse_fault("slow,factor=2.5,times=3") == Fault(kind=FaultKind.SLOW, factor=2.5, times=3)
    assert parse_fault("jump_back,to=-5").to == -5
    assert parse_fault("hang,deaf=true").deaf is True
    assert parse_fault("fail,code=not_allowed").code is ResultCode.NOT_ALLOWED
    assert parse_fault('garbage,value="a, b"').value == "a, b"
    assert parse_fault("garbage,value=12").value == 12
    assert parse_fault({"garbage": {"value": [1, 2, 3]}}).value == [1, 2, 3]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("fial", "did you mean 'fail'"),
        ("fail,mesage=x", "did you mean 'message'"),
        ("fail,message", "as name=value"),
        ("fail,at=140", "allowed is 0 to 100"),
        ("fail,at=often", "Expected `float`"),
        ("slow,factor=0", "allowed is 0.001 to 1000"),
        ("lose,events=most", "most"),
        ("fail,times=0", "allowed is 1 or more"),
        ("fail)", "cannot read the fault"),
        ({"fail": 3}, "are a mapping"),
        ({"fail": {}, "slow": {}}, "the kind as its only key"),
        (["fail"], "a word or a mapping"),
        (None, "a word or a mapping"),
    ],
)
def test_what_is_no_fault_is_refused_and_the_error_says_where_and_what(written, says):
    with pytest.raises(UsageError, match=r"^beam:Scan") as caught:
        parse_fault(written, "beam:Scan")
    assert says in str(caught.value)


@given(st.text(max_size=60) | st.dictionaries(st.text(max_size=8), st.integers() | st.text()))
def test_whatever_is_written_gives_a_fault_or_a_usage_error(written):
    try:
        fault = parse_fault(written)
    except UsageError:
        return
    assert isinstance(fault, Fault)


def test_a_command_line_string_names_device_and_command():
    assert parse_fault_argument("low-pst/beam/03:Configure=fail,at=40,message=lock lost") == (
        "low-pst/beam/03",
        "Configure",
        LOCK_LOST,
    )
    for text in ("low-pst/beam/03=fail", "low-pst/beam/03:Configure", ""):
        with pytest.raises(UsageError, match="DEVICE:COMMAND=FAULT"):
            parse_fault_argument(text)


def test_a_map_section_and_strings_give_the_same_plan():
    section = {"LOW-PST/beam/03": {"Configure": ["slow", {"fail": {"at": 40}}], "*": "hang"}}
    strings = [
        "low-pst/beam/03:Configure=slow",
        "low-pst/beam/03:Configure=fail,at=40",
        "low-pst/beam/03:*=hang",
    ]
    assert parse_faults(section) == parse_faults(strings)
    assert parse_faults(None) == {}
    with pytest.raises(UsageError, match="from command to fault"):
        parse_faults({"low-pst/beam/03": "fail"})


def test_patterns_select_devices_and_names_that_are_not_there_are_refused():
    plan = parse_faults(["low-pst/beam/*:Scan=slow", "low-pst/beam/02:Scan=fail"])
    kinds = [fault.kind.value for fault in select_faults(plan, "low-pst/beam/02")["Scan"]]
    assert kinds == ["slow", "fail"]
    assert select_faults(plan, "low-cbf/subarray/01") == {}
    devices = ["low-pst/beam/01", "low-pst/beam/02"]
    check_plan(plan, devices, SIMULATED_COMMANDS)
    with pytest.raises(UsageError, match="did you mean 'low-pst/beam/02'"):
        check_plan(parse_faults(["low-pst/bean/02:Scan=fail"]), devices, SIMULATED_COMMANDS)
    with pytest.raises(UsageError, match="did you mean 'Configure'"):
        check_plan(parse_faults(["low-pst/beam/02:Confgure=fail"]), devices, SIMULATED_COMMANDS)


def test_a_fault_strikes_as_often_as_it_says():
    table = FaultTable(
        parse_command_faults({"Scan": ["fail,times=2", "slow"], "*": "hang,times=1"})
    )
    struck = [[fault.kind.value for fault in table.take("Scan")] for _ in range(4)]
    assert struck == [["fail", "slow", "hang"], ["fail", "slow"], ["slow"], ["slow"]]
    assert table.take("End") == ()


def test_what_is_left_is_read_back_as_it_is():
    faults = parse_command_faults({"Scan": ["fail,times=2,message=a", {"garbage": {"value": [0]}}]})
    table = FaultTable(faults)
    assert parse_command_faults(table.as_data()) == faults
    table.take("Scan")
    assert table.as_data()["Scan"][0] == {"kind": "fail", "times": 1, "message": "a"}
    table.clear()
    assert table.as_data() == {}


def update(word: str, status: TaskStatus | None = None) -> LedgerUpdate:
    return LedgerUpdate("id", "Scan", status, [("_lrcEvent", word)])


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ("lose", []),
        ("lose,events=final", ["run", "10", "20"]),
        ("lose,events=progress", ["run", "end"]),
        ("duplicate", ["run", "run", "10", "10", "20", "20", "end", "end"]),
        ("duplicate,events=final", ["run", "10", "20", "end", "end"]),
        ("reorder", ["10", "run", "end", "20"]),
        ("reorder,events=final", ["run", "20", "10", "end"]),
    ],
)
def test_event_faults(fault, sent):
    scramble = EventScrambler((parse_fault(fault),))
    assert scramble
    changes = [
        update("run", TaskStatus.IN_PROGRESS),
        update("10"),
        update("20"),
        update("end", TaskStatus.COMPLETED),
    ]
    assert [word for change in changes for _, word in scramble(change)] == sent


def test_without_event_faults_there_is_nothing_to_scramble():
    assert not EventScrambler((parse_fault("fail"),))


def test_marks_are_in_order_and_end_the_command():
    spec = DeviceSpec(name="a/b/1", settings=SimulatorSettings(duration_s=1.0, steps=4), speed=2.0)
    marks = plan_marks(
        spec.duration_s_of("Scan"),
        spec.settings.steps,
        [parse_fault("slow,factor=4"), parse_fault("fail,at=30")],
    )
    assert [mark.percent for mark in marks] == [0.0, 25.0, 30.0, 50.0, 75.0, 100.0]
    assert [mark.fault is not None for mark in marks] == [False, False, True, False, False, False]
    assert marks[-1].offset_s == pytest.approx(2.0)


def test_spread_gives_each_device_its_own_steady_pace():
    settings = SimulatorSettings(duration_s=1.0, spread=0.5)
    ends = [
        DeviceSpec(name=f"a/b/{n}", settings=settings).duration_s_of("Scan")
        for n in [*range(20), *range(20)]
    ]
    assert ends[:20] == ends[20:]
    assert len(set(ends)) == 20
    assert all(0.5 <= end <= 1.5 for end in ends)


def test_the_behaviour_covers_the_simulated_commands():
    assert tuple(BEHAVIOUR) == SIMULATED_COMMANDS


def test_argin_must_be_a_json_object():
    assert argin_problem("Scan", "{}") is None
    assert argin_problem("End", None) is None
    assert "needs a JSON object" in (argin_problem("Scan", "[1]") or "")
    assert "needs a JSON object" in (argin_problem("Scan", "") or "")


def test_settings_are_laid_over_each_other_and_checked():
    base = parse_settings({"duration_s": 0.5, "dialect": {"protocol": "v1"}})
    own = parse_settings({"steps": 2}, base)
    assert (own.duration_s, own.steps, own.dialect.protocol) == (0.5, 2, "v1")
    for wrong, says in (
        ({"duraton_s": 1}, "did you mean 'duration_s'"),
        ({"duration_s": -1}, "allowed is 0 to 3600"),
        ({"steps": "many"}, "steps"),
        ({"obs_state": "BUSY"}, "allowed are EMPTY"),
        ({"dialect": {"protocol": "v3"}}, "v3"),
        ({"durations_s": {"Scam": 1.0}}, "no command 'Scam'"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_settings(wrong)
        assert says in str(caught.value)
