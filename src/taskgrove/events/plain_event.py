"""Events whose fields hold values of their declared types.

Anything may enter an event where a device, a method, an analysis or a tasklet has the word: a
number of numpy in a message, an object among devices, an integer of 5,000 digits. Such a value
is converted; one that cannot be is replaced by words, and the event says so
(:attr:`~taskgrove.events.event.TaskEvent.replaced`). So every event can be written, and can be
read again.

Nothing here raises. Some lines of older records are no events; they can be read all the same
(:func:`read_event`). Any thread may call these functions.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events.details import EventDetail, FinishedDetail
from taskgrove.events.event import SCHEMA_VERSION, EventKind, TaskEvent, decode_event
from taskgrove.events.foreign_values import (
    RAISED,
    TEXT_LIMIT,
    describe,
    exact_text,
    plain_data,
    readable,
)

#: A text of an event is cut to so many characters; lines of JSON in a detail are not.
EVENT_TEXT_LIMIT: Final = 16 * TEXT_LIMIT
_ITEMS_LIMIT: Final = 1_000_000
_INT64: Final = 1 << 63
#: Columns of the record are narrower for these.
_INT31: Final = 1 << 31
_LIMITS: Final[dict[str, int]] = {"attempt": _INT31 - 1, "progress": 100}
#: Texts that are JSON: cut, they could not be read.
_JSON_FIELDS: Final = frozenset(("parameters", "payload"))
_KINDS: Final = frozenset(get_args(EventKind))
_STATUSES: Final = (TaskStatus, type(None))
_CODES: Final = (ResultCode, type(None))
_MISSING: Final = object()
#: By far the most frequent detail.
_BLANK: Final = FinishedDetail()
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final[dict[type, Callable[[bytes], Any]]] = {
    kind: msgspec.json.Decoder(kind).decode for kind in get_args(EventDetail)
}


def plain_event(event: TaskEvent) -> TaskEvent:
    """Return the event itself where every field has its declared type, else a corrected one.

    Args:
        event: The event; values in its fields may be of any type.
    """
    try:
        detail = event.detail
        if _is_plain(event) and (detail is None or _is_plain_detail(detail)):
            return event
        return _made_plain(event)
    except RAISED as exc:
        return substitute(event, f"it cannot be written: {describe(exc)}")


def substitute(event: TaskEvent, why: str) -> TaskEvent:
    """Return the substitute of an event that cannot be written or read.

    The substitute keeps the run, the number, the place, the kind, status, code and times, as far
    as possible.

    Args:
        event: The event.
        why: Why; it becomes the message, and stands in ``replaced``.
    """
    bare = msgspec.structs.replace(
        event, message="", devices=(), failed_devices=(), health_state=None, detail=None
    )
    words = readable(why, 1_000)
    made = _made_plain(bare)
    replaced = {**(made.replaced or {}), "event": words}
    text = f"this event is not kept as it was: {words}"
    return msgspec.structs.replace(made, message=text, replaced=replaced)


def read_event(line: bytes | str, run_id: str, sequence: int) -> TaskEvent:
    """Return the event that a line of a record holds; never raises.

    An older version may have written a line that is no event. Its readable parts are kept, and the
    event tells the replaced ones.

    Args:
        line: The line.
        run_id: The run that it belongs to.
        sequence: Its number in the run.
    """
    try:
        return decode_event(line)
    except RAISED as exc:
        why = f"it cannot be read: {type(exc).__name__}: {exc}"
    try:
        data = msgspec.json.decode(line)
        known = {name: data[name] for name in TaskEvent.__struct_fields__ if name in data}
        with contextlib.suppress(msgspec.ValidationError):
            known["detail"] = msgspec.convert(known.get("detail"), EventDetail | None)
    except RAISED:
        known = {}
    known |= {"run_id": run_id, "sequence": sequence, "replaced": {"event": why}}
    event = TaskEvent(**{**_FALLBACKS, **known})
    return _made_plain(event) if "kind" in known else substitute(event, why)


def _is_plain(event: TaskEvent) -> bool:
    progress, health, first = event.progress, event.health_state, event.sequence_from
    message, path, run_id = event.message, event.path, event.run_id
    # Every event comes by here: most of them are recognized without a call of a Python function.
    return (
        type(message) is type(path) is type(run_id) is str
        and (message.isascii() or _is_text(message))
        and (path.isascii() or _is_text(path))
        and (run_id.isascii() or _is_text(run_id))
        and len(message) + len(path) + len(run_id) <= EVENT_TEXT_LIMIT
        and (progress is None or (type(progress) is int and 0 <= progress <= 100))
        and type(event.sequence) is type(event.schema) is int
        and event.schema == SCHEMA_VERSION
        and type(event.monotonic_s) is float
        and -math.inf < event.monotonic_s < math.inf
        and type(event.wall_ns) is int
        and -_INT64 <= event.sequence < _INT64 > event.wall_ns >= -_INT64
        and type(event.attempt) is int
        and 0 <= event.attempt < _INT31
        and type(event.status) in _STATUSES
        and type(event.result_code) in _CODES
        and event.kind in _KINDS
        and (first is None or (type(first) is int and 0 <= first < _INT64))
        and (health is None or _is_text(health, 16))
        and type(event.devices) is tuple
        and (not event.devices or _are_texts(event.devices))
        and type(event.failed_devices) is tuple
        and (not event.failed_devices or _are_texts(event.failed_devices))
        and (event.replaced is None or _is_text_mapping(event.replaced))
    )


def _are_texts(items: tuple[Any, ...]) -> bool:
    first = items[0]  # mostly, there is one
    if len(items) == 1 and type(first) is str and first.isascii():
        return True
    return all(map(_is_text, items))


def _is_plain_detail(detail: Any) -> bool:
    """Return whether a detail comes back from the wire as it is, and no text of it is too long."""
    try:
        if type(detail) is FinishedDetail and detail == _BLANK:
            return True
        line = _ENCODE(detail)
        return len(line) <= EVENT_TEXT_LIMIT and _DECODE[type(detail)](line) == detail
    except RAISED:
        return False


def _made_plain(event: TaskEvent) -> TaskEvent:
    given = event.replaced
    replaced: dict[str, str] = dict(given) if given is not None and _is_text_mapping(given) else {}
    values: dict[str, Any] = {}
    for name, make in _makers_of(TaskEvent):
        made = make(getattr(event, name), name, replaced)
        values[name] = _FALLBACKS.get(name) if made is _MISSING else made
    values |= {"schema": SCHEMA_VERSION, "replaced": replaced or None}
    return TaskEvent(**values)


#: The values of fields that could not be made, besides None.
_FALLBACKS: Final[dict[str, Any]] = {
    "run_id": "", "sequence": 0, "path": "", "kind": "note", "attempt": 1,
    "message": "", "devices": (), "failed_devices": (), "monotonic_s": 0.0, "wall_ns": 0,
}  # fmt: skip

# -- the types of fields ----------------------------------------------------------------------

#: Makes a value plain; takes the value, its place in the event, and the replaced fields so far.
_Make = Callable[[Any, str, dict[str, str]], Any]


@functools.cache
def _makers_of(kind: Any) -> tuple[tuple[str, _Make], ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return tuple((field.name, _maker_for(field.type, field.name)) for field in info.fields)


def _maker_for(info: Any, name: str) -> _Make:
    """Return the function that makes a value of a field plain."""
    if isinstance(info, inspect.UnionType):
        return _optional(info, name)
    if isinstance(info, inspect.VarTupleType):
        return functools.partial(_tried, _sequence, _maker_for(info.item_type, name))
    given: Any = None
    if isinstance(info, inspect.StrType):
        given = None if name in _JSON_FIELDS else EVENT_TEXT_LIMIT
    elif isinstance(info, inspect.IntType):
        given = _LIMITS.get(name, _INT64 - 1)
    elif isinstance(info, inspect.EnumType):
        given = info.cls
    elif isinstance(info, inspect.LiteralType):
        given = info.values
    elif isinstance(info, inspect.StructType):
        given = (info.cls,)
    return functools.partial(_tried, _MAKERS.get(type(info), _data), given)


def _tried(
    make: Callable[..., Any], given: Any, value: Any, where: str, replaced: dict[str, str]
) -> Any:
    try:
        return make(given, value, where, replaced)
    except RAISED:  # whatever it was asked for
        return _gone(value, where, replaced)


def _optional(info: inspect.UnionType, name: str) -> _Make:
    rest: list[Any] = [item for item in info.types if not isinstance(item, inspect.NoneType)]
    if isinstance(rest[0], inspect.StructType):
        make: _Make = functools.partial(_tried, _struct, tuple(item.cls for item in rest))
    else:
        make = _maker_for(rest[0], name)

    def optional(value: Any, where: str, replaced: dict[str, str]) -> Any:
        made = None if value is None else make(value, where, replaced)
        return None if made is _MISSING else made

    return optional


def _struct(kinds: tuple[Any, ...], value: Any, where: str, replaced: dict[str, str]) -> Any:
    kind: Any = type(value)
    if kind not in kinds:
        return _gone(value, where, replaced)
    made = {
        name: make(getattr(value, name), f"{where}.{name}", replaced)
        for name, make in _makers_of(kind)
    }
    # It raises where a field that it must have could not be made.
    return kind(**{name: item for name, item in made.items() if item is not _MISSING})


def _sequence(make: _Make, value: Any, where: str, replaced: dict[str, str]) -> Any:
    if isinstance(value, (str, bytes, Mapping)):
        value = (value,)
    items = list(islice(value, _ITEMS_LIMIT))
    made = (make(item, f"{where}[{number}]", replaced) for number, item in enumerate(items))
    return tuple(item for item in made if item is not _MISSING)


def _gone(value: Any, where: str, replaced: dict[str, str]) -> Any:
    replaced[where] = f"it was {describe(value)}"
    return _MISSING


def _is_text(value: Any, limit: int = EVENT_TEXT_LIMIT) -> bool:
    return (
        type(value) is str
        and len(value) <= limit
        and (value.isascii() or exact_text(value) is value)
    )


def _text(limit: int | None, value: Any, where: str, replaced: dict[str, str]) -> str:
    if issubclass(type(value), str):  # its class is not asked for: that may raise
        text = exact_text(value)
    elif limit is None:
        replaced[where] = f"it was {describe(value)}"
        return "null"
    else:
        text = readable(value)
        if not issubclass(type(value), (int, float)):  # of a number, its text says all
            replaced[where] = f"it was {describe(value)}"
    if limit is None or len(text) <= limit:
        return text
    replaced[where] = f"it was a text of {len(text)} characters"
    return f"{text[: limit - 1]}…"


def _whole(highest: int, value: Any, where: str, replaced: dict[str, str]) -> Any:
    number = int(value) if isinstance(value, (int, float)) else int(value.__index__())
    lowest = 0 if highest == _LIMITS["progress"] else -_INT64
    if lowest <= number <= highest:
        return number
    replaced[where] = f"it was {describe(value)}"
    return highest if number > 0 else lowest


def _real(_: None, value: Any, where: str, replaced: dict[str, str]) -> Any:
    number = float(value)
    return number if math.isfinite(number) else _gone(number, where, replaced)


def _truth(_: None, value: Any, *_place: Any) -> Any:
    return bool(value)


def _member(kind: type[Enum], value: Any, *_place: Any) -> Any:
    return kind(int(value))


def _literal(known: tuple[Any, ...], value: Any, where: str, replaced: dict[str, str]) -> Any:
    text = readable(value, 100)
    return text if text in known else _gone(value, where, replaced)


def _is_text_mapping(value: Any) -> bool:
    return type(value) is dict and all(map(_is_text, value)) and all(map(_is_text, value.values()))


def _text_mapping(_: None, value: Any, where: str, replaced: dict[str, str]) -> Any:
    made: dict[str, str] = {}
    for key, item in islice(value.items(), _ITEMS_LIMIT):
        name = exact_text(key) if issubclass(type(key), str) else readable(key)
        made[name] = _text(EVENT_TEXT_LIMIT, item, f"{where}[{name[:80]!r}]", replaced)
    return made


def _data(_: None, value: Any, *_place: Any) -> Any:
    return plain_data(value)


_MAKERS: Final[dict[type, Callable[..., Any]]] = {
    inspect.StrType: _text,
    inspect.IntType: _whole,
    inspect.FloatType: _real,
    inspect.BoolType: _truth,
    inspect.EnumType: _member,
    inspect.LiteralType: _literal,
    inspect.DictType: _text_mapping,
    inspect.StructType: _struct,
}
