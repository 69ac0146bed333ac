"""What the tests that play scenarios share: parameters, an open channel, a patient observer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from taskgrove.control_model import TaskStatus
from taskgrove.tango.lrc_client import LrcClient
from tests.tango.replay_process import GUARD_S

#: What nobody but a poll can know is found soon; where an event must tell it, no poll helps, other
#: than the one that follows when PyTango says that its channel was dead.
QUICK_POLL_S = 0.2
NO_POLL_S = 3600.0

ARGIN = '{"band": "5a"}'


def poll_interval_of(scenario: dict[str, Any]) -> float:
    """Slow where every end must be told by an event or by the reply, else quick."""
    told = [expected.get("by") for expected in scenario["expect"].values()]
    return QUICK_POLL_S if {"poll", None} & set(told) else NO_POLL_S


def warm_up(client: LrcClient, trl: str) -> None:
    """Return when the client hears the device's events.

    For some milliseconds after a subscription was made, events are lost now and then (0MQ calls
    it the slow joiner). Where a poll must not help, only an open channel gives a fair trial.
    """
    for _attempt in range(30):
        command = client.invoke(trl, "Barrier", on_update=lambda _update: None)
        if command.wait(1.0):
            return
        command.release()
    raise AssertionError(f"no event of {trl} is heard")


class Watch:
    """Keeps what happens, in order, and waits for what is to come."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, item: Any = None, *_more: Any, **_keywords: Any) -> None:
        with self._changed:
            self.seen.append(item)
            self._changed.notify_all()

    def wait(self, wanted: Callable[[Any], bool], what: str) -> Any:
        """Return the first item that is wanted."""

        def found() -> list[Any]:
            return [item for item in self.seen if wanted(item)]

        with self._changed:
            assert self._changed.wait_for(found, GUARD_S), f"no {what} among {self.seen}"
            return found()[0]

    def status(self, status: TaskStatus) -> Any:
        return self.wait(lambda update: update.status is status, status.name)

    def final(self) -> Any:
        return self.wait(lambda update: update.final, "final update")
