"""The operator's notification program: started with one JSON document on its standard input.

A document waits in the lane of its kind, so that a program that hangs with one kind keeps no other
kind back. In a lane the documents go one after the other. The program may hang, write without end,
or never read: none of that reaches the run.

Threads: each lane is a loop. Any thread may call :meth:`Notifier.send` and
:meth:`Notifier.end_now`; one thread calls the others. ``_lock`` guards the programs that run, and
``_over``. No program is started or waited for under it.
"""

from __future__ import annotations

import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from taskgrove.cli.surroundings import shown_rule
from taskgrove.loops.loop import Loop
from taskgrove.view.terminal_text import clip_middle, safe_text

#: How long a program may take, in seconds, before it is killed.
LIMIT_S: Final = 30.0
#: How long a verb waits at its end for programs that run, in seconds.
CLOSE_S: Final = 5.0
#: How much of what a program writes on standard error is kept for the words about its failure.
_TAIL: Final = 4096
#: How much of its last line is told, in columns.
_WORDS: Final = 200


class Notifier:
    """Starts the notification program, once for each document.

    Args:
        argv: The program and its arguments.
        limit_s: How long it may take, in seconds.
    """

    def __init__(self, argv: Sequence[str], *, limit_s: float = LIMIT_S) -> None:
        self._argv = list(argv)
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._over = False
        self._lanes: dict[str, Loop] = {}
        self._troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: set[str] = set()

    def send(self, lane: str, document: bytes) -> None:
        """Have the program started with a document, after the earlier ones of the same lane."""
        loop = self._lanes.setdefault(lane, Loop(f"notify {lane}"))  # one step of Python
        try:
            loop.post(self._deliver, document)
        except RuntimeError as exc:  # the machine has no further thread
            self._troubles.put(f"nothing was sent: {exc}")

    def tell(self, say: Callable[[str], object]) -> None:
        """Report each trouble since the last call, in one line; the same one only once."""
        while True:
            try:
                text = self._troubles.get_nowait()
            except queue.Empty:
                return
            if text not in self._told:
                self._told.add(text)
                say(f"notify: {self._argv[0]}: {text}")

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Wait for what is to be sent, then kill the programs that still run.

        Args:
            timeout_s: The most to wait, in seconds. An interrupt ends the wait.
        """
        deadline = time.monotonic() + timeout_s
        lanes = list(self._lanes.values())
        try:
            for loop in lanes:
                loop.stop(0.0)
            for loop in lanes:
                loop.join(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            pass  # whoever is impatient with the program has had the outcome of the run
        finally:
            self.end_now()
            for loop in lanes:
                loop.join(1.0)

    def end_now(self) -> None:
        """Kill the programs that run, and start no further one."""
        with self._lock:
            self._over = True
            for process in self._running:
                _kill(process)

    # A lane.

    def _deliver(self, document: bytes) -> None:
        if self._over:
            self._troubles.put("not everything was sent before the end")
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator named it; no shell
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            self._troubles.put(f"cannot be started: {getattr(exc, 'strerror', None) or exc}")
            return
        with process:  # which waits for its end
            try:
                words = self._attend(process, document)
            except OSError as exc:
                self._troubles.put(f"was killed, because it cannot be watched: {exc}")
                return
        code = process.returncode
        if self._over and code == -signal.SIGKILL:
            self._troubles.put("was killed, because it still ran at the end of the run")
        elif words is None:
            self._troubles.put(f"was killed after {self._limit_s:g} s")
        elif code:
            end = f"exit code {code}" if code > 0 else f"signal {-code}"
            self._troubles.put(f"failed with {end}" + (f": {words}" if words else ""))

    def _attend(self, process: subprocess.Popen[bytes], document: bytes) -> str | None:
        """Return the last line of a program once it has ended; None: it had to be killed.

        Until it is forgotten here nobody reaps it, so its number is no other's.
        """
        with self._lock:
            self._running.append(process)
            if self._over:
                _kill(process)
        words = None
        try:
            words = _Conversation(process, document).hold(self._limit_s)
        finally:
            with self._lock:
                self._running.remove(process)
                if words is None:
                    _kill(process)
        return words


class _Conversation:
    """The two pipes of a program: the document goes in, what it writes comes out.

    Args:
        process: The program.
        document: The document.
    """

    def __init__(self, process: subprocess.Popen[bytes], document: bytes) -> None:
        assert process.stdin is not None
        assert process.stderr is not None
        self._process = process
        self._stdin, self._stderr = process.stdin, process.stderr
        self._left = memoryview(document)
        self._tail = b""

    def hold(self, limit_s: float) -> str | None:
        """Return the last line that the program wrote, once it has ended; None: it has not."""
        deadline = time.monotonic() + limit_s
        for pipe in (self._stdin, self._stderr):
            os.set_blocking(pipe.fileno(), False)
        try:
            ended = os.pidfd_open(self._process.pid)  # others may hold the pipes open
        except ProcessLookupError:  # where SIGCHLD is ignored, the kernel reaps
            return ""
        with selectors.DefaultSelector() as selector, self._stderr:
            try:
                selector.register(self._stdin, selectors.EVENT_WRITE, self._write)
                selector.register(self._stderr, selectors.EVENT_READ, self._read)
                selector.register(ended, selectors.EVENT_READ, None)
                while (left_s := deadline - time.monotonic()) > 0:
                    ready = [key for key, _ in selector.select(left_s)]
                    for key in ready:
                        if key.data is not None and not key.data():
                            selector.unregister(key.fileobj)
                    if any(key.data is None for key in ready):
                        self._read()
                        return self._last_line()
                return None
            finally:
                os.close(ended)
                with suppress(OSError):
                    self._stdin.close()

    def _write(self) -> bool:
        """Write a part of the document; False once there is no more to write."""
        try:
            self._left = self._left[os.write(self._stdin.fileno(), self._left[:65_536]) :]
        except BlockingIOError:
            return True
        except OSError:  # it reads no further
            self._left = self._left[:0]
        if not self._left:
            with suppress(OSError):
                self._stdin.close()
        return bool(self._left)

    def _read(self) -> bool:
        """Read what there is, and keep its end; False once there is no more to read."""
        try:
            data = os.read(self._stderr.fileno(), 65_536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._tail = (self._tail + data)[-_TAIL:]
        return bool(data)

    def _last_line(self) -> str:
        lines = self._tail.decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return clip_middle(safe_text(shown_rule().said(said)), _WORDS)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that was not reaped, and all that it started in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
