"""Following a run to its end: its events to a surface, signals to the run.

Threads: the run's threads only put events into a queue; everything else happens on the
main thread, which Python also runs the signal handlers on.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.interrupts import Interrupts
from taskgrove.cli.run_controls import RunControls
from taskgrove.cli.surfaces import (
    FRAMES_PER_SECOND,
    CalmLines,
    Expected,
    JsonLines,
    LiveTree,
    Surface,
)
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal, flush_streams
from taskgrove.events import Observer, TaskEvent
from taskgrove.events.redacted import without_secrets
from taskgrove.view.snapshot import RunView

_FRAME_S: Final = 1.0 / FRAMES_PER_SECOND


class Handle(Protocol):
    """The handle of a run that is followed."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True once it has come."""
        ...

    def abort(self, reason: str | None = None, *, stop_finally: bool = False) -> Any:
        """Ask everything to stop; the clean-up too, if so."""
        ...


@dataclass(frozen=True, slots=True)
class AbortWords:
    """The words about an interrupt.

    Attributes:
        what: The work that is aborted.
        left: The effect of a second interrupt.
        again: How to quit immediately.
        clean_up: How to stop the clean-up, where there is one.
    """

    what: str = "the command on the devices"
    left: str = "devices may still be running"
    again: str = "Press Ctrl-C again to quit immediately (devices keep running)."
    clean_up: str = "The clean-up runs; press Ctrl-C again to stop it."


class EventQueue:
    """The observer that a run gets: it only enqueues.

    Attributes:
        also: A second observer, which only enqueues too, or None; set it before the run begins.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[TaskEvent] = queue.SimpleQueue()
        self.also: Observer | None = None

    def __call__(self, event: TaskEvent) -> None:
        """Take one event; called by any thread."""
        self._queue.put(event)
        if self.also is not None:
            self.also(event)

    def drain(self, limit: int = 50_000) -> list[TaskEvent]:
        """Return new events without secrets, in order of arrival; at most ``limit``."""
        rule = shown_rule()
        events: list[TaskEvent] = []
        try:
            while len(events) < limit:
                events.append(without_secrets(self._queue.get_nowait(), rule))
        except queue.Empty:
            pass
        return events


def surface_for(
    terminal: Terminal,
    view: RunView,
    *,
    json: bool,
    expected: Expected | None = None,
    controls: RunControls | None = None,
    advice: Callable[[str], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Surface:
    """Return the surface that fits where the words go.

    Args:
        terminal: Where they go.
        view: The run that is shown.
        json: Whether standard output carries the events.
        expected: How long it usually takes, or None where nothing is known.
        controls: The keys of a live tree; None: it has none.
        advice: Returns a command line that decides on a held step, by its path.
        clock: Now, on the monotonic clock of the process that runs it, in seconds.
    """
    if json:
        return JsonLines(terminal)
    if terminal.is_live:
        return LiveTree(terminal, view, expected, controls, clock)
    return CalmLines(terminal, view, expected, advice, clock)


def follow(
    handle: Handle,
    events: EventQueue,
    view: RunView,
    surface: Surface,
    *,
    grace_s: float,
    at_once: Callable[[], object] | None = None,
    each_frame: Callable[[], object] | None = None,
    words: AbortWords | None = None,
    interrupts: Interrupts | None = None,
    controls: RunControls | None = None,
) -> int:
    """Show a run until it ends, and hand interrupts on to it.

    The first interrupt aborts the command on the devices; a second one ends this process
    at once, with the exit code for ABORTED. Where a clean-up is at work or to come, the second
    one stops that, and the third one ends this process. A hang-up aborts too, and is never the
    second one.

    Args:
        handle: The run.
        events: The observer that the run was given.
        view: Where its events are folded.
        surface: Shows it.
        grace_s: How long the run waits for aborted work, in seconds; for the words.
        at_once: Called before the process ends at the second interrupt.
        each_frame: Called after each frame.
        words: The words about an interrupt; None: those of a command on devices.
        interrupts: Hears them since the run began, so that none is missed.
        controls: The keys of the terminal; None: it has none.

    Returns:
        How many interrupts were heard; hang-ups are one.
    """
    with nullcontext(interrupts) if interrupts else Interrupts() as heard:
        keys = controls or RunControls()
        abort = _Abort(handle, surface, heard, grace_s, at_once, words or AbortWords(), keys)
        try:
            keys.open()
            over = False
            while not over:
                over = handle.wait(_FRAME_S)
                _show(events, view, surface, keys)
                if each_frame is not None:
                    each_frame()
                abort.heed()
            _show(events, view, surface, keys, over=True)
        finally:
            keys.close()
            surface.close()
        return heard.heard


#: After two interrupts at once the abort has this long to reach the devices, in seconds.
_LAST_CHANCE_S = 0.5


def _show(
    events: EventQueue,
    view: RunView,
    surface: Surface,
    controls: RunControls,
    *,
    over: bool = False,
) -> None:
    new = [known for event in events.drain() for known in view.apply(event)]
    new += view.settle(None if over else time.monotonic())
    controls.take(new)
    surface.show(new)


class _Abort:
    """Carries out interrupts; the arguments are those of :func:`follow`."""

    def __init__(
        self,
        handle: Handle,
        surface: Surface,
        interrupts: Interrupts,
        grace_s: float,
        at_once: Callable[[], object] | None,
        words: AbortWords,
        controls: RunControls,
    ) -> None:
        self._handle = handle
        self._controls = controls
        self._surface = surface
        self._interrupts = interrupts
        self._grace_s = grace_s
        self._at_once = at_once
        self._words = words
        self._asked = False
        self._counted = 0
        self._clean_up_stopped = False

    def heed(self) -> None:
        """Abort, or end at once, if something was heard since the last call."""
        count = self._interrupts.count
        if (count or self._interrupts.hung_up) and not self._asked:
            self._ask()
            if count > 1:  # two came at once: the devices are still to be asked
                self._handle.wait(_LAST_CHANCE_S)
        elif count == 1 and self._counted == 0:  # after a hang-up
            self._surface.notice(
                f"{self._interrupts.name}: the abort has already begun. {self._words.again}"
            )
        self._counted = count
        if count > 1 and not self._clean_up_stopped and self._controls.steps.has_clean_up:
            self._stop_clean_up()
        if count > (2 if self._clean_up_stopped else 1):
            self._end_at_once()

    def _stop_clean_up(self) -> None:
        name = self._interrupts.name
        self._clean_up_stopped = True
        self._handle.abort(f"interrupted by {name} again", stop_finally=True)
        self._surface.notice(f"{name} again: the clean-up is stopped. {self._words.again}")

    def _ask(self) -> None:
        name, count = self._interrupts.name, self._interrupts.count
        self._asked = True
        more = _in_batch_job(name) if count else ", which a closed terminal sends"
        self._handle.abort(f"interrupted by {name}{more}")
        if count > 1:
            return
        words = self._words
        again = words.clean_up if self._controls.steps.has_clean_up else words.again
        self._surface.notice(
            f"{name}: aborting {words.what}; work that does not stop within "
            f"{self._grace_s:g} s is abandoned.{f' {again}' if count else ''}"
        )

    def _end_at_once(self) -> None:
        name = self._interrupts.name
        try:
            self._controls.close()
            self._surface.notice(f"{name} again: quit immediately; {self._words.left}.")
            self._surface.close()
            if self._at_once is not None:
                self._at_once()
            flush_streams()
        finally:
            # Threads that wait for devices would hold an ordinary exit up.
            os._exit(ExitCode.ABORTED)


def _in_batch_job(name: str) -> str:
    """Return, for a SIGTERM, in which batch job this process runs: its system may have sent it."""
    from taskgrove.analysis.batch import allocation_of  # noqa: PLC0415 - seldom needed

    allocation = allocation_of(os.environ) if name == "SIGTERM" else None
    if allocation is None:
        return ""
    return f", in {allocation.name}{' at its time limit' if allocation.is_at_limit else ''}"
