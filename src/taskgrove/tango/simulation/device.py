"""The simulated device: a subarray or beam whose commands take time and can go wrong.

Threads: command handlers run on TANGO's threads, commands on the device's worker.
``_sim_lock`` guards the fault table and the counts, and is never held while an event is sent.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

from taskgrove.control_model import (
    AdminMode,
    HealthState,
    ObsMode,
    ObsState,
    ResultCode,
    TaskStatus,
)
from taskgrove.errors import MissingExtraError
from taskgrove.tango.lrc_server import LrcServerMixin
from taskgrove.tango.server.dialect import RawText
from taskgrove.tango.server.job import Job, LrcAbortedError, TaskCallback
from taskgrove.tango.simulation.behaviour import (
    BEHAVIOUR,
    argin_problem,
    behaviour_of,
    plan_marks,
)
from taskgrove.tango.simulation.controls import HOST, SimulatorControls
from taskgrove.tango.simulation.events import EventScrambler
from taskgrove.tango.simulation.faults import Fault, FaultKind, FaultTable
from taskgrove.tango.simulation.invocations import DeviceInvocations
from taskgrove.tango.simulation.simulator_settings import SIMULATED_COMMANDS, DeviceSpec
from taskgrove.tango.simulation.stand_in_attributes import StandInAttributes

try:
    import tango
    from tango.server import Device, attribute, command
except ImportError as error:  # pragma: no cover - tested where the extra is missing
    raise MissingExtraError("tango", "simulating TANGO devices") from error

#: The exit code of a process that is to be started again.
RESTART_EXIT_CODE: Final = 75

_NONSENSE: Final = [42, "?"]
_NOT_JSON: Final = RawText('{"result": [0, ')


def _simulated(name: str, takes: str) -> Any:
    """Return the TANGO command that starts the simulated long-running command ``name``."""
    if takes != "DevVoid":

        def handler(self: Any, argin: Any) -> Any:
            return self._sim_invoke(name, argin)
    else:

        def handler(self: Any) -> Any:  # type: ignore[misc]
            return self._sim_invoke(name, None)

    handler.__annotations__ = {}
    handler.__name__ = name
    handler.__doc__ = f"Start {name}; answers a code and the command's id."
    types = {} if takes == "DevVoid" else {"dtype_in": takes}
    return command(f=handler, dtype_out="DevVarLongStringArray", **types)


class _SimulatedCommands:
    """The simulated long-running commands, by their names."""


for _name in SIMULATED_COMMANDS:
    _takes = "DevString" if BEHAVIOUR[_name].takes_json else "DevVoid"
    setattr(_SimulatedCommands, _name, _simulated(_name, _takes))


def _shown(name: str, states: type[Enum], **more: Any) -> Any:
    """Return the attribute that shows a state of the device; guards read it."""

    def read(self: Any) -> Any:
        return self._shown[name]

    read.__annotations__ = {}
    read.__name__ = f"read_{name}"
    return attribute(fget=read, name=name, dtype=states, **more)


class SimulatedDevice(_SimulatedCommands, SimulatorControls, LrcServerMixin, Device):  # type: ignore[misc]
    """A simulated subarray or beam that speaks the long-running-command protocol."""

    invocations = attribute(
        fget="_read_invocations", dtype=str, doc="the newest invocations, a list in JSON"
    )
    obsState = _shown("obsState", ObsState)  # noqa: N815 - the field's names
    obsMode = _shown("obsMode", ObsMode)  # noqa: N815
    healthState = _shown("healthState", HealthState)  # noqa: N815
    adminMode = _shown("adminMode", AdminMode, fset="_write_admin_mode")  # noqa: N815

    def init_device(self) -> None:
        """Take up the device's settings and start its threads."""
        spec = HOST.specs.get(self.get_name().lower()) or DeviceSpec(name=self.get_name())
        self._spec = spec
        settings = spec.settings
        self.lrc_dialect = settings.dialect
        self.lrc_max_queued = settings.max_queued
        self._sim_lock = threading.Lock()
        self._faults = FaultTable(spec.faults)
        self._calls: Counter[str] = Counter()
        self._invocations = DeviceInvocations(spec.name, HOST.token, spec.log)
        self._shown: dict[str, Any] = {
            "obsState": ObsState[settings.obs_state],
            "obsMode": ObsMode[settings.obs_mode],
            "adminMode": AdminMode[settings.admin_mode],
            "healthState": HealthState[settings.health_state],
        }
        super().init_device()
        for name in self._shown:
            self.set_change_event(name, True, False)
        for name, own in spec.settings.commands.items():
            if not hasattr(self, name):
                # Bound, because TANGO calls the command of one device as it is.
                self.add_command(_simulated(name, own.takes).__get__(self))
        self.set_state(tango.DevState.ON)

    def initialize_dynamic_attributes(self) -> None:
        """Add the attributes that this device stands in for."""
        self._attributes = StandInAttributes(self, self._spec.settings.attributes)

    def read_stand_in(self, attr):  # type: ignore[no-untyped-def]
        """Read an attribute that this device stands in for."""
        self._attributes.read(attr)

    def write_stand_in(self, attr):  # type: ignore[no-untyped-def]
        """Write one."""
        self._attributes.write(attr)

    def _write_admin_mode(self, value):  # type: ignore[no-untyped-def]
        self._show("adminMode", AdminMode(value))

    def _read_invocations(self):  # type: ignore[no-untyped-def]
        return self._invocations.as_json()

    def _show(self, name: str, value: Any) -> None:
        if self._shown[name] is not value:
            self._shown[name] = value
            self.push_change_event(name, value)

    def lrc_aborting(self) -> None:
        """Show that everything is being aborted."""
        self._show("obsState", ObsState.ABORTING)

    def lrc_aborted(self) -> None:
        """Show that everything was aborted."""
        self._show("obsState", ObsState.ABORTED)

    def lrc_changed(self, job: Job, status: TaskStatus, result: Any) -> None:
        """Keep the log of invocations."""
        self._invocations.change(job, status, result)

    # A command, from its call to its end.

    def _sim_invoke(self, name: str, argin: Any) -> Any:
        argin = argin.tolist() if hasattr(argin, "tolist") else argin
        with self._sim_lock:
            self._calls[name] += 1
            faults = self._faults.take(name)
            if any(fault.times is not None for fault in faults):
                self._remember_faults()
        by_kind = {fault.kind: fault for fault in faults}
        reject = by_kind.get(FaultKind.REJECT)
        refusal = self._refusal(name, argin, reject)
        if refusal:
            self._note_refusal(name, argin, refusal)
        scrambler = EventScrambler(faults)
        reply = self.lrc_submit(
            name,
            lambda callback, event: self._run(name, argin, by_kind, callback, event),
            refusal=refusal,
            is_allowed=lambda: self._allows(name, late=reject is not None),
            shape=scrambler if scrambler else None,
            argin=argin,
        )
        stall = by_kind.get(FaultKind.STALL)
        if stall is not None:
            self.lrc_engine.closing.wait(stall.for_s)
        return reply

    def _refusal(self, name: str, argin: str | None, reject: Fault | None) -> str | None:
        """Return why the call is refused at once, None when it is not; may raise DevFailed."""
        if reject is not None and reject.how == "exception":
            self._note_refusal(name, argin, reject.text(name))
            tango.Except.throw_exception("Simulator_Rejected", reject.text(name), name)
        problem = argin_problem(name, argin)
        if problem is not None and self._spec.settings.bad_argin == "raise":
            self._note_refusal(name, argin, problem)
            tango.Except.throw_exception("Simulator_BadArgument", problem, name)
        if problem is None and reject is not None and reject.how == "code":
            return reject.text(name)
        return problem

    def _note_refusal(self, name: str, argin: str | None, reason: str) -> None:
        """Log a call that is refused before it gets an id."""
        job = Job(name, lambda _callback, _event: None, argin=argin)
        self._invocations.change(job, TaskStatus.REJECTED, (ResultCode.REJECTED, reason))

    def _allows(self, name: str, *, late: bool) -> bool:
        if late:
            return False
        return not self._spec.settings.strict_states or (
            self._shown["obsState"] in behaviour_of(name).allowed_in
        )

    def _run(
        self,
        name: str,
        argin: Any,
        faults: dict[FaultKind, Fault],
        callback: TaskCallback,
        abort_event: threading.Event,
    ) -> Any:
        behaviour, own = behaviour_of(name), self._spec.settings.commands.get(name)
        before = self._shown["obsState"]
        self._show("obsState", before if behaviour.during is None else behaviour.during)
        ended_well = False
        try:
            for fault in self._play(name, faults, callback, abort_event):
                if fault.kind is FaultKind.FAIL:
                    result = (fault.code, fault.text(name))
                    if fault.abnormal:
                        callback(status=TaskStatus.FAILED, result=result)
                    return result
                self._strike(name, fault, callback, abort_event)
            ended_well = True
        finally:
            if not abort_event.is_set():
                moved = ended_well and behaviour.after is not None
                self._show("obsState", behaviour.after if moved else before)
        if own is not None and own.sets:
            self._attributes.change(own.sets, argin)
        if name in {"On", "Off"}:
            self.set_state(tango.DevState.ON if name == "On" else tango.DevState.OFF)
        garbage = faults.get(FaultKind.GARBAGE)
        if garbage is None:
            value = self._spec.settings.results.get(name)
            return None if value is None else (ResultCode.OK, json.dumps(value))
        if garbage.broken:
            return _NOT_JSON
        return _NONSENSE if garbage.value is None else garbage.value

    def _play(
        self,
        name: str,
        faults: dict[FaultKind, Fault],
        callback: TaskCallback,
        abort_event: threading.Event,
    ) -> Iterable[Fault]:
        """Let the command's time pass, report its progress, and yield the faults that strike."""
        begin = time.monotonic()
        duration_s, steps = self._spec.duration_s_of(name), self._spec.settings.steps
        for mark in plan_marks(duration_s, steps, faults.values()):
            if abort_event.wait(max(0.0, begin + mark.offset_s - time.monotonic())):
                raise LrcAbortedError
            if mark.fault is not None:
                yield mark.fault
            elif mark.percent < 100.0:
                callback(progress=int(mark.percent))

    def _strike(
        self, name: str, fault: Fault, callback: TaskCallback, abort_event: threading.Event
    ) -> None:
        if fault.kind is FaultKind.JUMP_BACK:
            callback(progress=fault.to)
        elif fault.kind is FaultKind.RAISE:
            raise RuntimeError(fault.text(name))
        elif fault.kind is FaultKind.HANG:
            (self.lrc_engine.closing if fault.deaf else abort_event).wait()
            raise LrcAbortedError
        elif fault.kind is FaultKind.RESTART:
            HOST.report({"restart_after_s": fault.for_s})
            os._exit(RESTART_EXIT_CODE)
        elif fault.kind is FaultKind.CRASH:
            os.kill(os.getpid(), signal.SIGKILL)


class SimulatedDeviceV1(SimulatedDevice):
    """A simulated device that offers only version 1 of the protocol."""

    _lrcEvent = None  # noqa: N815
    lrcQueue = None  # noqa: N815
    lrcExecuting = None  # noqa: N815
    lrcFinished = None  # noqa: N815


class SimulatedOldDevice(SimulatedDeviceV1):
    """A simulated device older than ``lrcProtocolVersions`` and ``Abort``."""

    lrcProtocolVersions = None  # noqa: N815
    Abort = None


#: Protocol of a dialect → the class that serves it.
DEVICE_CLASSES: Final = {
    "v2": SimulatedDevice,
    "v1": SimulatedDeviceV1,
    "old": SimulatedOldDevice,
}
