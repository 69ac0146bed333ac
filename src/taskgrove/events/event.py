"""The event: an immutable fact about one node of one run, and its line of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events.details import EventDetail

#: Version of the event schema; a reader refuses a major version that it does not know.
SCHEMA_VERSION: Final = 1

EventKind: TypeAlias = Literal["composed", "queued", "started", "progress", "finished", "note"]


class TaskEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One immutable fact about one node of one run.

    Attributes:
        schema: Version of the event schema.
        run_id: The run.
        sequence: Number of the event in its run, from 1, without gaps.
        sequence_from: First number of the range that a coalesced progress event replaces; None
            for an ordinary event.
        path: Path of the node, such as ``configure/configure_pst/pst-beam-01``.
        kind: The kind of the event.
        attempt: The attempt of a leaf, from 1.
        status: The node's status after the event.
        result_code: The node's result code, when known.
        progress: Percent done, 0..100, when known.
        message: The node's message, or the text of a note.
        devices: Devices involved.
        failed_devices: Devices that failed.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        monotonic_s: Monotonic time of the process that made the event, in seconds.
        wall_ns: UTC, nanoseconds since the epoch.
        detail: The facts that belong to the kind.
        replaced: Fields (``message``, ``detail.summary``) whose value could not be written and was
            replaced by words, and what it was; ``event`` stands for the whole of it. None: none.
    """

    schema: int = msgspec.field(default_factory=lambda: SCHEMA_VERSION)  # so it is always written
    run_id: str
    sequence: int
    sequence_from: int | None = None
    path: str
    kind: EventKind
    attempt: int = 1
    status: TaskStatus | None = None
    result_code: ResultCode | None = None
    progress: int | None = None
    message: str = ""
    devices: tuple[str, ...] = ()
    failed_devices: tuple[str, ...] = ()
    health_state: str | None = None
    monotonic_s: float
    wall_ns: int
    detail: EventDetail | None = None
    replaced: dict[str, str] | None = None


Observer: TypeAlias = Callable[[TaskEvent], object]


class SubtaskFacts(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The facts that progress of a subtask tells besides the percentage; they rarely change.

    Two are never equal: a subtask that changes gets new ones, even if it changes back, so that
    all drafts with the same facts differ in nothing but the percentage.

    Attributes:
        run_id: As :class:`TaskEvent`; so are all that follow.
    """

    run_id: str
    path: str
    result_code: ResultCode | None = None
    message: str = ""
    devices: tuple[str, ...] = ()
    failed_devices: tuple[str, ...] = ()
    health_state: str | None = None


class ProgressDraft(msgspec.Struct, frozen=True, gc=False):
    """Progress of a running subtask of which no event was made yet.

    In a burst, most of them are overtaken before their event is needed, and making the event is
    expensive.

    Attributes:
        facts: The facts besides the percentage.
        sequence: As :class:`TaskEvent`; so are all that follow, except:
        clock_offset_ns: The lead of the wall clock (UTC) over the monotonic one, in nanoseconds.
    """

    facts: SubtaskFacts
    sequence: int
    progress: int
    monotonic_s: float
    clock_offset_ns: int

    def event(self, sequence_from: int | None = None) -> TaskEvent:
        """Return the event.

        Args:
            sequence_from: First number of the range that it replaces, where it replaces others.
        """
        facts = self.facts
        return TaskEvent(
            run_id=facts.run_id,
            sequence=self.sequence,
            sequence_from=sequence_from,
            path=facts.path,
            kind="progress",
            status=TaskStatus.IN_PROGRESS,
            result_code=facts.result_code,
            progress=self.progress,
            message=facts.message,
            devices=facts.devices,
            failed_devices=facts.failed_devices,
            health_state=facts.health_state,
            monotonic_s=self.monotonic_s,
            wall_ns=self.clock_offset_ns + int(self.monotonic_s * 1e9),
        )


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(TaskEvent)


def encode_event(event: TaskEvent) -> bytes:
    """Return the event as one line of JSON, without the line's end; never raises.

    A value that cannot be written is replaced by words (:attr:`TaskEvent.replaced`).
    """
    try:
        return _ENCODER.encode(event)
    except Exception:  # noqa: BLE001 - anything may have been put into it
        from taskgrove.events.plain_event import plain_event  # noqa: PLC0415 - it needs this module

        return _ENCODER.encode(plain_event(event))


def decode_event(line: bytes | str) -> TaskEvent:
    """Return the event that a line of JSON holds.

    Raises:
        msgspec.ValidationError: The line is JSON, but not an event, or one of a newer
            schema; the text says where.
        msgspec.DecodeError: The line is not JSON.
    """
    event = _DECODER.decode(line)
    if event.schema > SCHEMA_VERSION:
        raise msgspec.ValidationError(
            f"the event has schema {event.schema}, this version reads up to {SCHEMA_VERSION}"
        )
    return event
