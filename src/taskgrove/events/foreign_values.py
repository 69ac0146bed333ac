"""Values from outside made plain, or put into words: they may be anything at all.

A value that devices, methods, analyses and tasklets hand over may be huge, refer to itself, or
raise for whatever it is asked. Nothing here raises, and nothing here takes long. numpy is not
imported: its arrays and scalars are known by their ``tolist``.

Pure, but for the code of the values; any thread may call these functions.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import decimal
import fractions
import itertools
import math
import pathlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

#: A text is cut to so many characters.
TEXT_LIMIT: Final = 65_536
#: Of one value so many parts are told, or kept as data, and so deep.
_PARTS_LIMIT: Final = 2_000
_DATA_LIMIT: Final = 200_000
_DEPTH_LIMIT: Final = 20
#: An array with more elements than this is described.
_ARRAY_LIMIT: Final = 64
#: An integer of more bits, about 1,000 digits, is described.
_BITS_LIMIT: Final = 3_300
_CUT: Final = "…"
#: Groups of exceptions; Python 3.9 and 3.10, in which an analysis may run, have none.
EXCEPTION_GROUP: Final[type[BaseExceptionGroup[BaseException]]] = vars(builtins).get(
    "BaseExceptionGroup", ()
)
#: Exceptions that a foreign object may raise; the one that cancels an analysis is not among them.
RAISED: Final = (Exception, SystemExit, GeneratorExit, KeyboardInterrupt)

#: Values that are told by their text.
_TOLD_BY_TEXT: Final = (
    pathlib.PurePath, uuid.UUID, decimal.Decimal, fractions.Fraction, complex,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip


def readable(value: Any, limit: int = TEXT_LIMIT) -> str:
    """Return a value as text for people; a mapping is ``name: value; name: value``.

    Args:
        value: Anything.
        limit: A longer text is cut to so many characters, with a mark.
    """
    try:
        if isinstance(value, Mapping) and not has_fields(type(value)):
            data = _Maker(_PARTS_LIMIT).plain(value, 0)
            text = "; ".join(f"{name}: {_word(item)}" for name, item in data.items())
        else:
            text = _word(_Maker(_PARTS_LIMIT).plain(value, 0))
    except RAISED:
        text = describe(value)
    return text if len(text) <= limit else f"{text[: limit - len(_CUT)]}{_CUT}"


def _word(plain: Any) -> str:
    return plain if isinstance(plain, str) else repr(plain)


def plain_data(value: Any) -> Any:
    """Return a value as plain data, which JSON can hold: any other value becomes words.

    Mappings have texts as keys; numbers are finite, whole ones of at most 1,000 digits.
    """
    return _Maker(_DATA_LIMIT).plain(value, 0)


def describe(value: Any) -> str:
    """Describe a value shortly without printing it: it may be huge, or refuse to be printed."""
    try:
        for kinds, words in _DESCRIPTIONS:
            if isinstance(value, kinds):
                return words(value)
        return f"an object of type {type(value).__name__:.80}"
    except RAISED:
        return "an object that cannot be described"


def printed(exc: BaseException) -> str:
    """Return the text of an exception; large arguments are told in part.

    Raises:
        BaseException: The exception's own class raises it.
    """
    if not is_large(exc):
        return str(exc)
    args = _args_of(exc)
    return readable(args[0] if len(args) == 1 else args)


def _args_of(exc: Any) -> tuple[Any, ...]:
    """Return the arguments of an exception, even if its class overrides ``args``."""
    args: tuple[Any, ...] = vars(BaseException)["args"].__get__(exc)
    return args


def is_large(value: Any) -> bool:
    """Return whether printing a value may take for ever: a list may stand in very many places."""
    left, around = _PARTS_LIMIT, [value]
    while around:
        value = around.pop()
        parts: Any = ()
        if isinstance(value, Mapping):
            parts = (*itertools.islice(value, left), *itertools.islice(value.values(), left))
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            parts = itertools.islice(value, left + 1)
        elif has_fields(type(value)):
            parts = [getattr(value, name, None) for name in field_names(type(value))]
        elif isinstance(value, BaseException) and not isinstance(value, EXCEPTION_GROUP):
            parts = _args_of(value)
        before = len(around)
        around.extend(parts)
        left -= len(around) - before
        if left < 0:
            return True
    return False


def exact_text(text: str) -> str:
    """Return a text as one that every encoding can write: itself, where it is a plain text so."""
    text = str.__str__(text)  # one of a subclass becomes a plain one
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


class _Maker:
    """Makes one value plain, within a budget of parts."""

    def __init__(self, parts: int) -> None:
        self._left = parts

    def plain(self, value: Any, depth: int) -> Any:
        self._left -= 1
        try:
            return self._plain(value, depth)
        except RAISED:
            return describe(value)

    def _plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        for kinds, make in _SIMPLE:
            if isinstance(value, kinds):
                return make(value)
        if depth >= _DEPTH_LIMIT or self._left < 0:
            return _CUT
        if has_fields(kind) or isinstance(value, Mapping):
            fields = value.items() if isinstance(value, Mapping) else _pairs_of(value)
            return self._mapping(fields, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(value, depth)
        return self._other(value, kind, depth)

    def _items(self, values: Any, depth: int) -> list[Any]:
        made: list[Any] = []
        for item in values:
            if self._left < 0:
                made.append(_CUT)
                break
            made.append(self.plain(item, depth + 1))
        return made

    def _mapping(self, pairs: Any, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in pairs:
            if self._left < 0:
                made[_CUT] = _CUT
                break
            name = key if type(key) is str else _word(self.plain(key, depth + 1))
            made[exact_text(name)] = self.plain(item, depth + 1)
        return made

    def _other(self, value: Any, kind: type, depth: int) -> Any:
        tolist = getattr(value, "tolist", None)
        if callable(tolist) and isinstance(getattr(value, "size", None), int):
            if value.size <= _ARRAY_LIMIT:
                return self.plain(tolist(), depth + 1)
            return f"an array of {str(value.dtype)[:40]} of shape {str(value.shape)[:80]}"
        if is_large(value):
            self._left -= _PARTS_LIMIT  # so many were looked at
            return describe(value)
        if isinstance(value, BaseException):
            return f"{kind.__name__:.80}: {str(value)[:TEXT_LIMIT]}"
        if all(getattr(kind, name) is getattr(object, name) for name in ("__str__", "__repr__")):
            return describe(value)
        return _cut_text(str(value))


def _pairs_of(value: Any) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(value, name)) for name in field_names(type(value)))


def _cut_text(text: str) -> str:
    text = exact_text(text)
    return text if len(text) <= TEXT_LIMIT else f"{text[: TEXT_LIMIT - 1]}{_CUT}"


def _whole(value: int) -> Any:
    number = int.__int__(value)
    return number if number.bit_length() < _BITS_LIMIT else describe(number)


def _real(value: float) -> Any:
    real = float.__float__(value)
    return real if math.isfinite(real) else repr(real)


#: Tried in this order: an enum may be a number, too.
_SIMPLE: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Enum, lambda value: exact_text(value.name)),
    (str, exact_text),
    (int, _whole),
    (float, _real),
    ((bytes, bytearray), lambda value: value[:TEXT_LIMIT].decode("utf-8", "backslashreplace")),
    (_TOLD_BY_TEXT, lambda value: _cut_text(str(value))),
)


def has_fields(kind: type) -> bool:
    """Return whether objects of a class are made of fields that have names."""
    return (
        dataclasses.is_dataclass(kind)
        or hasattr(kind, "__pydantic_fields__")
        or hasattr(kind, "__struct_fields__")
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def field_names(kind: Any) -> list[str]:
    """Return the names of the fields of such a class, in their order."""
    if hasattr(kind, "__pydantic_fields__"):
        return list(kind.__pydantic_fields__)
    if dataclasses.is_dataclass(kind):
        return [item.name for item in dataclasses.fields(kind)]
    return list(getattr(kind, "__struct_fields__", None) or kind._fields)


def _describe_integer(value: Any) -> str:
    return f"the integer {int(value)}" if abs(value) < 10**12 else "a very large integer"


_DESCRIPTIONS: Final[tuple[tuple[Any, Callable[[Any], str]], ...]] = (
    (bool, lambda value: f"the bool {bool(value)}"),
    (int, _describe_integer),
    (float, lambda value: f"the number {float(value)!r}"),
    (str, lambda value: f"the text {value[:80]!r}"),
    (type(None), lambda _: "nothing"),
    ((bytes, bytearray), lambda value: f"{len(value)} bytes"),
    (
        (list, tuple, set, frozenset, dict),
        lambda value: f"a {type(value).__name__} of length {len(value)}",
    ),
    (
        BaseException,
        lambda value: (
            f"an object of type {type(value).__name__:.80}"
            + ("" if is_large(value) else f": {str(value)[:200]}")
        ),
    ),
)
