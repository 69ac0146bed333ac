"""Executes the long-running commands of one served device, one after the other.

An engine owns the device's ledger and two threads: the worker, which runs commands, and the
pusher, which sends events. It knows TANGO only by the function that sends an event, so it can
be driven without a server.

Threads: every public method may be called by any thread, and none of them waits for another
thread but :meth:`LrcEngine.close`. ``_lock`` guards the ledger, ``_live``, ``_aborts`` and
``closing``; it is not held while an event is sent, because sending needs the device's monitor,
which a command handler that is waiting for ``_lock`` already holds: that deadlock stalls real
devices for seconds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.loops.loop import Loop
from taskgrove.loops.outbox import Outbox
from taskgrove.loops.threads import Action, ThreadContext
from taskgrove.tango.server.dialect import UNSET
from taskgrove.tango.server.job import Job, LedgerUpdate, LrcAbortedError, TaskCallback
from taskgrove.tango.server.ledger import MAX_EXECUTING, MAX_QUEUED, CommandLedger, Push

_LOGGER = logging.getLogger(__name__)

#: How long :meth:`LrcEngine.close` waits for each thread, in seconds: longer than the
#: 3.2 s after which TANGO gives up waiting for a device's monitor.
CLOSE_TIMEOUT_S: Final = 4.0

_ABORTED_RESULT: Final = (ResultCode.ABORTED, "Command has been aborted")

Reply = tuple[ResultCode, str]
"""The reply of a command: a code, and the command's id or the reason of a refusal."""

Watch: TypeAlias = Callable[[Job, TaskStatus, Any], object]
"""Told of each status of each command, with the result that came with it (UNSET: none)."""


class LrcEngine:
    """Runs the commands of one device in order and sends the events of each change.

    Args:
        ledger: The device's memory of its commands.
        push: Sends one event; called by the pusher, or by the thread that submits.
        thread_context: Entered by both threads for as long as they live.
        on_aborting: Called by the thread that asks for an abort, before anything is aborted.
        on_aborted: Called by the worker once everything that was aborted has ended.
        watch: Told of each status of each command, and of each abort, before its events are sent.
            The lock is held meanwhile, so it must return soon and not call the engine.
        name: Name for the threads.
        max_queued: Commands that may wait, 1 to 32.
    """

    def __init__(
        self,
        ledger: CommandLedger,
        push: Callable[[str, Any], None],
        *,
        thread_context: ThreadContext = contextlib.nullcontext,
        on_aborting: Callable[[], None] | None = None,
        on_aborted: Callable[[], None] | None = None,
        watch: Watch | None = None,
        name: str = "device",
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._ledger = ledger
        self._push = push
        self._on_aborting = on_aborting or (lambda: None)
        self._on_aborted = on_aborted or (lambda: None)
        self._watch = watch or (lambda _job, _status, _result: None)
        self._max_queued = max_queued
        self._lock = threading.Lock()
        self._live: dict[str, Job] = {}
        self._aborts: list[Job] = []
        self.closing = threading.Event()
        self._worker = Loop(f"lrc-worker {name}", thread_context)
        self._pusher = Loop(f"lrc-pusher {name}", thread_context)
        self._outbox = Outbox(self._begin_push, self._send_now)
        self._worker.start()
        self._pusher.start()

    def submit(self, job: Job) -> Reply:
        """Queue a command; the reply is QUEUED and its id, or REJECTED and the reason.

        The events of a command that is rejected are sent too, under an id that the
        caller never learns, as real devices do.
        """
        with self._lock:
            job.uid = self._ledger.add(job.name)
            self._live[job.uid] = job
            updates = [self._note(job, status=TaskStatus.STAGING)]
            refusal = self._refusal()
            if refusal:
                result = (ResultCode.REJECTED, refusal)
                updates.append(self._note(job, status=TaskStatus.REJECTED, result=result))
                del self._live[job.uid]
            else:
                updates.append(self._note(job, status=TaskStatus.QUEUED))
            direct = self._hand_over(updates)
        self._send_each(direct)
        if refusal:
            return ResultCode.REJECTED, refusal
        self._worker.post(self._work, job)
        return ResultCode.QUEUED, job.uid

    def abort(self) -> Reply:
        """Abort everything, as a command that starts at once: STARTED and its id."""
        self._on_aborting()
        with self._lock:
            if self.closing.is_set() or len(self._aborts) >= MAX_EXECUTING - 1:
                return ResultCode.REJECTED, "Too many aborts are already in progress"
            job = Job("Abort", _run_nothing, uid=self._ledger.add("Abort"))
            updates = [
                self._note(job, status=TaskStatus.STAGING),
                self._note(job, status=TaskStatus.IN_PROGRESS),
            ]
            self._ask_to_abort(job)
            direct = self._hand_over(updates)
        self._send_each(direct)
        return ResultCode.STARTED, job.uid

    def abort_silently(self) -> Reply:
        """Abort everything without a command id, as the older ``AbortCommands`` does."""
        self._on_aborting()
        job = Job("AbortCommands", _run_nothing)
        with self._lock:
            self._tell_watch(job, TaskStatus.STAGING)
            self._tell_watch(job, TaskStatus.IN_PROGRESS)
            self._ask_to_abort(job)
        return ResultCode.STARTED, "Aborting commands"

    def read(self, attribute_name: str) -> Any:
        """Return the value of an attribute of the protocol now."""
        with self._lock:
            return self._ledger.read(attribute_name)

    def status_name(self, uid: str) -> str:
        """Return the status' name of a command, ``NOT_FOUND`` when it is not known."""
        with self._lock:
            return self._ledger.status_name(uid)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Stop both threads; False when one of them did not end in time.

        A command that runs is asked to abort, without any more events.
        """
        with self._lock:
            self.closing.set()
            for job in self._live.values():
                job.abort_event.set()
        worker_ended = self._worker.stop(timeout_s)
        return self._pusher.stop(timeout_s) and worker_ended

    # The worker.

    def _work(self, job: Job) -> None:
        if not self.closing.is_set():
            self._run(job)
            self._end_aborts()

    def _run(self, job: Job) -> None:
        if job.abort_event.is_set():
            self._finish(job, TaskStatus.ABORTED, _ABORTED_RESULT)
            return
        try:
            if job.is_allowed is not None and not job.is_allowed():
                reason = (ResultCode.NOT_ALLOWED, "Command is not allowed")
                self._finish(job, TaskStatus.REJECTED, reason)
                return
        except BaseException as error:  # noqa: BLE001 - any exception of the guard is the reason
            reason = (ResultCode.REJECTED, f"Exception from 'is_cmd_allowed' method: {error}")
            self._finish(job, TaskStatus.REJECTED, reason)
            return
        self._report(job, status=TaskStatus.IN_PROGRESS)
        try:
            result = job.run(partial(self._report, job), job.abort_event)
        except LrcAbortedError:
            self._finish(job, TaskStatus.ABORTED, _ABORTED_RESULT)
        except BaseException as error:  # noqa: BLE001 - an abnormal end is the command's outcome
            text = f"Unhandled exception during execution: {error}"
            self._finish(job, TaskStatus.FAILED, (ResultCode.FAILED, text))
        else:
            done = (ResultCode.OK, f"{job.name} completed OK")
            self._finish(job, TaskStatus.COMPLETED, done if result is None else result)

    def _finish(self, job: Job, status: TaskStatus, result: Any) -> None:
        abnormal = status in (TaskStatus.FAILED, TaskStatus.ABORTED)
        self._report(job, status=status, result=result, abnormal=abnormal)
        with self._lock:
            self._live.pop(job.uid, None)

    def _report(
        self,
        job: Job,
        *,
        status: TaskStatus | None = None,
        progress: int | None = None,
        result: Any = UNSET,
        abnormal: bool | None = None,
        **_others: Any,
    ) -> None:
        """Note a change of a command and have its events sent; other fields are not sent.

        Args:
            job: The command.
            status: Its new status.
            progress: Its progress, in percent.
            result: Its result.
            abnormal: Whether the end was abnormal, which shapes the result; None: it is sent as
                it stands.
        """
        shaped = result
        if abnormal is not None:
            shaped = self._ledger.dialect.shape_result(result, abnormal=abnormal)
        with self._lock:
            if not self.closing.is_set():
                note = self._note(job, status=status, progress=progress, result=shaped, said=result)
                self._outbox.put(note)

    def _end_aborts(self) -> None:
        with self._lock:
            if not self._aborts or self._live or self.closing.is_set():
                return
            count = len(self._aborts)
        try:
            self._on_aborted()
        except Exception:
            _LOGGER.exception("the function at the end of an abort raised")
        with self._lock:
            # One that came meanwhile has shown its beginning, and ends by itself.
            aborts, self._aborts = self._aborts[:count], self._aborts[count:]
        for job in aborts:
            done = (ResultCode.OK, f"{job.name} completed OK")
            if job.uid:
                self._report(job, status=TaskStatus.COMPLETED, result=done, abnormal=False)
            else:
                with self._lock:
                    self._tell_watch(job, TaskStatus.COMPLETED, done)

    # The pusher.

    def _begin_push(self, send_all: Action) -> None:
        if self._ledger.dialect.flush_s:
            self._pusher.post(self.closing.wait, self._ledger.dialect.flush_s)
        self._pusher.post(send_all)

    def _send_each(self, updates: list[LedgerUpdate]) -> None:
        for update in updates:
            self._send_now(update)

    def _send_now(self, update: LedgerUpdate) -> None:
        for attribute_name, value in self._shaped(update):
            if self.closing.is_set():
                return
            try:
                self._push(attribute_name, value)
            except Exception:
                _LOGGER.exception("an event of %s could not be sent", attribute_name)

    @staticmethod
    def _shaped(update: LedgerUpdate) -> Iterable[Push]:
        if update.shape is not None:
            try:
                return list(update.shape(update))
            except Exception:
                _LOGGER.exception("the events of %s are sent unshaped", update.name)
        return update.pushes

    # Called with the lock held.

    def _ask_to_abort(self, abort: Job) -> None:
        self._aborts.append(abort)
        for job in self._live.values():
            job.abort_event.set()
        self._worker.post(self._end_aborts)  # a worker that has nothing to do ends them

    def _refusal(self) -> str:
        if self.closing.is_set():
            return "The device is stopping"
        if self._aborts:
            return "Queue is being aborted"
        waiting = len(self._ledger.read("lrcQueue")) - 1  # the new command itself is in it
        if waiting >= self._max_queued:
            return f"Queue is full: {waiting} commands are waiting, {self._max_queued} may"
        return ""

    def _note(self, job: Job, *, said: Any = UNSET, **change: Any) -> LedgerUpdate:
        """Note a change; ``said`` is the result as the command's function gave it."""
        pushes = self._ledger.update(job.uid, **change)
        status = change.get("status")
        if status is not None and pushes:  # nothing changes a command that has ended
            self._tell_watch(job, status, change.get("result", UNSET) if said is UNSET else said)
        shape = job.shape if job.uid in self._live else None
        return LedgerUpdate(job.uid, job.name, status, pushes, shape)

    def _tell_watch(self, job: Job, status: TaskStatus, result: Any = UNSET) -> None:
        try:
            self._watch(job, status, result)
        except Exception:
            _LOGGER.exception("whoever watches the commands raised at %s", job.name)

    def _hand_over(self, updates: list[LedgerUpdate]) -> list[LedgerUpdate]:
        """Return the updates that the caller may send itself; the pusher sends the others.

        The caller holds the device's monitor, so nothing that is queued from now on is
        sent before it returns; the updates that are queued already must go first.
        """
        if self._ledger.dialect.early_events and self._outbox.is_idle:
            return updates
        self._outbox.put(*updates)
        return []


def _run_nothing(_callback: TaskCallback, _abort_event: threading.Event) -> None:
    """Stand for the function of an abort, which the engine carries out itself."""
