"""Resuming and recovering runs from the page: the plan first, then a process of its own.

Threads: any thread may call any function; a plan waits for its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from taskgrove.commands.main_task_executor import new_run_id
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.web.page_requests import read_request
from taskgrove.web.runner_processes import RunnerError
from taskgrove.web.start_settings import (
    NAME_LIMIT,
    Starts,
    StartSettings,
    person_words,
    plain_word,
    wait_words,
)
from taskgrove.web.starting import id_to_start


class ResumeAsked(msgspec.Struct, forbid_unknown_fields=True):
    """The resume of a run, as its preview showed it.

    Attributes:
        digest: The digest of the plan.
        run_id: The id that the preview gave to the new run.
        hold: Whether a step that fails waits for a decision.
        who: Who resumes; empty: the user of the server.
        why: The reason.
    """

    digest: str
    run_id: str
    hold: bool = False
    who: str = ""
    why: str = ""


def resume_plan(starts: Starts, history: History, run: str) -> dict[str, Any]:
    """Return what a resume would do, and the id that its run will have.

    Returns:
        The document of ``resume --dry-run --json``; ``said``: what it told besides;
        ``new_run_id``. Of a lost run ``is_lost``: it is recovered first.

    Raises:
        UnknownRunError: There is no such run.
        RunnerError: It is refused; ``resumed_by`` of its facts names runs that resumed it.
        StoreError: The record cannot be read.
    """
    row = history.find_to_act(run)
    words = ["resume", row.run_id, "--dry-run", "--json", *_resume_words(starts.settings, row)]
    try:
        found = starts.runners.dry_run(words)
    except RunnerError as exc:
        exc.facts["resumed_by"] = [
            {"run_id": it.run_id, "outcome": it.outcome} for it in row.resumed_by
        ]
        raise
    return {**found.data, "said": found.said, "new_run_id": new_run_id()}


def resume(starts: Starts, history: History, run: str, body: bytes) -> dict[str, Any]:
    """Resume a run in a process of its own, if its plan is still the one that was shown.

    Raises:
        UsageError: The request cannot be read.
        UnknownRunError: There is no such run.
        RunnerError: No process can be started.
        StoreError: The log cannot be made, or the record cannot be read.
    """
    asked = read_request(body, ResumeAsked)
    row = history.find_to_act(run)
    run_id = id_to_start(history, starts.runners, asked.run_id)
    digest = plain_word(asked.digest, NAME_LIMIT)
    words = [
        "resume", row.run_id, "--yes", f"--run-id={run_id}", f"--plan-digest={digest}",
        *_resume_words(starts.settings, row),
        *wait_words((), hold=asked.hold), *person_words(asked.who, asked.why),
    ]  # fmt: skip
    is_new = starts.runners.start(run_id, words)
    return {"fate": "started" if is_new else "started_already", "run_id": run_id}


def recover(starts: Starts, history: History, run: str) -> dict[str, Any]:
    """Recover a lost run in a process of its own; nothing of it is started.

    Returns:
        ``start_id``: the id by which ``started`` tells of the process.

    Raises:
        UnknownRunError: There is no such run.
        RunnerError: It is not lost, or no process can be started.
        StoreError: The log cannot be made, or the record cannot be read.
    """
    row = history.find_to_act(run)
    if row.state != "lost":
        words = f"run {row.run_id} is not lost: nothing is to be recovered"
        raise RunnerError({"error": words, "code": "usage"})
    start_id = new_run_id()
    starts.runners.start(start_id, ["recover", row.run_id, *starts.settings.record_words()])
    return {"fate": "started", "run_id": row.run_id, "start_id": start_id}


def _resume_words(settings: StartSettings, row: RunRow) -> list[str]:
    """Return the record, and the operator's modules where the run had some."""
    source: Mapping[str, Any] = row.source
    had_manager = bool(source.get("manager"))
    had_modules = bool((source.get("analyses") or {}).get("analyses"))
    known = settings.manager if had_manager else None
    modules = settings.analyses if had_modules else ()
    used = replace(settings, manager=known, analyses=modules)
    return [*used.record_words(), *used.code_words()]
