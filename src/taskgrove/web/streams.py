"""What a browser is sent while it looks: server-sent events, by hand.

A connection keeps one number, that of the last event of the run that it was sent. Between two
messages it waits, so that a node that changes often is sent once; while a browser does not read,
nothing is made for it.

Threads: everything here runs on the server's asyncio loop, but for :meth:`Waker.wake`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import TaskgroveError
from taskgrove.web.record_watch import RecordWatch
from taskgrove.web.run_feed import RunFeed
from taskgrove.web.sent_events import message

#: A sign of life is sent this often, in seconds.
BEAT_S: Final = 1.0
#: The least time between two messages about nodes, and about the list of runs, in seconds.
NODES_S: Final = 0.1
LIST_S: Final = 0.5
#: So many streams may be open at once.
STREAMS: Final = 500

_LOGGER = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Waker:
    """Wakes a coroutine from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Have the next ``sleep`` end; any thread may call it."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the server has ended, and nobody sleeps any more
            return

    async def sleep(self, timeout_s: float) -> None:
        """Wait until it was woken since the last call, at most so long, in seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        self._event.clear()


def beat_of(watch: RecordWatch) -> bytes:
    """Return a sign of life: the server's time, and when the record could last be read."""
    now_ms = SYSTEM_CLOCK.wall_ns() // 1_000_000
    read_ms = watch.read_ns // 1_000_000
    return message("beat", _encode({"now_ms": now_ms, "read_ms": read_ms or now_ms}))


async def list_stream(watch: RecordWatch) -> AsyncIterator[bytes]:
    """Yield a message ``changed`` whenever the list of runs may have changed, and signs of life."""
    waker = Waker()
    onlooker = watch.subscribe(None, waker.wake)
    seen = -1
    try:
        while not watch.is_closed:
            version = watch.version
            parts = [] if version == seen else [message("changed", _encode(version))]
            seen = version
            yield b"".join([*parts, beat_of(watch)])
            await asyncio.sleep(LIST_S)
            await waker.sleep(BEAT_S - LIST_S)
    finally:
        onlooker.close()


async def run_stream(watch: RecordWatch, run_id: str, position: int) -> AsyncIterator[bytes]:
    """Yield what is new of a run: ``head``, ``nodes`` and signs of life.

    Args:
        watch: Reads the record.
        run_id: The run.
        position: The number of the last message that the browser has; 0: it has none.
    """
    waker = Waker()
    onlooker = watch.subscribe(run_id, waker.wake)
    loop = asyncio.get_running_loop()
    head_number, beat_due_s = 0, 0.0
    try:
        yield beat_of(watch)
        while not watch.is_closed:
            feed = onlooker.feed
            if onlooker.error is not None or (feed is not None and feed.is_gone):
                yield message("gone", _encode(_words_of(onlooker.error)))
                return
            parts: list[bytes] = []
            if feed is not None:
                try:
                    position, head_number, parts = _news(feed, position, head_number)
                except Exception as exc:  # noqa: BLE001 - told, never a traceback
                    yield message("gone", _encode(_fault(run_id, exc)))
                    return
            if parts or loop.time() >= beat_due_s:
                beat_due_s = loop.time() + BEAT_S
                for part in parts:
                    yield part
                yield beat_of(watch)
            if parts:
                await asyncio.sleep(NODES_S)
            await waker.sleep(max(0.0, beat_due_s - loop.time()))
    finally:
        onlooker.close()


def _news(feed: RunFeed, position: int, seen: int) -> tuple[int, int, list[bytes]]:
    """Return the new number, the number of the words, and the messages in between."""
    batch = feed.since(position)
    parts = list(batch.messages)
    head = feed.head(seen)
    if head is not None:
        seen, data = head
        parts.append(message("head", data))
    return batch.position, seen, parts


def _fault(run_id: str, exc: Exception) -> dict[str, Any]:
    _LOGGER.error("run %s cannot be shown: %s: %s", run_id, type(exc).__name__, exc)
    _LOGGER.debug("where", exc_info=exc)
    return {"error": f"unexpected {type(exc).__name__}; the server's terminal tells more"}


def _words_of(error: TaskgroveError | None) -> dict[str, Any]:
    return {"error": "the run was removed from the record" if error is None else error.message}
