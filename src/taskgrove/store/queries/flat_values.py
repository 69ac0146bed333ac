"""Values of payloads, summaries and parameters as the record keeps them, flat and by name.

The record keeps them as JSON, in which a dict with the key ``$`` stands for a value of another
type. Here each becomes a value that a table can hold: a number, a text, true, false, nothing, or a
list of these. Nothing is imported or made again, and no file is opened.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

#: The key that names the kind of a tagged dict.
_TAG: Final = "$"
#: The keys of the reference to a published page, which is told by its name.
_PAGE: Final = frozenset({"page", "file", "size_bytes", "sha256"})
#: Deeper values are told in words.
_MAX_DEPTH: Final = 20
#: A longer integer is told in words: no text, table or JSON file can hold its digits.
_INTEGER_BITS: Final = 4_096
#: The most values of one document, and the most items of a list.
MAX_VALUES: Final = 500
MAX_ITEMS: Final = 100
#: How `struct` reads a number, by the letters of its type.
_FORMATS: Final = {
    "f2": "e", "f4": "f", "f8": "d", "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip


def flat_values(text: str, name: str) -> dict[str, Any]:
    """Return the values of a document by their names, keys inside joined by dots.

    Args:
        text: The JSON; one that cannot be read has no values.
        name: The name of the whole, such as ``payload``.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for key, value in _leaves(document, name, 0):
        if len(found) == MAX_VALUES:
            break
        found[key] = value
    return found


def _leaves(plain: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    fields = _fields_of(plain) if depth < _MAX_DEPTH else None
    if fields:
        for key, value in fields:
            yield from _leaves(value, f"{name}.{key}", depth + 1)
    elif depth or (plain is not None and fields is None):
        yield name, cell_of(plain)


def _fields_of(plain: Any) -> list[tuple[str, Any]] | None:
    """Return the fields of a dict or of an object; None for anything else."""
    if not isinstance(plain, Mapping):
        return None
    kind = plain.get(_TAG)
    if kind is None:
        is_page = _is_page(plain)
        return None if is_page else [(str(key), value) for key, value in plain.items()]
    inner = plain.get("v")
    if kind == "object" and isinstance(inner, Mapping):
        return [(str(key), value) for key, value in inner.items()]
    if kind == "dict" and isinstance(inner, list):
        return [(str(cell_of(key)), value) for key, value in inner]
    return None


def _is_page(plain: Mapping[str, Any]) -> bool:
    return plain.keys() - {"files"} == _PAGE  # the files beside a page are seldom there


def part_of(text: str, keys: Sequence[str]) -> Any:
    """Return a value inside a document, by keys of dicts and indices of lists; None: no value."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for key in keys:
        fields = _fields_of(plain)
        items = _items_of(plain)
        if fields is not None and key in (known := dict(fields)):
            plain = known[key]
        elif items is not None and key.isdecimal() and int(key) < len(items):
            plain = items[int(key)]
        else:
            return None
    return cell_of(plain)


def _items_of(plain: Any) -> list[Any] | None:
    if isinstance(plain, list):
        return plain
    if isinstance(plain, Mapping) and plain.get(_TAG) in ("tuple", "set", "frozenset"):
        inner = plain.get("v")
        return inner if isinstance(inner, list) else None
    return _numbers(plain) if isinstance(plain, Mapping) and plain.get(_TAG) == "array" else None


def cell_of(plain: Any) -> Any:
    """Return a plain value as a number, a text, a truth value, None, or a list or dict of such."""
    if isinstance(plain, list):
        return _short([cell_of(item) for item in plain[: MAX_ITEMS + 1]], len(plain))
    if not isinstance(plain, Mapping):
        return plain
    kind = plain.get(_TAG)
    if _is_page(plain):
        return cell_of(plain["page"])
    if kind is None:
        return {str(key): cell_of(value) for key, value in plain.items()}
    reader = _READERS.get(str(kind))
    try:
        return f"({kind})" if reader is None else reader(plain)
    except (TypeError, ValueError, ArithmeticError, KeyError, struct.error, binascii.Error):
        return f"({kind})"


def _short(items: list[Any], count: int) -> Any:
    return items if count <= MAX_ITEMS else f"({count:,} items)"


def _array(plain: Mapping[str, Any]) -> Any:
    shape = plain["s"]
    if not shape:
        return _numbers_in(plain)[0]
    count = shape[0] if len(shape) == 1 else 0
    if 0 < count <= MAX_ITEMS:
        return _numbers_in(plain)
    return f"(array of {' by '.join(map(str, shape))})"


def _numbers(plain: Mapping[str, Any]) -> list[Any] | None:
    try:
        found = _array(plain)
    except (TypeError, ValueError, KeyError, struct.error, binascii.Error):
        return None
    return found if isinstance(found, list) else None


def _numbers_in(plain: Mapping[str, Any]) -> list[Any]:
    dtype = str(plain["d"])
    letter = _FORMATS[dtype[1:]]
    raw = base64.b64decode(plain["v"], validate=True)
    order = ">" if dtype[0] == ">" else "<"
    size = struct.calcsize(order + letter)
    return list(struct.unpack(f"{order}{len(raw) // size}{letter}", raw))


def _object(plain: Mapping[str, Any]) -> Any:
    inner = plain["v"]
    if str(plain.get("c", "")).endswith(".PayloadReference"):
        return str(inner["path"])
    return {str(key): cell_of(value) for key, value in inner.items()}


def _list(plain: Mapping[str, Any]) -> Any:
    return cell_of(list(plain["v"]))


def _text(plain: Mapping[str, Any]) -> Any:
    inner = plain["v"]
    return str(inner[0]) if isinstance(inner, list) else str(inner)


def _integer(plain: Mapping[str, Any]) -> Any:
    value = int(plain["v"], 16)
    return value if value.bit_length() <= _INTEGER_BITS else "(a very large integer)"


def _duration(plain: Mapping[str, Any]) -> float:
    days, seconds, microseconds = plain["v"]
    return float(days * 86_400 + seconds + microseconds / 1e6)


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "array": _array,
    "scalar": _array,
    "object": _object,
    "dict": lambda plain: {str(cell_of(key)): cell_of(value) for key, value in plain["v"]},
    "tuple": _list,
    "set": _list,
    "frozenset": _list,
    "enum": lambda plain: str(plain["n"]),
    "float": lambda plain: float(plain["v"]),
    "int": _integer,
    "str": lambda plain: base64.b64decode(plain["v"]).decode("utf-8", "replace"),
    "str_": lambda plain: cell_of(plain["v"]),
    "path": _text,
    "posix-path": _text,
    "windows-path": _text,
    "decimal": _text,
    "uuid": _text,
    "date": _text,
    "datetime": _text,
    "time": _text,
    "duration": _duration,
    "fraction": lambda plain: plain["v"][0] / plain["v"][1],
}
