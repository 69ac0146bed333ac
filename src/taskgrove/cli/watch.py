"""``taskgrove watch``: a run that another process executes, as its own terminal shows it.

Threads: everything here happens on the main thread, but for requests: each is asked on a thread
of its own, which only queues what it hears.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.follow import surface_for
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.run_controls import RunControls
from taskgrove.cli.surfaces import FRAMES_PER_SECOND, JsonLines, Surface, print_tree
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import StoreError, TaskgroveError
from taskgrove.events import TaskEvent
from taskgrove.events.steering_request import SteeringRequest, TakeAnswer
from taskgrove.loops.threads import spawn
from taskgrove.store import RecordDesk
from taskgrove.store.database.advice import command_line, db_option
from taskgrove.store.database.changes import ANSWERED, Changes
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.view.record_view import runner_gone, state_words, story_of_record
from taskgrove.view.snapshot import RunView
from taskgrove.view.steering_words import decision_lines
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why import why

_FRAME_S: Final = 1.0 / FRAMES_PER_SECOND
#: How often the runner's sign of life is looked at, in seconds.
_LOOK_S: Final = 1.0
#: How often a server is asked for new events, in seconds: it does not tell of them.
_SERVER_READ_S: Final = 0.3
#: How long a record that cannot be read is tried again, in seconds.
_OUTAGE_S: Final = 60.0
#: The exit code of each outcome; those of any other are failures.
_CODES: Final = {
    "ok": ExitCode.OK,
    "degraded": ExitCode.DEGRADED,
    "rejected": ExitCode.REJECTED,
    "aborted": ExitCode.ABORTED,
}


@verb
def watch(
    run: opt.RunOrLast = "last",
    json: opt.JsonEvents = False,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
) -> int:
    """Show a run that another process executes, as the terminal that started it does.

    The same keys decide on held steps, pause and abort it. Ctrl-C leaves the run alone: it only
    ends the watching, with exit code 7. Of a run that has ended the final tree is shown. The exit
    code is that of the outcome; 1 when the runner was lost.
    """
    terminal = Terminal(json=json, live=not no_live)
    with history_of_runs(db) as history:
        row = history.find(run)
        watched = _Watched(terminal, history, row, json=json)
        try:
            return watched.to_its_end()
        except KeyboardInterrupt:
            line = command_line(history.store.location, "watch", row.run_id)
            terminal.say(f"Left; run {safe_text(row.run_id)} goes on: {safe_text(line)}")
            return ExitCode.NO_ANSWER


class _Watched:
    """One run, followed in the record.

    Args:
        terminal: Where the words go.
        history: The record.
        row: The run.
        json: Whether standard output carries the events.
    """

    def __init__(self, terminal: Terminal, history: History, row: RunRow, *, json: bool) -> None:
        self._terminal = terminal
        self._history = history
        self._row = row
        self._json = json
        self._view = RunView(row.run_id)
        self._options = db_option(history.store.location)
        live = terminal.is_live
        self._controls = RunControls(self._steer, self._advice) if live else RunControls()
        self._looked_s = time.monotonic()
        self._read_s = -math.inf
        self._changes: Changes | None = None
        self._outage_s: float | None = None
        self._unshown: list[TaskEvent] = []  # an outage may come while events are read

    def to_its_end(self) -> ExitCode:
        """Show the run until it has ended, or was lost, and return the exit code."""
        if self._json or self._lives():
            surface = JsonLines(self._terminal) if self._json else self._surface()
            self._follow(surface)
        row, nodes, verdicts, requests = self._history.whole(self._row.run_id)
        if not self._json:
            if not self._view.nodes:
                print_tree(self._terminal, RunView.of(row.run_id, nodes))
            story = story_of_record(
                row,
                nodes,
                now_ns=SYSTEM_CLOCK.wall_ns(),
                verdicts=verdicts,
                requests=requests,
                location=self._history.store.location,
            )
            self._terminal.say_explanation(why(story))
        elif row.state != "final":
            now_ns, location = SYSTEM_CLOCK.wall_ns(), self._history.store.location
            self._terminal.say(safe_text(f"{row.run_id}: {state_words(row, now_ns, location)}"))
        return _CODES.get(row.outcome, ExitCode.FAILED)

    def _surface(self) -> Surface:
        return surface_for(
            self._terminal,
            self._view,
            json=False,
            controls=self._controls,
            advice=self._advice,
            clock=lambda: self._view.monotonic_s(SYSTEM_CLOCK.wall_ns()),
        )

    def _advice(self, path: str) -> str:
        return decision_lines(self._row.run_id, path, self._options)[0]

    def _follow(self, surface: Surface) -> None:
        controls = self._controls
        try:
            controls.open()
            while self._frame(surface):
                time.sleep(_FRAME_S)
            controls.take(self._view.settle())
        finally:
            self._drop_changes()
            controls.close()
            surface.close()

    def _frame(self, surface: Surface) -> bool:
        """Show what is new; return whether the run goes on. An outage of the record is borne.

        Raises:
            StoreError: The record could not be read for a while.
        """
        try:
            lives = self._lives()  # looked at before the events: the end is among them then
            if not lives:
                self._drop_changes()
            self._show(surface)
        except StoreError as exc:
            self._drop_changes()
            now_s = time.monotonic()
            if self._outage_s is None:
                self._outage_s = now_s
                words = f"note: the record cannot be read, and is tried again: {exc.message}"
                self._terminal.say(safe_text(words), "yellow")
            if now_s - self._outage_s > _OUTAGE_S:
                raise
            return True
        self._outage_s = None
        return lives

    def _show(self, surface: Surface) -> None:
        view = self._view
        if self._has_changed():
            # An event may be kept a little later than the one after it.
            for event in self._history.events(self._row, first_sequence=view.next_sequence):
                self._unshown += view.apply(event)
        new, self._unshown = self._unshown + view.settle(time.monotonic()), []
        self._controls.take(new)
        surface.show(new)

    def _has_changed(self) -> bool:
        """Return whether there may be new events in the record.

        Raises:
            StoreError: The record cannot be read.
        """
        connections = self._history.store.connections
        if connections.dialect != "sqlite" or connections.alone:
            is_due = time.monotonic() - self._read_s >= _SERVER_READ_S
            self._read_s = time.monotonic() if is_due else self._read_s
            return is_due
        try:
            if self._changes is None:  # nothing is known of the time before
                self._changes = Changes(connections, ANSWERED)
                return True
            return self._changes.look()
        except connections.error as exc:
            raise store_error(exc, self._history.store.location) from exc

    def _drop_changes(self) -> None:
        """Read all that is new at the next look; called after a read that failed, too."""
        self._read_s = -math.inf
        if self._changes is not None:
            self._changes.close()
        self._changes = None

    def _lives(self) -> bool:
        """Return whether the run goes on, as its row and its runner's sign of life say."""
        root = self._view.root
        now_s = time.monotonic()
        is_over = root is not None and root.is_final
        if self._view.nodes and not is_over and now_s - self._looked_s < _LOOK_S:
            return True
        self._looked_s = now_s
        self._row = self._history.find(self._row.run_id)
        is_running = self._row.state == "running"
        return is_running and runner_gone(self._row, SYSTEM_CLOCK.wall_ns()) is None

    def _steer(self, request: SteeringRequest, take_answer: TakeAnswer) -> None:
        spawn("taskgrove-watch-ask", lambda: self._ask(request, take_answer, self._controls.tell))

    def _ask(
        self, request: SteeringRequest, take_answer: TakeAnswer, tell: Callable[[str], object]
    ) -> None:
        try:
            take_answer(RecordDesk(self._history.store).ask(self._row.run_id, request))
        except TaskgroveError as exc:
            tell(f"{request.verb}: {exc.message}")
