"""The words of the plain form, and how values of the standard library are put into them.

Each writer turns a value into a tag and a simpler value; the reader of that tag turns it back.
"""

from __future__ import annotations

import base64
import datetime as dt
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID

#: The key that names the kind of a tagged dict.
TAG: Final = "$"
#: A value is nested at most this deep.
MAX_DEPTH: Final = 100
#: A value has at most so many parts: numbers, texts, collections; an array is one part.
MAX_PARTS: Final = 3_000_000
#: Arrays and bytes of this size, in bytes, and above go into buffers where there are any.
SMALL_BYTES: Final = 512
#: Most buffers of a value, as many as a frame takes; the rest stays in the data.
MOST_BUFFERS: Final = 1 << 15

PATH_CLASSES: Final[dict[type, str]] = {
    PosixPath: "path",
    WindowsPath: "path",
    PurePosixPath: "posix-path",
    PureWindowsPath: "windows-path",
}


_MICROSECOND: Final = dt.timedelta(microseconds=1)


def _write_moment(value: dt.datetime | dt.time) -> list[Any]:
    """Return the local time, its fold, the offset in microseconds, and the name of the zone."""
    offset = value.utcoffset()
    zone = value.tzinfo.key if isinstance(value.tzinfo, zoneinfo.ZoneInfo) else None
    local = value.replace(tzinfo=None).isoformat()
    return [local, value.fold, None if offset is None else offset // _MICROSECOND, zone]


def _fixed_zone(offset: int | None) -> dt.timezone | None:
    return None if offset is None else dt.timezone(dt.timedelta(microseconds=offset))


def _read_datetime(plain: Any) -> dt.datetime:
    text, fold, offset, zone = plain
    moment = dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=_fixed_zone(offset))
    return moment if zone is None else _in_zone(moment, zone)


def _in_zone(moment: dt.datetime, key: str) -> dt.datetime:
    """Return the same local time in a named zone."""
    try:
        placed = moment.replace(tzinfo=zoneinfo.ZoneInfo(key))
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        return moment
    return placed if placed.utcoffset() == moment.utcoffset() else moment


def _read_time(plain: Any) -> dt.time:
    text, fold, offset, zone = plain
    tzinfo = _fixed_zone(offset) if zone is None else zoneinfo.ZoneInfo(zone)
    return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=tzinfo)


WRITERS: Final[dict[type, Callable[[Any], tuple[str, Any]]]] = {
    dt.datetime: lambda value: ("datetime", _write_moment(value)),
    dt.date: lambda value: ("date", value.isoformat()),
    dt.time: lambda value: ("time", _write_moment(value)),
    dt.timedelta: lambda value: ("duration", [value.days, value.seconds, value.microseconds]),
    complex: lambda value: ("complex", [value.real, value.imag]),
    Decimal: lambda value: ("decimal", str(value)),
    Fraction: lambda value: ("fraction", [value.numerator, value.denominator]),
    UUID: lambda value: ("uuid", str(value)),
    range: lambda value: ("range", [value.start, value.stop, value.step]),
    slice: lambda value: ("slice", [value.start, value.stop, value.step]),
}


def _special_float(plain: Any) -> float:
    if plain not in {"nan", "inf", "-inf"}:
        raise ValueError("it is no special float")
    return float(plain)


def _read_text(plain: Any) -> str:
    return base64.b64decode(plain, validate=True).decode("utf-8", "surrogatepass")


#: How the inner value of each of these tags is read; it has been read itself already.
READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": _read_datetime,
    "date": dt.date.fromisoformat,
    "time": _read_time,
    "duration": lambda plain: dt.timedelta(*plain),
    "complex": lambda plain: complex(*plain),
    "decimal": Decimal,
    "fraction": lambda plain: Fraction(*plain),
    "uuid": UUID,
    "range": lambda plain: range(*plain),
    "slice": lambda plain: slice(*plain),
    "path": Path,
    "posix-path": PurePosixPath,
    "windows-path": PureWindowsPath,
    "str": _read_text,
    "int": lambda plain: int(plain, 16),
    "float": _special_float,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
}
