"""The documents of notifications: a run ended other than well, is held, or is lost.

Threads: any thread may make a document. A :class:`HoldWatch` is an observer that any thread may
call; all else of it happens on its loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from taskgrove.cli.notifying import notifier
from taskgrove.cli.open_steps import OpenSteps
from taskgrove.cli.surroundings import shown_rule
from taskgrove.events import Observer, TaskEvent
from taskgrove.loops.loop import Loop
from taskgrove.view.steering_words import decision_lines
from taskgrove.view.why import Why
from taskgrove.view.why.actions import RunCommand, command_text

if TYPE_CHECKING:
    from taskgrove.cli.notifier import Notifier

#: How long after the first held step the document about all that are held is made, in seconds.
SETTLE_S: Final = 1.0
#: A document names so many held steps.
MAX_HELD: Final = 20


class HeldStep(msgspec.Struct, frozen=True):
    """A step that waits for a decision.

    Attributes:
        path: Its path.
        cause: Why its last attempt failed.
        since_ns: Since when it waits, UTC, nanoseconds since the epoch.
    """

    path: str
    cause: str
    since_ns: int


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The document that a notification program gets.

    Attributes:
        schema: The version of the form of this document; it grows by addition.
        kind: Why it is sent.
        run: The run.
        command: Its command.
        outcome: ``ended``: degraded, failed, rejected or aborted; else None.
        why: One line: what happened.
        held_count: How many steps wait for a decision.
        held: The first of them.
        commands: Command lines for a shell, the most useful first.
        at_ns: When it was made, UTC, nanoseconds since the epoch.
    """

    schema: int = msgspec.field(default_factory=lambda: 1)
    kind: Literal["ended", "held", "lost"]
    run: str
    command: str
    outcome: str | None = None
    why: str = ""
    held_count: int = 0
    held: tuple[HeldStep, ...] = ()
    commands: tuple[str, ...] = ()
    at_ns: int = msgspec.field(default_factory=time.time_ns)


def notify(notice: Notice) -> None:
    """Send a document without secrets to the notification program, if there is one."""
    to = notifier()
    if to is not None:
        to.send(notice.kind, _encoded(notice))


def _encoded(notice: Notice) -> bytes:
    plain = shown_rule().plain(msgspec.to_builtins(notice))
    text = json.dumps(plain, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"  # a text may hold half a character


def notify_of_end(words: Why, location: str | None) -> None:
    """Send a document about a run that has ended, unless it ended well.

    Args:
        words: The run in words.
        location: The record that holds it, or None.
    """
    if words.outcome == "completed":
        return
    advised = [command_text(item) for item in words.actions if isinstance(item, RunCommand)]
    notify(
        Notice(
            kind="ended",
            run=words.run_id,
            command=words.command,
            outcome=words.outcome,
            why=words.sentence,
            commands=tuple(dict.fromkeys([*_lines(location, ("why", words.run_id)), *advised])),
        )
    )


def notify_of_loss(run_id: str, command: str, why: str, location: str) -> None:
    """Send a document about a run that was just marked as lost.

    Args:
        run_id: The run.
        command: Its command.
        why: Why its runner is taken to be gone.
        location: The record.
    """
    commands = _lines(location, ("recover", run_id), ("why", run_id))
    notify(Notice(kind="lost", run=run_id, command=command, why=why, commands=commands))


def _lines(location: str | None, *verbs: Sequence[str]) -> tuple[str, ...]:
    if location is None:  # no command reaches a run that is in no record
        return ()
    from taskgrove.store.database.advice import command_line  # noqa: PLC0415 - an extra

    return tuple(command_line(location, *words) for words in verbs)


@contextmanager
def watching_holds(run_id: str, location: Callable[[], str | None]) -> Iterator[Observer | None]:
    """Give the observer that notifies of the held steps of a run; None: no program is set.

    Args:
        run_id: The run.
        location: Tells the record that holds it, or None.
    """
    to = notifier()
    if to is None:
        yield None
        return
    watch = HoldWatch(to, run_id, location)
    try:
        watch.start()
        yield watch
    finally:
        watch.close()


class HoldWatch:
    """Sends one document for each wave of held steps of a run.

    A wave begins when a step is held while no other is, and ends when none is held any more. The
    document is made shortly after the beginning, and names all that are held by then.

    Args:
        to: Where documents are sent.
        run_id: The run.
        location: Tells the record that holds it, or None.
    """

    def __init__(self, to: Notifier, run_id: str, location: Callable[[], str | None]) -> None:
        self._to = to
        self._run_id = run_id
        self._location = location
        self._loop = Loop("notify watch")
        self._steps = OpenSteps()
        self._wave = 0

    def start(self) -> None:
        """Start the thread, so that :meth:`__call__` only enqueues."""
        self._loop.start()

    def __call__(self, event: TaskEvent) -> None:
        """Take one event; called by any thread."""
        if event.kind in ("note", "finished"):
            self._loop.post(self._take, event)

    def close(self) -> None:
        """End the thread."""
        self._loop.stop(1.0)

    def _take(self, event: TaskEvent) -> None:
        waited = self._is_held
        self._steps.take([event])
        if self._is_held and not waited:
            self._wave += 1
            wave = self._wave
            self._loop.after(SETTLE_S, lambda: self._tell(wave))

    @property
    def _is_held(self) -> bool:
        return any(step.is_held for step in self._steps.steps.values())

    def _tell(self, wave: int) -> None:
        held = [step for step in self._steps.steps.values() if step.is_held]
        if wave != self._wave or not held:  # the decisions were quick
            return
        first = held[0]
        command = first.path.partition("/")[0]
        more = f" (and {len(held) - 1:,} more)" if len(held) > 1 else ""
        notice = Notice(
            kind="held",
            run=self._run_id,
            command=command,
            why=f"{command} waits for a decision on {first.path}{more}: {first.words}",
            held_count=len(held),
            held=tuple(
                HeldStep(step.path, step.words, step.wait.since_ns) for step in held[:MAX_HELD]
            ),
            commands=self._commands(first.path),
        )
        self._to.send(notice.kind, _encoded(notice))

    def _commands(self, path: str) -> tuple[str, ...]:
        location = self._location()
        if location is None:
            return ()
        from taskgrove.store.database.advice import db_option  # noqa: PLC0415 - an extra

        watch = _lines(location, ("watch", self._run_id))
        return (*watch, *decision_lines(self._run_id, path, db_option(location)))
