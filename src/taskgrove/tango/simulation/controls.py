"""The commands that set and read the faults and states of a simulated device.

Threads: as in :mod:`taskgrove.tango.simulation.device`; ``_sim_lock`` guards the fault
table, the counts and the reports on them, so that the nursery gets changes in order.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from taskgrove.errors import MissingExtraError, UsageError
from taskgrove.tango.simulation.fault_text import parse_command_faults
from taskgrove.tango.simulation.faults import FaultTable
from taskgrove.tango.simulation.simulator_settings import DeviceSpec

try:
    import tango
    from tango.server import command
except ImportError as error:  # pragma: no cover - tested where the extra is missing
    raise MissingExtraError("tango", "simulating TANGO devices") from error


class ServerHost:
    """The process that serves the devices.

    Attributes:
        specs: The settings of each device by name; faults that have struck are counted off.
        report: Tells the fleet's nursery something, as a mapping.
        token: A word that only this process was given, to prove who answers on a port.
    """

    def __init__(self) -> None:
        self.specs: dict[str, DeviceSpec] = {}
        self.report: Callable[[dict[str, Any]], None] = lambda _: None
        self.token = ""
        self.started_at = time.time()


HOST: Final = ServerHost()


class SimulatorControls:
    """The ``Sim*`` commands of a simulated device."""

    _spec: DeviceSpec
    _sim_lock: threading.Lock
    _faults: FaultTable
    _calls: Counter[str]
    _shown: dict[str, Any]
    _show: Callable[[str, Any], None]

    def _remember_faults(self) -> None:
        """Tell the nursery which faults are left, so that they survive a restart."""
        data = self._faults.as_data()
        HOST.specs[self._spec.name] = msgspec.structs.replace(
            self._spec, faults=parse_command_faults(data)
        )
        HOST.report({"faults": data, "device": self._spec.name})

    @command(dtype_in=str, doc_in='JSON: {"Configure": "fail"} or {"Configure": {"slow": {...}}}')
    def SimSetFault(self, argin):  # type: ignore[no-untyped-def]  # noqa: N802
        """Set the faults of commands; those of other commands stay as they are."""
        try:
            table = parse_command_faults(json.loads(argin), self._spec.name)
            unknown = [name for name in table if name not in (*self._spec.commands, "*")]
            if unknown:
                raise UsageError(f"there is no simulated command {unknown[0]!r}")
        except ValueError as error:
            tango.Except.throw_exception("Simulator_BadFault", str(error), "SimSetFault")
        with self._sim_lock:
            for name, faults in table.items():
                self._faults.set(name, faults)
            self._remember_faults()

    @command
    def SimClearFaults(self):  # type: ignore[no-untyped-def]  # noqa: N802
        """Forget every fault."""
        with self._sim_lock:
            self._faults.clear()
            self._remember_faults()

    @command(dtype_out=str)
    def SimFaults(self):  # type: ignore[no-untyped-def]  # noqa: N802
        """Return the faults that are set, as JSON."""
        with self._sim_lock:
            return json.dumps(self._faults.as_data())

    @command(dtype_in=str, doc_in='JSON: {"obsState": "FAULT", "healthState": "DEGRADED"}')
    def SimSet(self, argin):  # type: ignore[no-untyped-def]  # noqa: N802
        """Set the states that the device shows."""
        try:
            given = json.loads(argin).items()
            values = {name: type(self._shown[name])[value] for name, value in given}
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            tango.Except.throw_exception("Simulator_BadValue", repr(error), "SimSet")
        for name, value in values.items():
            self._show(name, value)

    @command(dtype_out=str)
    def SimInfo(self):  # type: ignore[no-untyped-def]  # noqa: N802
        """Return as JSON who this is: name, pid, token, start time, calls of each command."""
        told = {"name": self._spec.name, "pid": os.getpid(), "token": HOST.token}
        with self._sim_lock:
            return json.dumps({**told, "started_at": HOST.started_at, "calls": self._calls})
