"""Verdicts of operators on a run: they stand beside the record and never change it.

A verdict is an event of its own (a note of topic ``operator``). It has numbers of its own, not the
log's: it may be given while the run lives in another process, which counts the log's numbers.

Threads: any thread may call any function here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, get_args

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError, nearest
from taskgrove.events import NoteDetail, TaskEvent, encode_event
from taskgrove.provenance import user_name
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import VerdictRow
from taskgrove.store.recording.lease import this_process
from taskgrove.store.store import Store
from taskgrove.story.path_globs import path_of_command
from taskgrove.story.run_node import RunNode

#: ``ok``: treat it as OK, in a resume; ``acknowledged``: it was seen; ``note``: words only.
Verdict: TypeAlias = Literal["ok", "acknowledged", "note"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

#: How many characters a reason may have.
WHY_LIMIT: Final = 4096

_RUN: Final = "SELECT run_key FROM runs WHERE run_key = ?"
_NEXT_NUMBER: Final = "SELECT coalesce(max(number), 0) + 1 FROM verdicts WHERE run_key = ?"
_INSERT: Final = "INSERT INTO verdicts (run_key, number, body) VALUES (?, ?, ?)"


def give_verdict(
    store: Store,
    run: str,
    path: str,
    verdict: Verdict,
    *,
    why: str,
    who: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> VerdictRow:
    """Add an operator's verdict to the record; the outcome of record stays as it is.

    Args:
        store: The record, open for writing.
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        path: A node of the run; a verdict on a composite counts for what is below it, too.
        verdict: ``ok``, ``acknowledged`` or ``note``.
        why: Why, in words; they are required.
        who: Who says so; None takes the user of this process.
        clock: Where the time comes from.

    Raises:
        UsageError: There is no such node or verdict, or no reason was given.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read or written.
    """
    if verdict not in VERDICTS:
        close = nearest(str(verdict), VERDICTS)
        hint = f"did you mean {close!r}?" if close else None
        raise UsageError(f"a verdict is one of {', '.join(VERDICTS)}, not {verdict!r}", hint=hint)
    words = why.strip()
    if not words or len(words) > WHY_LIMIT:
        raise UsageError(
            f"a verdict needs its reason, in 1 to {WHY_LIMIT} characters",
            hint="--why 'the receiver was replaced'",
        )
    history = History(store)
    row = history.find_to_act(run)
    show = quoted_line(store.location, "runs", "show", row.run_id)
    path = _known_path(path, history.nodes(row), row.run_id, show)
    teller = (who or "").strip() or user_name()
    data = {"verdict": verdict, "who": teller, "why": words, "host": this_process().host}
    with store.writing() as cursor:
        # Where writers do not take turns by themselves, they do on the run's row.
        cursor.rows(_RUN + cursor.held("runs"), (row.run_key,))
        ((number,),) = cursor.rows(_NEXT_NUMBER, (row.run_key,))
        event = TaskEvent(
            run_id=row.run_id,
            sequence=number,
            path=path,
            kind="note",
            message=f"{teller}: {verdict_text(verdict)}: {words}",
            monotonic_s=clock.monotonic(),
            wall_ns=clock.wall_ns(),
            detail=NoteDetail(topic="operator", data=data),
        )
        cursor.execute(_INSERT, (row.run_key, number, encode_event(event)))
    return VerdictRow(row.run_id, number, path, verdict, teller, words, event.wall_ns)


def verdict_text(verdict: str) -> str:
    """Return a verdict as words for people."""
    return "treat as OK" if verdict == "ok" else verdict


def taken_as_ok(verdicts: Iterable[VerdictRow]) -> Mapping[str, VerdictRow]:
    """Return the nodes that operators treat as OK, each with the verdict that says so.

    The last verdict on a node counts; ``note`` decides nothing.

    Args:
        verdicts: In the order in which they were given.
    """
    decided: dict[str, VerdictRow] = {}
    for row in verdicts:
        if row.verdict != "note":
            decided[row.path] = row
    return {path: row for path, row in decided.items() if row.verdict == "ok"}


def _known_path(path: str, nodes: Sequence[RunNode], run_id: str, show: str) -> str:
    """Return the path of the node that a person means."""
    known = [node.path for node in nodes]
    if path in known:
        return path
    commands = [(node.path, node.composed.command_name) for node in nodes if node.composed]
    meant = path_of_command(path, commands)
    if meant is not None:
        return meant
    ends = [other for other in known if other.endswith(f"/{path}")]
    close = ends[0] if len(ends) == 1 else nearest(path, known)
    raise UsageError(
        f"run {run_id} has no node {path!r}",
        path=path,
        hint=f"did you mean {close!r}?" if close else f"{show} lists the nodes",
    )
