"""The engine without TANGO: order, limits, abort, and no lock while events are sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango.server.command_queue import LrcEngine
from taskgrove.tango.server.dialect import Dialect
from taskgrove.tango.server.job import Job, LrcAbortedError
from taskgrove.tango.server.ledger import MAX_QUEUED, CommandLedger

GUARD_S = 200.0


class Sink:
    """Takes the events of an engine."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.events: list[tuple[str, dict]] = []
        self.engine: LrcEngine | None = None

    def push(self, name: str, value: list[str]) -> None:
        if self.engine is not None:
            # As a client would at this very moment; it deadlocks if a lock is held.
            self.engine.read("longRunningCommandStatus")
        if name == "_lrcEvent":
            with self.changed:
                self.events.append((value[0], json.loads(value[1])))
                self.changed.notify_all()

    def statuses(self, uid: str) -> list[int]:
        return [
            change["status"] for each, change in self.events if each == uid and "status" in change
        ]

    def wait_final(self, uid: str) -> dict:
        with self.changed:
            assert self.changed.wait_for(lambda: self._final(uid) is not None, GUARD_S), self.events
            return self._final(uid)

    def _final(self, uid: str) -> dict | None:
        for each, change in self.events:
            if each == uid and change.get("status") in {3, 5, 6, 7}:
                return change
        return None


@contextmanager
def engine(**kwargs) -> Iterator[tuple[LrcEngine, Sink]]:
    sink = Sink()
    dialect = kwargs.pop("dialect", Dialect())
    made = LrcEngine(CommandLedger(dialect), sink.push, **kwargs)
    sink.engine = made
    try:
        yield made, sink
    finally:
        assert made.close()


def hold(release: threading.Event, started: threading.Event | None = None):
    def run(callback, abort_event):
        if started is not None:
            started.set()
        while not release.wait(0.005):
            if abort_event.is_set():
                raise LrcAbortedError
        return ResultCode.OK, "released"

    return run


def test_a_command_goes_through_its_statuses_once_each():
    with engine() as (lrc, sink):
        code, uid = lrc.submit(Job("Configure", lambda callback, _: callback(progress=40)))
        assert code is ResultCode.QUEUED
        assert sink.wait_final(uid) == {"status": 5, "result": [0, "Configure completed OK"]}
        assert sink.statuses(uid) == [0, 1, 2, 5]
        assert {"progress": 40} in [change for _, change in sink.events]


def test_what_a_command_returns_is_its_result_and_an_exception_is_abnormal():
    def boom(callback, abort_event):
        raise RuntimeError("boom")

    with engine() as (lrc, sink):
        _, bad = lrc.submit(Job("A", lambda *_: (ResultCode.FAILED, "no lock")))
        _, worse = lrc.submit(Job("B", boom))
        assert sink.wait_final(bad) == {"status": 5, "result": [3, "no lock"]}
        text = "Unhandled exception during execution: boom"
        assert sink.wait_final(worse) == {"status": 7, "result": [3, text]}


def test_a_guard_that_refuses_or_raises_rejects_when_its_turn_comes():
    def broken() -> bool:
        raise ValueError("no state")

    with engine() as (lrc, sink):
        _, refused = lrc.submit(Job("A", lambda *_: None, is_allowed=lambda: False))
        _, raised = lrc.submit(Job("B", lambda *_: None, is_allowed=broken))
        assert sink.wait_final(refused) == {"status": 6, "result": [6, "Command is not allowed"]}
        assert sink.wait_final(raised)["result"] == [
            5,
            "Exception from 'is_cmd_allowed' method: no state",
        ]
        assert sink.statuses(refused) == [0, 1, 6]


def test_the_33rd_waiting_command_is_rejected_and_its_events_are_sent_all_the_same():
    release, started = threading.Event(), threading.Event()
    with engine() as (lrc, sink):
        lrc.submit(Job("Run", hold(release, started)))
        assert started.wait(GUARD_S)
        replies = [lrc.submit(Job("Wait", lambda *_: None)) for _ in range(MAX_QUEUED + 1)]
        assert [code for code, _ in replies] == [ResultCode.QUEUED] * 32 + [ResultCode.REJECTED]
        assert replies[-1][1] == "Queue is full: 32 commands are waiting, 32 may"
        release.set()
        for _, uid in replies[:-1]:
            assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED
        known = {uid for _, uid in replies}
        strangers = {uid for uid, change in sink.events if change.get("status") == 6} - known
        assert len(strangers) == 1


def test_abort_ends_what_runs_and_what_waits_and_then_itself():
    never, started = threading.Event(), threading.Event()
    with engine() as (lrc, sink):
        _, running = lrc.submit(Job("Scan", hold(never, started)))
        _, waiting = lrc.submit(Job("Configure", lambda *_: None))
        assert started.wait(GUARD_S)
        code, abort = lrc.abort()
        assert code is ResultCode.STARTED
        aborted = {"status": 3, "result": [7, "Command has been aborted"]}
        assert sink.wait_final(running) == aborted
        assert sink.wait_final(waiting) == aborted
        assert sink.wait_final(abort) == {"status": 5, "result": [0, "Abort completed OK"]}
        assert sink.statuses(abort) == [0, 2, 5]
        ends = [uid for uid, change in sink.events if change.get("status") in {3, 5}]
        assert ends == [running, waiting, abort]


def test_an_abort_of_nothing_ends_too_and_the_device_works_on():
    with engine() as (lrc, sink):
        _, abort = lrc.abort()
        assert sink.wait_final(abort)["status"] == TaskStatus.COMPLETED
        _, uid = lrc.submit(Job("Scan", lambda *_: None))
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED


def test_a_command_that_ignores_its_abort_delays_it_and_meanwhile_others_are_rejected():
    release, started = threading.Event(), threading.Event()

    def deaf(callback, abort_event):
        started.set()
        release.wait(GUARD_S)

    with engine() as (lrc, sink):
        _, running = lrc.submit(Job("Scan", deaf))
        assert started.wait(GUARD_S)
        _, abort = lrc.abort()
        assert lrc.submit(Job("Configure", lambda *_: None)) == (
            ResultCode.REJECTED,
            "Queue is being aborted",
        )
        assert lrc.status_name(abort) == "IN_PROGRESS"
        release.set()
        assert sink.wait_final(running)["status"] == TaskStatus.COMPLETED  # it did complete
        assert sink.wait_final(abort)["status"] == TaskStatus.COMPLETED


def test_abort_hooks_come_in_order_also_when_nothing_runs():
    calls: list[str] = []
    with engine(
        on_aborting=lambda: calls.append("aborting"), on_aborted=lambda: calls.append("aborted")
    ) as (lrc, sink):
        for _ in range(50):
            _, uid = lrc.abort()
            sink.wait_final(uid)
    assert calls == ["aborting", "aborted"] * 50


def test_many_threads_submit_while_clients_read_and_every_order_is_right():
    with engine(max_queued=32) as (lrc, sink):
        uids: list[str] = []

        def submit() -> None:
            for _ in range(50):
                code, uid = lrc.submit(Job("Scan", lambda callback, _: callback(progress=1)))
                if code is ResultCode.QUEUED:
                    uids.append(uid)

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD_S)
        for uid in uids:
            sink.wait_final(uid)
            assert sink.statuses(uid) == [0, 1, 2, 5]


def test_a_failing_push_harms_nothing_but_itself(caplog):
    sent = threading.Event()

    def push(name: str, value: object) -> None:
        if name == "longRunningCommandStatus":
            raise RuntimeError("no monitor")
        if name == "lrcFinished":
            sent.set()

    made = LrcEngine(CommandLedger(), push)
    try:
        made.submit(Job("Scan", lambda *_: None))
        assert sent.wait(GUARD_S)
    finally:
        assert made.close()
    assert "longRunningCommandStatus could not be sent" in caplog.text


def test_close_ends_both_threads_in_mid_command():
    started = threading.Event()
    before = threading.active_count()
    with engine() as (lrc, _):
        lrc.submit(Job("Scan", hold(threading.Event(), started)))
        assert started.wait(GUARD_S)
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
    assert lrc.submit(Job("Scan", lambda *_: None))[1] == "The device is stopping"


def test_an_abort_that_comes_as_another_ends_is_ended_by_itself():
    calls: list[str] = []
    second: list[str] = []
    with engine() as (lrc, sink):

        def aborted() -> None:
            if not second:  # at the very end of the first one
                second.append(lrc.abort()[1])
            calls.append("aborted")

        lrc._on_aborting = lambda: calls.append("aborting")
        lrc._on_aborted = aborted
        _, first = lrc.abort()
        sink.wait_final(first)
        sink.wait_final(second[0])
    assert calls == ["aborting", "aborting", "aborted", "aborted"]


def test_a_hook_that_raises_does_not_keep_an_abort_from_its_end(caplog):
    def boom() -> None:
        raise RuntimeError("no monitor")

    with engine(on_aborted=boom) as (lrc, sink):
        _, uid = lrc.abort()
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED
        _, uid = lrc.submit(Job("Scan", lambda *_: None))
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED
    assert "no monitor" in caplog.text


def test_a_command_that_exits_has_failed_and_the_next_one_runs():
    def quits(*_: object) -> None:
        raise SystemExit(3)

    with engine() as (lrc, sink):
        _, uid = lrc.submit(Job("Scan", quits))
        assert sink.wait_final(uid)["status"] == TaskStatus.FAILED
        _, uid = lrc.submit(Job("Scan", lambda *_: None))
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED


def test_a_shape_that_raises_keeps_nothing_from_its_end(caplog):
    def boom(_update: object) -> list:
        raise RuntimeError("no shape")

    with engine() as (lrc, sink):
        _, uid = lrc.submit(Job("Scan", lambda *_: None, shape=boom))
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED
        _, uid = lrc.submit(Job("Scan", lambda *_: None))
        assert sink.wait_final(uid)["status"] == TaskStatus.COMPLETED
    assert "no shape" in caplog.text
