"""The keys that several kinds of entries of a command map share."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from taskgrove.commands.command_map.map_conditions import MapModel, SkipCondition
from taskgrove.commands.command_map.map_fields import (
    MAX_BACKOFF,
    MAX_TIMEOUT_S,
    NAME_PATTERN,
    Description,
    HoldField,
    HoldTimeout,
    Seconds,
    State,
)


class AllowedStates(MapModel):
    """A guard: an attribute, and the values that let a command pass."""

    attr_name: str = Field(pattern=NAME_PATTERN, description="The attribute that is looked at.")
    attr_value: tuple[State, ...] = Field(
        min_length=1, strict=False, description="Its allowed values, by name or number."
    )


class AnyEntry(MapModel):
    """The keys of every entry, and of every command."""

    description: Description = ""
    hold: HoldField = None
    hold_timeout: HoldTimeout = None


class StepEntry(AnyEntry):
    """The keys of all steps."""

    argin: Any = Field(None, description="Its argument; without it, the resources are asked.")
    reject_missing: bool = Field(
        False,
        description="Whether a missing or unfit target rejects the whole command; "
        "unless said otherwise one of the correlator does.",
    )
    timeout: Seconds = None
    retries: int = Field(
        0, ge=0, le=1000, description="How often it may be tried again, if it never started."
    )
    retry_delay: float = Field(
        0, ge=0, le=MAX_TIMEOUT_S, description="The pause before a further attempt, in seconds."
    )
    retry_backoff: float = Field(
        1, ge=1, le=MAX_BACKOFF, description="So many times as long is each pause after the first."
    )
    allowed_states: AllowedStates | None = Field(
        None, description="Checked on each target, in place of the command's."
    )

    @property
    def subject(self) -> str:
        """What it is about where it has no device: the name that a message tells."""
        raise NotImplementedError

    @property
    def makes_group(self) -> bool:
        """Whether it becomes a parallel Task of several leaves."""
        return False

    @field_validator("retry_delay", "retry_backoff")
    @classmethod
    def _between_attempts(cls, value: float, info: ValidationInfo) -> float:
        idle, needs = (0, "retries") if info.field_name == "retry_delay" else (1, "retry_delay")
        if value > idle and not info.data.get(needs, True):
            raise ValueError(f"it has no effect without {needs!r}")
        return value


class DeviceKeys(MapModel):
    """The keys of all steps of devices."""

    abort_on_timeout: bool = Field(
        False, description="Whether an expired limit sends Abort, which stops all on the device."
    )
    call_timeout: Seconds = None
    skip_if: SkipCondition | None = Field(
        None, description="Where this holds when the step begins, nothing is done: it is there."
    )
