"""The sections ``components`` and ``simulator`` of a command map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from taskgrove.commands.command_map.entry import MAX_VALUE_DEPTH, EntryCheck
from taskgrove.commands.command_map.map_fields import DEVICE_NAME, MAX_TIMEOUT_S
from taskgrove.commands.command_map.map_models import (
    COMPONENT_KEYWORDS,
    KEYWORDS,
    SIMULATOR_KEYS,
    SIMULATOR_TABLES,
)
from taskgrove.commands.command_map.nodes import Node, to_data
from taskgrove.commands.command_map.problems import Mark, Problems, join_path, shown
from taskgrove.commands.device_names import device_key
from taskgrove.errors import nearest
from taskgrove.events import Place

#: The keys of a component with terms of its own.
_COMPONENT_KEYS: Final = ("device", "exclusive", "wait")
_DEVICE_HINT: Final = "name a component of the map, or give the TANGO name of a device"


class NamedDevice(NamedTuple):
    """The name of a component, as a step has it.

    Attributes:
        name: The name.
        path: Where it stands in the map.
        mark: Where it stands in the file.
    """

    name: str
    path: str
    mark: Mark


class SectionCheck:
    """Validates the other sections, and adds their problems to ``problems``."""

    def __init__(self, problems: Problems, check: EntryCheck) -> None:
        self._problems = problems
        self._check = check
        #: Where the values of ``simulator`` stand, by path.
        self.places: dict[str, Mark] = {}
        #: The exclusive components, and how long a run waits for one, in seconds (None: no limit).
        self.exclusive: dict[str, float | None] = {}
        #: Where each device of ``components`` stands, by its name.
        self.device_places: dict[str, Place] = {}

    def components(self, node: Node | None) -> dict[str, tuple[str, ...]]:
        """Return the TANGO names of each component; see also :attr:`exclusive`."""
        components: dict[str, tuple[str, ...]] = {}
        if node is None or not self._check.mapping(node, "components"):
            return components
        for name, child in node.value.items():
            path = join_path("components", name)
            if not name or "/" in name or not name.isprintable():
                allowed = ["a printable text without '/'"]
                said, mark = f"{shown(name)} cannot be a name", node.key_marks[name]
                self._problems.add(said, path, mark, found=name, allowed=allowed)
                continue
            if name in KEYWORDS and name not in COMPONENT_KEYWORDS:
                mark = node.key_marks[name]
                said = f"{name!r} is a handler keyword that has no devices"
                self._problems.add(said, path, mark, found=name, hint="choose another name")
                continue
            devices = child
            if child.kind == "mapping":
                given = self._component(name, child, path)
                path = join_path(path, "device")
                if given is None:
                    continue
                devices = given
            listed = devices.kind == "sequence"
            first: dict[str, Node] = {}
            for index, item in enumerate(devices.value if listed else [devices]):
                where = join_path(path, index) if listed else path
                self._device_name(item, where, first)
            components[name] = tuple(item.value for item in first.values())
            self._remember_devices(name, first.values())
        return components

    def _component(self, name: str, node: Node, path: str) -> Node | None:
        """Read a component with terms of its own; return its devices, or None."""
        for key, mark in node.key_marks.items():
            if key not in _COMPONENT_KEYS:
                where = join_path(path, key)
                self._problems.add_unknown("key", key, where, mark, _COMPONENT_KEYS)
        exclusive, wait = node.value.get("exclusive"), node.value.get("wait")
        if exclusive is not None and not isinstance(exclusive.scalar, bool):
            where = join_path(path, "exclusive")
            self._problems.add(
                exclusive.found, where, exclusive.mark, found=exclusive.scalar,
                allowed=["true", "false"],
            )  # fmt: skip
        is_exclusive = exclusive is not None and exclusive.scalar is True
        if wait is not None:
            self._wait(wait, join_path(path, "wait"), is_exclusive=is_exclusive)
        if is_exclusive:
            self.exclusive[name] = None if wait is None else wait.scalar
        devices = node.value.get("device")
        if devices is None:
            self._problems.add(
                "the key 'device' is missing", path, node.mark,
                allowed=["device: a TANGO name, or a list of them"],
            )  # fmt: skip
        found: Node | None = devices
        return found

    def _wait(self, node: Node, path: str, *, is_exclusive: bool) -> None:
        seconds = node.scalar
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds <= MAX_TIMEOUT_S:
            allowed = [f"seconds from 0, at most {MAX_TIMEOUT_S:g}"]
            self._problems.add(node.found, path, node.mark, found=seconds, allowed=allowed)
        elif not is_exclusive:
            said = "'wait' has no effect without 'exclusive: true'"
            self._problems.add(said, path, node.mark, found=seconds)

    def used(self, node: Node | None, named: Iterable[NamedDevice]) -> None:
        """Check the components that steps name, where the map has the section.

        Args:
            node: The section, or None.
            named: What the steps of devices name.
        """
        if node is None or node.kind != "mapping":
            return
        used = set(COMPONENT_KEYWORDS)
        known = tuple(dict.fromkeys((*node.value, *COMPONENT_KEYWORDS)))
        for item in named:
            used.add(item.name)
            if item.name not in known:
                self._problems.add_unknown(
                    "component", item.name, item.path, item.mark, known, _DEVICE_HINT
                )
        for name, mark in node.key_marks.items():
            # A name of its own is free; one that nothing uses is a keyword that is misspelt.
            meant = None if name in used else nearest(name, COMPONENT_KEYWORDS)
            if meant is not None:
                path = join_path("components", name)
                self._problems.add_unknown("component", name, path, mark, COMPONENT_KEYWORDS)

    def _remember_devices(self, keyword: str, items: Iterable[Node]) -> None:
        file = self._problems.file
        for item in items:
            if file is not None and item.mark.line is not None:
                self.device_places[item.value] = Place(file, item.mark.line, keyword)

    def _device_name(self, item: Node, path: str, first: dict[str, Node]) -> None:
        name = item.value
        if item.kind != "scalar" or not isinstance(name, str) or not DEVICE_NAME.fullmatch(name):
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
