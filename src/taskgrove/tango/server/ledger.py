"""The commands of a device, and the values of its attributes.

The ledger is the server's whole memory of long-running commands: it takes updates and returns the
events of each, in the order in which real devices send them (result, progress, status, in
progress, ``_lrcEvent``, queue, executing, finished). It does no I/O and knows nothing of TANGO.

Threads: a ledger holds no lock; its owner guards it with one and never sends an
event while holding that.
"""

from __future__ import annotations

import math
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.control_model import TaskStatus
from taskgrove.tango.server.dialect import UNSET, Dialect, RawText, encode_result, json_of

#: Commands that wait, at most; one more is rejected.
MAX_QUEUED: Final = 32
#: Commands that run at once, at most: one, and the aborts of it.
MAX_EXECUTING: Final = 4
#: Finished commands that ``lrcFinished`` keeps.
MAX_FINISHED: Final = 100
#: Commands that the attributes of v1 list, at most; also the length of ``lrcQueue``.
MAX_TRACKED: Final = 66
#: How long the attributes of v1 keep a finished command, in seconds.
FINISHED_KEPT_S: Final = 10.0

_WAITING: Final = (TaskStatus.STAGING, TaskStatus.QUEUED)
_RUNNING: Final = TaskStatus.IN_PROGRESS

Push = tuple[str, Any]
"""An event to send: the attribute's name and its value."""


@dataclass(slots=True)
class CommandRecord:
    """One command, as the ledger remembers it."""

    uid: str
    name: str
    submitted_at: datetime
    status: TaskStatus | None = None
    progress: int | None = None
    result: Any = UNSET
    started_at: datetime | None = None
    finished_at: datetime | None = None
    forget_at: float = math.inf

    @property
    def is_final(self) -> bool:
        """True when the command has ended."""
        return self.status is not None and self.status.is_final


def new_command_id(name: str, wall_s: float) -> str:
    """Return an id in the field's form, ``<time>_<number>_<name>``; clients treat it as opaque."""
    return f"{wall_s}_{uuid.uuid4().fields[-1]}_{name}"


class CommandLedger:
    """The commands of one device."""

    def __init__(self, dialect: Dialect | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.dialect = dialect or Dialect()
        self._clock = clock
        self._known: dict[str, CommandRecord] = {}
        self._finished: deque[str] = deque(maxlen=MAX_FINISHED)
        self._last_result: tuple[str, str] | None = None
        self._readers: dict[str, Callable[[], Any]] = {
            "longRunningCommandStatus": self._read_status,
            "longRunningCommandProgress": self._read_progress,
            "longRunningCommandResult": lambda: list(self._last_result or ("", "")),
            "longRunningCommandIDsInQueue": lambda: [record.uid for record in self._v1_records()],
            "longRunningCommandsInQueue": lambda: [record.name for record in self._v1_records()],
            "longRunningCommandInProgress": self._read_in_progress,
            "lrcProtocolVersions": lambda: list(self.dialect.versions),
            "_lrcEvent": list,
            "lrcQueue": lambda: [self._describe(record) for record in self._in(*_WAITING)],
            "lrcExecuting": lambda: [self._describe(record) for record in self._in(_RUNNING)],
            "lrcFinished": lambda: list(self._finished),
        }

    def add(self, name: str) -> str:
        """Note a new command and return its id; it has no status yet."""
        now = self._clock.wall_ns() / 1e9
        record = CommandRecord(new_command_id(name, now), name, datetime.fromtimestamp(now, UTC))
        self._make_room()
        self._known[record.uid] = record
        return record.uid

    def update(
        self,
        uid: str,
        *,
        status: TaskStatus | None = None,
        progress: int | None = None,
        result: Any = UNSET,
    ) -> list[Push]:
        """Note a change and return the events to send for it, in order.

        A command that has ended, or is not known, is not changed: no events.
        """
        record = self._known.get(uid)
        if record is None or record.is_final:
            return []
        before = record.status
        if progress is not None:
            record.progress = int(progress)
        if result is not UNSET:
            record.result = msgspec.Raw(json_of(result))
            self._last_result = (uid, encode_result(result))
        if status is not None:
            self._move(record, status)
        return list(self._events(record, before, status, progress, result))

    def _move(self, record: CommandRecord, status: TaskStatus) -> None:
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC)
        record.status = status
        if status is _RUNNING and record.started_at is None:
            record.started_at = now
        if status.is_final:
            record.finished_at = now
            record.forget_at = self._clock.monotonic() + FINISHED_KEPT_S
            self._finished.append(self._describe(record))

    def _events(
        self,
        record: CommandRecord,
        before: TaskStatus | None,
        status: TaskStatus | None,
        progress: int | None,
        result: Any,
    ) -> Iterator[Push]:
        changed: dict[str, Any] = {}
        if result is not UNSET:
            yield self._push("longRunningCommandResult")
            changed["result"] = result if isinstance(result, RawText) else record.result
        if progress is not None:
            yield self._push("longRunningCommandProgress")
            changed["progress"] = record.progress
        if status is not None:
            if before is None:
                yield self._push("longRunningCommandIDsInQueue")
                yield self._push("longRunningCommandsInQueue")
            yield self._push("longRunningCommandStatus")
            changed["status"] = int(status)
            if _RUNNING in (before, status):
                yield self._push("longRunningCommandInProgress")
        if self.dialect.protocol == "v2":
            yield from self._v2_events(record, before, status, changed)

    def _v2_events(
        self,
        record: CommandRecord,
        before: TaskStatus | None,
        status: TaskStatus | None,
        changed: dict[str, Any],
    ) -> Iterator[Push]:
        result = changed.get("result")
        if isinstance(result, RawText):
            text = str(result)
        else:
            text = json_of(
                {key: changed[key] for key in ("status", "progress", "result") if key in changed}
            ).decode()
        yield ("_lrcEvent", [record.uid, text])
        if status is not None and (before in (None, *_WAITING) or status in _WAITING):
            yield self._push("lrcQueue")
        if _RUNNING in (before, status):
            yield self._push("lrcExecuting")
        if status is not None and status.is_final:
            yield self._push("lrcFinished")

    def read(self, attribute_name: str) -> Any:
        """Return the value of an attribute now.

        Raises:
            KeyError: The protocol has no such attribute.
        """
        return self._readers[attribute_name]()

    def status_name(self, uid: str) -> str:
        """Return the status' name, ``NOT_FOUND`` for a command that is not known (any more)."""
        self._prune()
        record = self._known.get(uid)
        return "NOT_FOUND" if record is None or record.status is None else record.status.name

    def _push(self, attribute_name: str) -> Push:
        return (attribute_name, self.read(attribute_name))

    def _v1_records(self) -> list[CommandRecord]:
        self._prune()
        return [record for record in self._known.values() if record.status is not None]

    def _in(self, *statuses: TaskStatus) -> list[CommandRecord]:
        return [record for record in self._known.values() if record.status in statuses]

    def _read_status(self) -> list[str]:
        known = ((record.uid, record.status) for record in self._v1_records())
        return [t for uid, status in known if status is not None for t in (uid, status.name)]

    def _read_progress(self) -> list[str]:
        known = ((record.uid, record.progress) for record in self._in(_RUNNING))
        return [text for uid, done in known if done is not None for text in (uid, str(done))]

    def _read_in_progress(self) -> list[str]:
        names = [record.name for record in self._in(_RUNNING)]
        if self.dialect.protocol == "old":
            return [*names, "", ""][:2]
        return names

    def _describe(self, record: CommandRecord) -> str:
        entry: dict[str, Any] = {"uid": record.uid, "name": record.name}
        if self.dialect.submitted_time != "absent":
            misspelt = self.dialect.submitted_time == "misspelt"
            entry["sumbitted_time" if misspelt else "submitted_time"] = _iso(record.submitted_at)
        if record.started_at is not None:
            entry["started_time"] = _iso(record.started_at)
        if record.is_final:
            entry["finished_time"] = _iso(record.finished_at)
            entry["status"] = record.status.name if record.status is not None else ""
            if record.result is not UNSET:
                entry["result"] = record.result
        elif record.progress is not None:
            entry["progress"] = record.progress
        return json_of(entry).decode()

    def _prune(self) -> None:
        """Forget commands that ended longer ago than the attributes of v1 keep them."""
        now = self._clock.monotonic()
        for record in [item for item in self._known.values() if item.forget_at <= now]:
            del self._known[record.uid]

    def _make_room(self) -> None:
        """Keep the list within the attributes' length: the oldest finished go first."""
        self._prune()
        ended = [record.uid for record in self._known.values() if record.is_final]
        for uid in ended[: max(0, len(self._known) - MAX_TRACKED + 1)]:
            del self._known[uid]


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
