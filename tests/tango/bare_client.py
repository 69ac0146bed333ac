"""A client of the protocol that is bare PyTango: what it sees, the device really sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import tango

GUARD_S = 200.0

Seen = tuple[str, Any]


class EventLog:
    """Every change event of some attributes of one device, in the order of arrival."""

    def __init__(self, trl: str, *attributes: str) -> None:
        self.proxy = tango.DeviceProxy(trl)
        self._changed = threading.Condition()
        self._seen: list[Seen] = []
        self._ids = [
            self.proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, self._listener(name))
            for name in attributes
        ]
        # 0MQ's slow joiner: for some milliseconds a new subscription may miss what is
        # published, and nothing tells when that is over.
        time.sleep(0.2)
        with self._changed:
            self._seen.clear()  # the values at subscription

    def _listener(self, name: str) -> Callable[[Any], None]:
        def on_event(event: Any) -> None:
            if event.err:
                value: Any = f"error {event.errors[0].reason}"
            else:
                value = event.attr_value.value
                value = list(value) if isinstance(value, tuple | list) else value
            with self._changed:
                self._seen.append((name, value))
                self._changed.notify_all()

        return on_event

    def seen(self) -> list[Seen]:
        with self._changed:
            return list(self._seen)

    def wait(self, wanted: Callable[[list[Seen]], Any], guard_s: float = GUARD_S) -> list[Seen]:
        deadline = time.monotonic() + guard_s
        with self._changed:
            while not wanted(self._seen):
                left = deadline - time.monotonic()
                assert left > 0, f"not seen in {guard_s} s; seen: {self._seen}"
                self._changed.wait(left)
            return list(self._seen)

    def changes(self, uid: str) -> list[dict[str, Any]]:
        """What ``_lrcEvent`` told of one command."""
        return [
            json.loads(value[1])
            for name, value in self.seen()
            if name == "_lrcEvent" and value and value[0] == uid
        ]

    def statuses(self, uid: str) -> list[int]:
        return [change["status"] for change in self.changes(uid) if "status" in change]

    def wait_final(self, uid: str) -> dict[str, Any]:
        """Wait for the event that ends a command, and return it."""
        self.wait(lambda _: any(status in {3, 5, 6, 7} for status in self._statuses(uid)))
        return next(c for c in self.changes(uid) if c.get("status") in {3, 5, 6, 7})

    def _statuses(self, uid: str) -> list[Any]:
        return [
            json.loads(value[1]).get("status")
            for name, value in self._seen
            if name == "_lrcEvent" and value and value[0] == uid and value[1].endswith("}")
        ]

    def close(self) -> None:
        for event_id in self._ids:
            self.proxy.unsubscribe_event(event_id)


def invoke(proxy: Any, command: str, argin: str | None = "{}") -> tuple[int, str]:
    """Start a command and return the code and the text of the reply."""
    reply = proxy.command_inout(command) if argin is None else proxy.command_inout(command, argin)
    return int(reply[0][0]), str(reply[1][0])


def wait_status(proxy: Any, uid: str, *names: str, guard_s: float = GUARD_S) -> str:
    """Poll the status of a command until it is one of ``names``."""
    deadline = time.monotonic() + guard_s
    while True:
        status = proxy.command_inout("CheckLongRunningCommandStatus", uid)
        if status in names:
            return str(status)
        assert time.monotonic() < deadline, f"{uid} stays {status}, wanted {names}"
        time.sleep(0.01)


def finished(proxy: Any, uid: str) -> dict[str, Any]:
    """Return what ``lrcFinished`` says of a command."""
    entries = [json.loads(text) for text in proxy.read_attribute("lrcFinished").value or ()]
    return next(entry for entry in entries if entry["uid"] == uid)


def wait_down(proxy: Any, guard_s: float = GUARD_S) -> None:
    """Wait until the device does not answer any more."""
    deadline = time.monotonic() + guard_s
    while True:
        try:
            proxy.ping()
        except tango.DevFailed:
            return
        assert time.monotonic() < deadline, "the device still answers"
        time.sleep(0.01)


def wait_up(proxy: Any, guard_s: float = GUARD_S) -> None:
    """Wait until the device answers; PyTango tries to reconnect once a second only."""
    deadline = time.monotonic() + guard_s
    while True:
        try:
            proxy.ping()
        except tango.DevFailed:
            assert time.monotonic() < deadline, "the device does not answer"
            time.sleep(0.02)
        else:
            return
