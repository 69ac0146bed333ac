"""Any value of an analysis as plain data, and back: the form that crosses a pipe or a file.

Plain data are dicts with texts as keys, lists, texts, whole numbers of 64 bits, finite
floats, booleans and None: the types of JSON and msgpack. Everything else is a dict with the key
``$``, which names its kind::

    {"$": "tuple", "v": [1, 2]}
    {"$": "array", "d": "<f8", "s": [2, 3], "o": "C", "v": "<base64>"}     # without buffers
    {"$": "array", "d": "<f8", "s": [2, 3], "o": "C", "b": 0}              # in buffer 0
    {"$": "objects", "v": [[2], [1, "a"]]}     # an array of objects: shape, then plain items

A dict that has this key itself, or a key that is no text, is written as ``{"$": "dict", "v":
[[key, value], ...]}``, so no dict of a user can be taken for another kind. There
is no pickle and no import: an object of a class is made again only where the reader has
registered the class (:class:`~taskgrove.analysis.plain.types.PlainTypes`), and is a plain dict
with ``__class__`` elsewhere.

Not kept: that two places hold the same object; subclasses of dict, list, str, int and float;
of numpy's own subclasses all but masked arrays; names of fixed time zones.

Threads: the functions here may be called by any thread; none shares state.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import chain, islice
from pathlib import PurePath
from typing import Any, Final

from taskgrove.analysis.plain.arrays import describe_dtype, is_array, load_numpy, raw_view
from taskgrove.analysis.plain.plain_words import (
    MAX_DEPTH,
    MAX_PARTS,
    MOST_BUFFERS,
    PATH_CLASSES,
    SMALL_BYTES,
    TAG,
    WRITERS,
)
from taskgrove.analysis.plain.reader import PlainReader
from taskgrove.analysis.plain.types import PlainTypes, class_name, fields_of
from taskgrove.errors import AnalysisError, MissingExtraError
from taskgrove.events.foreign_values import RAISED, exact_text, has_fields, readable

__all__ = ["MAX_DEPTH", "SMALL_BYTES", "PlainTypes", "from_plain", "to_plain"]

_SEED_TYPES: Final = PlainTypes()
_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 64) - 1
#: Libraries whose objects are returned by mistake most often, and the remedy.
_HINTS: Final[dict[str, str]] = {
    "h5py": "read it first: dataset[...]",
    "pandas": "send frame.to_dict('list') or frame.to_numpy()",
    "matplotlib": "wrap figures in ElogSummaryPlots(display_name, figures)",
}


def to_plain(value: Any, *, buffers: list[memoryview] | None = None) -> Any:
    """Return a value as plain data.

    Args:
        value: The value.
        buffers: Where arrays and bytes of ``SMALL_BYTES`` and more are put, as raw memory that is
            not copied where it lies in one piece; the data then refers to them by index, counted
            from 0 in this list, of which there are ``MOST_BUFFERS`` at most. None: they stand in
            the data, as base64.

    Raises:
        AnalysisError: A part has no plain form (the error has its place and a hint), or the value
            is nested deeper than ``MAX_DEPTH`` levels, or refers to itself, or has more than
            ``MAX_PARTS`` parts: an array is one part, and an object that is in several places
            counts in each of them.
    """
    try:
        return _Writer(buffers).plain(value, 0)
    except _Unwritable as exc:
        key = "".join(reversed(exc.steps))
        raise AnalysisError(
            f"the value{key} cannot be sent: {exc.why}", key=key or None, hint=exc.hint
        ) from exc.__cause__
    except RecursionError as exc:  # the caller's own stack was nearly full
        raise AnalysisError("the value cannot be sent: it is nested too deep here") from exc


def from_plain(
    plain: Any,
    *,
    buffers: Sequence[memoryview | bytes | bytearray] | None = None,
    types: PlainTypes | None = None,
) -> Any:
    """Return the value that plain data describe.

    Args:
        plain: The result of :func:`to_plain`, perhaps by way of JSON or msgpack.
        buffers: The buffers that it filled. Arrays share their memory: they can be written to
            where the buffer can, and keep it alive.
        types: The classes to make objects of; None: those of seed 004. An object of any other
            class becomes a dict of its fields with the key ``__class__``.

    Raises:
        AnalysisError: The data are no plain form of anything, or a class refused its fields.
    """
    return PlainReader(buffers or (), types or _SEED_TYPES).read(plain)


class _Unwritable(Exception):  # noqa: N818 - it never leaves this module
    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.steps: list[str] = []


class _Writer:
    """Writes one value; ``depth`` is the number of collections around it."""

    __slots__ = ("_buffers", "_left")

    def __init__(self, buffers: list[memoryview] | None) -> None:
        self._buffers = buffers
        self._left = MAX_PARTS

    def plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if (
            value is None
            or (kind is str and value.isascii())
            or (kind is int and _INT_MIN <= value <= _INT_MAX)
            or (kind is float and math.isfinite(value))
            or kind is bool
        ):
            return value
        if kind in _RARE:
            return _RARE[kind](value)
        if depth >= MAX_DEPTH:
            raise _Unwritable(
                f"it is nested deeper than {MAX_DEPTH} levels, or refers to itself",
                "send a flatter value",
            )
        if kind is dict:
            return self.mapping(value.items(), depth + 1)
        if kind is list:
            return self.items(value, depth + 1)
        return self._other(value, kind, depth + 1)

    def spend(self, parts: int) -> None:
        """Count a collection and its parts: nested lists may share a huge number of parts."""
        self._left -= parts + 1
        if self._left < 0:
            raise _Unwritable(
                f"the whole has more than {MAX_PARTS} parts, each counted in every place",
                "give numbers as arrays, or write a file and return its path",
            )

    def taken(self, values: Iterable[Any]) -> list[Any]:
        """Return the items of a foreign collection, which may have no end."""
        return list(islice(values, self._left + 1))

    def items(self, values: Sequence[Any], depth: int) -> list[Any]:
        self.spend(len(values))
        plain: list[Any] = []
        try:
            for item in values:
                plain.append(self.plain(item, depth))
        except _Unwritable as exc:
            exc.steps.append(f"[{len(plain)}]")
            raise
        return plain

    def mapping(self, pairs: Collection[tuple[Any, Any]], depth: int) -> Any:
        self.spend(len(pairs))
        plain: dict[Any, Any] = {}
        key: Any = None
        left = iter(pairs)
        try:
            for key, item in left:
                if (
                    type(key) is not str
                    or key == TAG
                    or not (key.isascii() or exact_text(key) is key)
                ):
                    break
                plain[key] = self.plain(item, depth)
            else:
                return plain
            self.spend(2 * len(pairs))  # each becomes a list
            # The written pairs are kept: to write them anew on every level would never end.
            written = [list(pair) for pair in plain.items()]
            odd = (key, item)
            for key, item in chain((odd,), left):
                written.append([self.plain(key, depth), self.plain(item, depth)])
        except _Unwritable as exc:
            exc.steps.append(f"[{str(key)[:40]!r}]")
            raise
        return {TAG: "dict", "v": written}

    def _other(self, value: Any, kind: type, depth: int) -> Any:
        self.spend(1)  # it takes longer than a dict or list
        try:
            return self._foreign(value, kind, depth)
        except (_Unwritable, RecursionError, MissingExtraError):
            raise
        except RAISED as exc:  # code of its class
            raise _Unwritable(f"reading it raised {readable(exc, 300)}") from exc

    def _foreign(self, value: Any, kind: type, depth: int) -> Any:
        if is_array(value):
            return self._array(value, depth)
        if isinstance(value, Enum):
            return {TAG: "enum", "c": class_name(kind), "n": value.name,
                    "v": self.plain(value.value, depth)}  # fmt: skip
        if has_fields(kind):
            return self._object(value, kind, depth)
        if kind in WRITERS:
            tag, inner = WRITERS[kind](value)
            return {TAG: tag, "v": self.plain(inner, depth)}
        for base, writes in _BASES:
            if isinstance(value, base):
                return writes(self, value, depth)
        library = kind.__module__.partition(".")[0]
        raise _Unwritable(
            f"the class {class_name(kind).removeprefix('builtins.')} has no plain form",
            _HINTS.get(library, "send numbers, texts, arrays, dicts, lists or dataclasses"),
        )

    def _object(self, value: Any, kind: type, depth: int) -> Any:
        try:
            fields = fields_of(value)
        except AttributeError as exc:
            raise _Unwritable(f"a field of it is not set: {exc}") from exc
        return {TAG: "object", "c": class_name(kind), "v": self.mapping(fields.items(), depth)}

    def tagged(self, tag: str, values: Any, depth: int) -> Any:
        return {TAG: tag, "v": self.items(self.taken(values), depth)}

    def raw_bytes(self, value: bytes | bytearray | memoryview, _: int) -> Any:
        tag = "bytearray" if isinstance(value, bytearray) else "bytes"
        raw = memoryview(value)
        if not raw.c_contiguous or raw.format != "B" or raw.ndim != 1:
            raw = memoryview(raw.tobytes())
        return {TAG: tag, **self._memory(raw)}

    def _array(self, value: Any, depth: int) -> Any:
        numpy = load_numpy("an array")
        if isinstance(value, numpy.str_):  # an array, and item(), would strip its zeros
            return {TAG: "str_", "v": self.plain(str.__str__(value), depth)}
        if isinstance(value, numpy.bytes_):
            return {TAG: "bytes_", "v": self.plain(bytes(value), depth)}
        if value is numpy.ma.masked:  # one object, whose attributes cannot be asked for
            return {TAG: "masked", "v": None}
        if isinstance(value, numpy.ma.MaskedArray):
            parts = [value.data, numpy.ma.getmaskarray(value), numpy.asarray(value.fill_value)]
            return self.tagged("masked", (numpy.asarray(part) for part in parts), depth)
        array = numpy.asarray(value)
        if array.dtype == object:
            self.spend(array.size)  # before it is copied: a view may repeat one element
            shape, items = list(array.shape), array.ravel().tolist()
            return {TAG: "objects", "v": [shape, self.items(items, depth)]}
        try:
            dtype = describe_dtype(array.dtype)
        except AnalysisError as exc:
            raise _Unwritable(exc.message, exc.hint) from exc
        raw, order = raw_view(array)
        tag = "array" if isinstance(value, numpy.ndarray) else "scalar"
        return {TAG: tag, "d": dtype, "s": list(array.shape), "o": order, **self._memory(raw)}

    def _memory(self, raw: memoryview) -> dict[str, Any]:
        if self._buffers is None or raw.nbytes < SMALL_BYTES or len(self._buffers) >= MOST_BUFFERS:
            return {"v": base64.b64encode(raw).decode("ascii")}
        self._buffers.append(raw)
        return {"b": len(self._buffers) - 1}


def _text(text: str) -> Any:
    if exact_text(text) is text:  # it holds no half of a surrogate pair
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return {TAG: "str", "v": base64.b64encode(raw).decode("ascii")}


_RARE: Final[dict[type, Callable[[Any], Any]]] = {
    str: _text,
    int: lambda value: {TAG: "int", "v": hex(value)},
    float: lambda value: {TAG: "float", "v": repr(value)},
}
# Tried in this order, for subclasses and for types that behave like one of these.
_BASES: Final[tuple[tuple[Any, Callable[[Any, Any, int], Any]], ...]] = (
    (PurePath, lambda _, value, __: {TAG: PATH_CLASSES.get(type(value), "path"),
                                     "v": _text(str(value))}),
    ((bytes, bytearray, memoryview), _Writer.raw_bytes),
    (str, lambda _, value, __: _text(str.__str__(value))),
    (int, lambda writer, value, depth: writer.plain(int.__int__(value), depth)),
    (float, lambda writer, value, depth: writer.plain(float.__float__(value), depth)),
    (Mapping, lambda writer, value, depth: writer.mapping(writer.taken(value.items()), depth)),
    (list, lambda writer, value, depth: writer.items(writer.taken(value), depth)),
    (tuple, lambda writer, value, depth: writer.tagged("tuple", value, depth)),
    (frozenset, lambda writer, value, depth: writer.tagged("frozenset", value, depth)),
    (AbstractSet, lambda writer, value, depth: writer.tagged("set", value, depth)),
)  # fmt: skip
