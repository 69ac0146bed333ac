"""The keys of a command map that tell a condition on an attribute, or a value to write."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from taskgrove.events.details import StepKind

#: A name of an attribute of a device.
ATTRIBUTE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.\-]*$"
#: The kinds of steps beside a command, each with its key.
OTHER_STEPS: Final[tuple[StepKind, ...]] = ("write", "wait", "expect")
#: The keys that tell the kind of a step of a device; one of them is given.
STEP_KEYS: Final[tuple[str, ...]] = ("command_name", *OTHER_STEPS)
#: The keys of which a condition has at least one.
CONDITION_KEYS: Final[tuple[str, ...]] = ("value", "any_of", "none_of", "min", "max")

_Values = Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]


class MapModel(BaseModel):
    """What all mappings of a map have in common: no other keys, no other types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )


class WriteValue(MapModel):
    """A value that is written to an attribute."""

    attribute: str = Field(pattern=ATTRIBUTE_PATTERN, description="The attribute.")
    value: Any = Field(description="Its new value; a list for a spectrum, of lists for an image.")

    @model_validator(mode="after")
    def _given(self) -> WriteValue:
        if self.value is None:
            raise ValueError("the value is missing: null cannot be written")
        return self


class ExpectCondition(MapModel):
    """A condition on the value of an attribute; all that is given must hold."""

    attribute: str = Field(pattern=ATTRIBUTE_PATTERN, description="The attribute.")
    value: Any = Field(None, description="The value that it has.")
    within: float | None = Field(
        None, gt=0, description="By how much a number may differ from 'value'."
    )
    any_of: _Values | None = Field(None, description="Values of which it has one.")
    none_of: _Values | None = Field(None, description="Values of which it has none.")
    min: float | None = Field(None, description="The least number.")
    max: float | None = Field(None, description="The largest number.")

    @model_validator(mode="after")
    def _a_condition(self) -> ExpectCondition:
        if all(getattr(self, key) is None for key in CONDITION_KEYS):
            raise ValueError(f"at least one of {', '.join(CONDITION_KEYS)} is given")
        if self.within is not None and self.value is None:
            raise ValueError("'within' has no effect without 'value'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("'min' is not above 'max'")
        return self

    @property
    def data(self) -> dict[str, Any]:
        """The condition as plain data, as a step gets it."""
        return self.model_dump(exclude_none=True)


class SkipCondition(ExpectCondition):
    """A condition under which a step has nothing to do."""


class WaitCondition(ExpectCondition):
    """A condition that is waited for."""

    fail_on: _Values | None = Field(
        None, description="Values at which waiting is of no use: the step fails at once."
    )
