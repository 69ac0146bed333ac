"""Recording a run, and reporting trouble with the record, for every verb that runs something.

Threads: trouble comes on the recorder's threads and is only queued there; it is told by the
thread that follows the run.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.lost_runs import tell_lost
from taskgrove.cli.notices import notify_of_end
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.composition.refused import RefusedError
from taskgrove.commands.execution.refused_run import record_refusal
from taskgrove.commands.main_task_executor import is_run_id, new_run_id
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import (
    CommandError,
    MissingExtraError,
    StoreError,
    TaskgroveError,
    UnknownRunError,
    UsageError,
)
from taskgrove.events import Observer
from taskgrove.story.run_story import RunStory, story_of_facts
from taskgrove.view.record_view import with_source
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why import explain

if TYPE_CHECKING:
    from taskgrove.store.queries.estimate import Estimate
    from taskgrove.store.recorder import Recorder


#: How long a process that is ended at once waits for its record, in seconds.
_LAST_WRITES_S: Final = 2.0


class Recording:
    """The record of the runs of a verb, or none.

    Args:
        recorder: Keeps it, or None.
        troubles: Messages of the recorder.
        database: The value of ``--db``.

    Attributes:
        recorder: As given.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        troubles: queue.SimpleQueue[str],
        database: str | None = None,
    ) -> None:
        self.recorder = recorder
        self._run_id: str | None = None
        self._database = database
        self._troubles = troubles

    def take_id(self, run_id: str | None) -> None:
        """Give the next run this id, which whoever started this process knows; None makes one.

        Raises:
            UsageError: It cannot be the id of a new run.
        """
        if run_id is None:
            return
        if not is_run_id(run_id):
            raise UsageError(
                f"{run_id!r} is not the id of a run", hint=f"an id looks like {new_run_id()}"
            )
        store = None if self.recorder is None else self.recorder.store
        if store is not None:
            from taskgrove.store.history import History  # noqa: PLC0415 - an extra

            with suppress(UnknownRunError):
                History(store).find(run_id)
                raise UsageError(f"the record has a run {run_id} already; nothing was started")
        self._run_id = run_id

    @property
    def db_option(self) -> tuple[str, ...]:
        """``--db FILE`` for command lines about the record; nothing where it is the usual one."""
        store = None if self.recorder is None else self.recorder.store
        if store is None:
            return ()
        from taskgrove.store.database.advice import db_option  # noqa: PLC0415 - an extra

        return db_option(store.location)

    def next_run(self, observer: Observer) -> tuple[str, list[Observer]]:
        """Return the id of a run that is about to be submitted, and the observers to submit.

        Where the run is recorded, ``observer`` hears its events once they are kept, so that
        nothing is shown that a crash could make unseen.
        """
        run_id = self._run_id or new_run_id()
        if self.recorder is None:
            return run_id, [observer]
        self.recorder.forward(run_id, observer)
        return run_id, []

    def expected(self, command: str, leaf_count: int) -> Estimate | None:
        """Return how long a command usually takes, or None without enough history.

        Args:
            command: The command.
            leaf_count: How many leaves it has this time.
        """
        if self.recorder is None or self.recorder.trouble is not None:
            return None
        try:
            with history_of_runs(self._database, mark_lost=False) as history:
                return history.estimate(command, leaf_count=leaf_count)
        except (StoreError, UnknownRunError):
            return None  # of trouble with the record the recorder tells

    def tell_refusal(self, terminal: Terminal, error: CommandError, about: RunAbout) -> ExitCode:
        """Record that a command was refused before anything was started, and explain it.

        Only what the telescope or the arguments stand in the way of is a run; a slip in the map
        or on the command line, which gives no reasons, is none.

        Args:
            terminal: Where it is explained.
            error: Why it was refused.
            about: The facts that the record keeps of it.

        Raises:
            CommandError: It gives no reasons, or has no tree: then it says all that is known.
        """
        if not error.reasons:
            raise error
        known = error if isinstance(error, RefusedError) else None
        run_id, view = self._run_id or new_run_id(), RunView()
        outcome = record_refusal(
            self.recorder,
            run_id,
            about,
            error.message if known is None else known.summary,
            task=None if known is None else known.task,
            refused=() if known is None else known.refused,
            observers=[view.apply],
        )
        words = explain(outcome, view, self.told_of(run_id, view, about.source))
        notify_of_end(words, self.location_of(run_id))
        if known is None:
            aside = Terminal(json=True)
            aside.say(f"Next: {words.next_step}")
            self.say_how_to_see(aside, run_id, well=False)
            raise error
        terminal.say_explanation(words)
        if error.hint:
            terminal.say(f"hint: {safe_text(error.hint)}")
        self.say_how_to_see(terminal, run_id, well=False)
        return ExitCode.REJECTED

    def tell(self, say: Callable[[str], object]) -> None:
        """Report the messages of the recorder since the last call."""
        while True:
            try:
                text = self._troubles.get_nowait()
            except queue.Empty:
                return
            say(f"record: {text}")

    def say_how_to_see(self, terminal: Terminal, run_id: str, *, well: bool) -> None:
        """Print the id of a recorded run, and the command that shows it, in one dim line."""
        self.tell(lambda text: terminal.say(safe_text(text), "yellow"))
        location = self.location_of(run_id)
        if location is None:
            return  # told, and what happens to what was kept aside is told at the end
        from taskgrove.store.database.advice import command_line  # noqa: PLC0415 - an extra

        words = ("runs", "show", run_id) if well else ("why", run_id)
        line = command_line(location, *words)
        terminal.say(f"Recorded as {run_id}: {safe_text(line)}", "dim")

    def told_of(self, run_id: str, view: RunView, source: Mapping[str, Any]) -> RunStory:
        """Return the story of a run that has just ended, to be explained as from its record.

        Args:
            run_id: The run.
            view: Its nodes.
            source: Its source: the map and its arguments.
        """
        story = story_of_facts(view, run_id=run_id, now_ns=SYSTEM_CLOCK.wall_ns())
        location = self.location_of(run_id)
        return story if location is None else with_source(story, source, location)

    def location_of(self, run_id: str) -> str | None:
        """Return the record that holds a run, with all that came so far; None: none does."""
        store = None if self.recorder is None else self.recorder.store
        if self.recorder is None or store is None or not self.recorder.is_kept(run_id):
            return None
        return store.location

    def at_once(self) -> None:
        """Write the remaining events, because the process ends now."""
        if self.recorder is not None:
            self.recorder.close(_LAST_WRITES_S)


@contextmanager
def recording(
    terminal: Terminal,
    database: str | None = None,
    *,
    no_record: bool = False,
    must_record: bool = False,
) -> Iterator[Recording]:
    """Give the record for the runs of a verb.

    A record that was named on the command line, or is waited for by another process, must be
    usable. Otherwise the command goes on, recorded or not, and the operator is told at once.

    Raises:
        StoreError: The record that was named cannot be used; nothing was started.
        MissingExtraError: A record was named, and its extra is not installed.
    """
    troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
    must_open = must_record or database is not None
    opened = None if no_record else _recorder(terminal, database, troubles.put, must_open=must_open)
    found = Recording(opened, troubles, database)

    def say(text: str) -> None:
        terminal.say(safe_text(text), "yellow")

    try:
        found.tell(say)
        yield found
    finally:
        if opened is not None:
            opened.close()
        found.tell(say)


def labels_of_start(labels: Mapping[str, str], by: str | None, why: str | None) -> dict[str, str]:
    """Return the labels of a run with who started it and why; those of an earlier run go.

    Args:
        labels: The labels, also those of a run that is resumed.
        by: The value of ``--by``.
        why: The value of ``--why``.
    """
    kept = {name: word for name, word in labels.items() if name not in ("by", "why")}
    given = {"by": by, "why": why}
    return kept | {name: word.strip() for name, word in given.items() if word and word.strip()}


def _recorder(
    terminal: Terminal,
    database: str | None,
    on_trouble: Callable[[str], object],
    *,
    must_open: bool,
) -> Recorder | None:
    try:
        from taskgrove.store import Recorder  # noqa: PLC0415 - an extra

        recorder = Recorder(database, on_trouble=on_trouble, must_open=must_open)
        tell_lost(terminal, recorder.store)
        return recorder
    except TaskgroveError as exc:
        if must_open:
            raise
        style = "dim" if isinstance(exc, MissingExtraError) else "yellow"
        terminal.say(f"note: not recorded: {safe_text(exc)}", style)
        return None


def about_map(
    map_file: str | Path, command: str, *, argin: Any, manager: str | None, **options: Any
) -> RunAbout:
    """Return the facts that the record keeps of a command of a map: enough to compose it again.

    Args:
        map_file: The map.
        command: The command.
        argin: Its arguments, as plain data.
        manager: The value of ``--manager``.
        **options: Further options that matter, as plain data.
    """
    file = Path(map_file).absolute()
    source: dict[str, Any] = {
        "kind": "map",
        "file": str(file),
        "text": file.read_text(encoding="utf-8", errors="replace"),
        "command": command,
        "argin": argin,
        "manager": manager,
        "own_names": True,
        **options,
    }
    shown_rule().remember(source)
    return RunAbout(command=command, source=source, argv=tuple(sys.argv))


def about_shown(command: str, labels: Mapping[str, str]) -> RunAbout:
    """Return the facts that the record keeps of a run that cannot be composed again."""
    return RunAbout(command=command, argv=tuple(sys.argv), labels=labels)
