"""Starts the replay server as a process of its own, and reads the table of scenarios."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tango
import yaml

from tests.free_port import free_port

HERE = Path(__file__).parent
SCENARIOS_FILE = HERE / "replay_scenarios.yaml"
SCENARIOS: dict[str, dict[str, Any]] = yaml.safe_load(SCENARIOS_FILE.read_text(encoding="utf-8"))

#: Played over the wire in every run: each kind of event, and each way to an end, of either version
#: of the protocol. The others differ in what the events hold, which is a matter without a wire.
ON_THE_WIRE = frozenset(
    {
        "v2-normal", "v2-ends-before-the-reply", "v2-exception-while-executing", "v2-two-at-once",
        "reply-queue-full", "reply-exception", "v1-normal", "v1-flush", "v1-empty-lists",
        "missed-end-told-by-check", "missed-end-of-v1-vanished", "error-event-v2",
        "attach-running-v2", "abort-running-and-queued", "abort-of-old-devices", "unreadable-lists",
    }
)  # fmt: skip


def scenarios_on_the_wire(*, attached: bool = True) -> list[Any]:
    """Return the names of the scenarios as parameters; most are for a thorough run only.

    Args:
        attached: False leaves out those that follow a command which somebody else called.
    """
    return [
        pytest.param(name, marks=() if name in ON_THE_WIRE else pytest.mark.thorough)
        for name, scenario in SCENARIOS.items()
        if attached or "attach" not in scenario
    ]


START_GUARD_S = 200.0
GUARD_S = 200.0


class ReplayServer:
    """The process; a context manager.

    Args:
        *members: Each scenario is a device ``replay/<scenario>/<member>`` for each of these.
    """

    def __init__(self, *members: str) -> None:
        self.members = members
        self.port = 0
        self.process: subprocess.Popen[str]

    def __enter__(self) -> ReplayServer:
        for _attempt in range(3):
            self._start()
            if self._is_ours():
                return self
            self.stop()  # somebody else took the port meanwhile: talk to nobody but our own
        raise RuntimeError("the replay server does not start")

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.port = free_port()
        arguments = [str(HERE / "replay_server.py"), str(SCENARIOS_FILE), str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, *arguments, *self.members],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TANGO_DS_EVENT_BUFFER_HWM": "100000"},
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_read_lines, args=(self.process.stdout, lines))
        reader.start()
        self._reader = reader
        deadline = time.monotonic() + START_GUARD_S
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise RuntimeError("the replay server neither starts nor ends") from None
            if line.startswith("READY") or not line:
                return

    def _is_ours(self) -> bool:
        if self.process.poll() is not None:
            return False
        try:
            report = self.report(next(iter(SCENARIOS)), self.members[0])
        except tango.DevFailed:
            return False
        return bool(report["pid"] == self.process.pid)

    def stop(self) -> None:
        """End the process; closing its standard input is enough for it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def trl(self, scenario: str, member: str) -> str:
        """Return the name under which a scenario's device is found."""
        return f"tango://127.0.0.1:{self.port}/replay/{scenario}/{member}#dbase=no"

    def report(self, scenario: str, member: str) -> dict[str, Any]:
        """Return what a device saw, as its command ``ReplayReport`` tells it."""
        proxy = tango.DeviceProxy(self.trl(scenario, member))
        report: dict[str, Any] = json.loads(proxy.command_inout("ReplayReport"))
        return report

    def open_gate(self, scenario: str, member: str, name: str) -> None:
        """Let the device's script go on beyond ``gate: name``."""
        tango.DeviceProxy(self.trl(scenario, member)).command_inout("OpenGate", name)


def _read_lines(stream: Any, lines: queue.SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")
