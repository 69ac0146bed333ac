"""Numbers that remember how they were written.

``1.10`` is a number, and for an analysis that asks for a number it is 1.1. For one that asks
for a text, or as an argument of a program, it is ``1.10``: so nothing is lost between the
configuration and its reader. Everywhere else these are ordinary numbers.
"""

from __future__ import annotations

from typing import Any


class WrittenInt(int):
    """A whole number that was not written the way Python writes it.

    Attributes:
        written: How it was written.
    """

    written: str


class WrittenFloat(float):
    """A floating-point number that was not written the way Python writes it.

    Attributes:
        written: How it was written.
    """

    written: str


def as_written(number: int | float, text: str) -> int | float:
    """Return the number; one that remembers ``text`` where Python would write it differently."""
    if str(number) == text:
        return number
    made = WrittenInt(number) if isinstance(number, int) else WrittenFloat(number)
    made.written = text
    return made


def written_text(value: Any) -> str:
    """Return a value as a text: a number as it was written."""
    if isinstance(value, (WrittenInt, WrittenFloat)):
        return value.written
    return str(value)
