"""Opening the record and printing typed rows, for every verb that reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskgrove.cli.error_words import error_facts
from taskgrove.cli.lost_runs import tell_lost
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import TaskgroveError, UnknownRunError
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.database.location import DB_VARIABLE, default_file
from taskgrove.store.history import History
from taskgrove.store.queries.listing import plain_of
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.recording.spill import orphans_of
from taskgrove.view.terminal_text import safe_text


def open_history(database: str | None, *, mark_lost: bool = True) -> History | None:
    """Open the record for reading.

    Args:
        database: The value of ``--db``; None takes ``TASKGROVE_DB``, else the user's own record.
        mark_lost: Whether runs whose runner is gone are marked first, so that no verb shows
            them as running; each is told once, on standard error. Where the record cannot be
            written, it is read as it is.

    Returns:
        None when the user's own record does not exist yet, because nothing was ever recorded.

    Raises:
        StoreError: It cannot be read; a record that was named must exist.
    """
    named = bool(database or os.environ.get(DB_VARIABLE))
    file = default_file()
    if not named and not file.exists() and not orphans_of(str(file)):
        return None
    history = History.open(database)
    if mark_lost:
        tell_lost(Terminal(json=True), history.store, history)
    if history.store.copied is not None:
        words = f"note: {history.store.copied}; a copy of it is read"
        Terminal(json=True).say(safe_text(words), "yellow")
    if history.disk_is_full:
        where = safe_text(history.store.location)
        words = f"note: the disk of {where} is full; the record is read and not changed"
        Terminal(json=True).say(words, "yellow")
    return history


def history_of_runs(database: str | None, *, mark_lost: bool = True) -> History:
    """Open the record for a verb that needs a run of it; the arguments are as above.

    Raises:
        UnknownRunError: Nothing was ever recorded.
        StoreError: It cannot be read.
    """
    history = open_history(database, mark_lost=mark_lost)
    if history is None:
        raise UnknownRunError("no run has been recorded yet", hint=HOW_TO_RECORD)
    return history


#: How to fill an empty record.
HOW_TO_RECORD = "'taskgrove run MAP COMMAND' records one"


def say_nothing_there(terminal: Terminal, history: History | None, *, narrowed: bool) -> None:
    """Say that there is no run to show, and how to see or make one.

    Args:
        terminal: Where it is said.
        history: The record, or None where there is none yet.
        narrowed: Whether a filter was given.
    """
    if history is not None and narrowed and history.runs(RunFilter(limit=1)):
        line = safe_text(quoted_line(history.store.location, "runs", "list"))
        terminal.say(f"No runs match. {line} lists all runs.")
        return
    if history is None:
        terminal.say(f"No run has been recorded yet; {HOW_TO_RECORD}.")
        return
    where = history.store.location
    line = quoted_line(where, "run", "MAP", "COMMAND")
    terminal.say(safe_text(f"No run has been recorded yet in {where}; {line} records one."))


@contextmanager
def errors_as_json(terminal: Terminal, *, wanted: bool) -> Iterator[None]:
    """Write an error of the block as a JSON document, too, where its result would be one.

    Args:
        terminal: Where it is written.
        wanted: Whether it is.
    """
    try:
        yield
    except TaskgroveError as exc:
        if wanted:
            write_json(terminal, error_facts(exc))
        raise


def write_json(terminal: Terminal, value: Any) -> None:
    """Write plain data as one JSON document on standard output."""
    text = json.dumps(plain_of(value), ensure_ascii=False, indent=2, allow_nan=False)
    terminal.write(text.encode("utf-8", "backslashreplace") + b"\n")
