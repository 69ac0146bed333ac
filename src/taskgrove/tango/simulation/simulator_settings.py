"""How simulated devices behave when nothing goes wrong."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from taskgrove.control_model import AdminMode, HealthState, ObsMode, ObsState
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.tango.server.dialect import Dialect
from taskgrove.tango.server.ledger import MAX_QUEUED
from taskgrove.tango.simulation.behaviour import BEHAVIOUR
from taskgrove.tango.simulation.faults import Fault
from taskgrove.tango.simulation.stand_ins import SimulatedCommand

#: Commands that a simulated device runs as long-running commands, beside Abort.
SIMULATED_COMMANDS: Final = tuple(BEHAVIOUR)

_STATES: Final[dict[str, type[Enum]]] = {
    "obs_state": ObsState,
    "obs_mode": ObsMode,
    "admin_mode": AdminMode,
    "health_state": HealthState,
}


class SimulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a simulated device; every field has a default.

    Attributes:
        duration_s: How long a command takes, in seconds, 0 to 3,600.
        durations_s: The same for single commands.
        results: The data that a command returns when it succeeds, by command: its message is the
            JSON text of them.
        spread: Devices differ in speed by up to this part, 0 to 0.9, each always the same.
        steps: Progress reports of one command, 0 to 1,000.
        bad_argin: A command whose argument is no JSON object is refused by ``reject``
            (REJECTED and the reason) or ``raise`` (DevFailed).
        strict_states: Commands are refused in an obsState that does not allow them.
        max_queued: Commands that may wait, 1 to 32.
        obs_state: The obsState to start in, a name.
        obs_mode: The obsMode to start in, a name.
        admin_mode: The adminMode to start in, a name.
        health_state: The healthState to start in, a name.
        dialect: Protocol version and quirks.
        attributes: Further attributes, each with its value at the start, which tells its type.
        commands: Further commands, which run as long-running ones.
    """

    duration_s: float = 2.0
    durations_s: dict[str, float] = {}
    results: dict[str, Any] = {}
    spread: float = 0.0
    steps: int = 10
    bad_argin: Literal["reject", "raise"] = "reject"
    strict_states: bool = False
    max_queued: int = MAX_QUEUED
    obs_state: str = "IDLE"
    obs_mode: str = "IDLE"
    admin_mode: str = "ONLINE"
    health_state: str = "OK"
    dialect: Dialect = Dialect()
    attributes: dict[str, Any] = {}
    commands: dict[str, SimulatedCommand] = {}

    def __post_init__(self) -> None:
        for name, duration in [("duration_s", self.duration_s), *self.durations_s.items()]:
            if not 0.0 <= duration <= 3600.0:
                raise ValueError(f"{name} is {duration:g}, allowed is 0 to 3600 s")
        for name, low, high in (
            ("spread", 0, 0.9),
            ("steps", 0, 1000),
            ("max_queued", 1, MAX_QUEUED),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name):g}, allowed is {low} to {high}")
        for name, members in _STATES.items():
            if getattr(self, name) not in members.__members__:
                allowed = ", ".join(members.__members__)
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed are {allowed}")


def parse_settings(
    value: SimulatorSettings | Mapping[str, Any] | None,
    base: SimulatorSettings | None = None,
    commands: Collection[str] = (),
) -> SimulatorSettings:
    """Return the settings written as a mapping, laid over ``base``.

    Args:
        value: The settings.
        base: Settings that hold where ``value`` says nothing.
        commands: Commands that there are beside those that every simulated device has.

    Raises:
        UsageError: A setting is unknown or out of its range.
    """
    if isinstance(value, SimulatorSettings):
        return value
    start = base or SimulatorSettings()
    fields = [field.name for field in msgspec.structs.fields(SimulatorSettings)]
    for name in value or {}:
        if name not in fields:
            raise UsageError(
                f"the simulator has no setting {name!r}; allowed are {', '.join(fields)}",
                hint=did_you_mean(str(name), fields),
            )
    merged = msgspec.to_builtins(start) | dict(value or {})
    if isinstance(merged["dialect"], Dialect):
        merged["dialect"] = msgspec.to_builtins(merged["dialect"])
    try:
        made = msgspec.convert(merged, SimulatorSettings)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"simulator settings: {error}") from error
    known = {*SIMULATED_COMMANDS, *made.commands, *commands}
    for setting in ("durations_s", "results"):
        for command in getattr(made, setting):
            if command not in known:
                raise UsageError(
                    f"simulator settings: {setting} has no command {command!r}",
                    hint=did_you_mean(command, known),
                )
    return made


class DeviceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a fleet, as its server process gets it.

    Attributes:
        name: The TANGO name, lower case.
        settings: How it behaves.
        faults: command → its faults.
        speed: Everything goes this many times as fast, over 0.
        log: The file that its invocations are appended to, an absolute path, or None.
    """

    name: str
    settings: SimulatorSettings = SimulatorSettings()
    faults: dict[str, tuple[Fault, ...]] = {}
    speed: float = 1.0
    log: str | None = None

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that it runs as long-running ones, beside Abort."""
        return (*SIMULATED_COMMANDS, *self.settings.commands)

    def duration_s_of(self, command: str) -> float:
        """Return how long a command takes without faults, in seconds."""
        settings = self.settings
        share = zlib.crc32(self.name.encode()) / 0xFFFFFFFF  # the same in every run
        duration_s = settings.durations_s.get(command, settings.duration_s) / self.speed
        return duration_s * (1.0 + settings.spread * (2.0 * share - 1.0))
