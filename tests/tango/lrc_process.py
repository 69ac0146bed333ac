"""Starts the purpose-made LRC devices as a process of their own, and mistreats it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tango

from tests.free_port import free_port

SCRIPT = Path(__file__).parent / "servers" / "lrc_devices.py"
GUARD_S = 200.0


class LrcServer:
    """The process; a context manager.

    Args:
        members: How many devices ``lrc/test/<n>`` it serves, from 1.
        protocol: 1 or 2.
        publish: Port that the server tells its clients to use in place of its own.
        script: The server.
        class_name: The class of its devices.
        environment: Further environment variables.
    """

    def __init__(
        self,
        members: int = 1,
        protocol: int = 2,
        *,
        publish: int | None = None,
        script: Path = SCRIPT,
        class_name: str = "",
        **environment: str,
    ) -> None:
        self.members = members
        self.protocol = protocol
        self.port = 0
        self.publish = publish
        self.environment = environment
        self.script = script
        self.class_name = class_name or f"LrcDeviceV{protocol}"
        self.process: subprocess.Popen[bytes]
        #: One line for each command that this process has executed; no connection is needed.
        self.executions: list[bytes] = []

    def __enter__(self) -> LrcServer:
        for _attempt in range(3):
            self.port = free_port()
            if self.start():
                return self
            self.kill()
        raise RuntimeError("the server under test does not start")

    def __exit__(self, *_exc: object) -> None:
        self.kill()

    def start(self) -> bool:
        """Start the process (again, on the same port); return whether it answers, or has ended."""
        names = ",".join(f"lrc/test/{n}" for n in range(1, self.members + 1))
        arguments = ["lrc", self.class_name, "-nodb", "-dlist", names]
        arguments += ["-ORBendPoint", f"giop:tcp:127.0.0.1:{self.port}"]
        if self.publish is not None:
            arguments += ["-ORBendPointPublish", f"giop:tcp:127.0.0.1:{self.publish}"]
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(self.script), *arguments],  # it tells when it is ready
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )
        assert self.process.stdout is not None
        told, self._ready = threading.Event(), threading.Event()
        self.executions = []
        words = (self.process.stdout, told, self._ready, self.executions)
        self._reader = threading.Thread(target=_read, args=words)
        self._reader.start()
        if not told.wait(GUARD_S):
            self.kill()
            raise RuntimeError("the server under test neither starts nor ends")
        return self._ready.is_set()

    def kill(self) -> None:
        """End the process at once, as kill -9 does."""
        self.process.kill()
        self.process.wait(GUARD_S)
        self._reader.join(GUARD_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def freeze(self) -> None:
        """Stop the process: its port accepts connections, nobody answers.

        Returns when all of its threads are stopped. On a busy machine the one that takes the
        signal may get its turn only after another has answered a call.
        """
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let the stopped process go on."""
        self.process.send_signal(signal.SIGCONT)

    def trl(self, member: int = 1) -> str:
        """Return the name under which a device is found."""
        return f"tango://127.0.0.1:{self.publish or self.port}/lrc/test/{member}#dbase=no"

    def read(self, name: str, member: int = 1) -> Any:
        """Return an attribute's value, as soon as the device answers."""
        proxy = tango.DeviceProxy(self.trl(member))

        def value() -> Any:
            try:
                return (proxy.read_attribute(name).value,)
            except tango.DevFailed:
                return None

        return eventually(value, f"{name} can be read")[0]


def _read(
    stream: Any, told: threading.Event, ready: threading.Event, executions: list[bytes]
) -> None:
    for line in stream:
        if line.startswith(b"EXECUTED"):
            executions.append(line)
        if b"Ready to accept" in line:
            ready.set()
            told.set()
    told.set()


def eventually(condition: Callable[[], Any], what: str, guard_s: float = GUARD_S) -> Any:
    """Return the first true value of a condition on another process, which cannot tell of it."""
    deadline = time.monotonic() + guard_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so in {guard_s} s: {what}"
        threading.Event().wait(0.02)
    return value


class Updates:
    """An ``on_update`` that keeps what it is told and can be waited on."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, update: Any) -> None:
        with self._changed:
            self.all.append(update)
            self._changed.notify_all()

    def wait(self, wanted: Callable[[Any], Any], guard_s: float = GUARD_S) -> Any:
        """Return the first update that is wanted."""
        with self._changed:
            found: list[Any] = []

            def is_there() -> bool:
                found[:] = [update for update in self.all if wanted(update)]
                return bool(found)

            assert self._changed.wait_for(is_there, guard_s), f"only saw {self.all}"
            return found[0]

    def running(self) -> Any:
        """Return the first update that shows that it has begun; a short one may be over."""
        return self.wait(
            lambda update: update.final or update.status == 2 or update.progress is not None
        )

    def final(self, guard_s: float = GUARD_S) -> Any:
        return self.wait(lambda update: update.final, guard_s)

    @property
    def finals(self) -> int:
        return sum(update.final for update in self.all)

    @property
    def text(self) -> str:
        """The message of the final update's result."""
        result = self.final().result
        return str(result[1] if isinstance(result, (list, tuple)) else result)
