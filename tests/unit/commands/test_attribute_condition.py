"""Conditions on attributes: values of every kind, and the words for people."""

from __future__ import annotations

import math
import struct
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.attribute_condition import AttributeCondition, is_same_value, value_text


class State(IntEnum):
    ON = 0
    MOVING = 6


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        (State.ON, "on", True),
        (State.ON, "OFF", False),
        (State.MOVING, 6, True),
        (State.MOVING, "6", False),
        (3, 3, True),
        (3, 3.0, True),
        (3, "3", False),
        ("3", 3, False),
        ("on", "ON", False),
        ("on", "on", True),
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        (struct.unpack("f", struct.pack("f", 3.2))[0], 3.2, True),
        (3.2000001, 3.2, False),
        (math.nan, 3.2, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 2, 3], False),
        ([], [], True),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], True),
        ([State.ON, State.MOVING], ["ON", "MOVING"], True),
        (3, [3], False),
        ([3], 3, False),
        (10**400, 3.0, False),
    ],
)
def test_values_are_compared_by_their_kind(value: Any, wanted: Any, same: bool) -> None:
    assert is_same_value(value, wanted) is same


@pytest.mark.parametrize(
    ("data", "holds", "fails"),
    [
        ({"value": "ON"}, [State.ON, "ON"], [State.MOVING, 3, None]),
        ({"value": 3.2, "within": 0.1}, [3.1001, 3.3 - 1e-9, 3.2], [3.0, math.nan, "3.2"]),
        ({"value": [1, 2], "within": 0.5}, [[1.5, 1.5]], [[1.6, 2], [1]]),
        ({"any_of": ["ON", 6]}, [State.ON, State.MOVING], [7, "OFF"]),
        ({"none_of": ["ON"]}, [State.MOVING, 3], [State.ON, "ON"]),
        ({"min": 2}, [2, 3.5, [2, 9]], [1, [1, 9], [], "3", True, math.nan]),
        ({"max": 2}, [2, -3.5, [[0]]], [3, [[3]]]),
        ({"min": 1, "max": 2, "none_of": [2]}, [1, 1.5], [2, 3]),
    ],
)
def test_all_that_is_given_must_hold(
    data: dict[str, Any], holds: list[Any], fails: list[Any]
) -> None:
    condition = AttributeCondition.of({"attribute": "x", **data})
    assert [value for value in holds if not condition.holds(value)] == []
    assert [value for value in fails if condition.holds(value)] == []


def test_a_value_can_make_waiting_useless() -> None:
    condition = AttributeCondition.of({"attribute": "State", "value": "ON", "fail_on": ["FAULT"]})
    assert condition.rules_out("FAULT")
    assert not condition.rules_out("ON")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"value": "ON"}, "x is ON"),
        ({"value": 3.2, "within": 0.01}, "x is 3.2 within 0.01"),
        ({"any_of": ["ON", 6]}, "x is ON or 6"),
        ({"none_of": [True]}, "x is not true"),
        ({"min": 1, "max": 2.5}, "x is from 1 to 2.5"),
        ({"min": 1}, "x is at least 1"),
        ({"max": 1, "none_of": [0]}, "x is not 0 and is at most 1"),
        ({"value": [[1, 2], [3, 4]]}, "x is [[1, 2], [3, 4]]"),
    ],
)
def test_a_condition_is_told_in_words(data: dict[str, Any], words: str) -> None:
    assert AttributeCondition.of({"attribute": "x", **data}).words == words


def test_what_is_no_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="min"):
        AttributeCondition.of({"attribute": "x", "min": "{}"})
    with pytest.raises(ValueError, match="it tells no value"):
        AttributeCondition.of({"attribute": "x", "value": None, "fail_on": [1]})


def test_a_long_value_is_cut() -> None:
    assert len(value_text(list(range(1000)))) == 80
    assert value_text("x" * 500).endswith("…")


@given(st.floats(width=32, allow_nan=False))
def test_what_was_written_with_32_bits_is_read_as_the_same(number: float) -> None:
    assert is_same_value(struct.unpack("f", struct.pack("f", number))[0], number)
