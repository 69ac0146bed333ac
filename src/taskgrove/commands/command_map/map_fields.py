"""The values of the keys of a command map: their types, limits and forms."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from taskgrove.commands.aggregation.rules import RuleLike, parse_rule
from taskgrove.commands.base_task import HoldSetting
from taskgrove.commands.command_map.launcher import launcher_words

#: The longest limit, in seconds (31 years): the threads of Python take no longer ones.
MAX_TIMEOUT_S: Final = 1e9
#: The longest description, in characters.
MAX_DESCRIPTION: Final = 1_000
#: The largest ``retry_backoff``.
MAX_BACKOFF: Final = 100

NAME_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
#: A name of a component, which is no TANGO name.
COMPONENT_NAME_PATTERN: Final = r"^[^/\x00-\x1f\x7f]+$"
#: A name of a TANGO device, alone or with the address of its server, or a pattern of such names.
DEVICE_NAME_PATTERN: Final = (
    r"^(?:tango://)?(?:[A-Za-z0-9_.\-]+:[0-9]+/)?"
    r"[A-Za-z0-9_.\-*]+/[A-Za-z0-9_.\-*]+/[A-Za-z0-9_.\-*]+(?:#dbase=(?:no|yes))?$"
)
DEVICE_NAME: Final = re.compile(DEVICE_NAME_PATTERN)

_QUORUM_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^ *[0-9.]+ *%? *$"},
    ]
}


def _checked_state(value: Any) -> Any:
    if isinstance(value, (str, int, Enum)):
        return value
    raise ValueError("a state is a name or a number")


def _checked_rule(value: Any) -> Any:
    parse_rule(value)
    return value


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _checked_launcher(value: Any) -> Any:
    return None if value is None else launcher_words(value)


State = Annotated[
    Any,
    AfterValidator(_checked_state),
    WithJsonSchema({"type": ["string", "integer", "boolean"]}),
]
RuleField = Annotated[
    RuleLike | None,
    BeforeValidator(_checked_rule),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(all|any|quorum[: ] *[0-9.]+%?)$"},
                {
                    "type": "object",
                    "properties": {"quorum": _QUORUM_SCHEMA},
                    "required": ["quorum"],
                    "additionalProperties": False,
                },
                {"type": "null"},
            ]
        }
    ),
    Field(description="Decides the outcome in place of the default policy: all, any, quorum."),
]
Seconds = Annotated[
    float | None, Field(gt=0, le=MAX_TIMEOUT_S, description="Limit, in seconds; none if left out.")
]


HoldField = Annotated[
    HoldSetting | None,
    Field(description="Whether a step that fails waits for an operator's decision."),
]
HoldTimeout = Annotated[
    float | None,
    Field(gt=0, le=MAX_TIMEOUT_S, description="How long it waits before its failure stands."),
]
Description = Annotated[
    str,
    Field(max_length=MAX_DESCRIPTION, description="A sentence about it, shown wherever it is."),
    AfterValidator(_one_line),
]
LauncherField = Annotated[
    tuple[str, ...] | None,
    BeforeValidator(_checked_launcher),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "null"},
            ]
        }
    ),
    Field(description="Starts the program: mpirun -n 4. No shell reads it; empty: no launcher."),
]


def is_pattern(name: str) -> bool:
    """Return whether a name of devices is a pattern, which a TANGO database resolves."""
    return "*" in name


def _checked_device(value: Any) -> Any:
    names = value if isinstance(value, (list, tuple)) else [value]
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ValueError("a device is the name of a component, or a TANGO name")
        if "/" in name and not DEVICE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no TANGO name")
    if not names:
        raise ValueError("the list is empty")
    return value if isinstance(value, str) else tuple(names)


DeviceField = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_checked_device),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
    Field(description="A component, a TANGO name or a pattern of names; or a list of them."),
]
