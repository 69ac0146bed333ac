"""Conditions on the value of an attribute of a device: for the steps ``wait`` and ``expect``. Pure.

A value is given as it was read: a number, a text, a boolean, a list of them, or a member of an
enumeration, which has a name and a number.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from taskgrove.events.details import StepKind

#: The steps that change nothing on their device: they can be done again at any time.
READING_STEPS: Final[tuple[StepKind, ...]] = ("wait", "expect")

#: More of a value is not told.
_MAX_SHOWN: Final = 80


class AttributeCondition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The condition that an attribute's value is to meet; all that is given must hold.

    Attributes:
        attribute: The attribute.
        value: The value that it has; a list for a spectrum, a list of lists for an image.
        within: By how much a number may differ from ``value``.
        any_of: Values of which it has one.
        none_of: Values of which it has none.
        min: The least number; of a spectrum or an image, of each element.
        max: The largest number, in the same way.
        fail_on: Values at which waiting is of no use: the step fails at once.
    """

    attribute: str
    value: Any = None
    within: float = 0.0
    any_of: tuple[Any, ...] = ()
    none_of: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    fail_on: tuple[Any, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> AttributeCondition:
        """Return the condition that a mapping tells.

        Raises:
            ValueError: It is no condition.
        """
        try:
            made = msgspec.convert(dict(data), cls)
        except msgspec.ValidationError as exc:
            raise ValueError(str(exc)) from exc
        if made == cls(attribute=made.attribute, fail_on=made.fail_on, within=made.within):
            raise ValueError("it tells no value")
        return made

    def holds(self, value: Any) -> bool:
        """Return whether a value meets the condition."""
        if self.value is not None and not is_same_value(value, self.value, self.within):
            return False
        if self.any_of and not _is_one_of(value, self.any_of):
            return False
        if _is_one_of(value, self.none_of):
            return False
        if self.min is None and self.max is None:
            return True
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        numbers = list(_elements(value))
        return bool(numbers) and all(_is_number(it) and low <= it <= high for it in numbers)

    def rules_out(self, value: Any) -> bool:
        """Return whether waiting is of no use at a value."""
        return _is_one_of(value, self.fail_on)

    @property
    def words(self) -> str:
        """The condition in words: ``State is ON``."""
        parts = []
        if self.value is not None:
            room = f" within {self.within:g}" if self.within else ""
            parts.append(f"is {value_text(self.value)}{room}")
        if self.any_of:
            parts.append(f"is {' or '.join(map(value_text, self.any_of))}")
        if self.none_of:
            parts.append(f"is not {' or '.join(map(value_text, self.none_of))}")
        if self.min is not None and self.max is not None:
            parts.append(f"is from {self.min:g} to {self.max:g}")
        elif self.min is not None:
            parts.append(f"is at least {self.min:g}")
        elif self.max is not None:
            parts.append(f"is at most {self.max:g}")
        return f"{self.attribute} {' and '.join(parts)}"


def is_same_value(value: Any, wanted: Any, within: float = 0.0) -> bool:
    """Return whether an attribute has a value.

    Members of enumerations are compared by name, in any case, or by number; texts exactly.

    Args:
        value: The value that was read.
        wanted: The value that is wanted.
        within: By how much numbers may differ.
    """
    lists = [isinstance(one, (list, tuple)) for one in (value, wanted)]
    if any(lists):
        return (
            all(lists)
            and len(value) == len(wanted)
            and all(
                is_same_value(one, other, within) for one, other in zip(value, wanted, strict=True)
            )
        )
    name = getattr(value, "name", None)
    if isinstance(wanted, str) and isinstance(name, str):
        return _folded(name) == _folded(wanted)
    if _is_number(value) and _is_number(wanted):
        return _is_same_number(value, wanted, within)
    # Also for texts and booleans: true is no number 1.
    return type(value) is type(wanted) and bool(value == wanted)


def _is_same_number(value: Any, wanted: Any, within: float) -> bool:
    if value == wanted:
        return True
    try:
        number, other = float(value), float(wanted)
    except OverflowError:
        return False
    return abs(number - other) <= within if within else number == _as_float32(other)


def value_text(value: Any) -> str:
    """Return a value as people read it: a member of an enumeration by its name; not long."""
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(value_text, value[:_MAX_SHOWN]))}]"
    else:
        text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _is_one_of(value: Any, values: Iterable[Any]) -> bool:
    return any(is_same_value(value, item) for item in values)


def _elements(value: Any) -> Iterable[Any]:
    if not isinstance(value, (list, tuple)):
        return (value,)
    return (inner for item in value for inner in _elements(item))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def _as_float32(number: float) -> float:
    """Return a number as an attribute of 32 bits holds it: ``3.2`` is not exact there."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return number
