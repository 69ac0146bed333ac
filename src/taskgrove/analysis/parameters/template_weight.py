"""The size of the values of a template, and of the values that it is about to make."""

from __future__ import annotations

import math
import re
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, Final

#: A single value of a template has so many letters and items at most.
MAX_VALUE: Final = 1 << 24
#: A single value of a template has so many items at most; to count them takes a second.
MAX_ITEMS: Final = 1 << 20
_COLLECTIONS: Final = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)

#: Filters and methods whose result is at most as large as the product of their arguments:
#: a whole number after the first argument counts as that number.
_PRODUCTS: Final = frozenset(
    (
        "center", "ljust", "rjust", "zfill", "expandtabs", "indent", "batch", "slice", "tojson",
        "round", "to_bytes", "join", "replace", "wordwrap", "translate", "sum", "urlize",
        "repeat", "tile", "pad", "resize",
    )
)  # fmt: skip
#: Filters and methods that write by a format, which may hold a width.
_FORMATS: Final = frozenset(("format", "format_map", "%", "strftime"))
_PERCENT: Final = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(\*|\d+)?(?:\.(\*|\d+)?)?")
_FIELD: Final = re.compile(r"\{[^{}]*?[:!]([^{}]*)(\{?)")
_DIGITS: Final = re.compile(r"\d+")
_MARKS: Final = frozenset("%{")


def weight(value: Any) -> int:
    """Return how many letters and items a value has; shared parts count each time.

    More than :data:`MAX_ITEMS` items are too heavy, and are not counted: a few nested lists may
    share so many parts that counting would never end.
    """
    total, items, todo = 0, 0, [value]
    while todo:
        items += 1
        if items + len(todo) > MAX_ITEMS:
            return MAX_VALUE + 1
        item = todo.pop()
        if isinstance(item, (str, bytes, bytearray)):
            total += len(item)
        elif isinstance(item, int):
            total += item.bit_length() // 3
        elif isinstance(item, Mapping):
            todo += item.keys()
            todo += item.values()
        elif isinstance(item, _COLLECTIONS):
            todo += item
        elif isinstance(item, range):
            total += len(item)
        elif type(item).__module__ == "numpy":
            total += int(getattr(item, "size", 1))
    return total + items


def listed(value: Any) -> Any:
    """Return an iterator as a list, which can be weighed; all else unchanged."""
    return list(value) if isinstance(value, Iterator) else value


def grown(name: str, given: Sequence[Any], named: Mapping[str, Any]) -> int:
    """Return how large a result may become, at most; 0 where it does not grow.

    Args:
        name: Of the filter, method or operator.
        given: Its object, then its arguments.
        named: Its arguments by name.
    """
    others = [*given[1:], *named.values()]
    if name in _FORMATS and given:
        text = given[-1] if name == "strftime" else given[0]
        return _written(text, max(map(weight, others), default=0))
    if name not in _PRODUCTS or not given:
        return 0
    if name == "replace" and len(given) > 2:  # the text that is replaced adds nothing
        others = [given[2]]
    sizes = [weight(given[0]), *(_count(item) for item in others)]
    return math.prod(size + 1 for size in sizes if size > 1)


def _count(value: Any) -> int:
    return abs(value) if isinstance(value, int) else weight(value)


def _written(form: Any, each: int) -> int:
    """Return how long a text becomes when the fields of a format are filled, at most."""
    text = form if isinstance(form, str) else str(form)
    widths = _DIGITS.findall(text) if not _MARKS & set(text) else []
    for match in _PERCENT.finditer(text):
        if "*" in match.groups():
            return MAX_VALUE + 1
        widths += [digits for digits in match.groups() if digits]
    for match in _FIELD.finditer(text):
        if match[2]:
            return MAX_VALUE + 1
        widths += _DIGITS.findall(match[1])
    wide = sum(int(digits) if len(digits) < 10 else MAX_VALUE + 1 for digits in widths)
    return len(text) + wide + sum(map(text.count, _MARKS)) * each
