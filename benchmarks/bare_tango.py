"""The least that a correct client in bare PyTango does to call commands and see them end.

One subscription to ``_lrcEvent`` for each device, made beforehand; warm threads that call; a
callback that decodes each event and notes the instant of an end; transparent reconnection
off. No poll, no limit, no abort, no reconnection, no check that the device is still there: what
a client that people can rely on does besides is its overhead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

import tango

#: How long an end is waited for, in seconds; no measurement comes near.
GUARD_S = 20.0

_FINAL = frozenset({3, 5, 6, 7})
_COMPLETED = 5


class BareClient:
    """Follows commands of some devices by their events.

    Args:
        trls: Addresses of the devices.
        threads: How many threads call.
    """

    def __init__(self, trls: Sequence[str], threads: int = 16) -> None:
        self._ends: SimpleQueue[tuple[str, int, float]] = SimpleQueue()
        self._pool = ThreadPoolExecutor(threads)
        self._proxies: dict[str, Any] = {}
        self._subscriptions: list[tuple[Any, int]] = []
        for trl in trls:
            proxy = tango.DeviceProxy(trl)
            proxy.set_transparency_reconnection(False)
            number = proxy.subscribe_event(
                "_lrcEvent", tango.EventType.CHANGE_EVENT, self._on_event
            )
            self._proxies[trl] = proxy
            self._subscriptions.append((proxy, number))

    def __enter__(self) -> BareClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        for proxy, number in self._subscriptions:
            proxy.unsubscribe_event(number)

    def run(self, trls: Sequence[str], command: str, argin: str) -> list[float]:
        """Call a command on all devices at once and return what each took, in seconds.

        Each is counted from the moment at which the first was asked for to the moment at
        which this process knew of its end.
        """
        began = time.monotonic()
        replies = [
            self._pool.submit(self._proxies[trl].command_inout, command, argin) for trl in trls
        ]
        return self._ends_of((reply.result(GUARD_S) for reply in replies), began)

    def run_asynchronously(self, trls: Sequence[str], command: str, argin: str) -> list[float]:
        """Do the same from one thread, with asynchronous calls: all are sent before a reply."""
        began = time.monotonic()
        proxies = [self._proxies[trl] for trl in trls]
        calls = [(proxy, proxy.command_inout_asynch(command, argin)) for proxy in proxies]
        limit_ms = int(GUARD_S * 1000)
        return self._ends_of(
            (proxy.command_inout_reply(number, limit_ms) for proxy, number in calls), began
        )

    def _ends_of(self, replies: Iterable[Any], began: float) -> list[float]:
        """Return what each command took, once the events of all ends have come."""
        ids = {str(reply[1][0]) for reply in replies}
        took: list[float] = []
        while ids:
            try:
                uid, status, at = self._ends.get(timeout=GUARD_S)
            except Empty:
                raise RuntimeError(f"no event of the end of {len(ids)} commands") from None
            if uid in ids:
                ids.remove(uid)
                if status != _COMPLETED:
                    raise RuntimeError(f"{uid} ended with status {status}")
                took.append(at - began)
        return took

    def _on_event(self, event: Any) -> None:
        if event.err or not event.attr_value.value:
            return
        uid, text = event.attr_value.value
        status = json.loads(text).get("status")
        if status in _FINAL:
            self._ends.put((uid, status, time.monotonic()))
