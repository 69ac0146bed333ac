"""Following a run to its end: its events to a surface, signals to the run.

Threads: the run's threads only put events into a queue; everything else happens on the
main thread, which Python also runs the signal handlers on. The handlers only count.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Protocol

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.surfaces import (
    FRAMES_PER_SECOND,
    CalmLines,
    Expected,
    JsonLines,
    LiveTree,
    Surface,
)
from taskgrove.cli.terminal import Terminal
from taskgrove.events import TaskEvent
from taskgrove.view.snapshot import RunView

_FRAME_S: Final = 1.0 / FRAMES_PER_SECOND
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Handle(Protocol):
    """What is followed: the handle of a run."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True once it has come."""
        ...

    def abort(self, reason: str | None = None) -> Any:
        """Ask everything to stop."""
        ...


@dataclass(frozen=True, slots=True)
class AbortWords:
    """What an interrupt ends, in words.

    Attributes:
        what: What is aborted.
        left: What may be left when it is ended at once.
    """

    what: str = "the command on the devices"
    left: str = "devices may still be running"


class EventQueue:
    """The observer that a run gets: it only enqueues."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[TaskEvent] = queue.SimpleQueue()

    def __call__(self, event: TaskEvent) -> None:
        """Take one event; called by any thread."""
        self._queue.put(event)

    def drain(self, limit: int = 50_000) -> list[TaskEvent]:
        """Return what has come, in order of arrival; at most ``limit`` events."""
        events: list[TaskEvent] = []
        try:
            while len(events) < limit:
                events.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return events


class Interrupts:
    """Ctrl-C and SIGTERM, counted while the run lasts."""

    def __init__(self) -> None:
        self.count = 0
        self.name = "Ctrl-C"
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take over the signals; outside the main thread they stay as they are."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def surface_for(
    terminal: Terminal, view: RunView, *, json: bool, expected: Expected | None = None
) -> Surface:
    """Return the surface that fits where the words go.

    Args:
        terminal: Where they go.
        view: What is shown.
        json: Whether standard output carries the events.
        expected: How long it usually takes, or None where nothing is known.
    """
    if json:
        return JsonLines(terminal)
    if terminal.is_live:
        return LiveTree(terminal, view, expected)
    return CalmLines(terminal, view, expected)


def follow(
    handle: Handle,
    events: EventQueue,
    view: RunView,
    surface: Surface,
    *,
    grace_s: float,
    at_once: Callable[[], object] | None = None,
    each_frame: Callable[[RunView], object] | None = None,
    words: AbortWords | None = None,
) -> int:
    """Show a run until it ends, and hand interrupts on to it.

    The first interrupt aborts the command on the devices; a second one ends this process
    at once, with the exit code for ABORTED.

    Args:
        handle: The run.
        events: The observer that the run was given.
        view: Where its events are folded.
        surface: What shows it.
        grace_s: How long the run waits for what was asked to stop, in seconds; for the words.
        at_once: Called before the process ends at the second interrupt.
        each_frame: Called after each frame, with the view.
        words: What an interrupt ends, in words; None: a command on devices.

    Returns:
        How many interrupts were heard.
    """
    told = 0
    with Interrupts() as interrupts:
        try:
            over = False
            while not over:
                over = handle.wait(_FRAME_S)
                _show(events, view, surface)
                if each_frame is not None:
                    each_frame(view)
                if interrupts.count > told:
                    told = _interrupted(
                        handle, surface, interrupts, told, grace_s, at_once, words or AbortWords()
                    )
            _show(events, view, surface)
        finally:
            surface.close()
        return interrupts.count


#: What two interrupts at once leave for the abort to get out to the devices, in seconds.
_LAST_CHANCE_S = 0.5


def _show(events: EventQueue, view: RunView, surface: Surface) -> None:
    # Threads may put events a little out of order.
    new = sorted(events.drain(), key=lambda event: event.sequence)
    view.apply_all(new)
    surface.show(new)


def _interrupted(
    handle: Handle,
    surface: Surface,
    interrupts: Interrupts,
    told: int,
    grace_s: float,
    at_once: Callable[[], object] | None,
    words: AbortWords,
) -> int:
    if told == 0:
        handle.abort(f"interrupted by {interrupts.name}")
        if interrupts.count == 1:
            surface.notice(
                f"{interrupts.name}: aborting {words.what}; what does not stop "
                f"within {grace_s:g} s is abandoned. Once more ends at once."
            )
            return 1
    if told == 0:  # both came at once: the devices are still to be asked
        handle.wait(_LAST_CHANCE_S)
    surface.notice(f"{interrupts.name} again: ended at once; {words.left}.")
    surface.close()
    if at_once is not None:
        at_once()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Threads that wait for devices would hold an ordinary exit up.
    os._exit(ExitCode.ABORTED)
