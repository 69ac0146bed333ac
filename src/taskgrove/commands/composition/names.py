"""Names in a tree: unique among siblings, of analyses, of one leaf for each value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from taskgrove.commands.command_map.map_models import EachValue

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A text of letters, digits and these becomes part of a name as it is.
_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGITS: Final = 3


class Names:
    """Makes the names of siblings unique by numbering duplicates."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """Return ``name``, or ``name-2``, ``name-3`` when it is taken."""
        result = name
        while result in self._last:
            self._last[name] += 1
            result = f"{name}-{self._last[name]}"
        self._last[result] = 1
        return result


def analysis_leaf_name(analysis: str) -> str:
    """Return the name of the leaf of an analysis: ``PyfaiIntegrate`` → ``pyfai-integrate``."""
    return _HUMP.sub("-", analysis).lower()


def each_leaf(each: EachValue, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each leaf, and the parameters that are its own.

    A whole number becomes part of the name with at least three digits, a short plain text as it
    is (``pyfai-integrate-012``, ``fit-agbh``); for any other value the name is numbered.

    Args:
        each: The values.
        name: The name of the group.
    """
    values = each.all_values()
    numbers = [abs(value) for value in values if _is_whole(value)]
    digits = max(_DIGITS, len(str(max(numbers, default=0))), len(str(len(values))))
    names = Names()
    for place, value in enumerate(values, 1):
        word = _word(value, digits) or f"{place:0{digits}d}"
        yield names.unique(f"{name}-{word}"), each.parameters_of(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _word(value: Any, digits: int) -> str | None:
    if _is_whole(value):
        return f"{value:0{digits + (value < 0)}d}"
    if isinstance(value, str) and _PLAIN_WORD.fullmatch(value):
        return value
    return None
