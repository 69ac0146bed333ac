"""The long-running-command protocol of SKA devices, decoded; pure, without TANGO.

A device reports its commands in several forms: ``_lrcEvent`` and the ``lrc*`` lists
(protocol 2), the ``longRunningCommand*`` attributes (protocol 1), and the reply of the
command call itself. Every function here takes a value from PyTango and returns plain facts.
No value that a device sends raises: a value that cannot be read is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from taskgrove.control_model import ResultCode, TaskStatus, as_task_status
from taskgrove.events import Cause, CauseKind

_DECODE: Final = msgspec.json.Decoder().decode

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Highest version of the protocol that is spoken here.
NEWEST_PROTOCOL: Final = 2
#: Attributes that protocol 1 is followed by, in the order in which a device pushes them.
V1_ATTRIBUTES: Final = (
    "longRunningCommandResult",
    "longRunningCommandProgress",
    "longRunningCommandStatus",
)
#: The attribute that protocol 2 is followed by.
V2_ATTRIBUTES: Final = ("_lrcEvent",)
#: Attributes that a poll reads of a device of protocol 2. A command moves along this list, so
#: reading in this order may see a command twice and never misses one.
V2_LISTS: Final = ("lrcQueue", "lrcExecuting", "lrcFinished")
#: Attributes that a poll reads where the lists are missing: statuses before results, because a
#: device sets the result first.
V1_LISTS: Final = (
    "longRunningCommandStatus",
    "longRunningCommandProgress",
    "longRunningCommandResult",
)


class CommandFacts(NamedTuple):
    """The facts of one message about one command.

    Attributes:
        command_id: The command's id, opaque.
        status: Its status, or None when the message does not say.
        progress: Its progress as the device gave it, or None.
        result: Its result, decoded from JSON where it is JSON; None means that there is none.
        finished_ns: When it ended by the device's clock, UTC, nanoseconds since the epoch, or
            None when the message does not say.
    """

    command_id: str
    status: TaskStatus | None = None
    progress: int | None = None
    result: Any = None
    finished_ns: int | None = None


class ReplyKind(Enum):
    """The meaning of the reply of a command call."""

    ACCEPTED = "accepted"
    """The command runs or waits; the reply holds its id."""
    REJECTED = "rejected"
    """The device refused it; it never started."""
    FINISHED = "finished"
    """The command is over: a short one, or one without an id to follow."""


class Reply(NamedTuple):
    """The reply of a command call.

    Attributes:
        kind: Its meaning.
        command_id: The id, when ACCEPTED, else empty.
        status: QUEUED or IN_PROGRESS when ACCEPTED, else the final status.
        result: The result of the command, when it is over.
        note: A remark about the reply; mostly empty.
        cause: Why the command ended so, where the result alone does not tell it.
        value: The value that a command without a code returned, as plain data; else None.
    """

    kind: ReplyKind
    command_id: str
    status: TaskStatus
    result: Any = None
    note: str = ""
    cause: Cause | None = None
    value: Any = None


def choose_protocol(versions: Any) -> int:
    """Return the protocol version to speak with a device.

    Args:
        versions: The value of ``lrcProtocolVersions`` (lowest, highest); None, or anything that
            is not a pair of numbers, stands for a device that lacks it: (1, 1).
    """
    try:
        highest = int(versions[1])
    except (TypeError, ValueError, IndexError, KeyError):
        return 1
    return max(1, min(highest, NEWEST_PROTOCOL))


def command_name_of(command_id: str) -> str:
    """Return the command's name, which ends its id, or an empty text for a foreign form."""
    head, _, name = command_id.rpartition("_")
    return name if head else ""


def decode_result(text: Any) -> Any:
    """Return a result as data: JSON text decoded, anything else as it came; empty means None."""
    if not isinstance(text, str):
        return text
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text


def is_data(result: Any) -> bool:
    """Return True for a result that is neither a pair nor a code, but a value.

    A long-running command may give any JSON value. A list of two that begins with a number and
    ends with a text is a pair, also where its code is unknown.
    """
    if result is None or isinstance(result, (str, bool)):
        return False
    if isinstance(result, int):
        return result not in ResultCode.__members__.values()
    return not (isinstance(result, (list, tuple)) and len(result) == 2 and _is_pair(*result))


def _is_pair(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        if len(first) != 1 or len(second) != 1:
            return False
        first, second = first[0], second[0]
    if not (second is None or isinstance(second, str)):
        return False
    if isinstance(first, str):
        word = first.strip().removeprefix("ResultCode.")
        return word in ResultCode.__members__ or word.lstrip("+-").isdecimal()
    if isinstance(first, float):
        return first.is_integer()  # some write whole numbers so
    return isinstance(first, int)


def is_plain(value: Any) -> bool:
    """Return True for data that can be written as JSON again."""
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def decode_progress(value: Any) -> int | None:
    """Return a progress as a whole number, or None when it is none; some devices send text."""
    if value.__class__ is int:
        return value
    if value is None or isinstance(value, bool):
        return None
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def decode_moment(value: Any) -> int | None:
    """Return an instant in ISO 8601 as nanoseconds since the epoch, or None when it is none.

    Without an offset it is UTC, as devices of the field write it.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        return None
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def decode_status(value: Any) -> TaskStatus | None:
    """Return a status given as a number, a numeral or a name, or None when it is none."""
    if value is None:
        return None
    status = as_task_status(value)
    if status is None and isinstance(value, str) and value.strip().isdecimal():
        status = as_task_status(int(value))
    return status


#: The field of the facts that an attribute of protocol 1 fills, and its decoder.
_V1_PARTS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "longRunningCommandStatus": ("status", decode_status),
    "longRunningCommandProgress": ("progress", decode_progress),
    "longRunningCommandResult": ("result", decode_result),
}


def decode_event(slot: str, value: Any) -> list[CommandFacts]:
    """Return the facts of one change event.

    Args:
        slot: The attribute's name.
        value: The attribute's value as PyTango gives it: pairs of an id and a text.
    """
    if slot == "_lrcEvent":
        return _decode_lrc_event(value)
    if slot not in _V1_PARTS:
        return []
    part, decode = _V1_PARTS[slot]
    decoded = ((uid, decode(text)) for uid, text in _pairs(value))
    return [CommandFacts(uid, **{part: fact}) for uid, fact in decoded if fact is not None]


def decode_list(slot: str, value: Any) -> list[CommandFacts]:
    """Return the facts of ``lrcQueue``, ``lrcExecuting`` or ``lrcFinished``.

    Every key but ``uid`` is optional; a list's name stands in for a status that is missing.
    """
    facts = []
    for text in _texts(value):
        entry = _load(text)
        if not isinstance(entry, dict) or not isinstance(entry.get("uid"), str):
            continue
        status = decode_status(entry.get("status"))
        told = "status" not in entry or (status is not None and status.is_final)
        if slot == "lrcQueue":
            status = TaskStatus.QUEUED
        elif slot == "lrcExecuting":
            status = TaskStatus.IN_PROGRESS
        elif status is None or not status.is_final:
            status = TaskStatus.COMPLETED
        over = slot == "lrcFinished"
        result = decode_result(entry.get("result")) if over else None
        if over and result is None and not told:
            # The command is over; it is not known whether it ended well.
            result = [int(ResultCode.UNKNOWN), f"unknown final status: {entry['status']!r:.80}"]
        facts.append(
            CommandFacts(
                entry["uid"],
                status,
                decode_progress(entry.get("progress")),
                result,
                decode_moment(entry.get("finished_time")) if over else None,
            )
        )
    return facts


def decode_reply(value: Any, *, coded: bool = True, command_name: str = "") -> Reply:
    """Return the meaning of the reply of a command call, of any type.

    Args:
        value: The reply as PyTango gives it.
        coded: Whether the command's type is the protocol's, ``DevVarLongStringArray``; any
            other reply is the value of a short command that has ended.
        command_name: The command that was called: ``AbortCommands`` answers STARTED with a
            sentence in place of an id.
    """
    pair = _code_and_text(value) if coded else None
    if pair is None:
        result, cause = _plain_result(value), None
        if result is False:
            result = (ResultCode.FAILED, f"{command_name or 'the command'} returned False")
            cause = Cause(kind="reported")
        value = None if coded or isinstance(value, bool) else _plain_value(value)
        return Reply(ReplyKind.FINISHED, "", TaskStatus.COMPLETED, result, cause=cause, value=value)
    code, text = pair
    if code in (ResultCode.QUEUED, ResultCode.STARTED):
        if text and command_name.lower() != "abortcommands":
            queued = code == ResultCode.QUEUED
            status = TaskStatus.QUEUED if queued else TaskStatus.IN_PROGRESS
            return Reply(ReplyKind.ACCEPTED, text, status)
        reply = Reply(ReplyKind.ACCEPTED, text, TaskStatus.IN_PROGRESS)
        return end_by_reply(reply, "the device gave no command id")
    if code in (ResultCode.REJECTED, ResultCode.NOT_ALLOWED):
        reason = text or "the device gave no reason"
        kind: CauseKind = "refused" if code == ResultCode.REJECTED else "not_allowed"
        cause = Cause(kind=kind, said=text)
        return Reply(ReplyKind.REJECTED, "", TaskStatus.REJECTED, (code, reason), cause=cause)
    return Reply(ReplyKind.FINISHED, "", TaskStatus.COMPLETED, (code, text))


def end_by_reply(reply: Reply, why: str) -> Reply:
    """Return an accepting reply as the end of the command, because no more can come."""
    note = f"{why}, so its reply is taken as the end"
    result = (ResultCode.OK, reply.command_id)
    return Reply(ReplyKind.FINISHED, "", TaskStatus.COMPLETED, result, note)


def _decode_lrc_event(value: Any) -> list[CommandFacts]:
    facts = []
    for uid, text in _pairs(value):
        content = _load(text)
        if not isinstance(content, dict):
            continue
        get = content.get
        facts.append(
            CommandFacts(
                uid,
                decode_status(get("status")),
                decode_progress(get("progress")),
                decode_result(get("result")),
            )
        )
    return facts


def _load(text: Any) -> Any:
    """Return the data of a JSON text, or None when it is none; ``NaN`` counts as a number."""
    if not isinstance(text, str):
        return None
    try:
        return _DECODE(text)
    except (msgspec.DecodeError, RecursionError):
        # Written by the standard library, which writes NaN, or broken.
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return []
    return [item for item in value if isinstance(item, str)]


def _pairs(value: Any) -> list[tuple[str, str]]:
    if value.__class__ is not tuple:  # as PyTango gives it
        if value is None or isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            return []
        value = tuple(value)
    pairs = zip(value[::2], value[1::2], strict=False)
    return [pair for pair in pairs if isinstance(pair[0], str) and pair[0]]


def _code_and_text(value: Any) -> tuple[int, str] | None:
    """Return ``[[code], [text]]`` as a pair, or None when the value has another form."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    numbers, texts = value
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        return None
    try:
        code = int(numbers[0])
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    text = str(texts[0]) if texts else ""
    return (ResultCode(code) if code in ResultCode.__members__.values() else code, text)


def _plain_value(value: Any) -> Any:
    """Return the value of a short command as plain data; None where it is none."""
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    value = value.tolist() if hasattr(value, "tolist") else value
    plain = value.__class__ in (int, float, str, bool, list)
    return value if plain and is_plain(value) else None


def _plain_result(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value if value is not None else (ResultCode.OK, "")
    # A number is the command's value: a device without the protocol knows no result codes.
    text = str(value)
    return (ResultCode.OK, text if len(text) <= 200 else f"{text[:200]}…")
