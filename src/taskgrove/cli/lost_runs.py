"""Reporting lost runs at the start of a verb."""

from __future__ import annotations

from taskgrove.cli.notices import notify_of_loss
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import TaskgroveError
from taskgrove.recovery.finding_lost import LostRun, find_lost
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text


def tell_lost(terminal: Terminal, store: Store | None, history: History | None = None) -> None:
    """Look for runs that are lost, mark them, and say one line about each that is new.

    Events that earlier processes could not write are taken in first.

    Args:
        terminal: Where it is said.
        store: The record, or None where it could not be opened.
        history: The same, where it is already open for reading.
    """
    if store is None:
        return

    _tell_aside(terminal, history or History(store))
    if store.read_only:
        return
    try:
        found = find_lost(store)
    except TaskgroveError as exc:
        terminal.say(f"note: lost runs could not be looked for: {safe_text(exc)}", "yellow")
        return
    for lost in found:
        if not lost.ended:
            notify_of_loss(lost.run_id, lost.command, lost.words, store.location)
        terminal.say(safe_text(_line(lost, store.location)), "yellow")


def _tell_aside(terminal: Terminal, history: History) -> None:
    """Take in events that earlier processes could not write, and name the files that are left."""
    taken = history.take_in()
    for text in taken.told:
        terminal.say(safe_text(f"note: {text}"), "yellow")
    for file in taken.left:
        terminal.say(safe_text(f"warning: {file.words}"), "yellow")


def _line(lost: LostRun, location: str) -> str:

    if lost.ended:
        return f"note: run {lost.run_id} ({lost.command}): {lost.words}"
    advice = command_line(location, "recover", lost.run_id)
    return f"note: run {lost.run_id} ({lost.command}) was lost: {lost.words}; {advice}"
