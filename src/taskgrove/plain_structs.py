"""The part of msgspec that the process of an analysis needs, for interpreters without it.

An analysis may run in the interpreter of a facility, which has none of our dependencies. Messages
have the same bytes as with msgspec: a class with ``array_like=True`` is an array of its fields in
their order, another one a map of its fields by name. A decoder makes one class of the array of
its fields, and does not check their types: its only sender is our own executor.

Threads: every function may be called by any thread; none shares state.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

_UINT: Final = ((1 << 8, 0xCC, ">BB"), (1 << 16, 0xCD, ">BH"), (1 << 32, 0xCE, ">BI"))
_SIZES: Final = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
                 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}  # fmt: skip
_NUMBERS: Final = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
                   0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}  # fmt: skip
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class MsgspecError(Exception):
    """Bytes are no message."""


class Struct:
    """A class of plain fields, in the order of its annotations."""

    _array_like = False

    def __init_subclass__(cls, *, array_like: bool = False, **_: Any) -> None:
        cls._array_like = array_like

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(
            getattr(cls, "__annotations__", ())
        )  # Python 3.9: none where there is no field

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self._names()
        given = {**dict(zip(names, values)), **named}
        if len(values) > len(names) or given.keys() - set(names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}")
        for name in names:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} lacks {name!r}")
            setattr(self, name, given.get(name, getattr(type(self), name, None)))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Encoder:
    """Makes msgpack of plain data and of structs."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a value.

        Raises:
            TypeError: A part of it is no plain data.
        """
        return b"".join(_pieces(value))


class Decoder:
    """Makes an object of a struct's class of msgpack.

    Args:
        kind: The class.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def decode(self, data: bytes) -> Any:
        """Return the object.

        Raises:
            MsgspecError: The bytes are no array of its fields.
        """
        try:
            values, used = _read(memoryview(data), 0)
            if used != len(data) or not isinstance(values, list):
                raise MsgspecError(f"no array of the fields of {self._kind.__name__}")
            return self._kind(*values)
        except (struct.error, IndexError, TypeError, UnicodeDecodeError) as exc:
            raise MsgspecError(str(exc)) from exc


class msgpack:  # noqa: N801 - the name of msgspec's module
    """The names of ``msgspec.msgpack`` that are used."""

    Encoder = Encoder
    Decoder = Decoder


def _pieces(value: Any) -> Iterator[bytes]:
    if value is None or value is True or value is False:
        yield b"\xc0" if value is None else (b"\xc3" if value else b"\xc2")
    elif isinstance(value, int):
        yield _integer(value)
    elif isinstance(value, float):
        yield struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        raw = value.encode("utf-8")
        yield _head(len(raw), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + raw
    elif isinstance(value, (bytes, bytearray, memoryview)):
        yield _head(len(value), None, 0, (0xC4, 0xC5, 0xC6)) + bytes(value)
    elif isinstance(value, (list, tuple)):
        yield _head(len(value), 0x90, 16, (None, 0xDC, 0xDD))
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, Struct):
        fields = {name: getattr(value, name) for name in value._names()}  # noqa: SLF001
        yield from _pieces(list(fields.values()) if value._array_like else fields)  # noqa: SLF001
    elif isinstance(value, Mapping):
        yield _head(len(value), 0x80, 16, (None, 0xDE, 0xDF))
        for key, item in value.items():
            yield from _pieces(key)
            yield from _pieces(item)
    else:
        raise TypeError(f"{type(value).__name__} is no plain data")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack(">b" if value < 0 else ">B", value)
    if value < 0:
        return struct.pack(">Bq", 0xD3, value)
    for limit, code, form in _UINT:
        if value < limit:
            return struct.pack(form, code, value)
    return struct.pack(">BQ", 0xCF, value)


def _head(size: int, short: int | None, limit: int, codes: tuple[int | None, ...]) -> bytes:
    """Return the first bytes of a text, of bytes, or of a collection."""
    if short is not None and size < limit:
        return bytes([short | size])
    if size < 1 << 8 and codes[0] is not None:
        return struct.pack(">BB", codes[0], size)
    if size < 1 << 16:
        return struct.pack(">BH", codes[1], size)
    return struct.pack(">BI", codes[2], size)


def _read(data: memoryview, at: int) -> tuple[Any, int]:
    """Return the value at a place, and the place behind it."""
    code, at = data[at], at + 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if (form := _NUMBERS.get(code)) is not None:
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if (form := _SIZES.get(code)) is not None:
        size, at = struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    elif code >= 0xC0:
        raise MsgspecError(f"a value begins with {code:#x}")
    else:
        size = code & (0x1F if code >= 0xA0 else 0x0F)
    if code in {0xC4, 0xC5, 0xC6} or 0xD9 <= code <= 0xDB or 0xA0 <= code < 0xC0:
        if at + size > len(data):
            raise MsgspecError("the bytes end too early")
        raw = bytes(data[at : at + size])
        return (raw if code in {0xC4, 0xC5, 0xC6} else raw.decode("utf-8")), at + size
    return _read_items(data, at, size, pairs=code < 0x90 or code in {0xDE, 0xDF})


def _read_items(data: memoryview, at: int, size: int, *, pairs: bool) -> tuple[Any, int]:
    items = []
    for _ in range(2 * size if pairs else size):
        item, at = _read(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if pairs else items), at
