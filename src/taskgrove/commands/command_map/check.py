"""The validation of a whole command map, and its typed form.

All problems are collected before the map is refused, so that the author can correct them at once.
The walk uses a list, not recursion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.base_task import NodePlaces
from taskgrove.commands.command_map.entry import EntryCheck, unknown_keys
from taskgrove.commands.command_map.map_models import (
    ENTRY_CLASSES,
    EXTENSION_PREFIX,
    KEYWORDS,
    SECTIONS,
    CompositeEntry,
    Entry,
    HandlerEntry,
)
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, join_path, shown
from taskgrove.commands.command_map.sections import SectionCheck
from taskgrove.errors import CommandError, nearest
from taskgrove.events import Place


@dataclass(frozen=True, repr=False)
class CommandMap:
    """A valid command map.

    Attributes:
        commands: The commands by name, each a composite of tasks.
        components: For each keyword the TANGO names that it stands for, in order.
        simulator: The settings and faults for the simulator, as plain data.
        file: The file that it was read from, or None.
        places: Where in the file the values of ``simulator`` stand, by their path: the simulator
            checks them later, and names the line.
        entry_places: Where commands and tasks stand, by their names from the command on.
        device_places: Where the devices of ``components`` stand, by their names.
    """

    commands: Mapping[str, CompositeEntry]
    components: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    simulator: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    places: Mapping[str, Mark] = field(default_factory=dict, compare=False)
    entry_places: Mapping[tuple[str, ...], NodePlaces] = field(default_factory=dict, compare=False)
    device_places: Mapping[str, Place] = field(default_factory=dict, compare=False)

    def of_file(self, file: str) -> CommandMap:
        """Return the map as one that stands in another file, line by line."""
        entries = {
            names: NodePlaces(*(item and replace(item, file=file) for item in places))
            for names, places in self.entry_places.items()
        }
        devices = {name: replace(item, file=file) for name, item in self.device_places.items()}
        return dataclasses.replace(self, file=file, entry_places=entries, device_places=devices)

    def command(self, name: str) -> CompositeEntry:
        """Return the entry of a command.

        Raises:
            CommandError: The map has no such command; the hint names the nearest.
        """
        entry = self.commands.get(name)
        if entry is None:
            close = nearest(name, self.commands)
            known = f"the map has: {', '.join(self.commands)}"
            raise CommandError(
                f"the map has no command {shown(name)}",
                command=str(name),
                hint=f"did you mean {close!r}? {known}" if close else known,
            )
        return entry

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain data, in the form with sections; loading it gives this map.

        A rule that was given as an object is told by its label.
        """
        commands: dict[str, Any] = {}
        todo: list[tuple[Entry, str, dict[str, Any]]] = [
            (entry, name, commands) for name, entry in self.commands.items()
        ]
        for entry, name, into in todo:  # grows while it is walked
            given = entry.model_fields_set
            values = into[name] = _jsonable(entry.model_dump(include=given - {"tasks"}))
            if isinstance(entry, CompositeEntry):
                values["tasks"] = {}
                todo.extend((child, key, values["tasks"]) for key, child in entry.tasks.items())
        whole: dict[str, Any] = {"commands": commands}
        if self.components:
            whole["components"] = {key: list(names) for key, names in self.components.items()}
        if self.simulator:
            whole["simulator"] = dict(self.simulator)
        return whole

    def __repr__(self) -> str:
        return f"<CommandMap {self.file or ''} commands={list(self.commands)}>"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.label if isinstance(value, AggregationRule) else value


def check_map(root: Node | None, problems: Problems) -> CommandMap:
    """Return the typed map of a tree of nodes.

    Raises:
        MapError: It is not valid, or ``problems`` already holds some; all are told.
    """
    if root is None or (root.kind == "scalar" and root.value is None):
        raise problems.stop("the map is empty", hint="a map holds commands by name")
    if root.kind != "mapping":
        allowed = ["a mapping of commands by name"]
        said = f"found {root.type_word}"
        raise problems.stop(said, "", root.mark, found=root.scalar, allowed=allowed)
    checker = _Checker(problems)
    result = checker.map(root)
    problems.raise_any()
    return result


_HANDLER_HINT: Final = (
    "a composite has 'type' and 'tasks'; any other name takes 'handler: <keyword>'"
)


class _Item(NamedTuple):
    """An entry that is being checked.

    ``into`` takes the valid entry, by the last of the names.
    """

    names: tuple[str, ...]
    node: Node
    path: str
    mark: Mark
    into: dict[str, Any]


class _Tasks(NamedTuple):
    """The entries below a composite, or all commands, which are still to be checked."""

    names: tuple[str, ...]
    node: Node
    path: str
    into: dict[str, Any]


class _Checker:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._check = EntryCheck(problems)
        self._sections = SectionCheck(problems, self._check)
        self._places: dict[tuple[str, ...], NodePlaces] = {}
        self._waiting: list[_Tasks] = []

    def map(self, root: Node) -> CommandMap:
        sections = {key: root.value[key] for key in SECTIONS if key in root.value}
        others = {
            key: node
            for key, node in root.value.items()
            if key not in SECTIONS and not key.startswith(EXTENSION_PREFIX)
        }
        commands, prefix = Node("mapping", others, root.mark, root.key_marks), ""
        strangers, hint = self._misspelt_sections(others), ""
        if "commands" in sections:
            commands, prefix = sections["commands"], "commands"
            strangers, hint = list(others), "a map with 'commands' has its commands there"
        for key in strangers:
            where, mark = join_path("", key), root.key_marks.get(key, NOWHERE)
            self._problems.add_unknown("section", key, where, mark, SECTIONS, hint)
            del others[key]
        only_misspelt = bool(strangers) and not others and not prefix
        return CommandMap(
            {} if only_misspelt else self._commands(commands, prefix),
            self._sections.components(sections.get("components")),
            self._sections.simulator(sections.get("simulator")),
            self._problems.file,
            self._sections.places,
            self._places,
            self._sections.device_places,
        )

    @staticmethod
    def _misspelt_sections(others: Mapping[str, Node]) -> list[str]:
        """Return the keys that are almost a section's name and do not look like a command."""
        found = []
        for key, node in others.items():
            keys = node.value if node.kind == "mapping" else {}
            close = {
                nearest(word, tuple(CompositeEntry.model_fields))
                for word, child in keys.items()
                if child.kind == "scalar"
            }
            if nearest(key, SECTIONS) and "tasks" not in keys and "type" not in close:
                found.append(key)
        return found

    def _commands(self, node: Node, prefix: str) -> dict[str, CompositeEntry]:
        if not self._check.mapping(node, prefix):
            return {}
        if not node.value:
            self._problems.add("the map holds no command", prefix, node.mark)
        commands: dict[str, CompositeEntry] = {}
        self._waiting.append(_Tasks((), node, prefix, commands))
        while self._waiting:
            tasks = self._waiting.pop()
            for name, child in tasks.node.value.items():
                path = join_path(tasks.path, name)
                mark = tasks.node.key_marks.get(name, child.mark)
                item = _Item((*tasks.names, name), child, path, mark, tasks.into)
                self._check_name(name, path, mark)
                if self._check.mapping(child, path):
                    self._remember(item)
                    if tasks.names:
                        self._entry(item)
                    else:
                        self._composite(item)
        return commands

    def _remember(self, item: _Item) -> None:
        """Keep the places of an entry, and of its values that a user may have to correct."""
        file, marks = self._problems.file, item.node.key_marks
        if file is None or item.mark.line is None:
            return
        timeout, argin, command_name = (
            Place(file, marks[key].line, key) if key in marks else None
            for key in ("timeout", "argin", "command_name")
        )
        own = Place(file, item.mark.line, item.names[-1])
        self._places[item.names] = NodePlaces(own, timeout, argin, command_name)

    def _entry(self, item: _Item) -> None:
        name, keys = item.names[-1], item.node.value
        if "tasks" in keys or ("type" in keys and "handler" not in keys):
            if name in KEYWORDS or "handler" in keys:
                what = (
                    f"{name!r} is a handler keyword" if name in KEYWORDS else "'handler' is given"
                )
                self._problems.add(
                    f"{what}, so this entry takes 'command_name' and no 'type' or 'tasks'",
                    item.path,
                    item.mark,
                    hint="give a composite another name, and no handler",
                )
            self._composite(item)
            return
        keyword = self._keyword(item)
        if keyword is not None:
            _, node, path, mark, into = item
            given = {"handler": keyword}
            entry = self._check.validated(ENTRY_CLASSES[keyword], node, path, mark, given)
            if entry is not None:
                into[name] = entry

    def _keyword(self, item: _Item) -> str | None:
        name, given = item.names[-1], item.node.value.get("handler")
        if given is None:
            if name in KEYWORDS:
                return name
            if not self._misspelt_form(item.node, item.path):
                self._problems.add_unknown(
                    "handler keyword", name, item.path, item.mark, KEYWORDS, _HANDLER_HINT
                )
            return None
        where = join_path(item.path, "handler")
        if given.kind != "scalar" or given.value not in KEYWORDS:
            word = str(given.value) if given.kind == "scalar" else given.type_word
            self._problems.add_unknown("handler keyword", word, where, given.mark, KEYWORDS)
            return None
        if name in KEYWORDS and given.value != name:
            said = f"the entry is named {name!r}, which is a keyword, but its handler is"
            self._problems.add(
                f"{said} {given.value!r}",
                where,
                given.mark,
                found=given.value,
                hint="give it a name that is no keyword",
            )
        return str(given.value)

    def _misspelt_form(self, node: Node, path: str) -> bool:
        """Add the misspelt keys that say which kind an entry is; return whether there are any."""
        composite, leaf = tuple(CompositeEntry.model_fields), tuple(HandlerEntry.model_fields)
        known = {*composite, *(key for cls in ENTRY_CLASSES.values() for key in cls.model_fields)}
        forms = {"type": composite, "tasks": composite, "handler": leaf}
        found = False
        for key, close in unknown_keys(node, sorted(known)).items():
            if close in forms:
                where, mark = join_path(path, key), node.key_marks.get(key, NOWHERE)
                self._problems.add_unknown("key", key, where, mark, forms[close])
                found = True
        return found

    def _composite(self, item: _Item) -> None:
        names, node, path, mark, into = item
        entry = self._check.validated(CompositeEntry, node, path, mark, {"tasks": {}})
        tasks: dict[str, Any] = {}
        if isinstance(entry, CompositeEntry):
            into[names[-1]] = entry
            tasks = entry.tasks
        below, where = node.value.get("tasks"), join_path(path, "tasks")
        if below is None:
            self._check.missing("tasks", tuple(CompositeEntry.model_fields), node, path, mark)
        elif self._check.mapping(below, where):
            self._waiting.append(_Tasks(names, below, where, tasks))

    def _check_name(self, name: str, path: str, mark: Mark) -> None:
        if not name or "/" in name or not name.isprintable() or len(name) > 255:
            allowed = ["a printable text of 1 to 255 characters without '/'"]
            said = f"{shown(name)} cannot be a name"
            self._problems.add(said, path, mark, found=name, allowed=allowed)
