"""Reads the plain form of a value; nothing in it is trusted (see :mod:`.form`)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from taskgrove.analysis.plain.arrays import load_numpy, read_array
from taskgrove.analysis.plain.plain_words import MAX_DEPTH, READERS, TAG
from taskgrove.analysis.plain.types import CLASS_KEY, PlainTypes, make_object
from taskgrove.errors import AnalysisError, MissingExtraError

# A level of a value is up to four levels of plain data: an object whose fields are a list of
# pairs, since one of them has an unusual name.
_MAX_PLAIN_DEPTH: Final = 4 * MAX_DEPTH + 10
_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})


class PlainReader:
    """Reads values; the data refer to buffers by index, and to classes by registered names."""

    __slots__ = ("_buffers", "_types")

    def __init__(
        self, buffers: Sequence[memoryview | bytes | bytearray], types: PlainTypes
    ) -> None:
        self._buffers = buffers
        self._types = types

    def read(self, plain: Any) -> Any:
        """Return the value that plain data describe, or raise an AnalysisError."""
        try:
            return self._value(plain, 0)
        except (AnalysisError, MissingExtraError):
            raise
        except (
            TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError,
            RecursionError,
        ) as exc:  # fmt: skip
            said = f"{type(exc).__name__}: {str(exc)[:300]}"
            raise AnalysisError(f"this is no plain form of a value: {said}") from exc

    def _value(self, plain: Any, depth: int) -> Any:
        kind = type(plain)
        if kind in _SIMPLE:
            return plain
        if depth > _MAX_PLAIN_DEPTH:
            raise ValueError("it is nested too deep")
        if kind is list or kind is tuple:
            return [self._value(item, depth + 1) for item in plain]
        if kind is not dict:
            raise ValueError(f"a {kind.__name__} is no plain data")
        if TAG in plain:
            return self._tagged(plain, depth)
        return {key: self._value(item, depth + 1) for key, item in plain.items()}

    def _tagged(self, plain: dict[str, Any], depth: int) -> Any:
        tag = plain[TAG]
        if tag in _IN_MEMORY:
            return self._from_memory(tag, plain)
        if tag == "object":
            return self._object(plain, depth)
        value = self._value(plain["v"], depth + 1)
        if tag == "enum":
            return self._enum(plain, value)
        reader = _NUMPY_READERS.get(tag) or READERS.get(tag)
        if reader is None:
            raise ValueError(f"the tag {str(tag)[:40]!r} is unknown")
        return reader(value)

    def _from_memory(self, tag: str, plain: dict[str, Any]) -> Any:
        if tag == "bytes":
            return bytes(self._memory(plain))
        raw = self._memory(plain)
        if tag == "bytearray":
            return bytearray(raw)
        array = read_array(plain["d"], plain["s"], plain["o"], raw)
        return array if tag == "array" else array[()]

    def _memory(self, plain: dict[str, Any]) -> memoryview | bytes | bytearray:
        if "b" not in plain:  # an array can be written to
            return bytearray(base64.b64decode(plain["v"], validate=True))
        index = plain["b"]
        if type(index) is not int or not 0 <= index < len(self._buffers):
            raise ValueError(f"there is no buffer {str(index)[:40]}")
        return self._buffers[index]

    def _enum(self, plain: dict[str, Any], value: Any) -> Any:
        kind = self._types.find(plain["c"])
        if kind is None:
            return {CLASS_KEY: str(plain["c"]), "name": plain["n"], "value": value}
        if not issubclass(kind, Enum):
            raise ValueError(f"{kind.__name__} is no enum")
        return kind(value)

    def _object(self, plain: dict[str, Any], depth: int) -> Any:
        fields = self._value(plain["v"], depth + 1)  # a dict, tagged where a name is unusual
        if not isinstance(fields, dict) or not all(type(name) is str for name in fields):
            raise ValueError("the fields of an object are not a dict")
        kind = self._types.find(plain["c"])
        if kind is None:
            return {CLASS_KEY: str(plain["c"]), **fields}
        try:
            return make_object(kind, fields)
        except (TypeError, ValueError) as exc:
            raise AnalysisError(
                f"{kind.__name__} does not accept the written value: {str(exc)[:300]}",
                hint="its class has changed since; read it without its class",
            ) from exc


def _read_masked(value: Any) -> Any:
    if value is None:
        return load_numpy("a masked value").ma.masked
    data, mask, fill = value
    return load_numpy("a masked array").ma.MaskedArray(data, mask=mask, fill_value=fill[()])


def _read_objects(value: Any) -> Any:
    numpy = load_numpy("an array of objects")
    shape, items = value
    made = numpy.empty(len(items), dtype=object)
    for number, item in enumerate(items):  # one by one: else numpy makes more axes of lists
        made[number] = item
    return made.reshape(tuple(shape))


_IN_MEMORY: Final = frozenset({"array", "scalar", "bytes", "bytearray"})
_NUMPY_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "masked": _read_masked,
    "objects": _read_objects,
    "str_": lambda value: load_numpy("a text of numpy").str_(value),
    "bytes_": lambda value: load_numpy("bytes of numpy").bytes_(value),
}
