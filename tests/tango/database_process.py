"""A TANGO database of our own, and device servers that are registered in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import tango

START_GUARD_S = 200.0


class Process:
    """A child that is ended with the test, whose output is kept in a file.

    Args:
        command: What to run.
        log: Where its output goes.
        environment: Added to ours.
    """

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def stop(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)

    def wait_until(self, ready, what: str):
        """Return what ``ready()`` gives once that is true; a DevFailed means: not yet."""
        deadline = time.monotonic() + START_GUARD_S
        while True:
            try:
                if found := ready():
                    return found
            except tango.DevFailed:
                pass
            text = self.log.read_text(errors="replace")
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come up:\n{text}")
            time.sleep(0.05)


class TangoDatabase:
    """A database server on a free port, in memory; a context manager.

    Args:
        folder: For the logs of its processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[Process] = []
        self.host = ""
        self.database: tango.Database

    def __enter__(self) -> TangoDatabase:
        program = "from databaseds.database import main; raise SystemExit(main())"
        arguments = ["--host", "127.0.0.1", "--port", "0", "--print-host-port", "2"]
        self._server = Process(
            [sys.executable, "-c", program, *arguments],
            self._folder / "database.log",
            {"PYTANGO_DATABASE_NAME": ":memory:", "PYTHONUNBUFFERED": "1"},
        )
        try:
            port = self._server.wait_until(self._port, "the database")
            self.host = f"127.0.0.1:{port}"
            self.database = self._server.wait_until(
                lambda: tango.Database("127.0.0.1", port), "the database"
            )
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in reversed(self._servers):
            server.stop()
        self._server.stop()

    def _port(self) -> int | None:
        text = self._server.log.read_text(errors="replace")
        found = re.search(r"port=(\d+)\.", text)
        return int(found.group(1)) if found else None

    def start(self, command: list[str], server: str, devices: Mapping[str, str]) -> Process:
        """Register devices and start their server; return when each of them answers.

        Args:
            command: What to run.
            server: Name of the server and its instance, ``TangoTest/demo``.
            devices: Device name → TANGO class.
        """
        for name, class_name in devices.items():
            info = tango.DbDevInfo()
            info.name, info._class, info.server = name, class_name, server
            self.database.add_device(info)
        process = Process(
            command, self._folder / f"{server.replace('/', '-')}.log", {"TANGO_HOST": self.host}
        )
        self._servers.append(process)
        for name in devices:
            proxy = tango.DeviceProxy(f"tango://{self.host}/{name}")
            process.wait_until(lambda proxy=proxy: proxy.ping() >= 0, name)
            # The pid in the database is that of the process that exported the device.
            assert self.database.get_device_info(name).pid == process.popen.pid
        return process
