"""Recorder: keeps the record of runs as they happen.

The recorder is an observer that only appends to a queue; one thread writes the events in batches,
one transaction and one fsync each. A handle reports its run's end only after the commit that
holds it. Where the record cannot be written, the command goes on: the operator is told at once,
the events are kept aside within bounds, and they are written when that is possible again.

Threads: any thread may call every public method. ``begin_run`` waits until the run's row is kept,
or trouble was told, at most ``patience_s``. The recorder has one writer thread, one that watches
over it once a run has ended, one that looks for requests of operators while a run takes them,
and one that asks for devices while a run waits for them; all end with :meth:`Recorder.close`.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.run_recorder import RunAbout, TakeDevices
from taskgrove.errors import StoreError, TaskgroveError, UsageError
from taskgrove.events import AnalysisDetail, Observer, SteeringAnswer, TaskEvent
from taskgrove.events.foreign_values import plain_data, readable
from taskgrove.events.redacted import without_secrets
from taskgrove.events.steering_request import Steer
from taskgrove.loops.loop import Loop
from taskgrove.loops.threads import spawn
from taskgrove.provenance import user_name, versions
from taskgrove.redaction import Redaction
from taskgrove.store.database.advice import command_line
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.database.location import find_location
from taskgrove.store.database.plain_bytes import clean_text, json_text
from taskgrove.store.recording.device_holds import DeviceHolds
from taskgrove.store.recording.inbox import (
    LEAVE,
    WITHDRAW,
    Answered,
    Begin,
    BeginStage,
    End,
    Inbox,
    Stop,
    Waiter,
    events_in,
)
from taskgrove.store.recording.lease import HEARTBEAT_S, PACKAGES, this_process
from taskgrove.store.recording.outage import Outage
from taskgrove.store.recording.record_link import Link
from taskgrove.store.recording.recorded_run import Ending, RecordedRun
from taskgrove.store.recording.request_watch import RequestWatch
from taskgrove.store.recording.rights import check_rights
from taskgrove.store.recording.run_writer import BrokenRunError, ClaimTakenError
from taskgrove.store.recording.saving import Saver
from taskgrove.store.recording.spill import Spill
from taskgrove.store.recording.telling import Forwarder, Teller
from taskgrove.store.recording.writer import Writer
from taskgrove.store.store import Store

#: How much an outage may keep aside on the disk, in bytes.
SPILL_LIMIT_BYTES: Final = 256 * 2**20
#: How long a run waits for a record that cannot be written, in seconds.
PATIENCE_S: Final = 5.0
#: How long :meth:`Recorder.close` waits for the writer, in seconds.
CLOSE_S: Final = 15.0
#: Columns of a run's row that begin with zero.
_COUNTS: Final = (
    "progress", "last_sequence", "leaf_count", "failed_leaf_count", "retry_count",
    "lost_event_count",
)  # fmt: skip
#: The longest id of a run.
_ID_LIMIT: Final = 200


class Recorder:
    """Records runs; a :class:`~taskgrove.commands.run_recorder.RunRecorder`, a context manager.

    Args:
        store: An open store, which stays open; or its location, as ``Store.open`` takes it.
        redaction: The rule that keeps secrets out; None takes the rule of ``TASKGROVE_REDACT``.
        spill_limit_bytes: How much an outage may keep aside on the disk; in memory, where no
            file can be written, at most 32 MiB.
        spill_folder: The folder for that; None takes the user's state folder.
        on_trouble: Called with a sentence when something goes wrong with the record, and when
            the record is well again; from the recorder's threads. None writes it to the log.
        must_open: Whether a store that cannot be opened is an error at once; else it is an
            outage like any other, and opening it is tried again.
        patience_s: How long the begin or the end of a run waits for a record that does not
            answer, in seconds.
        clock: The wall clock of the record.

    Raises:
        StoreError: The store cannot be opened, or is open for reading only.
        UsageError: ``TASKGROVE_REDACT`` cannot be read.
        MissingExtraError: The extra ``store`` is not installed.
    """

    def __init__(
        self,
        store: Store | str | Path | None = None,
        *,
        redaction: Redaction | None = None,
        spill_limit_bytes: int = SPILL_LIMIT_BYTES,
        spill_folder: Path | None = None,
        on_trouble: Callable[[str], object] | None = None,
        must_open: bool = True,
        patience_s: float = PATIENCE_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._redaction = redaction or Redaction.from_environment()
        self._redaction.remember(dict(os.environ))
        self._clock = clock
        self._patience_s = patience_s
        self._teller = Teller(on_trouble)
        self._forwarder = Forwarder()
        self._inbox = Inbox(self._send_past)
        self._lock = threading.Lock()
        self._closed = False
        self._waiters: set[Waiter] = set()
        given, self.location, self._own_store = _open(store, must_open=must_open)
        again = store.file if isinstance(store, Store) else store
        #: The store, or None where it could not be opened yet.
        self.store: Store | None = given
        spill = Spill(self.location, spill_limit_bytes, spill_folder)
        self._saver = Saver(
            Link(given, lambda: Store.open(again)),
            Outage(spill, self._teller, self.location),
            self._teller,
            self._forwarder,
            clock,
            self.location,
            spill_folder,
        )
        self._writer = Writer(self._inbox, self._saver, self._without_secrets)
        self._watch = Loop("taskgrove-record-watch")
        self._requests = RequestWatch(
            lambda: self._saver.link.store,
            self._give_answer,
            clock,
            is_server=find_location(self.location).file is None,
        )
        self._holds = DeviceHolds(lambda: self._saver.link.store, clock)
        self._thread = spawn("taskgrove-record", self._writer.run)
        atexit.register(self.close)  # a notebook that never closes it loses nothing

    @property
    def trouble(self) -> str | None:
        """Why the record cannot be written at the moment, or None."""
        return self._teller.trouble

    def is_kept(self, run_id: str) -> bool:
        """Return whether a run of this recorder is in the record, with all that came so far.

        False where the run cannot be recorded, and while the record cannot be written.
        """
        return self._teller.trouble is None and run_id not in self._saver.not_kept

    # -- a RunRecorder ------------------------------------------------------------------------

    def begin_run(self, run_id: str, about: RunAbout, *, resumed: bool = False) -> Observer:
        """Make a run known, durably where that is possible, and return its observer.

        Args:
            run_id: The run.
            about: Facts about the run for the record; secrets are redacted.
            resumed: The run is in the record, and goes on.

        Raises:
            UsageError: It claims to resume a run that another run has resumed, or that is not
                in this record.
            StoreError: Its claim cannot be written.
        """
        begin = Begin(RecordedRun(run_id, self._row(run_id, about), self._lease(), resumed))
        state = begin.state
        state.unread = resumed
        state.claim = about.claim
        if len(run_id) > _ID_LIMIT or clean_text(run_id) != run_id:
            state.give_up(f"its id has more than {_ID_LIMIT} characters, or is no plain text")
            self._saver.not_kept.add(run_id)
            self._teller.say(f"run {run_id[:40]}… is not recorded: {state.trouble}")
            if about.claim is not None:
                raise self._not_started(state.trouble, run_id)
        self._inbox.put(begin)
        if self._inbox.is_dead:
            begin.ask(LEAVE)
        try:
            begin.done.wait(self._patience_s)
        finally:  # an interrupt, too, leaves no claim of a run that will not begin
            if about.claim is not None:
                begin.ask(WITHDRAW)
        if begin.error is not None:
            raise self._refused(begin.error) from begin.error
        if begin.stage is BeginStage.WITHDRAWN:
            raise StoreError(
                f"the record at {self.location} does not answer; nothing was started",
                location=self.location,
            )
        if begin.stage is BeginStage.LEFT:
            if about.claim is not None:
                raise self._not_started("the recorder is closed", run_id)
            self._saver.not_kept.add(run_id)
            self._teller.say(f"run {run_id} is not recorded: the recorder is closed")
        elif begin.stage is not BeginStage.KEPT:
            self._tell_stuck()
        return self._inbox.observer()

    def take_requests(self, run_id: str, steer: Steer) -> None:
        """Hand every request of operators in the record to a run from now on, until it ends.

        An answer is kept together with the events that came before it, or after them. Where the
        record cannot be used, requests and answers wait. A request that the run has not answered
        when its end is kept, is answered then.

        Args:
            run_id: The run; it has begun.
            steer: Takes a request at once, on a thread of the recorder that holds no lock.
        """
        self._requests.add(run_id, steer)

    def hold_devices(
        self, run_id: str, devices: Sequence[ExclusiveDevice], take: TakeDevices
    ) -> None:
        """Have a run hold its devices as soon as no other run of the record holds one.

        Where the record cannot be used, the run waits.

        Args:
            run_id: The run; it has begun.
            devices: The devices.
            take: Called with each other run that holds a device, then once with None.
        """
        self._holds.hold(run_id, devices, take)

    def end_run(
        self, run_id: str, outcome: AggregationOutcome, when_kept: Callable[[], None]
    ) -> None:
        """Take the outcome; call ``when_kept`` once, when every event of the run is durable.

        In an outage it is called when all is kept aside on the disk, or else after
        ``patience_s``; the trouble has been told by then.
        """
        self._requests.remove(run_id)
        self._holds.forget(run_id)
        waiter = Waiter(run_id, when_kept)
        health = outcome.health_state
        ending = Ending(
            int(outcome.status),
            int(outcome.result),
            None if health is None else _text(health),
            self._redaction.said(_text(outcome.message)),
            self._clock.wall_ns(),
        )
        with self._lock:
            is_watched = not self._closed
            if is_watched:
                self._waiters.add(waiter)
        self._inbox.put(End(run_id, ending, waiter))
        if self._inbox.is_dead:  # the writer will not take it
            waiter.release()
        elif is_watched:
            self._watch.after(self._patience_s, partial(self._let_go, waiter))
        else:  # closed, but the writer hangs
            self._let_go(waiter)

    def forward(self, run_id: str, observer: Observer) -> None:
        """Have an observer hear a run's events once they are kept, or trouble was told.

        A crash loses no event that such an observer has seen. Call this before the run is
        submitted, so that no event is missed.

        Args:
            run_id: The run.
            observer: Called from the recorder's threads; it must only enqueue.
        """
        self._forwarder.add(run_id, observer)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write the rest and end the threads.

        Args:
            timeout_s: The most to wait for that, in seconds.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._requests.stop(self._patience_s)
        self._holds.stop(self._patience_s)
        self._inbox.put(Stop())
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._tell_stuck()
        for waiter in tuple(self._waiters):
            self._watch.post(self._let_go, waiter)
        self._watch.stop(self._patience_s)
        if self._own_store is not None:
            self._own_store.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _not_started(self, why: str, run_id: str) -> StoreError:
        return StoreError(
            f"run {run_id[:40]} cannot be recorded, and was not started: {why}",
            location=self.location,
        )

    def _refused(self, error: Exception) -> TaskgroveError:
        if isinstance(error, ClaimTakenError):
            return UsageError(
                f"run {error.run_id} has been resumed meanwhile, by run {error.by}; nothing was"
                " started",
                hint=f"{command_line(self.location, 'runs', 'show', error.by)} shows its progress",
            )
        if isinstance(error, BrokenRunError):
            return UsageError(f"nothing was started: {error}")
        told = error if isinstance(error, StoreError) else store_error(error, self.location)
        return StoreError(
            f"{told.message}; nothing was started", location=self.location, hint=told.hint
        )

    # -- parts --------------------------------------------------------------------------------

    def _row(self, run_id: str, about: RunAbout) -> dict[str, Any]:
        now_ns = self._clock.wall_ns()
        argv = [_text(word) for word in about.argv]
        self._redaction.remember(argv)
        labels = {_text(name): _text(value) for name, value in about.labels.items()}
        labels = self._redaction.plain(labels)
        parent = about.parent_run_id
        return {
            "run_id": run_id,
            "command": _text(about.command)[:400],
            "state": "running",
            "message": "",
            "created_ns": now_ns,
            "last_ns": now_ns,
            **dict.fromkeys(_COUNTS, 0),
            "parent_run_id": None if parent is None else _text(parent)[:_ID_LIMIT],
            "source": self._json_of(about.source),
            "argv": json_text(self._redaction.argv(argv)),
            "labels": json_text(labels),
            "versions": json_text(versions(PACKAGES)),
            "host": this_process().host,
            "user": user_name(),
            "state_note": "",
            "label_values": labels,
        }

    def _json_of(self, source: Mapping[str, Any]) -> str:
        def redacted(data: Any) -> str:
            self._redaction.remember(data)
            return json_text(self._redaction.plain(data))

        try:
            return redacted(source)
        except Exception:  # noqa: BLE001 - it holds foreign values
            return redacted(plain_data(source))

    def _lease(self) -> dict[str, Any]:
        return {**this_process()._asdict(), "interval_s": HEARTBEAT_S}

    def _without_secrets(self, event: TaskEvent) -> TaskEvent:
        detail = event.detail
        if isinstance(detail, AnalysisDetail):
            self._redaction.remember(detail.environment)
        return without_secrets(event, self._redaction)

    def _give_answer(self, run_id: str, answer: SteeringAnswer) -> None:
        self._inbox.put(Answered(run_id, answer))

    def _send_past(self, event: TaskEvent) -> None:
        self._forwarder.send_ahead(event.run_id, lambda: [event])

    def _let_go(self, waiter: Waiter) -> None:
        """Release a waiter whose patience is over: the writer may hang in a call of the system."""
        self._waiters.discard(waiter)
        if waiter.is_released:
            return
        if not self._inbox.is_dead:  # else the writer has handed on everything
            self._tell_stuck()
            self._forwarder.send_ahead(waiter.run_id, partial(self._left_of, waiter.run_id))
        waiter.release()

    def _left_of(self, run_id: str) -> list[TaskEvent]:
        items = [*self._writer.in_hand, *self._inbox.snapshot()]
        return [event for event in events_in(items) if event.run_id == run_id]

    def _tell_stuck(self) -> None:
        self._teller.begin(
            f"the record at {self.location} does not answer; the command goes on, and its events"
            " are written as soon as possible"
        )


def _text(value: Any) -> str:
    """Return a value as a text that every database takes."""
    return clean_text(value if type(value) is str else readable(value))


def _open(
    store: Store | str | Path | None, *, must_open: bool
) -> tuple[Store | None, str, Store | None]:
    """Return the store, its location, and the store again where the recorder closes it."""
    if isinstance(store, Store):
        if store.read_only:
            raise StoreError(
                f"the record at {store.location} was opened for reading only",
                location=store.location,
            )
        check_rights(store)
        return store, store.location, None
    try:
        opened = Store.open(store)
    except StoreError:
        if must_open:
            raise
        return None, find_location(store).shown, None
    if must_open:
        try:
            check_rights(opened)
        except BaseException:
            opened.close()
            raise
    return opened, opened.location, opened
