"""Command maps: their form, and how a file becomes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.commands.command_map.document import DEFAULT_LIMITS as DEFAULT_LIMITS
    from taskgrove.commands.command_map.document import MapLimits as MapLimits
    from taskgrove.commands.command_map.loading import load_command_map as load_command_map
    from taskgrove.commands.command_map.loading import parse_command_map as parse_command_map
    from taskgrove.commands.command_map.loading import parse_plain_data as parse_plain_data
    from taskgrove.commands.command_map.map_base import AllowedStates as AllowedStates
    from taskgrove.commands.command_map.map_base import StepEntry as StepEntry
    from taskgrove.commands.command_map.map_json_schema import (
        command_map_json_schema as command_map_json_schema,
    )
    from taskgrove.commands.command_map.map_models import AnalysisEntry as AnalysisEntry
    from taskgrove.commands.command_map.map_models import CallEntry as CallEntry
    from taskgrove.commands.command_map.map_models import CompositeEntry as CompositeEntry
    from taskgrove.commands.command_map.map_models import DeviceEntry as DeviceEntry
    from taskgrove.commands.command_map.map_models import DeviceStepEntry as DeviceStepEntry
    from taskgrove.commands.command_map.map_models import Entry as Entry
    from taskgrove.commands.command_map.map_models import GroupEntry as GroupEntry
    from taskgrove.commands.command_map.map_models import HandlerEntry as HandlerEntry
    from taskgrove.commands.command_map.map_models import InternalEntry as InternalEntry
    from taskgrove.commands.command_map.typed_map import CommandMap as CommandMap

# Later: an analysis uses parts of this package, and needs no models of maps.
_LATER = {
    "AllowedStates": "taskgrove.commands.command_map.map_base",
    "AnalysisEntry": "taskgrove.commands.command_map.map_models",
    "CallEntry": "taskgrove.commands.command_map.map_models",
    "CommandMap": "taskgrove.commands.command_map.typed_map",
    "CompositeEntry": "taskgrove.commands.command_map.map_models",
    "DEFAULT_LIMITS": "taskgrove.commands.command_map.document",
    "DeviceEntry": "taskgrove.commands.command_map.map_models",
    "DeviceStepEntry": "taskgrove.commands.command_map.map_models",
    "Entry": "taskgrove.commands.command_map.map_models",
    "GroupEntry": "taskgrove.commands.command_map.map_models",
    "HandlerEntry": "taskgrove.commands.command_map.map_models",
    "InternalEntry": "taskgrove.commands.command_map.map_models",
    "StepEntry": "taskgrove.commands.command_map.map_base",
    "MapLimits": "taskgrove.commands.command_map.document",
    "command_map_json_schema": "taskgrove.commands.command_map.map_json_schema",
    "load_command_map": "taskgrove.commands.command_map.loading",
    "parse_command_map": "taskgrove.commands.command_map.loading",
    "parse_plain_data": "taskgrove.commands.command_map.loading",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
