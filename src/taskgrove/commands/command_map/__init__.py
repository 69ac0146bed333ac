"""Command maps: what they may say, and how a file becomes one (SPEC S6)."""

from __future__ import annotations

from taskgrove.commands.command_map.loading import DEFAULT_LIMITS as DEFAULT_LIMITS
from taskgrove.commands.command_map.loading import AllowedStates as AllowedStates
from taskgrove.commands.command_map.loading import AnalysisEntry as AnalysisEntry
from taskgrove.commands.command_map.loading import CommandMap as CommandMap
from taskgrove.commands.command_map.loading import CompositeEntry as CompositeEntry
from taskgrove.commands.command_map.loading import DeviceEntry as DeviceEntry
from taskgrove.commands.command_map.loading import Entry as Entry
from taskgrove.commands.command_map.loading import GroupEntry as GroupEntry
from taskgrove.commands.command_map.loading import HandlerEntry as HandlerEntry
from taskgrove.commands.command_map.loading import InternalEntry as InternalEntry
from taskgrove.commands.command_map.loading import MapLimits as MapLimits
from taskgrove.commands.command_map.loading import (
    command_map_json_schema as command_map_json_schema,
)
from taskgrove.commands.command_map.loading import load_command_map as load_command_map
from taskgrove.commands.command_map.loading import parse_command_map as parse_command_map
from taskgrove.commands.command_map.loading import parse_plain_data as parse_plain_data
