"""Writing the events and rows of runs, in the transaction of the caller.

Nothing in memory changes here before the commit, except inside a :class:`Written`: a transaction
that fails is done again. Every statement may be repeated: an event that is in the log already,
because the answer to a commit was lost, is left as it is.

Threads: it belongs to the recorder's writer thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from taskgrove.commands.run_recorder import ResumeClaim
from taskgrove.events import AnalysisDetail, PageDetail
from taskgrove.events.plain_event import read_event
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.database.plain_bytes import clean_text, json_bytes, json_text
from taskgrove.store.recording import statements as sql
from taskgrove.store.recording.node_rows import change_of, identity_of, kept_path
from taskgrove.store.recording.recorded_run import RecordedRun, RunStage
from taskgrove.store.recording.request_rows import close_requests, write_answers
from taskgrove.story.run_node import RunNode

#: How many paths are looked up in one statement.
_LOOKED_UP: Final = 400
#: How many paths are kept in memory.
_PATHS_KEPT: Final = 200_000
#: A name that an index holds is cut to this many characters.
_NAME_LIMIT: Final = 400

#: Events of one run for the log: the number and the bytes of each, whatever follows them.
LogPart: TypeAlias = tuple[RecordedRun, Sequence[tuple[int, bytes, *tuple[Any, ...]]]]


class BrokenRunError(Exception):
    """A run cannot be recorded: its id is taken, or it is not there to go on with.

    Attributes:
        run_id: The run.
    """

    def __init__(self, run_id: str, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class ClaimTakenError(Exception):
    """Another run has claimed to resume the run that this one would resume.

    Attributes:
        run_id: The run that would be resumed.
        by: The run that has the claim.
    """

    def __init__(self, run_id: str, by: str) -> None:
        super().__init__(f"run {run_id} is resumed by run {by}")
        self.run_id = run_id
        self.by = by


@dataclass(slots=True)
class Written:
    """Keys that a transaction found; they count once the transaction is committed."""

    run_keys: dict[str, int] = field(default_factory=dict)
    path_keys: dict[str, int] = field(default_factory=dict)


class RunWriter:
    """Writes runs into one record."""

    def __init__(self) -> None:
        self._path_keys: dict[str, int] = {}

    def write(
        self,
        cursor: Cursor,
        states: Iterable[RecordedRun],
        log: Iterable[LogPart],
        *,
        now_ns: int,
        lazy: bool = False,
        log_only: bool = False,
    ) -> Written:
        """Write new runs, events, and the rows that events changed.

        Args:
            cursor: In a transaction that writes.
            states: The runs that have something to write.
            log: Events for the log; their runs are among ``states``.
            now_ns: The time, for leases.
            lazy: Whether rows that are behind in progress only are written too.
            log_only: More of the log follows: the rows that it changes wait for that.

        Raises:
            BrokenRunError: A run cannot be recorded.
            ClaimTakenError: A run resumes another, and a third run was quicker.
        """
        done = Written()
        states = list(states)
        for state in states:
            if state.run_key is None:
                done.run_keys[state.run_id] = self._begin(cursor, state, now_ns)
        keys = {s.run_id: s.run_key or done.run_keys[s.run_id] for s in states}
        values: list[Any] = []
        for state, of_run in log:
            key = keys[state.run_id]
            for item in of_run:
                values += (key, item[0], item[1])
        self._insert(cursor, sql.INSERT_EVENT, 3, values)
        if log_only:
            return done
        for state in states:
            if state.unread or (state.ending is not None and state.disordered):
                self._refold(cursor, state, keys[state.run_id])
        self._find_paths(cursor, states, done)
        for state in states:
            key = keys[state.run_id]
            self._write_nodes(cursor, state, key, done, lazy=lazy or state.ending is not None)
            self._write_noted(cursor, state, key, done)
            if state.answers:
                write_answers(cursor, key, state.answers)
            if state.touched or state.ending is not None:
                self._write_run(cursor, state, key, now_ns)
        return done

    def heartbeat(
        self, cursor: Cursor, states: Sequence[RecordedRun], pid: int, now_ns: int
    ) -> None:
        """Renew the leases of runs that are being recorded.

        A run that was marked lost while this process could not reach the record is marked
        running again. A run that is being recovered already stays with its recovery.
        """
        if not states:
            return
        beats = [(now_ns, state.run_key, pid) for state in states]
        if cursor.many(sql.HEARTBEAT, beats) == len(states):
            return
        for state in states:
            key = state.run_key
            assert key is not None
            if cursor.execute(sql.TAKE_BACK, (key,)) == 1:
                self._hold(cursor, state, key, now_ns)

    def committed(
        self,
        states: Iterable[RecordedRun],
        done: Written,
        *,
        lazy: bool = False,
        log_only: bool = False,
    ) -> None:
        """Take note that the transaction is committed."""
        if len(self._path_keys) > _PATHS_KEPT:
            self._path_keys.clear()
        self._path_keys.update(done.path_keys)
        for state in states:
            if state.run_key is None:
                state.kept(done.run_keys[state.run_id])
            if not log_only:
                state.committed(lazy=lazy)

    # -- runs -------------------------------------------------------------------------------

    def _begin(self, cursor: Cursor, state: RecordedRun, now_ns: int) -> int:
        if not state.resumed:  # a row that is there already is told by its ``created_ns``
            cursor.execute(sql.INSERT_RUN, tuple(state.row[it] for it in sql.RUN_COLUMNS))
        found = cursor.row(sql.FIND_RUN, (state.run_id,))
        if found is None:
            message = f"run {state.run_id} is not in the record: it cannot go on"
            raise BrokenRunError(state.run_id, message)
        key, created_ns, last_sequence, lost_event_count = found
        if not state.resumed and created_ns != state.row["created_ns"]:
            message = f"the record holds another run {state.run_id} already"
            raise BrokenRunError(state.run_id, message)
        if state.claim is not None:
            self._claim(cursor, state, state.claim, now_ns)
        if state.unread:
            state.go_on_after(last_sequence, lost_event_count)
        if state.resumed and not state.foreign:
            cursor.execute(sql.RESUME_RUN, (key,))
        if state.lease and state.ending is None:
            self._hold(cursor, state, key, now_ns)
        return int(key)

    def _claim(self, cursor: Cursor, state: RecordedRun, claim: ResumeClaim, now_ns: int) -> None:
        earlier, run_id = state.row["parent_run_id"], state.run_id
        set_out = json_text(claim.set_out)
        cursor.execute(sql.CLAIM, (claim.number, run_id, set_out, now_ns, earlier))
        held = cursor.row(sql.CLAIMED_BY, (earlier, claim.number))
        if held is None:
            message = f"run {earlier}, which would be resumed, is not in this record"
            raise BrokenRunError(run_id, message)
        if held[0] != run_id:
            raise ClaimTakenError(earlier, held[0])

    def _hold(self, cursor: Cursor, state: RecordedRun, key: int, now_ns: int) -> None:
        lease = {**state.lease, "run_key": key, "heartbeat_ns": now_ns}
        cursor.execute(sql.INSERT_LEASE, tuple(lease[name] for name in sql.LEASE_COLUMNS))

    def events(self, cursor: Cursor, run_key: int, run_id: str) -> Iterator[Any]:
        """Yield the events of a run's log, in order; an unreadable event is replaced."""
        for sequence, body in cursor.each(sql.READ_EVENTS, (run_key,)):
            yield read_event(bytes(body), run_id, sequence)

    def _refold(self, cursor: Cursor, state: RecordedRun, key: int) -> None:
        cursor.execute(sql.DROP_NODES, (key,))
        state.refold(self.events(cursor, key, state.run_id))

    def _write_run(self, cursor: Cursor, state: RecordedRun, key: int, now_ns: int) -> None:
        root, ending, facts = state.facts.root, state.ending, state.facts
        ends = state.stage is RunStage.ENDED
        status = None if root is None or root.status is None else int(root.status)
        code = None if root is None or root.result_code is None else int(root.result_code)
        health = None if root is None else root.health_state
        message = "" if root is None else root.message
        last_ns = facts.last_ns or state.row["created_ns"]
        if ending is not None:
            status, code = ending.status, ending.result_code
            health, message = ending.health_state, ending.message
            last_ns = max(last_ns, ending.ended_ns) if ends else last_ns
        lost = state.missing_count if ending is not None or not state.has_gap else state.told_lost
        change = (
            status, code, _cut(health, 16), clean_text(message),
            0 if root is None else root.progress, None if root is None else root.started_ns,
            last_ns, state.last_sequence, state.leaf_count, state.failed_leaf_count,
            state.retry_count, max(0, lost), key,
        )  # fmt: skip
        cursor.execute(sql.CHANGE_RUN, change)
        if ending is not None and ends:
            ended_ns = ending.ended_ns if root is None else root.ended_ns or ending.ended_ns
            if not state.foreign:
                cursor.execute(sql.TAKE_BACK, (key,))
            cursor.execute(sql.END_RUN, (ended_ns, key))
            if state.began_nothing:
                cursor.execute(sql.DROP_CLAIM, (state.run_id, key))
            cursor.execute(sql.DROP_LEASE, (key,))
            close_requests(cursor, key, state.run_id, "run_ended", now_ns)

    def _insert(self, cursor: Cursor, insert: str, width: int, values: list[Any]) -> None:
        """Insert rows that follow each other in ``values``, ``width`` of them a row."""
        done = 0
        if cursor.dialect == "sqlite":
            block = sql.block_of(insert)
            size = block.rows * width
            while len(values) - done >= size:
                cursor.execute(block.sql, values[done : done + size])
                done += size
        rest = [tuple(values[at : at + width]) for at in range(done, len(values), width)]
        if rest:
            cursor.many(insert, rest)

    # -- nodes, analyses, pages -------------------------------------------------------------

    def _find_paths(self, cursor: Cursor, states: list[RecordedRun], done: Written) -> None:
        wanted = {path for state in states for path in state.fresh}
        wanted.update(event.path for state in states for _, event in state.noted)
        names = {path: kept_path(path) for path in wanted if path not in self._path_keys}
        if not names:
            return
        # In one order everywhere, so that two recorders never wait for each other in a circle.
        ordered = sorted(set(names.values()))
        self._insert(cursor, sql.INSERT_PATH, 1, ordered)
        keys: dict[str, int] = {}
        for start in range(0, len(ordered), _LOOKED_UP):
            some = ordered[start : start + _LOOKED_UP]
            marks = ", ".join("?" for _ in some)
            found = f"SELECT path, path_key FROM paths WHERE path IN ({marks})"  # noqa: S608 - marks
            keys.update(cursor.rows(found, some))
        done.path_keys.update((path, keys[name]) for path, name in names.items())

    def _path_key(self, path: str, done: Written) -> int:
        key = self._path_keys.get(path)
        return done.path_keys[path] if key is None else key

    def _write_nodes(
        self, cursor: Cursor, state: RecordedRun, key: int, done: Written, *, lazy: bool
    ) -> None:
        numbers = state.numbers
        if state.fresh:
            values: list[Any] = []
            for path, node in state.fresh.items():
                values += (key, numbers[path], self._path_key(path, done))
                values += identity_of(node)
                values += change_of(node)
            width = len(values) // len(state.fresh)
            self._insert(cursor, sql.INSERT_NODE, width, values)
        behind: dict[str, RunNode] = state.changed
        if lazy and state.lazy:
            behind = {**state.lazy, **state.changed}
        changes = [
            (*change_of(node), key, numbers[path])
            for path, node in behind.items()
            if path not in state.fresh
        ]
        if changes:
            cursor.many(sql.CHANGE_NODE, changes)

    def _write_noted(self, cursor: Cursor, state: RecordedRun, key: int, done: Written) -> None:
        for sequence, event in state.noted:
            path_key, detail = self._path_key(event.path, done), event.detail
            if isinstance(detail, AnalysisDetail):
                labels = state.row.get("label_values", {})
                row: tuple[Any, ...] = (
                    key, sequence, path_key, _cut(clean_text(detail.analysis), _NAME_LIMIT),
                    _cut(clean_text(detail.status), 16), clean_text(detail.summary),
                    labels.get("experiment"), labels.get("run"),
                    json_bytes(detail), event.wall_ns,
                )  # fmt: skip
                cursor.execute(sql.INSERT_ANALYSIS, row)
            elif isinstance(detail, PageDetail):
                row = (
                    key, sequence, path_key, _cut(clean_text(detail.display_name), _NAME_LIMIT),
                    clean_text(detail.file), detail.size_bytes,
                    _cut(clean_text(detail.sha256), 64), event.wall_ns,
                )  # fmt: skip
                cursor.execute(sql.INSERT_PAGE, row)


def _cut(text: str | None, limit: int) -> str | None:
    return text if text is None else text[:limit]
