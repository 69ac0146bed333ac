"""Posts the status and the parameters of runs to an electronic logbook.

A logbook never delays an analysis and never fails one: each entry is put into a bounded queue
and posted by another thread, with a timeout for each try and with retries. An entry that
could not be posted is counted, and reported to a callback, or else to the log.

Threads: any thread may call the methods of a :class:`HttpLogbook`. Its thread is started by the
first post and ends with :meth:`HttpLogbook.close`. ``_lock`` guards the queue, the counts and
the time of the close; no post and no callback is made while it is held.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

from taskgrove.analysis.publishing.logbook_entries import (
    Entry,
    message_entry,
    parameters_entry,
    status_entry,
)
from taskgrove.analysis.publishing.logbook_http import HttpPoster, PostAnswer
from taskgrove.analysis.publishing.logbook_queue import LogbookQueue
from taskgrove.analysis.publishing.logbook_trouble import LogbookTrouble, TroubleKind
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import TaskStatus
from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError
from taskgrove.loops.loop import Loop

#: Where the address and the token are read from when they are not given.
URL_VARIABLE: Final = "TASKGROVE_LOGBOOK_URL"
TOKEN_VARIABLE: Final = "TASKGROVE_LOGBOOK_TOKEN"  # noqa: S105 - the name of a variable

_LOGGER = logging.getLogger(__name__)


class Logbook(Protocol):
    """Takes the status and the results of analyses from an executor.

    No method blocks, or raises because of the logbook.
    """

    def post_status(self, origin: PageOrigin, status: TaskStatus | str, message: str = "") -> None:
        """Tell the status of an analysis."""
        ...

    def post_parameters(self, origin: PageOrigin, parameters: Mapping[str, Any]) -> None:
        """Tell parameters of a run: a result's summary, when that is a dict."""
        ...

    def post_message(
        self,
        origin: PageOrigin,
        text: str,
        *,
        tags: Iterable[str] = (),
        files: Iterable[str | Path] = (),
    ) -> None:
        """Tell a message, with files."""
        ...

    def close(self, timeout_s: float = 10.0) -> bool:
        """Post all waiting entries, and end; True when everything was posted."""
        ...


@dataclass(frozen=True, slots=True)
class LogbookCounts:
    """Counts of the entries of a logbook, by outcome.

    Attributes:
        posted: Accepted by the logbook.
        retried: Tries that failed and were followed by another.
        failed: Given up: refused, or without success after all tries.
        dropped: Not posted because too many entries waited, or the logbook was closed.
        overtaken: A passing status that a later status replaced before it was posted.
        waiting: Not posted yet.
    """

    posted: int = 0
    retried: int = 0
    failed: int = 0
    dropped: int = 0
    overtaken: int = 0
    waiting: int = 0


class HttpLogbook:
    """Posts to a logbook over HTTP or HTTPS; a context manager that closes itself.

    A status that a later one of the same analysis overtakes before it is posted is left out;
    the end of an analysis is always tried, by ``close`` at the latest.

    Args:
        url: The address that every entry is posted to.
        token: Sent as ``Authorization: Bearer``, and shown nowhere; None: that of the
            environment variable ``TASKGROVE_LOGBOOK_TOKEN``, if there is one.
        timeout_s: How long one try may take, in seconds.
        retries: How often an entry is tried again.
        backoff_s: How long to wait before the first retry, in seconds; twice that before the
            second, and so on, up to ``max_backoff_s``. A logbook's ``Retry-After`` counts when
            it asks for longer.
        capacity: How many entries may wait.
        on_trouble: Called for each entry that is given up or dropped, with a
            :class:`LogbookTrouble`, which is a sentence and has its parts as attributes; on the
            logbook's thread or on one that posts or closes. It should not block.
        ssl_context: How the logbook's certificate is checked; None: as the system does.
        allow_plain_token: Send the token over plain ``http`` to another machine too.
        clock: The source of wall-clock time.

    Raises:
        UsageError: The address, the token or a number cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 8,
        backoff_s: float = 0.5,
        max_backoff_s: float = 60.0,
        capacity: int = 1000,
        on_trouble: Callable[[LogbookTrouble], object] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_plain_token: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not (timeout_s > 0 and retries >= 0 and 0 <= backoff_s <= max_backoff_s):
            raise UsageError("timeout_s is positive; retries and backoff_s are not negative")
        if capacity < 1:
            raise UsageError("the capacity of a logbook is at least 1")
        self._poster = HttpPoster(
            url,
            token=token if token is not None else os.environ.get(TOKEN_VARIABLE),
            timeout_s=timeout_s,
            ssl_context=ssl_context,
            allow_plain_token=allow_plain_token,
        )
        self._retries = retries
        self._backoff_s = backoff_s
        self._max_backoff_s = max_backoff_s
        self._on_trouble = on_trouble
        self._clock = clock
        self._lock = threading.Lock()
        self._queue = LogbookQueue(capacity)
        self._counts = Counter[str]()  # the fields of LogbookCounts
        self._last_ns = 0
        self._close_by: float | None = None  # monotonic; None: not closed
        self._loop = Loop("taskgrove-logbook")

    @classmethod
    def from_environment(
        cls, *, on_trouble: Callable[[LogbookTrouble], object] | None = None
    ) -> HttpLogbook | None:
        """Return the logbook of ``TASKGROVE_LOGBOOK_URL``, or None when that is not set.

        Raises:
            UsageError: The address or the token cannot be used.
        """
        url = os.environ.get(URL_VARIABLE)
        return cls(url, on_trouble=on_trouble) if url else None

    @property
    def shown(self) -> str:
        """The address without what may be secret."""
        return self._poster.shown

    def __repr__(self) -> str:
        return f"<HttpLogbook {self._poster.shown}>"

    @property
    def counts(self) -> LogbookCounts:
        """The counts so far."""
        with self._lock:
            return LogbookCounts(**self._counts, waiting=len(self._queue))

    def post_status(self, origin: PageOrigin, status: TaskStatus | str, message: str = "") -> None:
        """Tell the status of an analysis; returns at once."""
        self._put(status_entry(origin, status, message, self._next_ns()))

    def post_parameters(self, origin: PageOrigin, parameters: Mapping[str, Any]) -> None:
        """Tell parameters of a run, as plain names and values; returns at once."""
        self._put(parameters_entry(origin, parameters, self._next_ns()))

    def post_message(
        self,
        origin: PageOrigin,
        text: str,
        *,
        tags: Iterable[str] = (),
        files: Iterable[str | Path] = (),
    ) -> None:
        """Tell a message, with files; returns at once.

        Args:
            origin: The analysis that it is about.
            text: The message.
            tags: Words by which a logbook files it.
            files: Files of at most 16 MiB together; they are read when the message is posted. One
                that cannot be read is left out, and reported to ``on_trouble``.
        """
        self._put(message_entry(origin, text, self._next_ns(), tags, files))

    def close(self, timeout_s: float = 10.0) -> bool:
        """Try every waiting entry once more, ends first, and end the thread.

        Args:
            timeout_s: How long that may take, in seconds; then the remaining entries are dropped.

        Returns:
            True when no waiting entry was lost.
        """
        end = time.monotonic() + timeout_s
        with self._lock:
            lost_before = self._counts["failed"] + self._counts["dropped"]
            self._close_by = end if self._close_by is None else min(self._close_by, end)
        if self._loop.is_alive:
            self._loop.post(self._post_last)
        if not self._loop.stop(timeout_s) and not self._loop.is_own_thread:
            self._poster.abort()
            self._loop.join(1.0)
        with self._lock:
            left = self._queue.drain()
            self._counts.update(dropped=len(left))
            lost = self._counts["failed"] + self._counts["dropped"] - lost_before
        self._tell(left, "closed", "the logbook was closed")
        return lost == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _next_ns(self) -> int:
        with self._lock:
            self._last_ns = max(self._last_ns + 1, self._clock.wall_ns())
            return self._last_ns

    def _put(self, entry: Entry) -> None:
        why: TroubleKind
        with self._lock:
            if self._close_by is not None:
                dropped, why, words = [entry], "closed", "the logbook is closed"
            else:
                entry.due = time.monotonic()
                overtaken, dropped = self._queue.add(entry)
                self._counts.update(overtaken=len(overtaken))
                why, words = "queue_full", "too many entries wait"
                self._loop.post(self._post_due)
            self._counts.update(dropped=len(dropped))
        self._tell(dropped, why, words)

    def _post_due(self) -> None:
        """Try the oldest entry that is due, if there is one."""
        with self._lock:
            entry = self._queue.take(time.monotonic()) if self._close_by is None else None
        if entry is not None:
            self._try(entry, None)

    def _post_last(self) -> None:
        """Try each entry once more, ends first, until the time of the close is over."""
        while True:
            with self._lock:
                left_s = (self._close_by or 0.0) - time.monotonic()
                entry = self._queue.take_best() if left_s > 0 else None
            if entry is None:
                return
            self._try(entry, max(0.1, left_s))

    def _try(self, entry: Entry, limit_s: float | None) -> None:
        lacking: list[str] = []
        try:
            body, lacking = entry.with_files()
            answer = self._poster.post(body, entry.key, limit_s)
        except Exception as exc:  # this entry is given up; the thread posts the next one
            _LOGGER.exception("an entry of the logbook could not be posted")
            answer = PostAnswer(False, False, f"{type(exc).__name__}: {exc}", "fault")
        entry.tries += 1
        if not self._has_ended(entry, answer):
            return
        if not answer.sent:
            self._tell([entry], answer.why, answer.text, answer.code)
        for words in lacking if answer.sent else ():
            self._tell([entry], "file", words)

    def _has_ended(self, entry: Entry, answer: PostAnswer) -> bool:
        """Count a try; False: the entry is tried again, or a later one replaces it."""
        with self._lock:
            if answer.sent:
                self._counts.update(posted=1)
                return True
            closing = self._close_by is not None
            if answer.again and entry.tries <= self._retries and not closing:
                wait_s = max(self._backoff_s * 2 ** (entry.tries - 1), answer.wait_s or 0.0)
                entry.due = time.monotonic() + min(wait_s, self._max_backoff_s)
                if self._queue.put_back(entry):
                    self._loop.at(entry.due, self._post_due)
                    self._counts.update(retried=1)
                else:
                    self._counts.update(overtaken=1)
                return False
            self._counts.update(failed=1)
        return True

    def _tell(
        self, entries: Iterable[Entry], why: TroubleKind, words: str, code: int | None = None
    ) -> None:
        for entry in entries:
            said = LogbookTrouble(entry, self.shown, why, words, code)
            if self._on_trouble is None:
                _LOGGER.warning("%s", said)
                continue
            try:
                self._on_trouble(said)
            except BaseException:
                _LOGGER.exception("the callback for trouble with the logbook raised")
