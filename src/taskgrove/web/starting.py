"""What a browser may start: a command of a map after a dry run, a resume after its preview.

Everything is done by verbs of the command line, in processes of their own: what they refuse, the
page refuses, with the same words.

Threads: any thread may call any function; a dry run waits for its process.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec

from taskgrove.commands.command_map import (
    DEFAULT_LIMITS,
    load_command_map,
    parse_plain_data,
)
from taskgrove.commands.main_task_executor import is_run_id, new_run_id
from taskgrove.errors import MapError, UnknownRunError, UsageError, did_you_mean
from taskgrove.store.history import History
from taskgrove.web.answers import map_error_facts
from taskgrove.web.page_requests import read_request
from taskgrove.web.runner_processes import RunnerError, RunnerProcesses
from taskgrove.web.start_settings import (
    TEXT_LIMIT,
    Starts,
    StartSettings,
    person_words,
    plain_word,
    wait_words,
)

#: How large a request with an argument may be, in bytes: JSON in JSON.
START_BODY_LIMIT: Final = 2 * DEFAULT_LIMITS.max_bytes + 64 * 1024


class DryRunAsked(msgspec.Struct, forbid_unknown_fields=True):
    """A dry run of a command.

    Attributes:
        map: The map, as ``/api/maps`` names it.
        command: The command.
        argin: Its argument as JSON text; empty: none.
    """

    map: str
    command: str
    argin: str = ""


class StartAsked(msgspec.Struct, forbid_unknown_fields=True):
    """The start of a command.

    Attributes:
        map: As of the dry run.
        command: As of the dry run.
        digest: The digest of the map that the dry run gave.
        run_id: The id that the dry run gave; a second request with it starts nothing.
        argin: As of the dry run.
        hold: Whether a step that fails waits for a decision.
        pause_before: Steps before which the run pauses; patterns.
        who: Who starts it; empty: the user of the server.
        why: The reason.
    """

    map: str
    command: str
    digest: str
    run_id: str
    argin: str = ""
    hold: bool = False
    pause_before: tuple[str, ...] = ()
    who: str = ""
    why: str = ""


def maps_of(settings: StartSettings) -> dict[str, Any]:
    """Return the maps and their commands; of a map that cannot be read, its error."""
    return {"maps": [_map_facts(file) for file in settings.maps]}


def dry_run(starts: Starts, body: bytes) -> dict[str, Any]:
    """Return the tree that a command would run, and the id that its run will have.

    Raises:
        UsageError: The request cannot be read, or no such map is offered.
        MapError: The argument is not JSON.
        RunnerError: The command is refused.
    """
    asked = read_request(body, DryRunAsked)
    _check_map(starts.settings, asked.map)
    argin = _checked_argin(asked.argin)
    words = ["compose", "--json", *starts.settings.compose_words(), *_argin_words(argin)]
    found = starts.runners.dry_run(
        [*words, "--", asked.map, plain_word(asked.command, TEXT_LIMIT)], argin
    )
    return {**found.data, "said": found.said, "run_id": new_run_id()}


def start(starts: Starts, history: History, body: bytes) -> dict[str, Any]:
    """Start a command in a process of its own.

    Raises:
        UsageError: The request cannot be read, or no such map is offered.
        MapError: The argument is not JSON.
        RunnerError: The map has changed since the dry run, or no process can be started.
        StoreError: The log cannot be made, or the record cannot be read.
    """
    asked = read_request(body, StartAsked)
    _check_map(starts.settings, asked.map)
    argin = _checked_argin(asked.argin)
    run_id = id_to_start(history, starts.runners, asked.run_id)
    if starts.runners.knows(run_id):
        return {"fate": "started_already", "run_id": run_id}
    if _digest(asked.map) != asked.digest:
        raise RunnerError(
            {
                "error": f"{asked.map} has changed since the dry run; nothing was started",
                "hint": "look at a new dry run",
                "code": "map-changed",
            }
        )
    words = [
        "run", *starts.settings.run_words(), f"--run-id={run_id}", f"--map-digest={asked.digest}",
        *wait_words(asked.pause_before, hold=asked.hold), *person_words(asked.who, asked.why),
        *_argin_words(argin), "--", asked.map, plain_word(asked.command, TEXT_LIMIT),
    ]  # fmt: skip
    is_new = starts.runners.start(run_id, words, argin)
    return {"fate": "started" if is_new else "started_already", "run_id": run_id}


def started(runners: RunnerProcesses, history: History, run_id: str) -> dict[str, Any]:
    """Return how far a start has come.

    Returns:
        ``fate``: ``recorded`` once the record has the run; ``starting`` before; ``refused``: its
        process has ended, and the record has no such run; ``unknown``: another server started it.
        ``exit_code`` of the process, or None; ``lines``: the last that it said.

    Raises:
        UnknownRunError: No run of that id was started here.
        StoreError: The record cannot be read.
    """
    if not is_run_id(run_id) or not runners.knows(run_id):
        raise UnknownRunError(f"no run {run_id} was started from the page")
    running, code = runners.is_running(run_id), runners.exit_code(run_id)
    if is_recorded(history, run_id):
        fate = "recorded"
    elif running:
        fate = "starting"
    else:
        fate = "unknown" if code is None else "refused"
    return {
        "fate": fate,
        "run_id": run_id,
        "exit_code": code,
        "lines": runners.log_lines(run_id),
    }


def _map_facts(file: str) -> dict[str, Any]:
    try:
        found = load_command_map(file)
    except MapError as exc:
        return {"file": file, **map_error_facts(exc)}
    commands = [
        {"name": name, "description": entry.description or ""}
        for name, entry in found.commands.items()
    ]
    return {"file": file, "commands": commands, "device_count": len(found.device_places)}


def _check_map(settings: StartSettings, file: str) -> None:
    if file not in settings.maps:
        offered = ", ".join(settings.maps)
        raise UsageError(
            f"the map {file!r} is not offered here",
            hint=did_you_mean(file, settings.maps)
            or (f"offered: {offered}" if offered else "'taskgrove serve --map MAP' offers one"),
        )


def _checked_argin(text: str) -> bytes:
    """Return an argument as it is sent to a process.

    Raises:
        MapError: It is not JSON.
    """
    if not text.strip():
        return b""
    parse_plain_data(text, syntax="json", file="the argument")
    return text.encode()


def _argin_words(argin: bytes) -> list[str]:
    return ["--argin=-"] if argin else []


def id_to_start(history: History, runners: RunnerProcesses, run_id: str) -> str:
    """Return the id of a run that is to be started, or was started with it.

    Raises:
        UsageError: It is no id of ours, or that of a run which was not started here.
    """
    if not is_run_id(run_id):
        raise UsageError(f"{run_id!r} is not the id of a run", hint="a dry run gives one")
    if not runners.knows(run_id) and is_recorded(history, run_id):
        raise UsageError(f"the record has a run {run_id} already", hint="a dry run gives a new id")
    return run_id


def is_recorded(history: History, run_id: str) -> bool:
    """Return whether the record has a run of exactly this id."""
    try:
        return history.find(run_id).run_id == run_id
    except UnknownRunError:
        return False


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""
