"""The validation of a whole command map, and its typed form.

All problems are collected before the map is refused, so that the author can correct them at once.
The walk uses a list, not recursion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from taskgrove.commands.base_task import NodePlaces
from taskgrove.commands.command_map.calls import CallCheck
from taskgrove.commands.command_map.entry import EntryCheck, unknown_keys
from taskgrove.commands.command_map.map_conditions import OTHER_STEPS, STEP_KEYS
from taskgrove.commands.command_map.map_models import (
    ENTRY_CLASSES,
    EXTENSION_PREFIX,
    FINALLY_KEY,
    KEYWORDS,
    SECTIONS,
    CallEntry,
    CompositeEntry,
    DeviceStepEntry,
    HandlerEntry,
    keys_of,
)
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, join_path, shown
from taskgrove.commands.command_map.sections import NamedDevice, SectionCheck
from taskgrove.commands.command_map.typed_map import CommandMap
from taskgrove.errors import nearest
from taskgrove.events import Place


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
    "a step has 'device: <component or TANGO name>' or 'handler: <keyword>';"
    " a composite has 'type' and 'tasks'"
)
_FINALLY_TIMEOUT: Final = "finally_timeout"
_ARGUMENT_KEYS: Final = ("argin", *OTHER_STEPS)


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
        self._calls = CallCheck(problems)
        self._places: dict[tuple[str, ...], NodePlaces] = {}
        self._waiting: list[_Tasks] = []
        #: The components that steps of devices name.
        self._devices: list[NamedDevice] = []

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
        components = sections.get("components")
        checked = {} if only_misspelt else self._commands(commands, prefix)
        self._sections.used(components, self._devices)
        return CommandMap(
            checked,
            self._sections.components(components),
            self._sections.simulator(sections.get("simulator")),
            self._problems.file,
            self._sections.places,
            self._places,
            self._sections.device_places,
            self._sections.exclusive,
        )

    @staticmethod
    def _misspelt_sections(others: Mapping[str, Node]) -> list[str]:
        """Return the keys that are almost a section's name and do not look like a command."""
        found = []
        for key, node in others.items():
            keys = node.value if node.kind == "mapping" else {}
            close = {
                nearest(word, keys_of(CompositeEntry))
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
        self._calls.check(node)
        return commands

    def _remember(self, item: _Item) -> None:
        """Keep the places of an entry, and of its values that a user may have to correct."""
        file, marks = self._problems.file, item.node.key_marks
        if file is None or item.mark.line is None:
            return
        timeout, argin, command_name, limit = (
            next((Place(file, marks[key].line, key) for key in keys if key in marks), None)
            for keys in (("timeout",), _ARGUMENT_KEYS, STEP_KEYS, (_FINALLY_TIMEOUT,))
        )
        own = Place(file, item.mark.line, item.names[-1])
        self._places[item.names] = NodePlaces(own, timeout, argin, command_name)
        if FINALLY_KEY in marks:
            own = Place(file, marks[FINALLY_KEY].line, FINALLY_KEY)
            self._places[*item.names, FINALLY_KEY] = NodePlaces(own, limit)

    def _entry(self, item: _Item) -> None:
        name, keys = item.names[-1], item.node.value
        self._check_hold(item)
        if "call" in keys:
            self._call(item)
            return
        if "device" in keys:
            self._device_step(item)
            return
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
            if any(key in item.node.value for key in OTHER_STEPS):
                keys = keys_of(DeviceStepEntry)
                self._check.missing("device", keys, item.node, item.path, item.mark)
            elif not self._misspelt_form(item.node, item.path):
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

    def _call(self, item: _Item) -> None:
        """Check an entry that calls another command."""
        names, node, path, mark, into = item
        if names[-1] in KEYWORDS:
            said = f"{names[-1]!r} is a handler keyword, so this entry takes no 'call'"
            self._problems.add(said, path, mark, hint="give a call another name")
        entry = self._check.validated(CallEntry, node, path, mark, {})
        if isinstance(entry, CallEntry):
            into[names[-1]] = entry
            self._calls.add(names[0], entry.call, join_path(path, "call"), node.value["call"].mark)

    def _device_step(self, item: _Item) -> None:
        """Check an entry that is a step of a device."""
        names, node, path, mark, into = item
        if names[-1] in KEYWORDS:
            said = f"{names[-1]!r} is a handler keyword, so this entry takes no 'device'"
            self._problems.add(said, path, mark, hint="give the step another name")
        entry = self._check.validated(DeviceStepEntry, node, path, mark, {})
        if not isinstance(entry, DeviceStepEntry):
            return
        into[names[-1]] = entry
        where, told = join_path(path, "device"), node.value["device"]
        listed = told.kind == "sequence"
        for index, device in enumerate(told.value if listed else [told]):
            if "/" not in device.value:
                at = join_path(where, index) if listed else where
                self._devices.append(NamedDevice(device.value, at, device.mark))
            elif self._problems.file is not None and device.mark.line is not None:
                place = Place(self._problems.file, device.mark.line, "device")
                self._sections.device_places.setdefault(device.value, place)

    def _check_hold(self, item: _Item) -> None:
        given = item.node.value.get("hold")
        if FINALLY_KEY in item.names[1:] and given is not None and given.value == "on_failure":
            said = f"a step of {FINALLY_KEY!r} never waits for a decision"
            self._problems.add(said, join_path(item.path, "hold"), given.mark, found=given.value)

    def _misspelt_form(self, node: Node, path: str) -> bool:
        """Add the misspelt keys that say which kind an entry is; return whether there are any."""
        composite, leaf, call = keys_of(CompositeEntry), keys_of(HandlerEntry), keys_of(CallEntry)
        step = keys_of(DeviceStepEntry)
        handlers = (key for cls in ENTRY_CLASSES.values() for key in keys_of(cls))
        known = {*composite, *call, *handlers, *step}
        forms = {"type": composite, "tasks": composite, "handler": leaf, "call": call}
        forms |= dict.fromkeys(("device", *OTHER_STEPS), step)
        found = False
        for key, close in unknown_keys(node, sorted(known)).items():
            if close in forms:
                where, mark = join_path(path, key), node.key_marks.get(key, NOWHERE)
                self._problems.add_unknown("key", key, where, mark, forms[close])
                found = True
        return found

    def _composite(self, item: _Item) -> None:
        names, node, path, mark, into = item
        given: dict[str, Any] = {"tasks": {}}
        if FINALLY_KEY in node.value:
            given[FINALLY_KEY] = {}
        entry = self._check.validated(CompositeEntry, node, path, mark, given)
        tasks: dict[str, Any] = {}
        clean_up: dict[str, Any] = {}
        if isinstance(entry, CompositeEntry):
            into[names[-1]] = entry
            tasks, clean_up = entry.tasks, entry.finally_tasks
        below, where = node.value.get("tasks"), join_path(path, "tasks")
        if below is None:
            self._check.missing("tasks", keys_of(CompositeEntry), node, path, mark)
        elif self._check.mapping(below, where):
            self._check_no_finally(below, where)
            self._waiting.append(_Tasks(names, below, where, tasks))
        self._finally(item, clean_up)

    def _finally(self, item: _Item, into: dict[str, Any]) -> None:
        """Check the clean-up of a composite."""
        names, node, path, _, _ = item
        below, where = node.value.get(FINALLY_KEY), join_path(path, FINALLY_KEY)
        if below is None:
            if _FINALLY_TIMEOUT in node.value:
                said = f"{_FINALLY_TIMEOUT!r} is given, and no {FINALLY_KEY!r}"
                where, mark = join_path(path, _FINALLY_TIMEOUT), node.key_marks[_FINALLY_TIMEOUT]
                self._problems.add(said, where, mark)
            return
        kind = node.value.get("type")
        if kind is not None and kind.value == "parallel":
            self._problems.add(
                f"tasks that run at once have no {FINALLY_KEY!r}: none of them is the last",
                where,
                node.key_marks[FINALLY_KEY],
                hint=f"put this composite into a sequence, and {FINALLY_KEY!r} there",
            )
        if self._check.mapping(below, where):
            self._check_no_finally(below, where)
            self._waiting.append(_Tasks((*names, FINALLY_KEY), below, where, into))

    def _check_no_finally(self, tasks: Node, path: str) -> None:
        if FINALLY_KEY in tasks.value:
            self._problems.add(
                f"{FINALLY_KEY!r} is not a task",
                join_path(path, FINALLY_KEY),
                tasks.key_marks[FINALLY_KEY],
                hint="it stands beside 'tasks': move it one level up",
            )

    def _check_name(self, name: str, path: str, mark: Mark) -> None:
        if not name or "/" in name or not name.isprintable() or len(name) > 255:
            allowed = ["a printable text of 1 to 255 characters without '/'"]
            said = f"{shown(name)} cannot be a name"
            self._problems.add(said, path, mark, found=name, allowed=allowed)
