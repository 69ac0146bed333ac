"""The sections ``components`` and ``simulator`` of a command map."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from taskgrove.commands.command_map.entry import MAX_VALUE_DEPTH, EntryCheck
from taskgrove.commands.command_map.map_models import (
    COMPONENT_KEYWORDS,
    DEVICE_NAME_PATTERN,
    SIMULATOR_KEYS,
    SIMULATOR_TABLES,
)
from taskgrove.commands.command_map.nodes import Node, to_data
from taskgrove.commands.command_map.problems import Mark, Problems, join_path
from taskgrove.commands.device_names import device_key
from taskgrove.events import Place

_DEVICE_NAME: Final = re.compile(DEVICE_NAME_PATTERN)


class SectionCheck:
    """Validates the other sections, and adds their problems to ``problems``."""

    def __init__(self, problems: Problems, check: EntryCheck) -> None:
        self._problems = problems
        self._check = check
        #: Where the values of ``simulator`` stand, by path.
        self.places: dict[str, Mark] = {}
        #: Where each device of ``components`` stands, by its name.
        self.device_places: dict[str, Place] = {}

    def components(self, node: Node | None) -> dict[str, tuple[str, ...]]:
        """Return the TANGO names of each keyword."""
        components: dict[str, tuple[str, ...]] = {}
        if node is None or not self._check.mapping(node, "components"):
            return components
        for keyword, child in node.value.items():
            path = join_path("components", keyword)
            if keyword not in COMPONENT_KEYWORDS:
                mark = node.key_marks[keyword]
                self._problems.add_unknown("keyword", keyword, path, mark, COMPONENT_KEYWORDS)
                continue
            listed = child.kind == "sequence"
            first: dict[str, Node] = {}
            for index, item in enumerate(child.value if listed else [child]):
                where = join_path(path, index) if listed else path
                self._device_name(item, where, first)
            components[keyword] = tuple(item.value for item in first.values())
            self._remember_devices(keyword, first.values())
        return components

    def _remember_devices(self, keyword: str, items: Iterable[Node]) -> None:
        file = self._problems.file
        for item in items:
            if file is not None and item.mark.line is not None:
                self.device_places[item.value] = Place(file, item.mark.line, keyword)

    def _device_name(self, item: Node, path: str, first: dict[str, Node]) -> None:
        name = item.value
        if item.kind != "scalar" or not isinstance(name, str) or not _DEVICE_NAME.fullmatch(name):
            allowed = ["a TANGO name such as low-cbf/subarray/01, or a list of them"]
            self._problems.add(item.found, path, item.mark, found=item.scalar, allowed=allowed)
            return
        known = first.setdefault(device_key(name), item)
        if known is not item:
            line = "" if known.mark.line is None else f"in line {known.mark.line}"
            spelling = "" if known.value == name else f"as {known.value}"
            told = " ".join(part for part in (spelling, line) if part)
            where = f" (first {told})" if told else ""
            self._problems.add(f"{name} is listed twice{where}", path, item.mark, found=name)

    def simulator(self, node: Node | None) -> dict[str, Any]:
        """Return the section as plain data; the simulator reads its values itself."""
        if node is None or not self._check.mapping(node, "simulator"):
            return {}
        if node.height > MAX_VALUE_DEPTH:
            said = f"the value is nested deeper than {MAX_VALUE_DEPTH} levels"
            self._problems.add(said, "simulator", node.mark)
            return {}
        for key, child in node.value.items():
            path = join_path("simulator", key)
            if key not in SIMULATOR_KEYS:
                self._problems.add_unknown("key", key, path, node.key_marks[key], SIMULATOR_KEYS)
            elif key in SIMULATOR_TABLES and self._check.mapping(child, path):
                for device, faults in child.value.items():
                    self._check.mapping(faults, join_path(path, device))
        self._check.plain(node, "simulator")
        self._remember_places(node)
        data: dict[str, Any] = to_data(node)
        return data

    def _remember_places(self, section: Node) -> None:
        todo = [("simulator", section, section.mark)]
        while todo:
            path, node, mark = todo.pop()
            self.places[path] = mark
            if node.kind == "mapping":
                todo.extend(
                    (join_path(path, key), child, node.key_marks.get(key, child.mark))
                    for key, child in node.value.items()
                )
            elif node.kind == "sequence":
                todo.extend(
                    (join_path(path, i), child, child.mark) for i, child in enumerate(node.value)
                )
