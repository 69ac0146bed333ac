"""Asking something of a live run through its record, and telling the answer."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.question import confirmed
from taskgrove.cli.recorded import history_of_runs, write_json
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import NoAnswerError, UsageError
from taskgrove.events.steering_request import SteeringAnswer, SteeringFate, SteeringRequest
from taskgrove.store import RecordDesk
from taskgrove.store.database.advice import db_option
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.view.steering_words import answer_lines, request_line
from taskgrove.view.terminal_text import safe_text

#: The exit code and the style of each fate.
_CODES: Final[dict[SteeringFate, tuple[ExitCode, str]]] = {
    "done": (ExitCode.OK, "green"),
    "refused": (ExitCode.FAILED, "bold yellow"),
    "too_late": (ExitCode.TOO_LATE, "bold yellow"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request is made.

    Attributes:
        run: The run, as it was typed.
        wait_s: The most to wait for the answer, in seconds.
        yes: Whether ``last`` needs no confirmation.
        database: The value of ``--db``.
        json: Whether the answer is printed as JSON.
    """

    run: str
    wait_s: float
    yes: bool
    database: str | None
    json: bool


def ask_shown(request: SteeringRequest, how: Asked) -> ExitCode:
    """Ask a live run, print the answer, and return the exit code.

    Args:
        request: The request.
        how: How it is made.

    Raises:
        UsageError: The run was named ``last``, and nobody can be asked whether it is meant.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read, or takes no request of this user.
    """
    terminal = Terminal(json=how.json)
    with history_of_runs(how.database, mark_lost=False) as history:
        desk = RecordDesk(history.store)  # first of all: it refuses who may not ask
        row = desk.find(how.run)
        options = db_option(history.store.location)
        if is_vague(how.run, row.run_id) and not how.yes:
            _confirm(terminal, request, row, options, how.run)
        answer = _answer(terminal, desk, row, request, how.wait_s)
    lines = [] if answer is None else answer_lines(request, answer, row.run_id, options)
    code, style = (ExitCode.NO_ANSWER, "") if answer is None else _CODES[answer.fate]
    if how.json:
        write_json(terminal, _as_data(row, request, answer, lines))
    else:
        for number, line in enumerate(lines):
            terminal.say(line, "" if number else style)
    return code


def is_vague(reference: str, run_id: str) -> bool:
    """Return whether a text means another run whenever a new one begins: ``last``.

    ``last:COMMAND`` says what is meant.

    Args:
        reference: The text.
        run_id: The run that it means now.
    """
    text = reference.strip()
    return text != run_id and (text == "last" or text.startswith("last-")) and ":" not in text


def _confirm(
    terminal: Terminal,
    request: SteeringRequest,
    row: RunRow,
    options: tuple[str, ...],
    typed: str,
) -> None:
    """Ask whether the run is meant that a text such as ``last`` stands for.

    Raises:
        UsageError: There is no terminal to ask at.
    """
    shown = f"{safe_text(row.run_id)} ({safe_text(row.command)}, {row.outcome})"
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"nothing was asked for: {safe_text(typed.strip())!r} is run {shown}, and there is no"
            " terminal to ask at",
            hint=request_line(request, row.run_id, options),
        )
    what = f"{request.verb} {safe_text(request.path)}".rstrip()
    if not confirmed(f"{what}: is run {shown} meant?"):
        terminal.say("Nothing was asked for.")
        raise SystemExit(ExitCode.ABORTED)


def _answer(
    terminal: Terminal, desk: RecordDesk, row: RunRow, request: SteeringRequest, wait_s: float
) -> SteeringAnswer | None:
    """Return the answer; None where it did not come in time, or nobody waited, which is told."""
    try:
        return desk.ask(row.run_id, request, wait_s=wait_s)
    except NoAnswerError as exc:
        terminal.say_error(exc)
    except KeyboardInterrupt:
        terminal.say("Interrupted; a request that was made stands.")
    return None


def _as_data(
    row: RunRow, request: SteeringRequest, answer: SteeringAnswer | None, lines: list[str]
) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "command": row.command,
        "request": request,
        "answer": answer,
        "words": lines,
    }
