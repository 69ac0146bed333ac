"""The types of plain values, in words of a map. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


def type_word(value: Any) -> str:
    """Return the type of a value, in words of a map."""
    if value is None:
        return "nothing"
    for kinds, word in _TYPE_WORDS:
        if isinstance(value, kinds):
            return word
    return f"a {type(value).__name__}"


_TYPE_WORDS: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)
