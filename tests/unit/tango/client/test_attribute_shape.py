"""The type of an attribute: values that fit, values that do not, and conditions that never hold."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.tango.client.attribute_shape import (
    STATES,
    AttributeShape,
    Form,
    NamedNumber,
    plain_value,
)

GATES = ("CLOSED", "HALF_OPEN", "OPEN")


def shape(type_name: str, form: Form = "SCALAR", **fields: Any) -> AttributeShape:
    sizes = {"SCALAR": (1, 0), "SPECTRUM": (4, 0), "IMAGE": (3, 2)}[form]
    labels = GATES if type_name == "DevEnum" else ()
    return AttributeShape("x", f"Dev{type_name}".replace("DevDev", "Dev"), form, *sizes, labels,
                          **fields)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "value", "sent"),
    [
        (shape("DevDouble"), 3, 3),
        (shape("DevEnum"), "half-open", 1),
        (shape("DevEnum"), 2, 2),
        (shape("DevState"), "moving", 6),
        (shape("DevLong", "SPECTRUM"), (), []),
        (shape("DevEnum", "SPECTRUM"), ["OPEN", 0], [2, 0]),
        (shape("DevString", "IMAGE"), [["a"], ["b"]], [["a"], ["b"]]),
        (shape("DevLong", "IMAGE"), [], []),
    ],
)
def test_what_fits_is_sent(made: AttributeShape, value: Any, sent: Any) -> None:
    assert made.checked(value) == (sent, None)


@pytest.mark.parametrize(
    ("made", "value", "problem"),
    [
        (shape("DevBoolean"), 1, "is DevBoolean (true or false), not int 1"),
        (shape("DevShort"), 2.0, "is DevShort (a whole number), not float 2.0"),
        (shape("DevDouble"), "3", "is DevDouble (a number), not str '3'"),
        (shape("DevFloat"), 1e39, "is DevFloat, and float 1e+39 is out of range"),
        (
            shape("DevString"),
            "a\0",
            "is DevString, and holds a NUL at character 1, where TANGO would cut it",
        ),
        (shape("DevDouble"), [1.0], "is DevDouble (a number), not list [1.0]"),
        (
            shape("DevLong", "SPECTRUM"),
            3,
            "is DevLong, a list of at most 4, and was given int 3",
        ),
        (shape("DevLong", "SPECTRUM"), [1] * 5, "is DevLong, a list of at most 4, and was given 5"),
        (
            shape("DevLong", "SPECTRUM"),
            [1, "x"],
            "is DevLong, a list of at most 4, and its item [1] takes DevLong (a whole number),"
            " not str 'x'",
        ),
        (
            shape("DevLong", "IMAGE"),
            [[1], [1, 2]],
            "is DevLong, at most 2 lists of at most 3, and its lists are not of one length",
        ),
        (
            shape("DevLong", "IMAGE"),
            [[1, 2, 3, 4]],
            "is DevLong, at most 2 lists of at most 3, and was given 4 in its item [0]",
        ),
        (
            shape("DevLong", "IMAGE"),
            [[1]] * 3,
            "is DevLong, at most 2 lists of at most 3, and was given 3",
        ),
        (
            shape("DevLong", "IMAGE"),
            [1],
            "is DevLong, at most 2 lists of at most 3, and its item [0] is int 1",
        ),
        (
            shape("DevEnum"),
            "OPNE",
            "is DevEnum, and 'OPNE' is none of CLOSED, HALF_OPEN, OPEN; did you mean 'OPEN'?",
        ),
        (shape("DevEnum"), 3, "is DevEnum, and 3 is none of 0 to 2"),
        (shape("DevEnum"), True, "is DevEnum, and bool True is none of CLOSED, HALF_OPEN, OPEN"),
        (shape("DevEncoded"), "x", "is DevEncoded, which a map cannot give"),
    ],
)
def test_what_does_not_fit_is_told(made: AttributeShape, value: Any, problem: str) -> None:
    assert made.checked(value) == (None, problem)


@pytest.mark.parametrize(
    ("made", "condition", "said"),
    [
        (shape("DevState"), {"any_of": ["ON", "FAULD"]}, "did you mean 'FAULT'?"),
        (shape("DevState"), {"value": "ON", "fail_on": ["FAULD"]}, "did you mean 'FAULT'?"),
        (shape("DevState"), {"min": 1}, "'min' and 'max' are for numbers"),
        (shape("DevEnum"), {"value": "OPEN", "within": 1}, "'within' is for numbers"),
        (shape("DevDouble"), {"value": "high"}, "is DevDouble (a number), not str 'high'"),
        (shape("DevDouble"), {"none_of": ["high"]}, "is DevDouble (a number), not str 'high'"),
        (shape("DevLong", "SPECTRUM"), {"value": 3}, "a list of at most 4"),
        (shape("DevDouble", is_readable=False), {"value": 3}, "cannot be read"),
    ],
)
def test_a_condition_that_can_never_hold_is_told(
    made: AttributeShape, condition: Any, said: str
) -> None:
    problem = made.problem_of(AttributeCondition.of({"attribute": "x", **condition}))
    assert said in (problem or "")


@pytest.mark.parametrize(
    ("made", "condition"),
    [
        (shape("DevState"), {"value": "on", "none_of": ["FAULT"]}),
        (shape("DevDouble"), {"value": 3, "within": 0.1, "min": 1}),
        (shape("DevDouble", "SPECTRUM"), {"min": 1}),
        (shape("DevDouble", is_writable=False), {"value": 3}),
    ],
)
def test_a_condition_that_can_hold_has_no_problem(made: AttributeShape, condition: Any) -> None:
    assert made.problem_of(AttributeCondition.of({"attribute": "x", **condition})) is None


def test_members_of_enumerations_are_read_by_name() -> None:
    value = shape("DevEnum").value_of(1)
    assert (value, value.name, str(value), plain_value(value)) == (1, "HALF_OPEN", "HALF_OPEN",
                                                                   "HALF_OPEN")  # fmt: skip
    assert shape("DevEnum").value_of(7) == 7
    assert not isinstance(shape("DevEnum").value_of(7), NamedNumber)
    assert plain_value(shape("DevEnum", "SPECTRUM").value_of((0, 2))) == ["CLOSED", "OPEN"]
    assert shape("DevState").value_of(6).name == "MOVING"
    assert shape("DevDouble").value_of(None) is None


def test_the_states_are_those_of_tango() -> None:
    tango = pytest.importorskip("tango")
    assert tuple(str(tango.DevState.values[n]) for n in range(len(STATES))) == STATES
    assert len(tango.DevState.values) == len(STATES)
