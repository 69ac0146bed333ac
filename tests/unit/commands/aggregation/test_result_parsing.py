"""SubtaskResult and the parsing of results (seed 003, SPEC S2)."""

from __future__ import annotations

import enum
import inspect
import json
import math

import pytest

from taskgrove.commands.aggregation import SubtaskResult
from taskgrove.commands.aggregation.base import (
    AggregationOutcome,
    Decision,
    format_message,
    health_name,
    parse_result,
)
from taskgrove.commands.aggregation.messages import CUT_MARK, MESSAGE_LIMIT
from taskgrove.commands.aggregation.result_parsing import DECODE_LIMIT, ParsedResult
from taskgrove.control_model import HealthState, ResultCode, TaskStatus

BEAM = "mid-pst/beam/01"


class ForeignCode(enum.IntEnum):
    """As another package defines its result codes."""

    OK = 0
    FAILED = 3


ForeignStatus = enum.IntEnum("TaskStatus", {"QUEUED": 1, "REJECTED": 6})
PlainStatus = enum.Enum("TaskStatus", {"PENDING": 0, "RUNNING": 1})


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> object:
        raise ValueError(name)

    def __repr__(self) -> str:
        raise ValueError("repr")

    def __str__(self) -> str:
        raise ValueError("str")


class FakeArray:
    """An array of numpy's shape, without numpy."""

    def __init__(self, values: object, size: int = 1) -> None:
        self.values = values
        self.size = size

    def tolist(self) -> object:
        return self.values


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        pytest.param((ResultCode.FAILED, "boom"), ResultCode.FAILED, "boom", id="pair"),
        pytest.param([ResultCode.FAILED, "boom"], ResultCode.FAILED, "boom", id="list"),
        pytest.param((3, "boom"), ResultCode.FAILED, "boom", id="integer pair"),
        pytest.param((ForeignCode.FAILED, "boom"), ResultCode.FAILED, "boom", id="foreign enum"),
        pytest.param(("FAILED", "boom"), ResultCode.FAILED, "boom", id="name pair"),
        pytest.param((3, None), ResultCode.FAILED, "", id="pair without text"),
        pytest.param((3, 17), ResultCode.FAILED, "17", id="pair with a number as text"),
        pytest.param((3, ["a", "b"]), ResultCode.FAILED, "a\nb", id="several texts"),
        pytest.param((3, ValueError("boom")), ResultCode.FAILED, "ValueError: boom", id="exc"),
        pytest.param((3, b"boom"), ResultCode.FAILED, "boom", id="bytes as text"),
        pytest.param((True, "fine"), ResultCode.OK, "fine", id="bool pair"),
        pytest.param([[3], ["boom"]], ResultCode.FAILED, "boom", id="nested lists"),
        pytest.param([FakeArray([3]), ["boom"]], ResultCode.FAILED, "boom", id="array"),
        pytest.param('[3, "boom"]', ResultCode.FAILED, "boom", id="JSON pair"),
        pytest.param('  [3, "boom"]\n', ResultCode.FAILED, "boom", id="JSON pair with blanks"),
        pytest.param('["FAILED", "boom"]', ResultCode.FAILED, "boom", id="JSON pair, name"),
        pytest.param('[[3], ["boom"]]', ResultCode.FAILED, "boom", id="JSON nested"),
        pytest.param('"[3, \\"boom\\"]"', ResultCode.FAILED, "boom", id="JSON encoded twice"),
        pytest.param("(3, 'boom')", ResultCode.FAILED, "boom", id="repr"),
        pytest.param('(3, "it\'s")', ResultCode.FAILED, "it's", id="repr, double quotes"),
        pytest.param("[3, 'bo\\nom']", ResultCode.FAILED, "bo\nom", id="repr of a list"),
        pytest.param("(3, None)", ResultCode.FAILED, "", id="repr without text"),
        pytest.param(
            "(<ResultCode.FAILED: 3>, 'boom')", ResultCode.FAILED, "boom", id="repr of an enum"
        ),
        pytest.param("(ResultCode.FAILED, 'boom')", ResultCode.FAILED, "boom", id="dotted repr"),
        pytest.param("('FAILED', 'boom')", ResultCode.FAILED, "boom", id="repr of a name"),
        pytest.param("(False, 'boom')", ResultCode.FAILED, "boom", id="repr of a bool"),
        pytest.param(
            "[array([3], dtype=int32), ['boom']]", ResultCode.FAILED, "boom", id="repr of arrays"
        ),
        pytest.param("(np.int32(3), 'boom')", ResultCode.FAILED, "boom", id="repr of a scalar"),
        pytest.param(ResultCode.ABORTED, ResultCode.ABORTED, "", id="code"),
        pytest.param(7, ResultCode.ABORTED, "", id="integer"),
        pytest.param(FakeArray(7), ResultCode.ABORTED, "", id="scalar of an array package"),
        pytest.param("7", ResultCode.ABORTED, "", id="text of an integer"),
        pytest.param("ABORTED", ResultCode.ABORTED, "", id="name"),
        pytest.param("ResultCode.ABORTED", ResultCode.ABORTED, "", id="dotted name"),
        pytest.param(True, ResultCode.OK, "", id="True"),
        pytest.param(False, ResultCode.FAILED, "", id="False"),
        pytest.param("Completed", ResultCode.OK, "Completed", id="legacy"),
        pytest.param("failed", ResultCode.OK, "failed", id="no name in lower case"),
        pytest.param("99", ResultCode.OK, "99", id="text of an integer that is no code"),
        pytest.param("[1, 2, 3]", ResultCode.OK, "[1, 2, 3]", id="JSON of another length"),
        pytest.param('["a", "b"]', ResultCode.OK, '["a", "b"]', id="JSON of two words"),
        pytest.param('{"a": 1}', ResultCode.OK, '{"a": 1}', id="JSON object"),
        pytest.param("true", ResultCode.OK, "true", id="JSON bool"),
        pytest.param('"not allowed"', ResultCode.OK, "not allowed", id="JSON text"),
        pytest.param("(3, 'boom'", ResultCode.OK, "(3, 'boom'", id="broken repr"),
        pytest.param("[3, boom]", ResultCode.OK, "[3, boom]", id="broken JSON"),
        pytest.param("", ResultCode.OK, "", id="empty text"),
    ],
)
def test_forms_of_a_result(result: object, code: ResultCode, message: str) -> None:
    sub = SubtaskResult("a", TaskStatus.COMPLETED, result)
    assert sub.result_code is code
    assert sub.message == message


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([], "length 0"),
        ([3], "length 1"),
        ((1, 2, 3), "length 3"),
        (99, "99"),
        (-1, "-1"),
        pytest.param(10**5000, "very large", id="huge"),
        ((99, "boom"), "99: boom"),
        ('[99, "boom"]', "99: boom"),
        ("(99, 'boom')", "99: boom"),
        ('[NaN, "boom"]', "nan: boom"),
        ((None, "boom"), "nothing: boom"),
        ("(<HealthState.FAILED: 2>, 'boom')", "HealthState.FAILED"),
        (b"[3]", "3 bytes"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (1.5, "1.5"),
        ({}, "dict of length 0"),
        (object(), "type object"),
        (ValueError("boom"), "ValueError: boom"),
        (FakeArray([3, 4], size=10**9), "FakeArray"),
    ],
)
def test_what_cannot_be_understood_is_unknown_and_says_what_came(result: object, says: str) -> None:
    sub = SubtaskResult("a", TaskStatus.COMPLETED, result)
    assert sub.result_code is ResultCode.UNKNOWN
    assert says in sub.message
    assert len(sub.message) < 300


def test_an_object_that_raises_whatever_is_asked_of_it_raises_nothing_here() -> None:
    sub = SubtaskResult("a", *(Hostile() for _ in range(5)))  # type: ignore[arg-type]
    assert sub.status is None
    assert sub.result_code is ResultCode.UNKNOWN
    assert "cannot be described" in sub.message
    assert (sub.device_name, sub.devices, sub.failed_devices) == (None, None, None)
    assert health_name(Hostile()) is None


def test_a_text_that_cannot_be_printed_does_not_hide_the_code() -> None:
    assert parse_result((3, Hostile())).code is ResultCode.FAILED


@pytest.mark.parametrize(
    "result",
    [
        (TaskStatus.QUEUED, "Task queued"),
        [ForeignStatus.QUEUED, "Task queued"],
        (PlainStatus.PENDING, "Task queued"),
        TaskStatus.QUEUED,
        ForeignStatus.QUEUED,
        "(<TaskStatus.QUEUED: 1>, 'Task queued')",
    ],
)
def test_a_task_status_is_an_acknowledgement_not_a_result(result: object) -> None:
    assert parse_result(result).acknowledged is TaskStatus.QUEUED
    sub = SubtaskResult("a", None, result)
    assert sub.result_code is None
    assert sub.message == ""
    sub.update(result=(ResultCode.OK, "done"))
    sub.update(result=result)
    assert (sub.result_code, sub.message) == (ResultCode.OK, "done")


def test_no_task_status_is_taken_for_the_code_of_the_same_number() -> None:
    # REJECTED is 6 as a status; 6 is NOT_ALLOWED as a code.
    assert parse_result((ForeignStatus.REJECTED, "no")).code is None
    assert parse_result((ForeignStatus.REJECTED, "no")).acknowledged is TaskStatus.REJECTED
    assert parse_result(TaskStatus.FAILED).code is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "(" * 100_000,
        "[3, " * 50_000,
        "(3, 'x'" + " " * 300_000,
        "(3, '" + "\\" * 300_001,
        "[" + "9" * 100_000 + ', "x"]',
        " " * 500_000 + "[",
        '"' * 200_000,
    ],
    ids=lambda text: text[:8],
)
def test_hostile_texts_neither_raise_nor_hang(text: str) -> None:
    parsed = parse_result(text)
    assert parsed.code in (ResultCode.OK, ResultCode.UNKNOWN)
    assert len(parsed.message) <= MESSAGE_LIMIT


def test_a_pair_too_large_to_decode_keeps_its_code() -> None:
    parsed = parse_result('[3, "' + "y" * 2_000_000 + '"]')
    assert parsed.code is ResultCode.FAILED
    assert parsed.message.startswith("yyy")
    assert parsed.message.endswith(CUT_MARK)


def test_nothing_given_is_nothing_known() -> None:
    sub = SubtaskResult("a")
    assert sub.status is None
    assert sub.result_code is None
    assert sub.message == ""
    assert sub.devices is None
    assert sub.failed_devices is None
    assert sub.health_state is None
    assert not sub.severe
    assert not sub.skipped


def test_completed_without_any_result_is_ok_until_one_comes() -> None:
    sub = SubtaskResult("a", TaskStatus.COMPLETED)
    assert sub.result_code is ResultCode.OK
    sub.update(result=(ResultCode.FAILED, "boom"))
    assert sub.result_code is ResultCode.FAILED


def test_none_keeps_what_was_known() -> None:
    sub = SubtaskResult(
        "a", TaskStatus.IN_PROGRESS, (3, "boom"), BEAM, ["x", "y"], ["y"], "op", "mode"
    )
    sub.update(status=None, result=None, device_name=None, devices=None, failed_devices=None)
    sub.update(operation=None, obs_mode=None, health_state=None, severe=None, skipped=None)
    assert sub.status is TaskStatus.IN_PROGRESS
    assert (sub.result_code, sub.message) == (ResultCode.FAILED, f"{BEAM}: boom")
    assert (sub.device_name, sub.devices, sub.failed_devices) == (BEAM, ["x", "y"], ["y"])
    assert (sub.operation, sub.obs_mode) == ("op", "mode")


def test_update_takes_what_is_given() -> None:
    sub = SubtaskResult("a", devices=["x"])
    sub.update(
        status=TaskStatus.COMPLETED,
        result=3,
        device_name=BEAM,
        devices=["z", "z"],
        failed_devices="y",
        operation="op",
        obs_mode="mode",
        health_state="DEGRADED",
        severe=True,
        skipped=True,
    )
    assert (sub.status, sub.result_code) == (TaskStatus.COMPLETED, ResultCode.FAILED)
    assert (sub.device_name, sub.devices, sub.failed_devices) == (BEAM, ["z"], ["y"])
    assert (sub.operation, sub.obs_mode, sub.health_state) == ("op", "mode", "DEGRADED")
    assert sub.severe
    assert sub.skipped


def test_devices_lose_duplicates_and_keep_their_order() -> None:
    sub = SubtaskResult("a", devices=["b", "a", "b"], failed_devices=iter(("z", "y", "z")))
    assert sub.devices == ["b", "a"]
    assert sub.failed_devices == ["z", "y"]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("one", ["one"]),
        (5, None),
        ([1, "a", None, ""], ["a"]),
        ([], []),
        ({"a": 1}, ["a"]),
    ],
)
def test_devices_of_any_kind(devices: object, expected: list[str] | None) -> None:
    assert SubtaskResult("a", devices=devices).devices == expected  # type: ignore[arg-type]


def test_the_list_that_was_given_is_not_kept() -> None:
    given = ["a"]
    sub = SubtaskResult("a", devices=given)
    given.append("b")
    assert sub.devices == ["a"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (5, TaskStatus.COMPLETED),
        ("COMPLETED", TaskStatus.COMPLETED),
        (ForeignStatus.REJECTED, TaskStatus.REJECTED),
        (99, None),
        ("nonsense", None),
        (True, None),
        (math.nan, None),
        (object(), None),
    ],
)
def test_statuses_of_any_kind(status: object, expected: TaskStatus | None) -> None:
    assert SubtaskResult("a", status).status is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ("DEGRADED", "DEGRADED"),
        ("failed", "FAILED"),
        (HealthState.DEGRADED, "DEGRADED"),
        (2, "FAILED"),
        ("HealthState.DEGRADED", "DEGRADED"),
        ("OK", None),
        (HealthState.UNKNOWN, None),
        (True, None),
        ([], None),
        (None, None),
    ],
)
def test_health_is_a_word_or_none(health: object, expected: str | None) -> None:
    assert health_name(health) == expected
    assert SubtaskResult("a", health_state=health).health_state == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("boom", f"{BEAM}: boom"),
        (f"{BEAM}: boom", f"{BEAM}: boom"),
        (f"{BEAM} - boom", f"{BEAM} - boom"),
        (f"{BEAM}0: boom", f"{BEAM}: {BEAM}0: boom"),
        ("", ""),
        ("Causes:\n- a", "Causes:\n- a"),
        ("\nCauses: a", "\nCauses: a"),
        ("Task x failed\nCauses:\n- a", "Task x failed\nCauses:\n- a"),
        ("no Causes: here", f"{BEAM}: no Causes: here"),
    ],
)
def test_the_device_is_put_before_a_message_once(message: str, expected: str) -> None:
    once = format_message(BEAM, message)
    assert once == expected
    assert format_message(BEAM, once) == once
    assert SubtaskResult("a", None, (3, message), BEAM).message == expected


def test_no_device_no_prefix() -> None:
    assert format_message(None, "boom") == "boom"
    assert format_message("", "boom") == "boom"
    assert SubtaskResult("a", None, (3, "boom"), 5).message == "boom"  # type: ignore[arg-type]


def test_a_device_that_comes_later_is_put_before_the_message_once() -> None:
    sub = SubtaskResult("a", None, (3, "boom"))
    sub.update(device_name=BEAM)
    assert sub.message == f"{BEAM}: boom"
    sub.update(device_name="mid-pst/beam/02")
    assert sub.message == f"{BEAM}: boom"


def test_a_long_message_is_cut_with_a_mark() -> None:
    for device in (None, BEAM):
        sub = SubtaskResult("a", None, (3, "x" * 5000), device)
        assert len(sub.message) == MESSAGE_LIMIT
        assert sub.message.endswith("x" + CUT_MARK)
        assert sub.message.count(CUT_MARK) == 1
    whole = "x" * MESSAGE_LIMIT
    assert SubtaskResult("a", None, (3, whole)).message == whole
    assert len(parse_result("x" * 5000).message) == MESSAGE_LIMIT


def test_causes_are_never_cut() -> None:
    message = "Causes:\n- " + "x" * 5000
    assert parse_result((3, message)).message == message
    assert SubtaskResult("a", None, message, BEAM).message == message


def test_the_signature_is_the_documented_one() -> None:
    parameters = inspect.signature(SubtaskResult).parameters
    assert list(parameters) == [
        "name",
        "status",
        "result",
        "device_name",
        "devices",
        "failed_devices",
        "operation",
        "obs_mode",
        "health_state",
        "severe",
        "skipped",
        "left_out",
        "begun",
        "causes",
        "accepted",
        "accepted_by",
    ]
    assert [name for name, item in parameters.items() if item.kind is item.KEYWORD_ONLY] == [
        "health_state",
        "severe",
        "skipped",
        "left_out",
        "begun",
        "causes",
        "accepted",
        "accepted_by",
    ]
    assert "'a' COMPLETED OK" in repr(SubtaskResult("a", TaskStatus.COMPLETED))


def test_who_is_in_progress_has_begun_unless_it_says_otherwise() -> None:
    begun = SubtaskResult("a", TaskStatus.IN_PROGRESS)
    begun.update(status=TaskStatus.REJECTED)
    assert begun.begun
    later = SubtaskResult("a", TaskStatus.QUEUED)
    assert not later.begun
    later.update(status=TaskStatus.IN_PROGRESS)
    assert later.begun
    group = SubtaskResult("a", TaskStatus.IN_PROGRESS, begun=False)
    group.update(status=TaskStatus.IN_PROGRESS, begun=False)
    assert not group.begun
    group.update(status=TaskStatus.REJECTED, begun=True)
    assert group.begun


def test_an_outcome_reads_its_code_under_both_names() -> None:
    outcome = AggregationOutcome(TaskStatus.COMPLETED, ResultCode.OK, "fine")
    assert outcome.result_code is outcome.result is ResultCode.OK
    assert outcome.health_state is None
    assert outcome.decision is None
    decided = AggregationOutcome(
        TaskStatus.COMPLETED, ResultCode.OK, "fine", None, decision=Decision("all", 1, 1, 1, "OK")
    )
    assert decided == outcome


def test_a_decision_tells_its_sum() -> None:
    assert Decision("x", 2, None, 3, "DEGRADED").line == "2 of 3 succeeded → DEGRADED"
    told = Decision("x", 2, None, 3, "DEGRADED", reason="PST success 2/3")
    assert str(told) == told.line == "PST success 2/3 → DEGRADED"


BEGINNINGS = (
    "{", "[", "{ ", " [", '{"', '{"a', '{"a"', '{"a":', '{"a": tru', '{"a": 1', '{"a": 1.',
    '{"a": 1e-', '{"a": 1,', '{"a": NaN, "b"', '{"a": -Infinity,', '{"a": "\ud800', "[-", "[1.",
    "[3", "[3,", '[3, "boom', '[3, "boom" ', '[3, "bo\\', '[3, "bo\\u12', '[0, "NaN', '[[3], ["b',
    "[{", '{"result": [0, ', '"{\\"a\\": 1"', "[" * 100_000,
)  # fmt: skip
LEGACY = (
    "Completed", "[INFO] configured", "[low-pst/beam/01] done", "[1] done", "[12:30", "[1 2",
    "[true", "[nul", '["a" "b', "{a", "{state: ON", '{"a" 1', '{"a": x', '{"a": 1}', '{"a": 1}}',
    "[1, 2, 3]", "[1, tru]", "done {", "(", "[[INFO", '[3, "bo"x"',
)  # fmt: skip


@pytest.mark.parametrize("text", BEGINNINGS)
def test_the_beginning_of_a_json_text_is_no_good_news(text):
    parsed = parse_result(text)
    assert parsed.code is ResultCode.UNKNOWN
    assert parsed.message.startswith("unusable result: JSON that is cut off: ")
    assert len(parsed.message) < 150


@pytest.mark.parametrize("text", LEGACY)
def test_every_other_text_is_a_message(text):
    assert parse_result(text) == ParsedResult(ResultCode.OK, text)


def test_every_beginning_of_a_pair_or_an_object_is_known_for_one():
    for whole in ('[3, "no lock: é, \\"x\\""]', '{"result": [0, 1.5e-3], "ok": false, "n": null}'):
        for end in range(1, len(whole)):
            assert parse_result(whole[:end]).code is ResultCode.UNKNOWN, whole[:end]


def test_a_very_long_text_is_judged_by_its_head_and_its_end():
    whole = json.dumps({"ok": ["x" * 1000] * 1100})
    assert len(whole) > DECODE_LIMIT
    assert parse_result(whole).code is ResultCode.OK
    assert parse_result(whole[:-2]).code is ResultCode.UNKNOWN
    assert parse_result(f"[low-pst/beam/01] {'x' * DECODE_LIMIT}").code is ResultCode.OK


def test_a_message_that_holds_one_list_in_very_many_places_is_told_in_part():
    value = ["no lock", 3]
    for _ in range(22):  # with sixty, printing all of it would never end
        value = [value, value]
    parsed = parse_result((ResultCode.FAILED, value))
    assert parsed.code is ResultCode.FAILED
    assert "no lock" not in parsed.message
