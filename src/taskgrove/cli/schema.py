"""``taskgrove schema``."""

from __future__ import annotations

import json

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import command_map_json_schema


@verb
def schema() -> int:
    """Print the JSON Schema of command maps, for editors and validators."""
    text = json.dumps(command_map_json_schema(), indent=2, ensure_ascii=True)
    Terminal().write(text.encode() + b"\n")
    return ExitCode.OK
