"""The desk of a record: requests of operators are rows in it, and so are the answers of the runs.

Who asks adds one row, and changes nothing else; the process that records the run answers in it
(:mod:`taskgrove.store.recording.request_watch`). A run that is over takes no request.

Threads: any thread may call any method; a call that waits keeps a connection of its own.
"""

from __future__ import annotations

import os
import time
from typing import Final

from msgspec.structs import replace

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import NoAnswerError, StoreError, UsageError
from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest
from taskgrove.redaction import Redaction
from taskgrove.steering.asking import WAIT_S
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.database.changes import ANSWERED, ASKED, Changes
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.database.holders import why_expired
from taskgrove.store.database.plain_bytes import json_bytes
from taskgrove.store.history import History
from taskgrove.store.queries.run_references import find_run
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.recording.request_rows import answers_of_log, read_answer, too_late
from taskgrove.store.recording.rights import check_may_ask
from taskgrove.store.store import Store

#: How often it is looked whether the run lives, and for answers that were not announced, in
#: seconds.
_LOOK_S: Final = 0.5
#: How long a record that cannot be read is tried again without a limit of the caller, in seconds.
_OUTAGE_S: Final = 30.0
#: A server lets no request wait half made for long, because the end of the run waits for it.
_HALF_MADE: Final = "SET LOCAL idle_in_transaction_session_timeout = '3s'"

_FIND: Final = (
    "SELECT r.run_id, q.body FROM requests q JOIN runs r ON r.run_key = q.run_key"
    " WHERE q.request_id = ?"
)
_INSERT: Final = (
    "INSERT INTO requests (run_key, request_id, body, asked_ns) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (request_id) DO NOTHING"
)
_STATE: Final = "SELECT state FROM runs WHERE run_key = ?"
_ANSWER: Final = "SELECT answer FROM requests WHERE request_id = ?"


class RecordDesk:
    """Takes requests to the runs of a record; a :class:`taskgrove.steering.Desk`.

    Args:
        store: The record, open for writing; it stays the caller's to close.
        redaction: The rule that keeps secrets out; None takes the rule of ``TASKGROVE_REDACT``.
        clock: The wall clock.

    Raises:
        StoreError: This user may add no request to the record.
        UsageError: ``TASKGROVE_REDACT`` cannot be read.
    """

    def __init__(
        self, store: Store, *, redaction: Redaction | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        check_may_ask(store)
        self.store = store
        self._history = History(store)
        self._redaction = redaction or Redaction.from_environment()
        self._redaction.remember(dict(os.environ))
        self._clock = clock

    def find(self, run: str) -> RunRow:
        """Return the run that a text means, for who asks something of it.

        Args:
            run: As :meth:`taskgrove.store.history.History.find` takes it.

        Raises:
            UnknownRunError: There is no such run.
            UsageError: ``last`` may mean a run that is not in the record yet.
        """
        return self._history.find_to_act(run, live=True)

    def ask(
        self, run: str, request: SteeringRequest, *, wait_s: float | None = WAIT_S
    ) -> SteeringAnswer:
        """Hand a request to a run, and wait for the answer; see :class:`taskgrove.steering.Desk`.

        Args:
            run: As :meth:`find` takes it.
            request: The request.
            wait_s: The most to wait for the answer, in seconds; None waits as long as the run
                lives.

        Raises:
            UnknownRunError: There is no such run.
            UsageError: The id of the request is another request's.
            NoAnswerError: The answer did not come in time; the request stands.
            StoreError: The record cannot be read, or takes no request.
        """
        began = time.monotonic()
        row = self.find(run)
        if not self._is_known(row, request):
            late = self._over(row, request.id) or self._make(row, request)
            # Another one may have asked the same meanwhile, before the run was over.
            if late is not None and not self._is_known(row, request):
                return late
        answer = self._await(row, request.id, None if wait_s is None else began + wait_s)
        if answer is not None:
            return answer
        what = f"{request.verb} {request.path}".rstrip()
        raise NoAnswerError(
            f"run {row.run_id} has not answered within {wait_s:g} s: {what}; the request stands",
            run_id=row.run_id,
            request_id=request.id,
            hint=f"{quoted_line(self.store.location, 'runs', 'show', row.run_id)} shows its answer",
        )

    # -- asking ---------------------------------------------------------------------------------

    def _is_known(self, row: RunRow, request: SteeringRequest) -> bool:
        """Return whether the request is on record already."""
        found = self._history.reader.rows(_FIND, (request.id,))
        if not found:
            return False
        ((run_id, body),) = found
        if run_id != row.run_id or bytes(body) != self._body(request):
            raise UsageError(
                f"the id {request.id} is that of another request, to run {run_id}",
                hint="make a new request: its id is unlike every other",
            )
        return True

    def _body(self, request: SteeringRequest) -> bytes:
        said = self._redaction.said
        return json_bytes(replace(request, why=said(request.why), who=said(request.who)))

    def _make(self, row: RunRow, request: SteeringRequest) -> SteeringAnswer | None:
        """Add the request to the record; return the answer where the run is over."""
        values = (row.run_key, request.id, self._body(request), request.asked_ns)
        try:
            with self.store.writing() as cursor:
                if cursor.dialect == "postgresql":
                    cursor.execute(_HALF_MADE)
                cursor.execute(_INSERT, values)
                # Now the run's row is held: its end waits until this is committed, and answers it;
                # or its end came before, and is seen here.
                found = cursor.row(_STATE, (row.run_key,))
                if found is None or found[0] != "running":
                    raise _OverError
                if cursor.dialect == "postgresql":
                    cursor.rows("SELECT pg_notify(?, ?)", (ASKED, row.run_id))
        except _OverError:
            return self._over(self.find(row.run_id), request.id)
        return None

    def _over(self, row: RunRow, request_id: str) -> SteeringAnswer | None:
        """Return the answer to a request where the run is over; None where it lives."""
        now_ns = self._clock.wall_ns()
        if row.state == "final":
            return too_late(request_id, "run_ended", now_ns, row.ended_ns)
        lives = row.state == "running" and row.lease is not None
        if lives and why_expired(row.lease, now_ns) is None:
            return None
        with self._history.reader.cursor() as cursor:
            (answer,) = answers_of_log(
                cursor, row.run_key, row.run_id, [request_id], "runner_lost", now_ns
            )
        return answer

    # -- waiting --------------------------------------------------------------------------------

    def _await(self, row: RunRow, request_id: str, deadline: float | None) -> SteeringAnswer | None:
        """Wait for the answer, over outages of the record, too; None: the time is over."""
        changes: Changes | None = None
        patience_until = time.monotonic() + _OUTAGE_S if deadline is None else deadline
        try:
            while True:
                left_s = _LOOK_S if deadline is None else deadline - time.monotonic()
                try:
                    if changes is None:
                        changes = Changes(self.store.connections, ANSWERED)
                    answer = self._answer_now(row.run_id, request_id)
                    if answer is not None or left_s <= 0:
                        return answer
                    self._wait(changes, request_id, min(left_s, _LOOK_S))
                    if deadline is None:
                        patience_until = time.monotonic() + _OUTAGE_S
                except (StoreError, self.store.connections.error) as exc:
                    if changes is not None:
                        changes.close()
                    changes = None
                    if time.monotonic() >= patience_until:
                        if isinstance(exc, StoreError):
                            raise
                        raise store_error(exc, self.store.location) from exc
                    time.sleep(min(max(left_s, 0.0), _LOOK_S))
        finally:
            if changes is not None:
                changes.close()

    def _wait(self, changes: Changes, request_id: str, timeout_s: float) -> None:
        """Return once the answer may be there, or after a while."""
        until = time.monotonic() + timeout_s
        while (left_s := until - time.monotonic()) > 0:
            if changes.wait(left_s) and changes.rows(_ANSWER, (request_id,)) != [(None,)]:
                return

    def _answer_now(self, run_id: str, request_id: str) -> SteeringAnswer | None:
        # The run first: the answer of one that has ended is in the same transaction as its end.
        over = self._over(find_run(self._history.reader, run_id), request_id)
        found = self._history.reader.rows(_ANSWER, (request_id,))
        return (read_answer(found[0][0]) if found else None) or over


class _OverError(Exception):
    """The run is over: the request is not made."""
