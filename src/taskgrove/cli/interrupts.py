"""The signals that end a verb: Ctrl-C, SIGTERM and SIGHUP.

A signal that was ignored when the program started stays ignored: ``nohup`` ignores SIGHUP, and a
shell without job control ignores Ctrl-C for programs in the background.

Threads: Python runs handlers on the main thread; they only count, or raise there.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end something here: those that this process does not ignore."""
    return tuple(number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN)


class LikeCtrlC:
    """Makes a signal an interrupt; of the hang-ups that a closed terminal sends, only the first.

    The others come while the interrupted work is cleaned up.
    """

    #: Python itself turns SIGINT into an interrupt, unless it is ignored.
    SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._hung_up = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt."""
        if number == signal.SIGHUP and self._hung_up:
            return
        self._hung_up = self._hung_up or number == signal.SIGHUP
        raise KeyboardInterrupt


class Leaving:
    """Ends the process once everything else has, where an ordinary end would wait for a device.

    Made before anything else is: what is registered first is called last.
    """

    def __init__(self) -> None:
        #: The exit code, once it is known.
        self.code: int | None = None
        atexit.register(self)

    def __call__(self) -> None:
        """End at once if a call to a device is still out."""
        lanes = sys.modules.get("taskgrove.tango.client.dispatcher")  # no call without it
        if self.code is None or lanes is None or not lanes.calls_are_out():
            return
        with suppress(OSError, ValueError, AttributeError):  # streams that are closed or gone
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(self.code)


def end_with(code: int) -> None:
    """Have the process end with a code although signals come while it ends.

    Args:
        code: Its exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ending_signals():
        signal.signal(number, lambda *_: os._exit(code))
    # Python gives signals their default back before libraries in C++ have ended.
    atexit.register(_ignore)


def _ignore() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


class SignalsTaken:
    """Gives signals to a handler while a block lasts; outside the main thread they stay.

    Args:
        handler: Called with the number and the frame, on the main thread.
        among: Which of them; the ignored ones stay ignored.
    """

    def __init__(self, handler: Handler, among: tuple[signal.Signals, ...] | None = None) -> None:
        self._handler = handler
        self._among = among
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalsTaken:
        if threading.current_thread() is threading.main_thread():
            for number in ending_signals():
                if self._among is None or number in self._among:
                    self._before[number] = signal.signal(number, self._handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def keep(self, number: signal.Signals | None = None) -> None:
        """Have a signal, or all of them, stay with the handler after the block."""
        for kept in list(self._before) if number is None else [number]:
            self._before.pop(kept, None)


class Interrupts:
    """The interrupts that were heard while a run lasts.

    A terminal that closes sends SIGHUP several times: from the shell, from the kernel, and from
    the service that clears the session away, next to SIGTERM. However often it comes, it counts
    once, and never as the second interrupt that ends at once: the devices are still to be asked,
    and the record is still to be written.

    Attributes:
        count: How often Ctrl-C or SIGTERM was heard.
        hung_up: Whether SIGHUP was.
        name: The last one, in words.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hung_up = False
        self.name = "Ctrl-C"
        self._taken = SignalsTaken(self._heard)

    @property
    def heard(self) -> int:
        """How many interrupts there were; hang-ups are one."""
        return self.count + self.hung_up

    def __enter__(self) -> Interrupts:
        """Take over the signals; outside the main thread they stay as they are."""
        self._taken.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back, except those that only repeat an interrupt."""
        if self.hung_up:
            self._taken.keep(signal.SIGHUP)
        self._taken.__exit__(kind, error, trace)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hung_up = True
            if self.count == 0:
                self.name = "SIGHUP"
            return
        self.count += 1
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
