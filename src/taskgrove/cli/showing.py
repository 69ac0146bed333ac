"""Showing a run to its end and telling its outcome, for every verb that runs something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from taskgrove.cli.exit_codes import ExitCode, exit_code_of
from taskgrove.cli.follow import AbortWords, EventQueue, Handle, follow
from taskgrove.cli.interrupts import Interrupts
from taskgrove.cli.notices import notify_of_end, watching_holds
from taskgrove.cli.notifying import notifier
from taskgrove.cli.recording import Recording
from taskgrove.cli.run_controls import RunControls
from taskgrove.cli.surfaces import Surface
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.view.snapshot import RunView
from taskgrove.view.why import Why, explain


@dataclass(frozen=True, slots=True)
class Shown:
    """A run that was shown to its end.

    Attributes:
        run_id: Its id.
        outcome: Its outcome.
        words: The outcome in words.
        interrupts: How many interrupts were heard meanwhile.
    """

    run_id: str
    outcome: AggregationOutcome
    words: Why
    interrupts: int

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of its verb."""
        return ExitCode.ABORTED if self.interrupts > 1 else exit_code_of(self.outcome)


def show_to_its_end(
    record: Recording,
    run_id: str,
    events: EventQueue,
    view: RunView,
    begin: Callable[[], RunHandle],
    surface: Callable[[RunControls], Surface],
    *,
    grace_s: float,
    source: Mapping[str, Any],
    followed: Callable[[RunHandle], Handle] = lambda handle: handle,
    words: AbortWords | None = None,
    keys: bool = False,
    advice: Callable[[str], str] | None = None,
) -> Shown:
    """Begin a run and show it to its end.

    Args:
        record: Keeps the record of it, or none.
        run_id: Its id.
        events: The observer that it is given.
        view: Where its events are folded.
        begin: Begins it. From then on an interrupt reaches its devices.
        surface: Makes the surface that shows it, once it has begun, from its controls.
        grace_s: How long work that is aborted may take to end, in seconds.
        source: Its source: the map and its arguments.
        followed: Returns the object that is followed in place of its handle.
        words: The words about an interrupt; None: those of a command on devices.
        keys: Whether the terminal's keys act on it.
        advice: Returns a command line that decides on a held step, by its path; it is told where
            the terminal has no keys.
    """
    to = notifier()

    def tell() -> None:
        record.tell(shown_on.notice)
        if to is not None:
            to.tell(shown_on.notice)

    def at_once() -> None:
        if to is not None:
            to.end_now()
        record.at_once()

    watch = watching_holds(run_id, lambda: record.location_of(run_id))
    with watch as events.also, Interrupts() as interrupts:
        handle = begin()
        controls = RunControls(handle.steer if keys else None, advice)
        if view.nodes:  # it goes on
            controls.steps.know(view.nodes.values())
        else:
            controls.steps.know_tree(handle.task)
        shown_on = surface(controls)
        heard = follow(
            followed(handle),
            events,
            view,
            shown_on,
            grace_s=grace_s,
            at_once=at_once,
            each_frame=tell,
            words=words,
            interrupts=interrupts,
            controls=controls,
        )
    outcome = handle.outcome
    assert outcome is not None
    explained = explain(outcome, view, record.told_of(run_id, view, source))
    notify_of_end(explained, record.location_of(run_id))
    return Shown(run_id, outcome, explained, heard)


def say_outcome(terminal: Terminal, record: Recording, shown: Shown) -> ExitCode:
    """Explain the outcome of a run, say how to see it again, and return the exit code."""
    terminal.say_explanation(shown.words)
    record.say_how_to_see(terminal, shown.run_id, well=shown.words.outcome == "completed")
    return shown.exit_code
