"""The fleet's side of the channel to its nursery: orders out, reports in.

Threads: every method may be called by any thread. ``_lock`` guards the channel and the latest
reports, and is held while a report is waited for, so calls take turns. No thread listens: the
nursery watches its servers, and its reports are read when they are needed.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from taskgrove.errors import DeviceError
from taskgrove.tango.simulation.server import STOP_GRACE_S, Order, Report
from taskgrove.tango.simulation.simulator_settings import DeviceSpec

#: How long the nursery may take to exit after its servers' grace, in seconds.
_NURSERY_GRACE_S: Final = 5.0


class ServerProcesses:
    """The processes of a fleet, one server for each group of devices.

    Args:
        groups: The devices of each server.
        host: Address that the servers listen on.
        env: Environment variables for them, added to those of this process.
    """

    def __init__(
        self, groups: Sequence[tuple[DeviceSpec, ...]], host: str, env: Mapping[str, str]
    ) -> None:
        self._groups = groups
        self._host = host
        self._env = env
        self._lock = threading.RLock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._log: BinaryIO | None = None
        self._unread = b""
        self._latest: dict[int, Report] = {}

    @property
    def nursery_pid(self) -> int | None:
        """The nursery's process id; None when it is not running."""
        return None if self._nursery is None else self._nursery.pid

    def open(self) -> None:
        """Start the nursery; it has no servers yet."""
        with self._lock:
            ours, theirs = socket.socketpair()
            self._channel = ours
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            root = str(Path(__file__).resolve().parents[3])
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
            # A thread of a library would not survive fork.
            own = {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
            module = "taskgrove.tango.simulation.server"
            with theirs:
                self._nursery = subprocess.Popen(  # noqa: S603 - our module, our interpreter
                    [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    env={**os.environ, **own, **self._env},
                    start_new_session=True,  # Ctrl-C is for the command, not for its devices
                )

    def close(self) -> None:
        """End every process and wait for its end; may be called more than once."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()  # the nursery ends its servers and itself
                self._channel = None
            if self._nursery is not None:
                try:
                    self._nursery.wait(STOP_GRACE_S + _NURSERY_GRACE_S)
                except subprocess.TimeoutExpired:
                    self._nursery.kill()  # its servers exit when its end of their pipe closes
                    self._nursery.wait()
                self._nursery = None
            if self._log is not None:
                self._log.close()
                self._log = None
            self._latest.clear()
            self._unread = b""

    def start(self, group: int) -> None:
        """Ask for a group's server to be started; :meth:`wait_for` tells when it is ready."""
        with self._lock:
            before = self._latest.get(group)
            if before is not None:  # its port stays; that it ended, or was ready, is past
                self._latest[group] = msgspec.structs.replace(before, event="asked", pid=0)
            devices = self._groups[group]
            self._order(Order(do="start", group=group, devices=devices, host=self._host))

    def signal(self, group: int, number: int) -> None:
        """Send a signal to a group's server; nothing happens when it does not run."""
        with self._lock:
            self._order(Order(do="signal", group=group, signal=number))

    def latest(self, group: int) -> Report:
        """Return the last report of a group's server.

        Raises:
            DeviceError: Nothing, because the fleet is not running.
        """
        with self._lock:
            self._read()
            report = self._latest.get(group)
        if report is None:
            raise self._not_running(group)
        return report

    def wait_for(
        self,
        group: int,
        wanted: Callable[[Report], bool],
        what: str,
        deadline: float,
        *,
        may_end: bool = True,
    ) -> Report:
        """Return the first report of a group's server that is wanted.

        Args:
            group: The group's number.
            wanted: Says of the latest report whether it is.
            what: The action of the server that is waited for, for the error: ``start``.
            deadline: Until when, in seconds of the monotonic clock.
            may_end: False: that the server ends before is an error.

        Raises:
            DeviceError: It did not happen in time, or the server ended.
        """
        device = self._groups[group][0].name
        with self._lock:
            while True:
                report = self._latest.get(group)
                if report is not None and wanted(report):
                    return report
                if report is not None and report.event == "ended" and not may_end:
                    text = f"the server of {device} ended ({report.reason}): {self._log_tail()}"
                    raise DeviceError(text, device=device)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    text = f"the server of {device} did not {what} in time"
                    raise DeviceError(text, device=device)
                self._read(left_s)

    def _order(self, order: Order) -> None:
        if self._channel is None:
            raise self._not_running(order.group)
        try:
            self._channel.sendall(msgspec.json.encode(order) + b"\n")
        except ConnectionError as error:
            raise self._nursery_gone() from error

    def _read(self, timeout_s: float = 0.0) -> None:
        """Take the reports of the nursery, waiting up to ``timeout_s`` for the first."""
        while self._channel is not None and select.select([self._channel], [], [], timeout_s)[0]:
            try:
                data = self._channel.recv(65536)
            except ConnectionError as error:
                raise self._nursery_gone() from error
            if not data:
                raise self._nursery_gone()
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                report = msgspec.json.decode(line, type=Report)
                self._latest[report.group] = report
            timeout_s = 0.0

    def _not_running(self, group: int) -> DeviceError:
        return DeviceError("the fleet is not running", device=self._groups[group][0].name)

    def _nursery_gone(self) -> DeviceError:
        text = f"the simulator's process ended: {self._log_tail()}"
        return DeviceError(text, device=self._groups[0][0].name)

    def _log_tail(self) -> str:
        if self._log is None:
            return "there is no log"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-12:]) or "its log is empty"
