"""The argument of each leaf, and the selection of beams, by ``resources``.

``resources`` is a mapping. Its keys are names of components (a TANGO name, in any case, or the
name of the leaf), handler keywords, or names of internal methods and analyses. The value under
``pst`` (or ``csp_subs``) may itself be per component: it is when it is a mapping with a key that
names a component or is its number, or reads like one, or when all its keys are numbers. Then each
key must be a component, and the other components are not selected. A name that fits nothing is
refused: nothing is silently lost.

Where an argument of the map refers to ``{{ argin… }}``, they are the document of the command
instead: the references choose from it, and its keys name nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from taskgrove.commands.command_map.entry import MAX_VALUE_DEPTH
from taskgrove.commands.command_map.map_base import StepEntry
from taskgrove.commands.command_map.map_models import (
    GROUP_KEYWORDS,
    KEYWORDS,
    DeviceStepEntry,
    HandlerEntry,
)
from taskgrove.commands.command_map.problems import join_path, shown
from taskgrove.commands.composition.context import Component, ManagerView
from taskgrove.commands.composition.refused import refused_command
from taskgrove.commands.task import device_name_of
from taskgrove.errors import CommandError, nearest

_NOT_GIVEN: Final = object()
_NUMBER_AT_END: Final = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


class Binding(NamedTuple):
    """The argument of a component or a method.

    Attributes:
        argin: The argument; None means none.
        selected: False when the resources select others only.
        note: The resource that was not used, or an empty text.
        source: The key of the resources that gave the argument; None: there is none.
    """

    argin: Any = None
    selected: bool = True
    note: str = ""
    source: str | None = None


class Resources:
    """The resources of one command.

    Args:
        command: The command's name, for messages.
        resources: See the module.
        view: The context whose components are named.
        is_document: Whether arguments of the map refer to them as the command's document.

    Attributes:
        document: The document; None: there is none.

    Raises:
        CommandError: It is no mapping of names.
    """

    def __init__(
        self, command: str, resources: Any, view: ManagerView, *, is_document: bool = False
    ) -> None:
        self.document: Any = resources if is_document else None
        self._command = command
        self._view = view
        self._used: set[str] = set()
        self._methods: list[str] = []
        self._per_component: dict[str, dict[str, Any] | None] = {}
        given = {} if resources is None or is_document else resources
        if not isinstance(given, Mapping):
            raise self._refused([f"resources are a mapping by name, not {shown(resources)}"])
        wrong = [f"a name is a text, not {shown(key)}" for key in given if not isinstance(key, str)]
        if wrong:
            raise self._refused(wrong)
        self._given: Mapping[str, Any] = given
        # Reading the names of thousands of components is slow.
        self._by_name = self._named() if given else {}

    def _named(self) -> dict[str, str]:
        """Return the keys of the resources that name a component, by its lower-case name."""
        known = _name_index(self._view.all_components)
        found: dict[str, str] = {}
        for key in self._given:
            name = known.get(_folded(key))
            if name is None or key in KEYWORDS:
                continue
            if name in found:
                raise self._refused([f"{found[name]!r} and {key!r} name the same component"])
            found[name] = key
        return found

    def for_component(self, entry: HandlerEntry | DeviceStepEntry, component: Component) -> Binding:
        """Return the argument of the entry's leaf on a component.

        Raises:
            CommandError: The resources name a component that is not there.
        """
        names = entry.devices if isinstance(entry, DeviceStepEntry) else (entry.handler,)
        keywords = dict.fromkeys((*names, component.keyword))
        value, source, selected = self._own(component)
        for keyword in keywords:
            per = self._per(keyword)
            if per is None:
                found = self._given.get(keyword, _NOT_GIVEN)
            else:
                self._used.add(keyword)
                found = per.get(component.name.lower(), _NOT_GIVEN)
                selected = selected and (found is not _NOT_GIVEN or source is not None)
            if value is _NOT_GIVEN and found is not _NOT_GIVEN:
                value, source = found, keyword
        if not selected:
            return Binding(selected=False)
        if isinstance(entry, DeviceStepEntry) and entry.kind != "command":
            return Binding(entry.value)
        return self._chosen(entry, value, source)

    def for_method(self, entry: HandlerEntry) -> Binding:
        """Return the argument of an internal entry or an analysis."""
        self._methods.append(entry.command_name)
        for key in (entry.command_name, entry.handler):
            if key in self._given:
                return self._chosen(entry, self._given[key], key)
        return self._chosen(entry, _NOT_GIVEN, None)

    def _own(self, component: Component) -> tuple[Any, str | None, bool]:
        key = self._by_name.get(component.name.lower())
        return (_NOT_GIVEN, None, True) if key is None else (self._given[key], key, True)

    def _chosen(self, entry: StepEntry, value: Any, source: str | None) -> Binding:
        if source is not None:
            self._used.add(source)
        if "argin" in entry.model_fields_set:
            # A value of None only selects.
            lost = source is not None and value is not None
            note = f"resources[{source!r}] not used: the map sets argin" if lost else ""
            return Binding(entry.argin, note=note)
        return Binding(None if value is _NOT_GIVEN else value, source=source)

    def _per(self, keyword: str) -> dict[str, Any] | None:
        """Return the arguments by component's name, or None when they are not per component."""
        if keyword not in self._per_component:
            self._per_component[keyword] = self._read_per(keyword)
        return self._per_component[keyword]

    def _read_per(self, keyword: str) -> dict[str, Any] | None:
        value = self._given.get(keyword)
        if keyword not in GROUP_KEYWORDS or not isinstance(value, Mapping):
            return None
        components = self._view.components(keyword)
        known = _name_index(components)
        numbers = _by_number(components) if any(map(_is_number, value)) else {}
        by_key = {
            key: next(iter(numbers.get(int(key), ())), None)
            if _is_number(key)
            else known.get(_folded(key))
            for key in value
        }
        kin = {item.leaf_name.rpartition("-")[0].lower() for item in components} - {""}
        kin |= {item.name.lower().split("/")[-2] for item in components if "/" in item.name}
        names_some = any(name or _reads_like_name(key, kin) for key, name in by_key.items())
        if not value or all(map(_is_number, value)) or names_some:
            return self._matched(keyword, value, by_key, components)
        return None

    def _matched(
        self,
        keyword: str,
        value: Mapping[Any, Any],
        by_key: Mapping[Any, str | None],
        components: Sequence[Component],
    ) -> dict[str, Any]:
        names, numbers = [item.name for item in components], _by_number(components)
        wrong: list[str] = []
        result: dict[str, Any] = {}
        for key, name in by_key.items():
            alike = numbers.get(int(key), []) if _is_number(key) else []
            if len(alike) > 1:
                said = f"resources[{keyword!r}] names {shown(key)}, which several have"
                wrong.append(f"{said}: {', '.join(alike)}")
            elif name is None:
                number = _NUMBER_AT_END.search(str(key))
                meant = numbers.get(int(number[0]), []) if number is not None else []
                close = meant[0] if len(meant) == 1 else nearest(str(key), names)
                hint = f"; did you mean {close!r}?" if close else ""
                wrong.append(f"resources[{keyword!r}] names {shown(key)}, which is not there{hint}")
            elif name in result:
                wrong.append(f"resources[{keyword!r}] names {name} twice")
            else:
                result[name] = value[key]
        if wrong:
            raise self._refused(wrong, f"there are: {', '.join(names[:20]) or 'none'}")
        return result

    def check_used(self) -> list[str]:
        """Return a note for each resource that the command has no use for.

        Raises:
            CommandError: A key fits no component, keyword, method or analysis.
        """
        named = set(self._by_name.values())
        wrong = []
        notes = []
        for key in self._given:
            if key in self._used:
                continue
            if key in KEYWORDS or key in named or key in self._view.names:
                notes.append(f"resources[{key!r}] not used: nothing in {self._command} asks for it")
                continue
            names = [item.name for item in self._view.all_components]
            close = nearest(key, [*KEYWORDS, *self._view.names, *names, *self._methods])
            hint = f"; did you mean {close!r}?" if close else ""
            wrong.append(f"resources name {shown(key)}, which is no component or keyword{hint}")
        if wrong:
            raise self._refused(wrong, f"keywords: {', '.join(KEYWORDS)}")
        return notes

    def _refused(self, reasons: list[str], hint: str | None = None) -> CommandError:
        command = self._command
        return refused_command(command, command, reasons, path=command, hint=hint)


def _folded(key: Any) -> str:
    return (device_name_of(key) or key).lower() if isinstance(key, str) else ""


def _by_number(components: Iterable[Component]) -> dict[int, list[str]]:
    """Return the lower-case names of the components of each number: ``low-pst/beam/02`` of 2."""
    numbers: dict[int, list[str]] = {}
    for item in components:
        member = item.member
        if member.isascii() and member.isdecimal():
            numbers.setdefault(int(member), []).append(item.name.lower())
    return numbers


def _is_number(key: Any) -> bool:
    if isinstance(key, str):
        return key.isascii() and key.isdecimal() and len(key) < 10
    return isinstance(key, int) and not isinstance(key, bool) and key >= 0


def _reads_like_name(key: Any, kin: set[str]) -> bool:
    word = _folded(key)
    if word.count("/") == 2 or word.rpartition("-")[0] in kin:
        return True
    number = _NUMBER_AT_END.search(word)  # ``beam 2``, ``beam_02``, ``pst-beam2``
    return number is not None and word[: number.start()].rstrip("-_ ").replace("_", "-") in kin


def _name_index(components: Iterable[Component]) -> dict[str, str]:
    """Return lower-case TANGO names, by themselves and by the names of their leaves."""
    index: dict[str, str] = {}
    for item in components:
        index.setdefault(item.leaf_name.lower(), item.name.lower())
        index[item.name.lower()] = item.name.lower()
    return index


def plain_copy(value: Any, path: str = "argin", depth: int = 0) -> Any:
    """Return a copy of plain data, which may cross to a device or a program.

    Raises:
        ValueError: It holds something that JSON does not know, or is too deep.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if depth >= MAX_VALUE_DEPTH:
        raise ValueError(f"{path[:60]}… is nested deeper than {MAX_VALUE_DEPTH} levels")
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise ValueError(f"{path} has the key {shown(wrong)}, which is no text")
        return {
            key: plain_copy(item, join_path(path, key), depth + 1) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain_copy(item, join_path(path, i), depth + 1) for i, item in enumerate(value)]
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"{path} is {value}, which JSON does not know")
    raise ValueError(f"{path} is {shown(value)}, which is no plain data")
