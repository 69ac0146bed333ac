"""The contents of a command map: the models of its entries.

An entry is validated alone, without the entries below it: trees may be hundreds of levels deep,
and validation must not recurse. :mod:`taskgrove.commands.command_map.check` walks the tree and
puts the entries together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from taskgrove.commands.command_map.map_base import AllowedStates, AnyEntry, DeviceKeys, StepEntry
from taskgrove.commands.command_map.map_conditions import (
    OTHER_STEPS,
    STEP_KEYS,
    ExpectCondition,
    MapModel,
    WaitCondition,
    WriteValue,
)
from taskgrove.commands.command_map.map_fields import (
    MAX_TIMEOUT_S,
    NAME_PATTERN,
    DeviceField,
    LauncherField,
    RuleField,
    Seconds,
    is_pattern,
)
from taskgrove.events.details import StepKind

DeviceKeyword: TypeAlias = Literal["cbf", "pss", "resource_manager"]
GroupKeyword: TypeAlias = Literal["pst", "csp_subs"]
Keyword: TypeAlias = Literal[
    "cbf", "pss", "pst", "csp_subs", "resource_manager", "internal", "analysis"
]

#: Every handler keyword; an entry under ``tasks`` is one of these, or names one.
KEYWORDS: Final[tuple[str, ...]] = get_args(Keyword)
#: Keywords that stand for components of the context, and so for ``components:``.
COMPONENT_KEYWORDS: Final[tuple[str, ...]] = ("cbf", "pss", "pst", "csp_subs", "resource_manager")
#: Keywords whose components become a PARALLEL Task of their own.
GROUP_KEYWORDS: Final[tuple[str, ...]] = get_args(GroupKeyword)
#: Sections of a map; no command has one of these names.
SECTIONS: Final[tuple[str, ...]] = ("commands", "components", "simulator")
#: Keys of the section ``simulator`` that map a device to a mapping.
SIMULATOR_TABLES: Final[tuple[str, ...]] = ("faults", "devices")
#: All its keys. The simulator reads the values; a wrong key is found here, with its line.
SIMULATOR_KEYS: Final[tuple[str, ...]] = (
    *SIMULATOR_TABLES,
    *("speed", "devices_per_process", "duration_s", "durations_s", "results", "spread", "steps"),
    *("bad_argin", "strict_states", "max_queued", "obs_state", "obs_mode", "admin_mode"),
    *("health_state", "dialect", "attributes", "commands"),
)
#: Keys that begin so are left alone at the top of a map: a place for YAML anchors.
EXTENSION_PREFIX: Final = "x-"
#: Keys for the values of ``each``; one of them is given.
EACH_SOURCES: Final[tuple[str, ...]] = ("count", "range", "values")

#: The most leaves that ``each`` makes of one entry.
MAX_EACH: Final = 100_000
COMMAND_NAME_PATTERN: Final = r"^[^/\x00-\x1f\x7f]{1,255}$"
#: The key of a clean-up; no task has this name.
FINALLY_KEY: Final = "finally"
TASK_NAME_PATTERN: Final = rf"^(?!{FINALLY_KEY}$)[^/\x00-\x1f\x7f]{{1,255}}$"

#: Not ``range``: in a model that has a field of that name, the name is the field's.
_numbers: Final = range


def _enum_word(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class CompositeEntry(AnyEntry):
    """A command, or a composite below one: tasks that run in order or at once."""

    type: Annotated[
        Literal["sequential", "parallel"],
        BeforeValidator(_enum_word),
        Field(description="Whether the tasks run one after the other or all at once."),
    ]
    tasks: dict[str, Any] = Field(description="The tasks, in order; any name or a keyword.")
    skip_subtasks: bool = Field(
        False, description="In a sequence: whether a failure rejects the steps after it."
    )
    rule: RuleField = None
    timeout: Seconds = None
    allowed_states: AllowedStates | None = Field(
        None,
        description="Checked before anything is built, and on each device below that has no own.",
    )
    finally_tasks: dict[str, Any] = Field(
        default_factory=dict,
        alias=FINALLY_KEY,
        description="In a sequence: the tasks that clean up, however the others end.",
    )
    finally_timeout: Seconds = None


class CallEntry(AnyEntry):
    """Another command of the map, as a subtree."""

    call: str = Field(min_length=1, description="The command.")
    allowed_states: AllowedStates | None = Field(
        None, description="Checked in place of the command's own; null: nothing is checked."
    )


class HandlerEntry(StepEntry):
    """The keys of the steps that have a keyword."""

    kinds: ClassVar[tuple[str, ...]] = ()

    handler: Keyword
    command_name: str = Field(
        pattern=NAME_PATTERN, description="The command, method or analysis to run."
    )

    @property
    def subject(self) -> str:
        """See :class:`StepEntry`."""
        return self.command_name


class DeviceEntry(DeviceKeys, HandlerEntry):
    """A command of one component (cbf, pss, resource_manager)."""

    kinds = get_args(DeviceKeyword)

    @property
    def subject(self) -> str:
        """See :class:`StepEntry`."""
        return self.handler


class GroupEntry(DeviceEntry):
    """The same command of several components at once (pst, csp_subs)."""

    kinds = GROUP_KEYWORDS

    rule: RuleField = None

    @property
    def makes_group(self) -> bool:
        """See :class:`HandlerEntry`."""
        return True


class DeviceStepEntry(DeviceKeys, StepEntry):
    """A step of any device: a command, or an attribute that is written, awaited or expected."""

    device: DeviceField
    command_name: str | None = Field(None, pattern=NAME_PATTERN, description="The command to call.")
    write: WriteValue | None = Field(None, description="Writes an attribute.")
    wait: WaitCondition | None = Field(None, description="Waits until an attribute has a value.")
    expect: ExpectCondition | None = Field(None, description="An attribute has a value now.")
    reject_missing: bool = Field(
        True, description="Whether a missing or unfit device rejects the whole command."
    )
    rule: RuleField = None

    @property
    def kind(self) -> StepKind:
        """Whether it is a command, or which other step."""
        return next((kind for kind in OTHER_STEPS if getattr(self, kind) is not None), "command")

    @property
    def operand(self) -> str:
        """The command, or the attribute."""
        attribute = self.write or self.wait or self.expect
        return attribute.attribute if attribute is not None else str(self.command_name)

    @property
    def devices(self) -> tuple[str, ...]:
        """The components, TANGO names and patterns that it names."""
        return (self.device,) if isinstance(self.device, str) else self.device

    @property
    def subject(self) -> str:
        """See :class:`StepEntry`."""
        return ", ".join(self.devices)

    @property
    def makes_group(self) -> bool:
        """Whether it becomes a parallel Task, whatever its names stand for."""
        return not isinstance(self.device, str) or is_pattern(self.device)

    @property
    def value(self) -> Any:
        """The argument of the command, the value to write, or the condition as plain data."""
        if self.write is not None:
            return self.write.value
        condition = self.wait or self.expect
        return self.argin if condition is None else condition.data

    @model_validator(mode="after")
    def _one_kind(self) -> DeviceStepEntry:
        given = [key for key in STEP_KEYS if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(f"one of {', '.join(STEP_KEYS)} is given, not {said}")
        for key in ("argin", "call_timeout"):
            if "command_name" not in given and key in self.model_fields_set:
                raise ValueError(f"{key!r} belongs to a command, and {given[0]!r} calls none")
        return self


class InternalEntry(HandlerEntry):
    """A public method of the component manager."""

    kinds = ("internal",)


class EachValue(MapModel):
    """One leaf for each value of a parameter: ``count``, ``range`` or ``values`` says which."""

    parameter: str | None = Field(
        None, pattern=NAME_PATTERN, description="The parameter that gets each value."
    )
    parameters: tuple[Annotated[str, Field(pattern=NAME_PATTERN)], ...] | None = Field(
        None,
        min_length=1,
        strict=False,
        description="Several parameters: each of the 'values' is a list with one value for each.",
    )
    count: int | None = Field(
        None, ge=1, le=MAX_EACH, description="So many values, counted from 0."
    )
    range: tuple[int, ...] | None = Field(
        None,
        strict=False,
        description="Whole numbers: the first and the last.",
        json_schema_extra={"minItems": 2, "maxItems": 2},
    )
    values: tuple[Any, ...] | None = Field(
        None, min_length=1, max_length=MAX_EACH, strict=False, description="The values."
    )

    @field_validator("range")
    @classmethod
    def _rising(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        if len(value) != 2:
            raise ValueError(f"it has {len(value)} values")
        if not 0 <= value[1] - value[0] < MAX_EACH:
            raise ValueError(f"the last is not below the first, and at most {MAX_EACH:,} are made")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> EachValue:
        given = [name for name in EACH_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            raise ValueError(f"one of {', '.join(EACH_SOURCES)} is given, not {said}")
        return self

    @model_validator(mode="after")
    def _one_or_several(self) -> EachValue:
        if self.parameters is None:
            if self.parameter is None:
                raise ValueError("the key 'parameter' is missing, or 'parameters' for several")
            return self
        if self.parameter is not None:
            raise ValueError("one of parameter and parameters is given, not both")
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError("a parameter is named twice")
        if self.values is None:
            raise ValueError("several parameters get their values from 'values'")
        wanted = len(self.parameters)
        for number, row in enumerate(self.values, 1):
            if not isinstance(row, (list, tuple)) or len(row) != wanted:
                raise ValueError(f"number {number} of the values is no list of {wanted} values")
        return self

    def all_values(self) -> Sequence[Any]:
        """Return the values, in order."""
        if self.count is not None:
            return _numbers(0, self.count)
        if self.range is not None:
            return _numbers(self.range[0], self.range[1] + 1)
        assert self.values is not None
        return self.values

    def parameters_of(self, value: Any) -> dict[str, Any]:
        """Return the parameters of one leaf, by name, for one of the values."""
        if self.parameters is not None:
            return dict(zip(self.parameters, value, strict=True))
        assert self.parameter is not None  # it was checked
        return {self.parameter: value}


class AnalysisEntry(HandlerEntry):
    """An analysis program; ``command_name`` is the analysis' name, ``argin`` its parameters."""

    kinds = ("analysis",)

    config: str | None = Field(
        None,
        min_length=1,
        description="The configuration that the analysis reads; relative to the map's file.",
    )
    each: EachValue | None = Field(
        None, description="Makes a parallel group with one leaf for each value of a parameter."
    )
    rule: RuleField = None
    launcher: LauncherField = None
    heartbeat: float | None = Field(
        None, gt=0, le=MAX_TIMEOUT_S, description="How long it may be silent, in seconds."
    )
    grace: float | None = Field(
        None, ge=0, le=MAX_TIMEOUT_S, description="From SIGTERM to SIGKILL, in seconds."
    )
    source: str | None = Field(
        None,
        min_length=1,
        description="A shell script that is sourced for its environment, in place of the"
        " configuration's environment_file; relative to the map's file.",
    )
    stdin: str | None = Field(
        None,
        min_length=1,
        description="A file that is its standard input; relative to the map's file.",
    )
    python: str | None = Field(
        None,
        min_length=1,
        description="The interpreter of a first-party analysis: a name on the PATH, or a path,"
        " relative to the map's file.",
    )

    @property
    def makes_group(self) -> bool:
        """See :class:`HandlerEntry`."""
        return self.each is not None

    @field_validator("argin")
    @classmethod
    def _parameters(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict):
            raise ValueError("the argument of an analysis is a mapping of its parameters")
        return value

    @field_validator("rule")
    @classmethod
    def _of_a_group(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and "each" in info.data and info.data["each"] is None:
            raise ValueError("a rule judges a group: an analysis is one with 'each'")
        return value


Entry: TypeAlias = (
    CompositeEntry
    | CallEntry
    | DeviceStepEntry
    | DeviceEntry
    | GroupEntry
    | InternalEntry
    | AnalysisEntry
)

ENTRY_CLASSES: Final[dict[str, type[HandlerEntry]]] = {
    keyword: cls
    for cls in (DeviceEntry, GroupEntry, InternalEntry, AnalysisEntry)
    for keyword in cls.kinds
}


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that a mapping of this model may have, those of every entry last."""
    common = AnyEntry.model_fields
    first = ("device", "handler", *STEP_KEYS)
    names = sorted(model.model_fields, key=lambda name: (name in common, name not in first))
    return tuple(model.model_fields[name].alias or name for name in names)
