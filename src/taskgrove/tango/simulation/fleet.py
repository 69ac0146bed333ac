"""A fleet of simulated devices: real TANGO servers on loopback, without a database.

::

    with SimulatedFleet(["low-cbf/subarray/01", "low-pst/beam/01"]) as fleet:
        proxy = tango.DeviceProxy(fleet.trl("low-pst/beam/01"))

Threads: every method may be called by any thread. ``_lock`` makes starting, stopping and
restarting take turns. A fleet has no thread of its own: its nursery
(:mod:`taskgrove.tango.simulation.server`) watches the servers and restarts them.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from taskgrove.errors import DeviceError, UsageError, did_you_mean
from taskgrove.tango._pytango import load_pytango
from taskgrove.tango.simulation.fault_text import (
    check_plan,
    parse_fault,
    parse_faults,
    select_faults,
)
from taskgrove.tango.simulation.faults import Fault
from taskgrove.tango.simulation.invocations import prepare_log
from taskgrove.tango.simulation.processes import ServerProcesses
from taskgrove.tango.simulation.server import Report
from taskgrove.tango.simulation.simulator_settings import (
    SIMULATED_COMMANDS,
    DeviceSpec,
    SimulatorSettings,
    parse_settings,
)

#: How long one server may take to start, in seconds, on a busy machine.
START_TIMEOUT_S: Final = 60.0

#: The last reports of a process that runs.
_RUNNING: Final = frozenset({"started", "ready", "suspended"})


class SimulatedFleet:
    """Simulated devices, each served by a process of its own or by one for several.

    Args:
        devices: TANGO names, such as ``low-pst/beam/01``; each once.
        faults: device → command → fault, or strings ``DEVICE:COMMAND=FAULT``
            (:func:`~taskgrove.tango.simulation.faults.parse_faults`).
        speed: Commands go this many times as fast, over 0.
        host: Address to listen on; leave it at loopback unless you mean to be reached.
        settings: How every device behaves, as ``SimulatorSettings`` or a mapping.
        device_settings: device → settings that differ for it.
        devices_per_process: How many devices share a server process, at least 1.
        start_timeout_s: How long :meth:`start` waits for all of them, in seconds.
        env: Environment variables for the server processes, added to those of this process.
        log: A file that every invocation is appended to, as JSON lines; None: none
            (:mod:`~taskgrove.tango.simulation.invocations`).

    Raises:
        UsageError: A name, fault or setting is not valid; nothing was started.
    """

    def __init__(
        self,
        devices: Iterable[str],
        *,
        faults: Mapping[str, Any] | Sequence[str] | None = None,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        settings: SimulatorSettings | Mapping[str, Any] | None = None,
        device_settings: Mapping[str, Mapping[str, Any]] | None = None,
        devices_per_process: int = 1,
        start_timeout_s: float = START_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        log: str | Path | None = None,
    ) -> None:
        self.devices = _check_names(devices)
        self._host = host
        self._start_timeout_s = start_timeout_s
        if not 0 < speed < float("inf"):
            raise UsageError(f"speed is {speed!r}, it must be a number over 0")
        if devices_per_process < 1:
            raise UsageError(f"devices_per_process is {devices_per_process}, it must be at least 1")
        plan = parse_faults(faults)
        special = {name.lower(): value for name, value in (device_settings or {}).items()}
        own = {str(key) for value in special.values() for key in value.get("commands", ())}
        base = parse_settings(settings, None, own)
        check_plan(plan, self.devices, (*SIMULATED_COMMANDS, *base.commands, *own))
        for name in special:
            self._check_known(name)
        log_file = None if log is None else prepare_log(log)
        specs = [
            DeviceSpec(
                name=name,
                settings=parse_settings(special.get(name), base, own),
                faults=select_faults(plan, name),
                speed=speed,
                log=log_file,
            )
            for name in self.devices
        ]
        self._groups = [
            tuple(specs[first : first + devices_per_process])
            for first in range(0, len(specs), devices_per_process)
        ]
        self._group_of = {spec.name: n for n, group in enumerate(self._groups) for spec in group}
        self._lock = threading.RLock()
        self._processes = ServerProcesses(self._groups, host, env or {})

    # -- start and stop ------------------------------------------------------------

    def start(self) -> SimulatedFleet:
        """Start every server and return once each answers; a started fleet is left as it is.

        Raises:
            MissingExtraError: PyTango is not installed.
            DeviceError: A server did not come up; everything is stopped again.
        """
        with self._lock:
            if self._processes.nursery_pid is None:
                self._start()
        return self

    def _start(self) -> None:
        load_pytango("the simulator")
        deadline = time.monotonic() + self._start_timeout_s
        try:
            self._processes.open()
            for number in range(len(self._groups)):
                self._processes.start(number)
            for number in range(len(self._groups)):
                self._wait_ready(number, deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process and wait for its end; may be called more than once."""
        with self._lock:
            self._processes.close()

    def __enter__(self) -> SimulatedFleet:
        """Start the fleet."""
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop the fleet."""
        self.stop()

    # -- addresses and processes ---------------------------------------------------

    def trl(self, device: str) -> str:
        """Return the address of a device; it stays the same when the device is restarted."""
        port = self._report_of(device).port
        return f"tango://{self._host}:{port}/{device.lower()}#dbase=no"

    @property
    def trls(self) -> dict[str, str]:
        """Every device's address, by its name."""
        return {device: self.trl(device) for device in self.devices}

    def pid(self, device: str) -> int | None:
        """Return the id of the process that serves a device now; None while there is none."""
        report = self._report_of(device)
        return report.pid if report.event in _RUNNING else None

    @property
    def pids(self) -> dict[str, int]:
        """The id of the process that serves each device, of those that are served now."""
        found = {device: self.pid(device) for device in self.devices}
        return {device: pid for device, pid in found.items() if pid is not None}

    @property
    def nursery_pid(self) -> int | None:
        """The id of the process that forks and watches the servers; None when stopped."""
        return self._processes.nursery_pid

    def is_alive(self, device: str) -> bool:
        """True when the device's process runs (a stopped one too)."""
        return self.pid(device) is not None

    def components(self, components: Mapping[str, Any]) -> dict[str, Any]:
        """Return a map's ``components:`` with every name replaced by the device's address.

        Args:
            components: keyword → TANGO name, or list of them.

        Raises:
            UsageError: A name is no device of this fleet.
        """
        return {
            keyword: self.trl(names) if isinstance(names, str) else [self.trl(n) for n in names]
            for keyword, names in components.items()
        }

    # -- failures of processes, and their repair -----------------------------------

    def kill(self, device: str) -> None:
        """Kill a device's process (SIGKILL) and return when it is gone."""
        number = self._number_of(device)
        with self._lock:
            self._processes.signal(number, signal.SIGKILL)
            self._processes.wait_for(
                number, lambda report: report.event == "ended", "end", self._deadline()
            )

    def suspend(self, device: str) -> None:
        """Stop a device's process (SIGSTOP): it keeps its port and answers nothing.

        Raises:
            DeviceError: The process ended instead, or was not running.
        """
        self._signal(device, signal.SIGSTOP, {"suspended"}, "stop")

    def resume(self, device: str) -> None:
        """Let a suspended process go on.

        Raises:
            DeviceError: The process ended, or was not running.
        """
        self._signal(device, signal.SIGCONT, {"started", "ready"}, "go on")

    def _signal(self, device: str, which: signal.Signals, wanted: set[str], what: str) -> None:
        number = self._number_of(device)
        with self._lock:
            self._processes.signal(number, which)
            self._processes.wait_for(
                number, lambda r: r.event in wanted, what, self._deadline(), may_end=False
            )

    def restart(self, device: str) -> None:
        """Start a device's process again, killing it first if it runs; returns when it answers.

        The faults of the device that are left are set in the new process too.
        """
        number = self._number_of(device)
        with self._lock:
            if self.is_alive(device):
                self.kill(device)
            self._processes.start(number)
            self._wait_ready(number, self._deadline())

    def wait_restarted(self, device: str, old_pid: int) -> None:
        """Return when a process other than ``old_pid`` serves the device and is ready.

        Raises:
            DeviceError: It did not happen in time.
        """
        self._processes.wait_for(
            self._number_of(device),
            lambda report: report.event == "ready" and report.pid != old_pid,
            "come back",
            self._deadline(),
        )

    def set_fault(
        self, device: str, command: str, *faults: Fault | str | Mapping[str, Any]
    ) -> None:
        """Set the faults of one command of a running device; none at all clears them."""
        tango = load_pytango("the simulator")
        parsed = [msgspec.to_builtins(parse_fault(fault)) for fault in faults]
        argin = json.dumps({command: parsed})
        tango.DeviceProxy(self.trl(device)).command_inout("SimSetFault", argin)

    def _deadline(self) -> float:
        return time.monotonic() + self._start_timeout_s

    def _wait_ready(self, number: int, deadline: float) -> None:
        report = self._processes.wait_for(
            number, lambda report: report.event == "ready", "start", deadline, may_end=False
        )
        _check_identity(self.trl(self._groups[number][0].name), report, deadline)

    def _report_of(self, device: str) -> Report:
        return self._processes.latest(self._number_of(device))

    def _number_of(self, device: str) -> int:
        self._check_known(device.lower())
        return self._group_of[device.lower()]

    def _check_known(self, device: str) -> None:
        if device not in self.devices:
            hint = did_you_mean(device, self.devices)
            raise UsageError(f"{device!r} is no device of this fleet", hint=hint)


def _check_names(devices: Iterable[str]) -> list[str]:
    names = [str(device).lower() for device in devices]
    if not names:
        raise UsageError("a fleet needs at least one device")
    for name in names:
        parts = name.split("/")
        if len(parts) != 3 or not all(parts) or not set(name).isdisjoint(" ,:#*?"):
            raise UsageError(f"{name!r} is no TANGO device name", hint="write domain/family/member")
        if names.count(name) > 1:
            raise UsageError(f"the device {name!r} is named twice")
    return names


def _check_identity(trl: str, report: Report, deadline: float) -> None:
    """See that the process we started answers on its port, and not a stranger."""
    tango = load_pytango("the simulator")
    while True:
        try:
            info = json.loads(tango.DeviceProxy(trl).command_inout("SimInfo"))
            break
        except tango.DevFailed as error:
            if time.monotonic() > deadline:
                raise DeviceError(f"{trl} does not answer: {error}", device=trl) from error
            time.sleep(0.02)
    if (info["pid"], info["token"]) != (report.pid, report.token):
        raise DeviceError(
            f"another process answers at {trl}: pid {info['pid']}, we started {report.pid}",
            device=trl,
            hint="end the process that holds the port",
        )
