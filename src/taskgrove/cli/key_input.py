r"""Keys that a person presses while a verb shows something on the same terminal.

The terminal gives each key at once and does not show it. Ctrl-C stays a signal, so no interrupt
can be lost here. The settings of the terminal come back in every end: when the keys are closed,
before the process is suspended (Ctrl-Z) and before it is ended by Ctrl-\\. While the process is in
the background it neither reads nor changes the terminal.

Threads: one thread, the main one, uses a :class:`Keys`; Python runs its signal handlers there.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import os
import select
import signal
import sys
import termios
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Final

#: The names of keys that are more than one sign, or a sign that cannot be seen.
_SEQUENCES: Final = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left",
    "OA": "up", "OB": "down", "OC": "right", "OD": "left",
}  # fmt: skip
_SIGNS: Final = {
    "\n": "enter", "\r": "enter", "\x7f": "backspace", "\x08": "backspace", "\x15": "clear",
    "\x04": "escape",
}  # fmt: skip
_ESCAPE: Final = "\x1b"
_READ_BYTES: Final = 1024
_LOCAL, _CHARACTERS = 3, 6
_SHOW_CURSOR, _HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


def is_at_terminal() -> bool:
    """Return whether a person can press keys here: standard input and output are terminals."""
    try:
        return all(
            stream is not None and os.isatty(stream.fileno()) for stream in (sys.stdin, sys.stdout)
        )
    except (OSError, ValueError):  # streams that are closed
        return False


def keys_of_terminal() -> Keys | None:
    """Return the keys of the terminal that this process is shown on, or None without one.

    The input of a pipe is never read.
    """
    if threading.current_thread() is not threading.main_thread() or not is_at_terminal():
        return None
    return Keys(sys.stdin.fileno(), sys.stdout.fileno())


class Keys:
    """The keys of one terminal, from now until :meth:`close`.

    Args:
        terminal: The descriptor that keys are read from.
        shown: The descriptor of the same terminal that is written to, or None.
    """

    def __init__(self, terminal: int, shown: int | None = None) -> None:
        self._terminal = terminal
        self._shown = shown
        self._before: list[Any] | None = None
        self._ours: list[Any] | None = None
        self._gone = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unread = ""
        self._handlers: dict[signal.Signals, Any] = {}
        for number in (signal.SIGTSTP, signal.SIGQUIT):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, self._stop)
        atexit.register(self.close)  # an interrupt may come before the caller knows of the keys
        self._take()

    def read(self) -> list[str]:
        """Return the keys since the last call, at once: signs, and names such as ``enter``."""
        if self._gone or not self._is_ours() or not self._take():
            return []
        had_escape = self._unread == _ESCAPE
        text = self._unread
        with suppress(OSError):
            while select.select([self._terminal], [], [], 0)[0]:
                data = os.read(self._terminal, _READ_BYTES)
                if not data:  # the terminal was closed
                    self._gone = True
                    break
                text += self._decoder.decode(data)
        return self._keys_of(text, alone=had_escape and text == _ESCAPE)

    def close(self) -> None:
        """Give the terminal its settings back, and signals their handlers."""
        atexit.unregister(self.close)
        self._restore()
        self._gone = True
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _keys_of(self, text: str, *, alone: bool) -> list[str]:
        """Return the keys of a text; the beginning of a sequence waits for its rest once."""
        keys: list[str] = []
        self._unread = ""
        while text:
            if text == _ESCAPE and not alone:
                self._unread = text
                break
            if text[0] == _ESCAPE:
                name = _SEQUENCES.get(text[1:3])
                keys.append(name or "escape")
                text = text[3:] if name else text[1:]
                continue
            sign, text = text[0], text[1:]
            name = _SIGNS.get(sign)
            if name or sign.isprintable():
                keys.append(name or sign)
        return keys

    def _is_ours(self) -> bool:
        """Return whether this process is in the foreground of the terminal."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError as exc:
            return exc.errno == errno.ENOTTY  # a terminal without job control

    def _take(self) -> bool:
        """Make the terminal give each key; also after another program has used it."""
        if not self._is_ours():
            return False
        try:
            now = termios.tcgetattr(self._terminal)
            if now == self._ours:
                return True
            self._before = now
            wanted = [*now[:_CHARACTERS], list(now[_CHARACTERS])]
            wanted[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
            wanted[_CHARACTERS][termios.VMIN], wanted[_CHARACTERS][termios.VTIME] = 1, 0
            termios.tcsetattr(self._terminal, termios.TCSANOW, wanted)
            self._ours = termios.tcgetattr(self._terminal)
        except (termios.error, OSError):
            self._gone = True
            return False
        return True

    def _restore(self) -> None:
        """Give the terminal its settings back."""
        before, self._before, self._ours = self._before, None, None
        with suppress(termios.error, OSError):
            if before is not None and self._is_ours():
                termios.tcsetattr(self._terminal, termios.TCSANOW, before)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Suspend or end the process as the signal does, with the terminal as it was."""
        signal_ = signal.Signals(number)
        self._restore()
        self._show_cursor(_SHOW_CURSOR)
        signal.signal(signal_, signal.SIG_DFL)
        signal.raise_signal(signal_)
        # Continued: the next read takes the terminal again.
        signal.signal(signal_, self._stop)
        self._show_cursor(_HIDE_CURSOR)

    def _show_cursor(self, code: bytes) -> None:
        if self._shown is not None and self._is_ours():
            with suppress(OSError):
                os.write(self._shown, code)
