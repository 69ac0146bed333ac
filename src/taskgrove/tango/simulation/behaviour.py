"""The commands of a simulated device: the states that it shows, its reports, its faults.

Pure: no threads, clocks or TANGO.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from taskgrove.control_model import ObsState
from taskgrove.tango.simulation.faults import DEADLY_FAULTS, Fault, FaultKind

#: Faults that strike at a point of the command, given by ``at``.
_STRIKING: Final = DEADLY_FAULTS | {
    FaultKind.FAIL,
    FaultKind.RAISE,
    FaultKind.HANG,
    FaultKind.JUMP_BACK,
}

_IDLE: Final = frozenset({ObsState.IDLE})
_IDLE_OR_EMPTY: Final = frozenset({ObsState.EMPTY, ObsState.IDLE})
_CONFIGURABLE: Final = frozenset({ObsState.IDLE, ObsState.READY})
_RESETTABLE: Final = frozenset({ObsState.ABORTED, ObsState.FAULT})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One command of a simulated device.

    Attributes:
        allowed_in: The obsStates in which a strict device runs it.
        takes_json: Its argument is a JSON object; else it takes none.
        during: The obsState while it runs; None: unchanged.
        after: The obsState after it ended well; None: as before.
    """

    allowed_in: frozenset[ObsState] = frozenset(ObsState)
    takes_json: bool = False
    during: ObsState | None = None
    after: ObsState | None = None


#: The behaviour of a simulated device in each command.
BEHAVIOUR: Final = {
    "AssignResources": Behaviour(_IDLE_OR_EMPTY, True, ObsState.RESOURCING, ObsState.IDLE),
    "ReleaseResources": Behaviour(_IDLE, True, ObsState.RESOURCING, ObsState.IDLE),
    "ReleaseAllResources": Behaviour(_IDLE, False, ObsState.RESOURCING, ObsState.EMPTY),
    "Configure": Behaviour(_CONFIGURABLE, True, ObsState.CONFIGURING, ObsState.READY),
    "Scan": Behaviour(frozenset({ObsState.READY}), True, None, ObsState.SCANNING),
    "EndScan": Behaviour(frozenset({ObsState.SCANNING}), False, None, ObsState.READY),
    "GoToIdle": Behaviour(_CONFIGURABLE, False, None, ObsState.IDLE),
    "End": Behaviour(_CONFIGURABLE, False, None, ObsState.IDLE),
    "ObsReset": Behaviour(_RESETTABLE, False, ObsState.RESETTING, ObsState.IDLE),
    "Restart": Behaviour(_RESETTABLE, False, ObsState.RESTARTING, ObsState.EMPTY),
    "On": Behaviour(),
    "Off": Behaviour(),
}


_ANY: Final = Behaviour()


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a running command.

    Attributes:
        offset_s: When it comes, in seconds from the command's start.
        percent: How far the command is then.
        fault: The fault that strikes then; None: progress is reported, or the command ends at 100.
    """

    offset_s: float
    percent: float
    fault: Fault | None = None


def plan_marks(duration_s: float, steps: int, faults: Iterable[Fault]) -> list[Moment]:
    """Return the moments of one run of a command, in order; the last one is its end.

    Args:
        duration_s: How long the command takes without faults, in seconds.
        steps: How many progress reports it makes.
        faults: The faults of this call.
    """
    points: list[tuple[float, Fault | None]] = [
        (100.0 * step / steps, None) for step in range(steps)
    ]
    for fault in faults:
        if fault.kind is FaultKind.SLOW:
            duration_s *= fault.factor
        elif fault.kind in _STRIKING:
            points.append((fault.at, fault))
    points.sort(key=lambda point: point[0])
    return [
        Moment(duration_s * percent / 100.0, percent, fault)
        for percent, fault in [*points, (100.0, None)]
    ]


def behaviour_of(command: str) -> Behaviour:
    """Return the behaviour in a command; in one that a device has beside these, it shows none."""
    return BEHAVIOUR.get(command, _ANY)


def argin_problem(command: str, argin: Any) -> str | None:
    """Return why ``argin`` is no argument for ``command``, None when it is one."""
    if argin is None or command not in BEHAVIOUR:
        return None
    try:
        value = json.loads(argin)
    except ValueError as error:
        return f"{command} needs a JSON object: {error}"
    if isinstance(value, dict):
        return None
    return f"{command} needs a JSON object: it is {argin[:80]!r}"
