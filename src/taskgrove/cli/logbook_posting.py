"""The logbook of a verb that runs analyses: ``--logbook``, else ``TASKGROVE_LOGBOOK_URL``.

Posts never delay an analysis and never change how it ends. An entry that the logbook did not get
is noted on the step that it is about, and the verb tells of all of them once, at its end.

Threads: the verb's thread, but for the troubles, which come from any thread; ``_lock`` guards
them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import UsageError
from taskgrove.view.phrases import counted
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.analysis.logbook import Logbook
    from taskgrove.analysis.publishing.logbook_trouble import LogbookTrouble

#: The environment variable that gives the address where no option does.
LOGBOOK_VARIABLE: Final = "TASKGROVE_LOGBOOK_URL"
#: How long the end of a verb waits for posts that are not through yet, in seconds.
CLOSE_WITHIN_S: Final = 5.0


def checked_address(given: str | None) -> str | None:
    """Return the address of a logbook, or None where it is empty.

    Raises:
        UsageError: It was typed, and holds a secret, which every list of processes shows.
    """
    if not given:
        return None
    if is_typed(given) and shown_rule().said(given) != given:
        raise UsageError(
            "the address of --logbook holds a secret, which every list of processes shows",
            hint=f"put the address into {LOGBOOK_VARIABLE}; a token into TASKGROVE_LOGBOOK_TOKEN",
        )
    return given


def is_typed(address: str | None) -> bool:
    """Return whether an address was typed, and does not come from the environment."""
    return bool(address) and address != os.environ.get(LOGBOOK_VARIABLE)


def address_for_record(address: str | None) -> str | None:
    """Return an address as the record keeps it: without its query, which may hold secrets."""
    return None if address is None else shown_rule().said(address.partition("?")[0])


class LogbookPosting:
    """A logbook, and the entries that it did not get.

    Args:
        address: Its address.

    Attributes:
        logbook: Takes the posts.
        note: Notes a trouble on the step that it is about.

    Raises:
        UsageError: The address or the token cannot be used.
    """

    def __init__(self, address: str) -> None:
        from taskgrove.analysis.logbook import HttpLogbook  # noqa: PLC0415 - slow, seldom needed

        self._lock = threading.Lock()
        self._first: LogbookTrouble | None = None
        self._count = 0
        self.note: Callable[[LogbookTrouble], object] | None = None
        self._http = HttpLogbook(address, on_trouble=self._take)
        self.logbook: Logbook = self._http

    def _take(self, trouble: LogbookTrouble) -> None:
        with self._lock:
            self._first = self._first or trouble
            self._count += 1
        if self.note is not None:
            self.note(trouble)

    def close(self) -> None:
        """Post the rest within :data:`CLOSE_WITHIN_S`, and tell of entries that were not posted."""
        try:
            self._http.close(CLOSE_WITHIN_S)
        except KeyboardInterrupt:  # somebody does not want to wait
            self._http.close(0)
        with self._lock:
            first, count = self._first, self._count
        if first is None:
            return
        said = str(first)
        if count > 1:
            entries = counted(count, "entry", "entries")
            said = f"the logbook at {first.logbook} did not get {entries}; the first: {first.words}"
        Terminal(json=True).say(safe_text(f"note: {said}"), "yellow")


@contextmanager
def posting(address: str | None) -> Iterator[LogbookPosting | None]:
    """Have a logbook while analyses run; None: there is none.

    Raises:
        UsageError: As :class:`LogbookPosting`.
    """
    if address is None:
        yield None
        return
    made = LogbookPosting(address)
    try:
        yield made
    finally:
        made.close()
