"""Command maps: their form, and how a file becomes one."""

from __future__ import annotations

from taskgrove.commands.command_map.check import CommandMap as CommandMap
from taskgrove.commands.command_map.document import DEFAULT_LIMITS as DEFAULT_LIMITS
from taskgrove.commands.command_map.document import MapLimits as MapLimits
from taskgrove.commands.command_map.loading import load_command_map as load_command_map
from taskgrove.commands.command_map.loading import parse_command_map as parse_command_map
from taskgrove.commands.command_map.loading import parse_plain_data as parse_plain_data
from taskgrove.commands.command_map.schema import AllowedStates as AllowedStates
from taskgrove.commands.command_map.schema import AnalysisEntry as AnalysisEntry
from taskgrove.commands.command_map.schema import CompositeEntry as CompositeEntry
from taskgrove.commands.command_map.schema import DeviceEntry as DeviceEntry
from taskgrove.commands.command_map.schema import Entry as Entry
from taskgrove.commands.command_map.schema import GroupEntry as GroupEntry
from taskgrove.commands.command_map.schema import HandlerEntry as HandlerEntry
from taskgrove.commands.command_map.schema import InternalEntry as InternalEntry
from taskgrove.commands.command_map.schema import command_map_json_schema as command_map_json_schema
