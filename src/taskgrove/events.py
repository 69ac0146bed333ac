"""The one stream of events that everything observes.

A :class:`TaskEvent` is an immutable fact about one node of one run. The same
bytes are the record, the wire format (JSON) and the source of a replay.

Threads: :meth:`EventBus.publish`, :meth:`EventBus.subscribe` and
:meth:`Subscription.close` may be called by any thread. ``_lock`` guards the
tuple of observers only, and is never held while an observer is called. An
observer is called synchronously by whichever thread made the change, so all it
may do is enqueue; across threads it can get two events slightly out of order
and orders them by :attr:`TaskEvent.sequence` (SPEC S4.9).
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.control_model import ResultCode, TaskStatus

_LOGGER = logging.getLogger(__name__)

#: Version of the event schema; a reader refuses a major version that it does not know.
SCHEMA_VERSION: Final = 1

#: An observer whose single call takes longer than this is detached at once.
STALL_LIMIT_S: Final = 1.0
#: An observer that takes longer than this in ``SLOW_CALLS_LIMIT`` calls running is detached.
SLOW_LIMIT_S: Final = 0.05
SLOW_CALLS_LIMIT: Final = 5

EventKind: TypeAlias = Literal["composed", "queued", "started", "progress", "finished", "note"]
ExecutionKind: TypeAlias = Literal["SEQUENTIAL", "PARALLEL", "INTERNAL", "DEVICE", "ANALYSIS"]


class ComposedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="composed"):
    """The whole node, as it was composed.

    Attributes:
        execution: How the node is executed.
        children: Names of the children, in order; empty for a leaf.
        rule: The explicit rule, as a line for people (``quorum 0.8``), or None.
        timeout_s: The limit set on this node, in seconds; None means no limit.
        retries: How often a leaf may be tried again.
        root: True for the root of the tree.
        operation: The operation handed to the rules.
        obs_mode: The observation mode handed to the rules.
        target: The device, or the object, that a leaf acts on, as a name.
        command_name: The command or method of a leaf.
        pst_group: Whether the node is aggregated as a group of PST beams; None: by its name.
        skip_subtasks: Whether a failure makes the rest of a sequence casualties.
        notes: What the composer left out and why, and limits that cannot be enforced.
        address: How a device is reached, where its name alone is not enough; None otherwise.
    """

    execution: ExecutionKind
    children: tuple[str, ...] = ()
    rule: str | None = None
    timeout_s: float | None = None
    retries: int = 0
    root: bool = False
    operation: str | None = None
    obs_mode: str | None = None
    target: str | None = None
    command_name: str | None = None
    pst_group: bool | None = None
    skip_subtasks: bool = False
    notes: tuple[str, ...] = ()
    address: str | None = None


class StartedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="started"):
    """What runs outside: enough to find it again.

    Attributes:
        outside_kind: ``command`` (a TANGO command id), ``process`` (a pid), ``job``, or None.
        outside_id: The id itself, opaque.
    """

    outside_kind: str | None = None
    outside_id: str | None = None


class FinishedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="finished"):
    """How the end was decided.

    Attributes:
        rule: The rule that decided, or None for a leaf.
        succeeded: How many children succeeded.
        needed: How many had to, or None where the rule has no number.
        total: Of how many.
        line: The same, as a line for people.
        skipped: True for a step that was not run because an earlier one failed.
        severe: True when the outcome was severe by SPEC S3.5.
        error: The error that ended it, as text.
    """

    rule: str | None = None
    succeeded: int | None = None
    needed: int | None = None
    total: int | None = None
    line: str | None = None
    skipped: bool = False
    severe: bool = False
    error: str | None = None


class NoteDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="note"):
    """Something worth telling that changes no status.

    Attributes:
        topic: One of ``abort-asked``, ``abort-acknowledged``, ``abort-ended``, ``abandoned``,
            ``timeout``, ``retry``, ``late``, ``refused``, ``reconciled``, ``limit``,
            ``observer``, ``operator``, ``reused``, ``recovered``, ``lost``, ``info``.
        data: Small facts that belong to it, as text.
    """

    topic: str
    data: dict[str, str] = {}


class AnalysisDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="analysis"):
    """How an analysis was run, and what it gave: enough to run it again (a note's detail).

    Attributes:
        analysis: The analysis' name.
        parameters: The validated parameters, as one line of JSON.
        environment: The exact environment, secrets redacted.
        argv: The command line.
        cwd: The working folder.
        host: Where it ran.
        user: As whom.
        pid: Its process.
        versions: The versions of the code and of the packages, by name.
        communicators: Each communicator, described, in order.
        poll_interval_s: Period of the reconciling poll, in seconds.
        status: The name of the analysis' own status (``COMPLETED``, ``TIMEDOUT``, ...).
        summary: The result's short summary.
        impl_schemas: The declared contracts of the result, or None.
        payload: The payload, or the reference to it (path, size, hash), as one line of JSON.
        return_code: The exit status of the process, negative for a signal; None: unknown.
        duration_s: How long the process ran, in seconds.
        cpu_s: Processor time of the process and its children, in seconds.
        max_rss_bytes: Most memory that a process of it held, in bytes.
    """

    analysis: str
    parameters: str = "{}"
    environment: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    cwd: str = ""
    host: str = ""
    user: str = ""
    pid: int | None = None
    versions: dict[str, str] = {}
    communicators: tuple[str, ...] = ()
    poll_interval_s: float | None = None
    status: str = ""
    summary: str = ""
    impl_schemas: str | None = None
    payload: str = "null"
    return_code: int | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None


class PageDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="page"):
    """A page that was published (a note's detail).

    Attributes:
        display_name: The page's place, such as ``scans/my_motor_scan``.
        file: Where it was written, an absolute path.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
    """

    display_name: str
    file: str
    size_bytes: int
    sha256: str


EventDetail: TypeAlias = (
    ComposedDetail | StartedDetail | FinishedDetail | NoteDetail | AnalysisDetail | PageDetail
)


class TaskEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One immutable fact about one node of one run.

    Attributes:
        schema: Version of the event schema.
        run_id: The run.
        sequence: Number of the event in its run, from 1, without gaps.
        sequence_from: First number of the range that a coalesced progress event replaces; None
            for an ordinary event.
        path: Path of the node, such as ``configure/configure_pst/pst-beam-01``.
        kind: What happened.
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
        detail: What belongs to the kind.
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


Observer: TypeAlias = Callable[[TaskEvent], object]


class ProgressDraft(msgspec.Struct, frozen=True, gc=False):
    """Progress of a running subtask of which no event was made yet.

    In a burst, most of them are overtaken before anybody needs the event, and making it is what
    costs. Attributes are those of the event that it stands for, except:

    Attributes:
        task: Path of the task whose subtask it is.
        name: The subtask's name.
        device: Its device, where ``devices`` names none.
    """

    run_id: str
    sequence: int
    task: str
    name: str
    progress: int
    result_code: ResultCode | None
    message: str
    device: str | None
    devices: list[str] | None
    failed_devices: list[str] | None
    health_state: str | None
    monotonic_s: float
    wall_ns: int

    def event(self, sequence_from: int | None = None) -> TaskEvent:
        """Return the event.

        Args:
            sequence_from: First number of the range that it replaces, where it replaces others.
        """
        devices = self.devices or ((self.device,) if self.device else ())
        return TaskEvent(
            run_id=self.run_id,
            sequence=self.sequence,
            sequence_from=sequence_from,
            path=f"{self.task}/{self.name}",
            kind="progress",
            status=TaskStatus.IN_PROGRESS,
            result_code=self.result_code,
            progress=self.progress,
            message=self.message,
            devices=tuple(devices),
            failed_devices=tuple(self.failed_devices or ()),
            health_state=self.health_state,
            monotonic_s=self.monotonic_s,
            wall_ns=self.wall_ns,
        )


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(TaskEvent)


def encode_event(event: TaskEvent) -> bytes:
    """Return the event as one line of JSON, without the line's end."""
    try:
        return _ENCODER.encode(event)
    except UnicodeEncodeError:
        # A device may say what is no text, such as half of a surrogate pair.
        return _ENCODER.encode(_writable(msgspec.to_builtins(event)))


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


def _writable(value: Any) -> Any:
    """Return plain data in which what no encoding can write, a lone surrogate, is escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    return value


class Subscription:
    """One observer's tie to a bus.

    Attributes:
        detached_reason: Why the bus detached the observer, or None while it is attached.
        essential: Whether the observer stays attached whatever it does.
        takes_drafts: Whether it takes a :class:`ProgressDraft` in place of an event; an observer
            says so by an attribute of this name.
    """

    __slots__ = (
        "_bus", "_slow_calls", "detached_reason", "essential", "observer", "takes_drafts",
    )  # fmt: skip

    def __init__(self, bus: EventBus, observer: Observer, *, essential: bool = False) -> None:
        self._bus = bus
        self._slow_calls = 0
        self.essential = essential
        self.takes_drafts: bool = getattr(observer, "takes_drafts", False)
        self.observer = observer
        self.detached_reason: str | None = None

    def close(self) -> None:
        """End the subscription; calling it twice does no harm."""
        self._bus._remove(self)


class EventBus:
    """The stream of events of one run.

    Args:
        run_id: The run whose events these are.
        clock: Where the events' times come from.
        first_sequence: The first number; above 1 where a run of the record goes on.

    Attributes:
        run_id: The run whose events these are.
        active: True while somebody observes; a producer need not build events otherwise.
        monotonic: Returns the monotonic time of an event that is made now, in seconds.
        wall_ns: Returns its wall time, UTC, nanoseconds since the epoch.
        next_sequence: Takes the next number; whoever takes one must publish an event with it.
    """

    __slots__ = (
        "_lock", "_subscriptions", "active", "monotonic", "next_sequence", "run_id", "wall_ns",
    )  # fmt: skip

    def __init__(
        self, run_id: str, clock: Clock = SYSTEM_CLOCK, *, first_sequence: int = 1
    ) -> None:
        self.run_id = run_id
        self.active = False
        # The machine's clock without a detour: every event asks it twice.
        system = clock is SYSTEM_CLOCK
        self.monotonic: Callable[[], float] = time.monotonic if system else clock.monotonic
        self.wall_ns: Callable[[], int] = time.time_ns if system else clock.wall_ns
        self._lock = threading.Lock()
        # Taken under trackers' locks: a call of Python's own there would be felt (SPEC S4.3).
        self.next_sequence: Callable[[], int] = itertools.count(first_sequence).__next__
        self._subscriptions: tuple[Subscription, ...] = ()

    def subscribe(self, observer: Observer, *, essential: bool = False) -> Subscription:
        """Have ``observer`` called with every event from now on.

        The observer must only enqueue. One that raises or is slow is detached
        and reported (a note on the bus, a line in the log).

        Args:
            observer: What is called.
            essential: True for the record: it is never detached, because a call may take long
                when the machine stood still, and no event may be missed.
        """
        subscription = Subscription(self, observer, essential=essential)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
            self.active = True
        return subscription

    def emit(
        self, path: str, kind: EventKind, *, sequence: int | None = None, **fields: Any
    ) -> None:
        """Build an event now and publish it; does nothing when nobody observes.

        Args:
            path: Path of the node.
            kind: What happened.
            sequence: A number taken earlier with :meth:`next_sequence`, under the
                lock that orders the change; None takes one now.
            **fields: Further fields of :class:`TaskEvent`.
        """
        if sequence is None:
            if not self.active:
                return
            sequence = self.next_sequence()
        self.publish(
            TaskEvent(
                run_id=self.run_id,
                sequence=sequence,
                path=path,
                kind=kind,
                monotonic_s=self.monotonic(),
                wall_ns=self.wall_ns(),
                **fields,
            )
        )

    def publish_draft(self, draft: ProgressDraft) -> None:
        """Publish plain progress; its event is made where somebody needs one. Never raises."""
        others = False
        for subscription in self._subscriptions:
            if not subscription.takes_drafts:
                others = True
                continue
            try:
                subscription.observer(draft)  # type: ignore[arg-type] # it said so
            except Exception:
                _LOGGER.exception("run %s: the record's observer raised", self.run_id)
        if others:
            self.publish(draft.event(), drafted=True)

    def publish(self, event: TaskEvent, *, drafted: bool = False) -> None:
        """Call every observer with ``event``; never raises.

        Args:
            event: The event.
            drafted: Those that take drafts have it already.
        """
        for subscription in self._subscriptions:
            if drafted and subscription.takes_drafts:
                continue
            if subscription.essential:  # never detached, so never timed
                try:
                    subscription.observer(event)
                except Exception:
                    _LOGGER.exception("run %s: the record's observer raised", self.run_id)
                continue
            began = time.perf_counter()
            try:
                subscription.observer(event)
            except Exception as exc:  # noqa: BLE001 - an observer harms nothing (S4.9)
                self._detach(subscription, f"it raised {type(exc).__name__}: {exc}", event.path)
                continue
            took = time.perf_counter() - began
            if took > SLOW_LIMIT_S:
                subscription._slow_calls += 1
                if took > STALL_LIMIT_S or subscription._slow_calls >= SLOW_CALLS_LIMIT:
                    self._detach(subscription, f"it was slow: {took:.3f} s in a call", event.path)
            elif subscription._slow_calls:
                subscription._slow_calls = 0

    def _remove(self, subscription: Subscription) -> bool:
        with self._lock:
            left = tuple(item for item in self._subscriptions if item is not subscription)
            removed = len(left) != len(self._subscriptions)
            self._subscriptions = left
            self.active = bool(left)
        return removed

    def _detach(self, subscription: Subscription, reason: str, path: str) -> None:
        if not self._remove(subscription):
            return
        subscription.detached_reason = reason
        name = getattr(subscription.observer, "__qualname__", None) or repr(subscription.observer)
        text = f"observer {name} was detached: {reason}"
        _LOGGER.warning("run %s: %s", self.run_id, text)
        self.emit(path, "note", message=text, detail=NoteDetail(topic="observer"))
