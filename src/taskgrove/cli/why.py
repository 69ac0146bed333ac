"""``taskgrove why``: the explanation of a run."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import UsageError
from taskgrove.events import TaskEvent, decode_event
from taskgrove.story.run_story import RunStory, story_of_events
from taskgrove.view.record_view import story_of_record
from taskgrove.view.why import Why
from taskgrove.view.why import why as explain_run
from taskgrove.view.why.rendering import lines_of

#: Columns where the words go to a pipe or a file.
_COLUMNS: Final = 80


@verb
def why(
    run: opt.RunOrLast = "last",
    db: opt.Database = None,
    events: opt.EventFile = None,
    json: opt.AsJson = False,
) -> int:
    """Explain in one sentence why a run ended as it did, and prove it.

    The first failure, its device, the steps that it blocked, and the next step. For a run that
    is not over: its open leaves, since when, and its last sign of life. The exit code is 0 when
    the run could be explained, however it ended.
    """
    terminal = Terminal()
    story = _story_of_run(run, db) if events is None else _story_of_file(terminal, events)
    found = explain_run(story)
    if json:
        terminal.write(_as_json(found))
        return ExitCode.OK
    width = terminal.width if terminal.words.is_terminal else _COLUMNS
    for line in lines_of(found, width, terminal.charset):
        terminal.say_line(line)
    return ExitCode.OK


def _story_of_run(reference: str, database: str | None) -> RunStory:

    with history_of_runs(database) as history:
        run, nodes, verdicts, requests = history.whole(reference)
        location = history.store.location
    return story_of_record(
        run,
        nodes,
        now_ns=SYSTEM_CLOCK.wall_ns(),
        verdicts=verdicts,
        requests=requests,
        location=location,
    )


def _story_of_file(terminal: Terminal, file: str) -> RunStory:
    events = _read_events(terminal, file)
    if not events:
        raise UsageError(f"{file} holds no event", hint="taskgrove run MAP COMMAND --json > FILE")
    now_ns = SYSTEM_CLOCK.wall_ns()
    story = story_of_events(events, now_ns=now_ns)
    if story.state == "running":  # nothing in a file tells whether its writer lives
        story = replace(story, state="unknown")
    return story


def _read_events(terminal: Terminal, file: str) -> list[TaskEvent]:
    """Read a file of events; a last line that was cut off is left out, and said.

    Raises:
        UsageError: It cannot be read, or another line of it is no event.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise UsageError(f"{file} cannot be read: {exc.strerror or exc}") from exc
    events: list[TaskEvent] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            events.append(decode_event(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            if number == len(lines):
                terminal.say_error(UsageError(f"the last line of {file} is cut off; it is ignored"))
                break
            raise UsageError(
                f"line {number} of {file} is no event: {exc}",
                hint="a file of 'taskgrove run MAP COMMAND --json'",
            ) from exc
    return events


def _as_json(found: Why) -> bytes:
    text = json_text.dumps(msgspec.to_builtins(found), indent=2, allow_nan=False)
    return text.encode("ascii") + b"\n"
