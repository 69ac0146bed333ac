"""The pure parts of the command client: decoding, arguments, failures, unknown ids."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango.client.argin import check_argin
from taskgrove.tango.client.failure import FailureKind, classify
from taskgrove.tango.client.protocol import (
    CommandFacts,
    ReplyKind,
    choose_protocol,
    command_name_of,
    decode_event,
    decode_list,
    decode_moment,
    decode_reply,
    decode_status,
)
from taskgrove.tango.client.strangers import FACTS_LIMIT, IDS_LIMIT, Strangers

ID = "1795227737.6968186_42926055806314_Configure"
SLOTS = [
    "_lrcEvent",
    "longRunningCommandStatus",
    "longRunningCommandProgress",
    "longRunningCommandResult",
]
LISTS = ["lrcQueue", "lrcExecuting", "lrcFinished"]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.tuples(children, children),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [(None, 1), ((1, 1), 1), ((1, 2), 2), ((1, 7), 2), ((0, 0), 1), ("x", 1), ((1,), 1)],
)
def test_the_newest_common_protocol_is_chosen(versions: Any, chosen: int) -> None:
    assert choose_protocol(versions) == chosen


def test_an_id_is_opaque_but_for_its_end() -> None:
    assert command_name_of(ID) == "Configure"
    assert command_name_of("7") == ""


@pytest.mark.parametrize(
    ("slot", "value", "facts"),
    [
        ("_lrcEvent", (ID, '{"status": 5, "result": [0, "ok"]}'), (5, None, [0, "ok"])),
        ("_lrcEvent", (ID, '{"progress": "40"}'), (None, 40, None)),
        ("_lrcEvent", (ID, '{"status": "IN_PROGRESS"}'), (2, None, None)),
        ("longRunningCommandStatus", (ID, "QUEUED"), (1, None, None)),
        ("longRunningCommandProgress", (ID, "33"), (None, 33, None)),
        ("longRunningCommandResult", (ID, '[3, "boom"]'), (None, None, [3, "boom"])),
        ("longRunningCommandResult", (ID, "Completed"), (None, None, "Completed")),
    ],
)
def test_events_in_every_form(slot: str, value: Any, facts: Any) -> None:
    assert decode_event(slot, value) == [CommandFacts(ID, *facts)]


@pytest.mark.parametrize(
    "value",
    [None, [], ("",), ("", ""), (ID,), (ID, "not json"), (ID, "[1]"), "text", 5, (ID, "{}x")],
)
def test_events_that_tell_nothing(value: Any) -> None:
    for slot in SLOTS[:2]:
        assert decode_event(slot, value) == []


def test_a_status_list_tells_of_every_command() -> None:
    value = ["a_Scan", "COMPLETED", "b_Scan", "NO_SUCH", "c_Scan", "IN_PROGRESS", "odd"]
    facts = decode_event("longRunningCommandStatus", value)
    assert [(item.command_id, item.status) for item in facts] == [("a_Scan", 5), ("c_Scan", 2)]


def test_lists_with_missing_keys_and_garbage() -> None:
    assert decode_list(
        "lrcQueue", [f'{{"uid": "{ID}", "name": "Configure"}}', "{", "[]", "{}"]
    ) == [CommandFacts(ID, TaskStatus.QUEUED)]
    entry = f'{{"uid": "{ID}", "status": "ABORTED", "result": [7, "stop"]}}'
    assert decode_list("lrcFinished", [entry]) == [
        CommandFacts(ID, TaskStatus.ABORTED, None, [7, "stop"])
    ]
    assert decode_list("lrcFinished", [f'{{"uid": "{ID}"}}'])[0].status is TaskStatus.COMPLETED
    assert decode_list("lrcExecuting", [f'{{"uid": "{ID}", "progress": 12}}']) == [
        CommandFacts(ID, TaskStatus.IN_PROGRESS, 12)
    ]


@given(st.sampled_from(SLOTS), anything)
def test_no_event_raises(slot: str, value: Any) -> None:
    for facts in decode_event(slot, value):
        assert isinstance(facts.command_id, str)


@given(st.sampled_from(LISTS), anything)
def test_no_list_raises(slot: str, value: Any) -> None:
    assert isinstance(decode_list(slot, value), list)


@given(anything)
@example(([float("inf")], []))
def test_no_reply_raises(value: Any) -> None:
    reply = decode_reply(value)
    assert (reply.kind is ReplyKind.ACCEPTED) == bool(reply.command_id)
    assert decode_reply(value, coded=False).kind is ReplyKind.FINISHED


def test_replies_as_pytango_gives_them() -> None:
    queued = decode_reply([numpy.array([2], dtype=numpy.int32), [ID]])
    assert (queued.kind, queued.command_id, queued.status) == (ReplyKind.ACCEPTED, ID, 1)
    started = decode_reply([numpy.array([1]), [ID]])
    assert started.status is TaskStatus.IN_PROGRESS
    sentence = decode_reply([[1], ["Aborting commands"]], command_name="AbortCommands")
    assert (sentence.kind, sentence.result) == (ReplyKind.FINISHED, (0, "Aborting commands"))
    unknown = decode_reply([[42], ["?"]])
    assert (unknown.kind, unknown.result) == (ReplyKind.FINISHED, (42, "?"))


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, (ResultCode.OK, "")),
        (False, (ResultCode.FAILED, "the command returned False")),
        ("done", "done"),
        (3, (ResultCode.OK, "3")),
        (99, (ResultCode.OK, "99")),
        (2.5, (ResultCode.OK, "2.5")),
    ],
)
def test_replies_of_plain_commands(value: Any, result: Any) -> None:
    assert decode_reply(value, coded=False).result == result


def test_a_short_command_that_returns_false_says_so_by_its_name():
    reply = decode_reply(False, coded=False, command_name="IsLocked")
    assert reply.result == (ResultCode.FAILED, "IsLocked returned False")


@pytest.mark.parametrize(("value", "status"), [(5, 5), ("5", 5), ("failed", 7), ("x", None)])
def test_statuses_by_number_numeral_and_name(value: Any, status: Any) -> None:
    assert decode_status(value) == status


@pytest.mark.parametrize(
    ("in_type", "argin", "sent"),
    [
        ("DevVoid", None, None),
        ("DevString", "text", "text"),
        ("DevString", {"a": [1]}, '{"a": [1]}'),
        ("DevShort", 7, 7),
        ("DevLong64", numpy.int64(7), 7),
        ("DevDouble", 1, 1),
        ("DevBoolean", True, True),
        ("DevVarDoubleArray", numpy.array([1.0, 2.0]), [1.0, 2.0]),
        ("DevVarStringArray", ("a", "b"), ["a", "b"]),
        ("DevVarLongStringArray", ([1], ["a"]), [[1], ["a"]]),
        ("DevState", "ON", "ON"),
        ("DevString", "é\x01\n", "é\x01\n"),
        ("DevString", {"a": "x\0€\ud800"}, '{"a": "x\\u0000\\u20ac\\ud800"}'),
        ("DevFloat", 3.4e38, 3.4e38),
        ("DevFloat", -math.inf, -math.inf),
        ("DevDouble", 1e308, 1e308),
    ],
)
def test_arguments_that_fit(in_type: str, argin: Any, sent: Any) -> None:
    assert check_argin(in_type, argin) == (sent, None)


@pytest.mark.parametrize(
    ("in_type", "argin", "problem"),
    [
        ("DevVoid", {}, "takes no argument, but was given dict {}"),
        ("DevString", None, "takes DevString, but was given no argument"),
        ("DevString", 5, "not int 5"),
        ("DevString", {"a": object()}, "not JSON"),
        ("DevString", {"a": float("nan")}, "not JSON"),
        ("DevString", "scan 1\0scan 2", "its text holds a NUL at character 6"),
        ("DevString", "a€", "its text holds '\\u20ac' at character 1: TANGO carries Latin-1 only"),
        ("DevString", "\ud800", "its text holds '\\ud800' at character 0"),
        ("DevVarStringArray", ["a", "b\0"], "its item 1 holds a NUL at character 1"),
        ("DevVarLongStringArray", [[1], ["b\0"]], "its item 0 holds a NUL at character 1"),
        ("DevFloat", 1e300, "takes DevFloat, and float 1e+300 is out of range"),
        ("DevFloat", 3.5e38, "out of range"),
        ("DevFloat", 10**39, "out of range"),
        ("DevVarFloatArray", [0.0, -1e39], "its item 1 takes DevFloat"),
        ("DevDouble", 10**400, "out of range"),
        ("DevLong64", 2**63, "out of range"),
        ("DevULong64", -1, "(0 to 18446744073709551615), and int -1 is out of range"),
        pytest.param("DevLong", 10**5000, "and a value of type int is out", id="huge"),
        pytest.param("DevVoid", 10**5000, "a value of type int", id="huge for nothing"),
        ("DevLong", math.nan, "whole number"),
        ("DevVarDoubleArray", [[1.0, 2.0], [3.0, 4.0]], "its item 0"),
        ("DevVarDoubleArray", numpy.array(1.0), "(a list)"),
        ("DevVarStringArray", "abc", "(a list)"),
        ("DevShort", 2**15, "-32768 to 32767"),
        ("DevLong", True, "takes DevLong (a whole number), not bool True"),
        ("DevLong", 1.5, "whole number"),
        ("DevDouble", "1", "takes DevDouble (a number), not str '1'"),
        ("DevBoolean", 1, "true or false"),
        ("DevVarLongArray", 5, "(a list)"),
        ("DevVarLongArray", [1, "b"], "its item 1"),
        ("DevVarLongStringArray", [[1], [2]], "a part of it"),
        ("DevVarLongStringArray", "x", "a list of numbers and a list of texts"),
    ],
)
def test_arguments_that_do_not_fit(in_type: str, argin: Any, problem: str) -> None:
    assert problem in (check_argin(in_type, argin).problem or "")


@given(st.sampled_from(["DevString", "DevLong", "DevVarStringArray", "DevBoolean"]), anything)
def test_no_argument_raises(in_type: str, argin: Any) -> None:
    checked = check_argin(in_type, argin)
    assert checked.problem is None or checked.value is None or checked.value is argin


def failed(type_name: str, *entries: tuple[str, str]) -> BaseException:
    errors = [SimpleNamespace(reason=reason, desc=desc) for reason, desc in entries]
    made: BaseException = type(type_name, (Exception,), {})(*errors)
    return made


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (failed("CommunicationFailed", ("API_CorbaException", "COMM_FAILURE")), "BROKEN"),
        (failed("CommunicationFailed", ("API_DeviceTimedOut", "")), "TIMED_OUT"),
        (failed("ConnectionFailed", ("API_CorbaException", "TRANSIENT_ConnectFailed")), "REFUSED"),
        (failed("ConnectionFailed", ("API_CorbaException", "TRANSIENT_CallTimedout")), "SILENT"),
        (
            failed("DevFailed", ("API_CantConnectToDevice", "The connection request was delayed.")),
            "DELAYED",
        ),
        (failed("DevFailed", ("API_DeviceNotExported", "not exported")), "REFUSED"),
        (failed("DevFailed", ("PyDs_PythonError", "x"), ("API_CommandFailed", "y")), "RAISED"),
        (  # what the device met when it called another one is the device's own failure
            failed("DevFailed", ("API_CantConnectToDevice", "x"), ("API_CommandFailed", "y")),
            "RAISED",
        ),
        (failed("WrongNameSyntax", ("API_UnsupportedProtocol", "x")), "MISUSED"),
        (TypeError("not a number"), "MISUSED"),
    ],
)
def test_what_a_failed_call_proves(exc: BaseException, kind: str) -> None:
    failure = classify(exc)
    assert failure.kind is FailureKind[kind]
    assert failure.kind.is_unknown == (kind in ("BROKEN", "TIMED_OUT"))
    assert "CORBA" not in failure.words


def test_strangers_are_bounded_and_keep_what_matters() -> None:
    strangers = Strangers()
    strangers.remember(CommandFacts(ID, TaskStatus.IN_PROGRESS))
    for percent in range(500):
        strangers.remember(CommandFacts(ID, None, percent))
    strangers.remember(CommandFacts(ID, TaskStatus.COMPLETED, None, [0, "ok"]))
    strangers.remember(CommandFacts(ID, TaskStatus.COMPLETED, None, [0, "ok"]))
    facts = strangers.claim(ID)
    assert len(facts) == FACTS_LIMIT
    assert facts[0].status is TaskStatus.IN_PROGRESS
    assert [item.status for item in facts].count(TaskStatus.COMPLETED) == 1
    assert strangers.claim(ID) == []
    for number in range(IDS_LIMIT + 50):
        strangers.see(f"{number}_Scan")
    assert len(strangers) == IDS_LIMIT
    assert strangers.since(0.0, "scan")[0] == "50_Scan"
    assert strangers.since(0.0, "Configure") == []


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-21T08:22:01.000001+00:00", 1795249321_000001000),
        ("2026-11-21T10:22:01+02:00", 1795249321_000000000),
        ("2026-11-21T08:22:01", 1795249321_000000000),  # without an offset it is UTC
        ("", None), ("soon", None), (None, None), (7, None),
    ],
)  # fmt: skip
def test_when_a_command_ended_is_read_from_the_finished_list_only(
    text: Any, nanoseconds: int | None
) -> None:
    assert decode_moment(text) == nanoseconds
    entry = msgspec.json.encode({"uid": ID, "finished_time": text}).decode()
    assert decode_list("lrcFinished", [entry])[0].finished_ns == nanoseconds
    assert decode_list("lrcExecuting", [entry])[0].finished_ns is None
