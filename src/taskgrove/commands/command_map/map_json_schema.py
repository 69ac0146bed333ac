"""The JSON Schema of command maps, for editors."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from taskgrove.commands.command_map.map_conditions import (
    CONDITION_KEYS,
    STEP_KEYS,
    ExpectCondition,
    SkipCondition,
    WaitCondition,
)
from taskgrove.commands.command_map.map_fields import (
    COMPONENT_NAME_PATTERN,
    DEVICE_NAME_PATTERN,
    MAX_TIMEOUT_S,
)
from taskgrove.commands.command_map.map_models import (
    COMMAND_NAME_PATTERN,
    COMPONENT_KEYWORDS,
    EACH_SOURCES,
    ENTRY_CLASSES,
    EXTENSION_PREFIX,
    FINALLY_KEY,
    SIMULATOR_KEYS,
    SIMULATOR_TABLES,
    TASK_NAME_PATTERN,
    CallEntry,
    CompositeEntry,
    DeviceStepEntry,
)


def command_map_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a command map.

    The schema describes each entry; whether names fit together, and how deep
    and big a map may be, is checked when a map is loaded.
    """
    handlers = list(dict.fromkeys(ENTRY_CLASSES.values()))
    models: list[type[BaseModel]] = [CompositeEntry, CallEntry, DeviceStepEntry, *handlers]
    _, document = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = document["$defs"]
    named = []
    for cls in handlers:
        definition = definitions[cls.__name__]
        definition["properties"]["handler"] = {
            "enum": list(cls.kinds),
            "description": "The keyword, for an entry that has a name of its own.",
        }
        definition["required"] = ["command_name"]
        named.append({"allOf": [{"$ref": f"#/$defs/{cls.__name__}"}, {"required": ["handler"]}]})
    definitions["EachValue"]["oneOf"] = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
        for name in EACH_SOURCES
    ]
    definitions["EachValue"]["anyOf"] = [
        {
            "required": ["parameter"],
            "properties": {"parameter": {"type": "string"}, "parameters": {"type": "null"}},
        },
        {
            "required": ["parameters", "values"],
            "properties": {"parameters": {"type": "array"}, "parameter": {"type": "null"}},
        },
    ]
    _device_steps(definitions)
    composite = definitions["CompositeEntry"]
    for key in ("tasks", FINALLY_KEY):
        composite["properties"][key] = {"$ref": "#/$defs/Tasks"}
    at_once = {"properties": {"type": {"const": "parallel"}}, "required": [FINALLY_KEY]}
    without = {"not": {"required": ["finally_timeout"]}}
    composite["allOf"] = [{"not": at_once}, {"anyOf": [{"required": [FINALLY_KEY]}, without]}]
    definitions["Tasks"] = {
        "type": "object",
        "description": "Tasks by name: a step of a device, a composite, a call, or a keyword.",
        "propertyNames": {"pattern": TASK_NAME_PATTERN},
        "properties": {
            keyword: {
                "allOf": [{"$ref": f"#/$defs/{cls.__name__}"}],
                "properties": {"handler": {"const": keyword}},
            }
            for keyword, cls in ENTRY_CLASSES.items()
        },
        "additionalProperties": {
            "oneOf": [
                {"$ref": "#/$defs/CompositeEntry"},
                {"$ref": "#/$defs/CallEntry"},
                {"$ref": "#/$defs/DeviceStepEntry"},
                *named,
            ]
        },
    }
    definitions["Commands"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": COMMAND_NAME_PATTERN},
        "additionalProperties": {"$ref": "#/$defs/CompositeEntry"},
    }
    return _top_level({**definitions, **_section_definitions()})


def _device_steps(definitions: dict[str, Any]) -> None:
    """Add what a schema of models does not tell of steps of devices: one kind, one condition."""

    def given(*keys: str) -> dict[str, Any]:
        no_null = {key: {"not": {"type": "null"}} for key in keys}
        return {"required": list(keys), "properties": no_null}

    step = definitions["DeviceStepEntry"]
    step["oneOf"] = [given(key) for key in STEP_KEYS]
    command = given("command_name")
    step["allOf"] = [
        {"anyOf": [command, {"not": {"required": [key]}}]} for key in ("argin", "call_timeout")
    ]
    definitions["WriteValue"]["properties"]["value"]["not"] = {"type": "null"}
    for cls in (ExpectCondition, WaitCondition, SkipCondition):
        condition = definitions[cls.__name__]
        condition["anyOf"] = [given(key) for key in CONDITION_KEYS]
        without = {"anyOf": [{"not": {"required": ["within"]}}, {"properties": {"within": _NULL}}]}
        condition["allOf"] = [{"anyOf": [given("value"), without]}]


_NULL: Final = {"type": "null"}


def _section_definitions() -> dict[str, Any]:
    name = {"$ref": "#/$defs/DeviceName"}
    names = {"anyOf": [name, {"type": "array", "items": name, "uniqueItems": True}]}
    by_name = {"type": "object", "additionalProperties": {"type": "object"}}
    waits = {
        "required": ["exclusive"],
        "properties": {
            "exclusive": {"const": True},
            "wait": {"type": "number", "minimum": 0, "maximum": MAX_TIMEOUT_S},
        },
    }
    with_terms = {
        "type": "object",
        "properties": {"device": names, "exclusive": {"type": "boolean"}, "wait": True},
        "required": ["device"],
        "additionalProperties": False,
        "anyOf": [waits, {"not": {"required": ["wait"]}}],
    }
    component = {"anyOf": [*names["anyOf"], with_terms]}
    return {
        "DeviceName": {"type": "string", "pattern": DEVICE_NAME_PATTERN},
        "Components": {
            "type": "object",
            "description": "The devices that each component stands for, by TANGO name.",
            "propertyNames": {"pattern": COMPONENT_NAME_PATTERN},
            "properties": dict.fromkeys(COMPONENT_KEYWORDS, component),
            "additionalProperties": component,
        },
        "Simulator": {
            "type": "object",
            "description": "For the simulator: its settings, and faults by device and command.",
            "properties": {
                **dict.fromkeys(SIMULATOR_KEYS, True),
                **dict.fromkeys(SIMULATOR_TABLES, by_name),
            },
            "additionalProperties": False,
        },
    }


def _top_level(definitions: dict[str, Any]) -> dict[str, Any]:
    sections = {
        "components": {"$ref": "#/$defs/Components"},
        "simulator": {"$ref": "#/$defs/Simulator"},
    }
    extension = {f"^{EXTENSION_PREFIX}": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "taskgrove command map",
        "description": "Commands by name, at the top level or below 'commands'.",
        "type": "object",
        "oneOf": [
            {
                "required": ["commands"],
                "properties": {"commands": {"$ref": "#/$defs/Commands"}, **sections},
                "patternProperties": extension,
                "additionalProperties": False,
            },
            {
                "not": {"required": ["commands"]},
                "minProperties": 1,
                "properties": sections,
                "patternProperties": extension,
                "additionalProperties": {"$ref": "#/$defs/CompositeEntry"},
            },
        ],
        "$defs": definitions,
    }
