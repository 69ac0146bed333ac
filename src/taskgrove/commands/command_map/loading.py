"""Command maps: the tasks of each command, as YAML, JSON or a dict.

A map is a mapping of commands by name::

    configure:
      type: sequential
      allowed_states: {attr_name: obsState, attr_value: [IDLE, READY]}
      skip_subtasks: true
      tasks:
        internal: {command_name: check_lock, timeout: 5}
        subsystems:
          type: parallel
          tasks:
            cbf: {command_name: ConfigureScan, reject_missing: true}
            pst: {command_name: ConfigureScan, timeout: 30, retries: 1}
    components:
      cbf: low-cbf/subarray/01
      pst: [low-pst/beam/01, low-pst/beam/02]

``commands``, ``components`` and ``simulator`` are sections and never names of
commands. The commands stand at the top, beside the other sections, or, where
the section ``commands`` is there, in it and nowhere else. Keys that begin with
``x-`` are left alone at the top level: a place for YAML anchors.

A map is validated whole before it is used. A map that is not valid raises a
:class:`~taskgrove.errors.MapError` that lists all problems.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from taskgrove.commands.command_map.check import check_map
from taskgrove.commands.command_map.document import (
    DEFAULT_LIMITS,
    MapLimits,
    read_data,
    read_text,
    too_big,
)
from taskgrove.commands.command_map.nodes import to_data
from taskgrove.commands.command_map.problems import Problems
from taskgrove.commands.command_map.typed_map import CommandMap


def load_command_map(
    source: str | Path | Mapping[str, Any] | CommandMap, *, limits: MapLimits = DEFAULT_LIMITS
) -> CommandMap:
    """Return the command map of a file or a mapping.

    Args:
        source: A file (``.json`` is read as JSON, all else as YAML), a mapping such as a file
            holds, or a map that is already loaded and is returned as it is.
        limits: How big it may be.

    Raises:
        MapError: It cannot be read or is not valid; its ``problems`` list all reasons.
    """
    if isinstance(source, CommandMap):
        return source
    if isinstance(source, Mapping):
        problems = Problems()
        return check_map(read_data(source, problems, limits), problems)
    if not isinstance(source, (str, Path)):
        raise Problems().stop(
            f"a command map is a file or a mapping, not {type(source).__name__}", found=source
        )
    text = _read(Path(source), Problems(str(source)), limits)
    syntax: Literal["json", "yaml"] = "json" if str(source).lower().endswith(".json") else "yaml"
    return parse_command_map(text, syntax=syntax, file=str(source), limits=limits)


def parse_command_map(
    text: str | bytes,
    *,
    syntax: Literal["yaml", "json"] = "yaml",
    file: str | None = None,
    limits: MapLimits = DEFAULT_LIMITS,
) -> CommandMap:
    """Return the command map that a text holds.

    Args:
        text: YAML or JSON; bytes are UTF-8.
        syntax: Which of the two it is.
        file: Its name in errors.
        limits: How big it may be.

    Raises:
        MapError: It is not valid; its ``problems`` list all reasons.
    """
    problems = Problems(file)
    return check_map(read_text(text, syntax, problems, limits), problems)


def parse_plain_data(
    text: str | bytes,
    *,
    syntax: Literal["yaml", "json"] = "yaml",
    file: str | None = None,
    limits: MapLimits = DEFAULT_LIMITS,
) -> Any:
    """Return any plain data that a text holds, such as resources; None where it is empty.

    It is read as strictly as a map: no key twice, no cycle, no tag, within the limits.

    The parameters are those of :func:`parse_command_map`.

    Raises:
        MapError: It cannot be read; its ``problems`` list all reasons.
    """
    problems = Problems(file)
    node = read_text(text, syntax, problems, limits)
    problems.raise_any()
    return None if node is None else to_data(node)


def _read(path: Path, problems: Problems, limits: MapLimits) -> bytes:
    if "\0" in str(path):
        raise problems.stop("this is not the name of a file", found=str(path))
    try:
        status = path.stat()
        # Looked at before it is opened: a pipe would block, a device never end.
        if not stat.S_ISREG(status.st_mode):
            raise problems.stop("this is not a regular file", hint="name a YAML or JSON file")
        if status.st_size > limits.max_bytes:
            raise too_big(problems, status.st_size, limits)
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except OSError as exc:
        raise problems.stop(f"the file cannot be read: {exc.strerror or exc}") from exc
