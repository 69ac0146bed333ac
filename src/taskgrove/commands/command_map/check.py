"""The validation of a whole command map, and its typed form (SPEC S6).

Everything that is wrong is collected before anything is refused, so that a map
can be mended in one go. The walk uses a list, not recursion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from msgspec.structs import replace

from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.base_task import NodePlaces
from taskgrove.commands.command_map.entry import EntryCheck, unknown_keys
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import (
    NOWHERE,
    Mark,
    Problems,
    join_path,
    shown,
)
from taskgrove.commands.command_map.schema import (
    ENTRY_CLASSES,
    EXTENSION_PREFIX,
    KEYWORDS,
    SECTIONS,
    CompositeEntry,
    Entry,
    HandlerEntry,
)
from taskgrove.commands.command_map.sections import SectionCheck
from taskgrove.errors import CommandError, nearest
from taskgrove.events import Place


@dataclass(frozen=True, repr=False)
class CommandMap:
    """A valid command map.

    Attributes:
        commands: The commands by name, each a composite of tasks.
        components: For each keyword the TANGO names that it stands for, in order.
        simulator: What is meant for the simulator (``faults``), as plain data.
        file: The file that it was read from, or None.
        places: Where in the file the values of ``simulator`` stand, by their path: who reads
            them later can say what is wrong with its line.
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
            plain = entry.model_copy(update={"tasks": {}}) if _is_composite(entry) else entry
            values = _jsonable(plain.model_dump(include=given))
            into[name] = values
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


def _is_composite(entry: Entry) -> bool:
    return isinstance(entry, CompositeEntry)


def check_map(root: Node | None, problems: Problems) -> CommandMap:
    """Return the typed map of a tree of nodes.

    Raises:
        MapError: It is not valid, or ``problems`` already holds some; all are told.
    """
    if root is None or (root.kind == "scalar" and root.value is None):
        raise problems.stop("the map is empty", hint="a map holds commands by name")
    if root.kind != "mapping":
        raise problems.stop(
            f"found {root.type_word}",
            "",
            root.mark,
            found=root.value if root.kind == "scalar" else None,
            allowed=["a mapping of commands by name"],
        )
    checker = _Checker(problems)
    result = checker.map(root)
    problems.raise_any()
    return result


class _Waiting(NamedTuple):
    """The tasks of a composite that are still to be checked."""

    node: Node
    path: str
    into: dict[str, Any]
    names: tuple[str, ...]


class _Checker:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._check = EntryCheck(problems)
        self._sections = SectionCheck(problems, self._check)
        self._places: dict[tuple[str, ...], NodePlaces] = {}

    def map(self, root: Node) -> CommandMap:
        sections = {key: root.value[key] for key in SECTIONS if key in root.value}
        others = {
            key: node
            for key, node in root.value.items()
            if key not in SECTIONS and not key.startswith(EXTENSION_PREFIX)
        }
        commands = Node("mapping", others, root.mark, root.key_marks)
        prefix = ""
        misspelt: list[str] = []
        if "commands" in sections:
            for key in others:
                self._problems.add_unknown(
                    "section", key, join_path("", key), root.key_marks.get(key, NOWHERE), SECTIONS,
                    "a map with 'commands' has its commands there",
                )  # fmt: skip
            commands, prefix = sections["commands"], "commands"
        else:
            misspelt = self._misspelt_sections(others)
            for key in misspelt:
                self._problems.add_unknown(
                    "section", key, join_path("", key), root.key_marks.get(key, NOWHERE), SECTIONS
                )
                del others[key]
        only_misspelt = bool(misspelt) and not others
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
        """Return the names that are almost a section's, of what does not look like a command."""
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

    # ---------------------------------------------------------------- commands

    def _commands(self, node: Node, prefix: str) -> dict[str, CompositeEntry]:
        if not self._check.mapping(node, prefix):
            return {}
        if not node.value:
            self._problems.add("the map holds no command", prefix, node.mark)
        commands: dict[str, CompositeEntry] = {}
        waiting: list[_Waiting] = []
        for name, child in node.value.items():
            path, mark = join_path(prefix, name), node.key_marks.get(name, child.mark)
            self._check_name(name, path, mark)
            if self._check.mapping(child, path):
                self._remember((name,), child, mark)
                self._composite((name,), child, path, mark, commands, waiting)
        while waiting:
            tasks, path, into, names = waiting.pop()
            for name, child in tasks.value.items():
                below, mark = join_path(path, name), tasks.key_marks.get(name, child.mark)
                self._check_name(name, below, mark)
                if self._check.mapping(child, below):
                    self._remember((*names, name), child, mark)
                    self._entry((*names, name), child, below, mark, into, waiting)
        return commands

    def _remember(self, names: tuple[str, ...], node: Node, mark: Mark) -> None:
        """Keep where an entry stands, and its values that a user may have to mend."""
        file = self._problems.file
        if file is None or mark.line is None:
            return
        marks = node.key_marks

        def place(key: str) -> Place | None:
            return Place(file, marks[key].line, key) if key in marks else None

        self._places[names] = NodePlaces(
            Place(file, mark.line, names[-1]),
            place("timeout"),
            place("argin"),
            place("command_name"),
        )

    def _entry(
        self,
        names: tuple[str, ...],
        node: Node,
        path: str,
        mark: Mark,
        into: dict[str, Any],
        waiting: list[_Waiting],
    ) -> None:
        name = names[-1]
        if "tasks" in node.value or ("type" in node.value and "handler" not in node.value):
            if name in KEYWORDS or "handler" in node.value:
                what = (
                    f"{name!r} is a handler keyword" if name in KEYWORDS else "'handler' is given"
                )
                self._problems.add(
                    f"{what}, so this entry takes 'command_name' and no 'type' or 'tasks'",
                    path, mark, hint="give a composite another name, and no handler",
                )  # fmt: skip
            self._composite(names, node, path, mark, into, waiting)
            return
        keyword = self._keyword(name, node, path, mark)
        if keyword is not None:
            entry = self._check.validated(
                ENTRY_CLASSES[keyword], node, path, mark, {"handler": keyword}
            )
            if entry is not None:
                into[name] = entry

    def _keyword(self, name: str, node: Node, path: str, mark: Mark) -> str | None:
        given = node.value.get("handler")
        if given is None:
            if name in KEYWORDS:
                return name
            if self._misspelt_form(node, path):
                return None
            self._problems.add_unknown(
                "handler keyword", name, path, mark, KEYWORDS,
                "a composite has 'type' and 'tasks'; any other name takes 'handler: <keyword>'",
            )  # fmt: skip
            return None
        where = join_path(path, "handler")
        if given.kind != "scalar" or given.value not in KEYWORDS:
            word = str(given.value) if given.kind == "scalar" else given.type_word
            self._problems.add_unknown("handler keyword", word, where, given.mark, KEYWORDS)
            return None
        if name in KEYWORDS and given.value != name:
            self._problems.add(
                f"the entry is named {name!r}, which is a keyword, but its handler is"
                f" {given.value!r}", where, given.mark, found=given.value,
                hint="give it a name that is no keyword",
            )  # fmt: skip
        return str(given.value)

    def _misspelt_form(self, node: Node, path: str) -> bool:
        """Add the keys that were meant to say what an entry is; return whether there are any."""
        composite, leaf = tuple(CompositeEntry.model_fields), tuple(HandlerEntry.model_fields)
        known = {
            *composite,
            *leaf,
            *(key for cls in ENTRY_CLASSES.values() for key in cls.model_fields),
        }
        forms = {"type": composite, "tasks": composite, "handler": leaf}
        found = False
        for key, close in unknown_keys(node, sorted(known)).items():
            if close in forms:
                where, mark = join_path(path, key), node.key_marks.get(key, NOWHERE)
                self._problems.add_unknown("key", key, where, mark, forms[close])
                found = True
        return found

    def _composite(
        self,
        names: tuple[str, ...],
        node: Node,
        path: str,
        mark: Mark,
        into: dict[str, Any],
        waiting: list[_Waiting],
    ) -> None:
        entry = self._check.validated(CompositeEntry, node, path, mark, {"tasks": {}})
        tasks: dict[str, Any] = {}
        if isinstance(entry, CompositeEntry):
            into[names[-1]] = entry
            tasks = entry.tasks
        below = node.value.get("tasks")
        where = join_path(path, "tasks")
        if below is None:
            self._check.missing("tasks", tuple(CompositeEntry.model_fields), node, path, mark)
        elif self._check.mapping(below, where):
            waiting.append(_Waiting(below, where, tasks, names))

    def _check_name(self, name: str, path: str, mark: Mark) -> None:
        if not name or "/" in name or not name.isprintable() or len(name) > 255:
            self._problems.add(
                f"{shown(name)} cannot be a name", path, mark, found=name,
                allowed=["a printable text of 1 to 255 characters without '/'"],
            )  # fmt: skip
