"""The check of an argument, before the device is called; pure.

Types are known by their TANGO names (``DevString``), so this module needs no TANGO.
"""

from __future__ import annotations

import json
import math
import numbers
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_INTEGERS: Final[Mapping[str, tuple[int, int]]] = {
    "DevUChar": (0, 2**8 - 1),
    "DevShort": (-(2**15), 2**15 - 1),
    "DevUShort": (0, 2**16 - 1),
    "DevLong": (-(2**31), 2**31 - 1),
    "DevULong": (0, 2**32 - 1),
    "DevLong64": (-(2**63), 2**63 - 1),
    "DevULong64": (0, 2**64 - 1),
    "DevEnum": (-(2**15), 2**15 - 1),
}
#: Above these a number becomes infinite: of 32 bits, when it is rounded to them.
_LARGEST: Final[Mapping[str, float]] = {
    "DevFloat": 3.4028235677973362e38,
    "DevDouble": sys.float_info.max,
}
_ELEMENTS: Final[Mapping[str, str]] = {
    "DevVarCharArray": "DevUChar",
    "DevVarShortArray": "DevShort",
    "DevVarUShortArray": "DevUShort",
    "DevVarLongArray": "DevLong",
    "DevVarULongArray": "DevULong",
    "DevVarLong64Array": "DevLong64",
    "DevVarULong64Array": "DevULong64",
    "DevVarFloatArray": "DevFloat",
    "DevVarDoubleArray": "DevDouble",
    "DevVarBooleanArray": "DevBoolean",
    "DevVarStringArray": "DevString",
}
_PAIRS: Final[Mapping[str, str]] = {
    "DevVarLongStringArray": "DevVarLongArray",
    "DevVarDoubleStringArray": "DevVarDoubleArray",
}


class CheckedArgin(NamedTuple):
    """An argument after its check.

    Attributes:
        value: The value to send; None for a command that takes nothing.
        problem: Why it cannot be sent, as the end of a sentence; None when it can.
    """

    value: Any = None
    problem: str | None = None


def check_argin(in_type: str, argin: Any) -> CheckedArgin:
    """Fit an argument to a command's input type.

    A dict or list for a ``DevString`` becomes JSON text; any other argument must have the type
    that the command takes, with numbers in range.

    Args:
        in_type: The TANGO name of the type, such as ``DevString``.
        argin: The argument; None means none.
    """
    if in_type == "DevVoid":
        problem = None if argin is None else f"takes no argument, but was given {given(argin)}"
        return CheckedArgin(problem=problem)
    if argin is None:
        return CheckedArgin(problem=f"takes {in_type}, but was given no argument")
    if in_type == "DevString":
        return _string(argin)
    if in_type in _PAIRS:
        return _pair(in_type, argin)
    if in_type in _ELEMENTS:
        return _array(in_type, argin)
    return CheckedArgin(argin, scalar_problem(in_type, argin))


def text_problem(text: str) -> str | None:
    """Return why TANGO cannot carry a text whole, as the end of a sentence; None when it can."""
    at = text.find("\0")
    if at >= 0:
        return f"holds a NUL at character {at}, where TANGO would cut it"
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as exc:
        return f"holds {text[exc.start]!a} at character {exc.start}: TANGO carries Latin-1 only"
    return None


def _string(argin: Any) -> CheckedArgin:
    if isinstance(argin, str):
        problem = text_problem(argin)
        if problem:
            return CheckedArgin(problem=f"takes DevString, and its text {problem}")
        return CheckedArgin(argin)
    if isinstance(argin, (dict, list, tuple)):
        try:
            return CheckedArgin(json.dumps(argin, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as exc:
            return CheckedArgin(problem=f"takes DevString, and this is not JSON: {exc}")
    return CheckedArgin(problem=f"takes DevString (text, or data as JSON), not {given(argin)}")


def _array(in_type: str, argin: Any) -> CheckedArgin:
    items = argin.tolist() if hasattr(argin, "tolist") else argin
    if in_type == "DevVarCharArray" and isinstance(items, (bytes, bytearray)):
        return CheckedArgin(list(items))
    if not isinstance(items, (list, tuple)):
        return CheckedArgin(problem=f"takes {in_type} (a list), not {given(argin)}")
    for index, item in enumerate(items):
        problem = scalar_problem(_ELEMENTS[in_type], item)
        if problem:
            return CheckedArgin(problem=f"takes {in_type}, and its item {index} {problem}")
    return CheckedArgin(list(items))


def _pair(in_type: str, argin: Any) -> CheckedArgin:
    if not isinstance(argin, (list, tuple)) or len(argin) != 2:
        problem = f"takes {in_type} (a list of numbers and a list of texts), not {given(argin)}"
        return CheckedArgin(problem=problem)
    figures = _array(_PAIRS[in_type], argin[0])
    texts = _array("DevVarStringArray", argin[1])
    wrong = figures.problem or texts.problem
    if wrong:
        return CheckedArgin(problem=f"takes {in_type}, and a part of it {wrong}")
    return CheckedArgin([figures.value, texts.value])


def scalar_problem(in_type: str, value: Any) -> str | None:
    """Return why a value is not one of a type, or None when it is or the type is not known."""
    is_bool = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if in_type in _INTEGERS:
        wanted, fits = "a whole number", isinstance(value, numbers.Integral) and not is_bool
        low, high = _INTEGERS[in_type]
        if fits and not low <= int(value) <= high:
            return f"takes {in_type} ({low} to {high}), and {given(int(value))} is out of range"
    elif in_type in _LARGEST:
        wanted, fits = "a number", isinstance(value, numbers.Real) and not is_bool
        if fits:
            return _range_problem(in_type, value)
    elif in_type == "DevBoolean":
        wanted, fits = "true or false", is_bool
    elif in_type == "DevString":
        if isinstance(value, str) and (problem := text_problem(value)):
            return problem
        wanted, fits = "text", isinstance(value, str)
    else:
        return None
    return None if fits else f"takes {in_type} ({wanted}), not {given(value)}"


def _range_problem(in_type: str, value: numbers.Real) -> str | None:
    """Return why a number would become infinite on its way, or None."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        return f"takes {in_type} (a number), not {given(value)}"
    is_infinite = isinstance(value, float) and math.isinf(value)
    if is_infinite or math.isnan(number) or abs(number) <= _LARGEST[in_type]:
        return None
    return f"takes {in_type}, and {given(value)} is out of range"


def given(value: Any) -> str:
    """Return a value and its type, for a message; not long."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an integer of 5,000 digits, or foreign code
        return f"a value of type {type(value).__name__}"
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    return f"{type(value).__name__} {shown}"
