"""The context of a composition: components, their attributes, the manager.

A component manager is any object, or a dict, with ``components``: a keyword is mapped to one
component or an ordered list of them. A component is an object with a ``name`` (its TANGO name), a
dict with the key ``name``, or the name alone. A context without ``components`` takes them from the
section ``components:`` of the map (:meth:`ComponentContext.from_map`), as the command line does.

Threads: attributes are read while a command is composed, on the thread that composes; the reader
of the caller may block there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from taskgrove.commands.command_map.map_base import AllowedStates
from taskgrove.commands.command_map.map_fields import is_pattern
from taskgrove.commands.command_map.map_models import COMPONENT_KEYWORDS
from taskgrove.commands.command_map.problems import shown
from taskgrove.commands.command_map.typed_map import CommandMap
from taskgrove.commands.composition.guards import (
    AttributeReader,
    MapComponent,
    Objection,
    guard_objection,
    read_attribute,
    unchecked_note,
)
from taskgrove.commands.device_names import device_key
from taskgrove.commands.task import device_name_of
from taskgrove.errors import CommandError, did_you_mean, nearest

DeviceFactory: TypeAlias = Callable[[str], MapComponent]
"""Makes the component of a TANGO name."""
DeviceFinder: TypeAlias = Callable[[str], Sequence[str]]
"""Returns the TANGO names of the database that fit a pattern; raises DeviceError without one."""

_NO_DATABASE: Final = (
    "a TANGO database resolves patterns: set TANGO_HOST, or list the devices by their names"
)


class ComponentContext:
    """A ready context, in place of a component manager.

    Args:
        components: The components by keyword, as a component manager has them.
        manager: The object whose methods internal entries call, and whose attributes the guard
            of the command reads; None: there is none.
        ask_devices: False: no device is asked; conditions on states of devices, and the
            command's own condition without a manager, are noted as not checked, and hold.
        device_of: Makes the component of a device that a step names by its TANGO name; None: it
            is known by its name only.
        find_devices: Returns the TANGO names that fit a pattern, in order; None: no database can
            be asked.
    """

    def __init__(
        self,
        components: Mapping[str, Any],
        manager: object | None = None,
        *,
        ask_devices: bool = True,
        device_of: DeviceFactory | None = None,
        find_devices: DeviceFinder | None = None,
    ) -> None:
        self.components = components
        self.device_of: DeviceFactory = MapComponent if device_of is None else device_of
        self.find_devices = find_devices
        self.manager = manager
        self.ask_devices = ask_devices

    @classmethod
    def from_map(
        cls,
        command_map: CommandMap,
        manager: object | None = None,
        read_attribute: AttributeReader | None = None,
        *,
        addresses: Mapping[str, str] | None = None,
        absences: Mapping[str, Objection | str] | None = None,
        ask_devices: bool = True,
        find_devices: DeviceFinder | None = None,
    ) -> ComponentContext:
        """Return the context that the section ``components:`` of a map describes.

        Args:
            command_map: The map.
            manager: See :class:`ComponentContext`.
            read_attribute: Reads the attributes that guards need.
            addresses: Where devices are, by their short TANGO name, for those that are not
                found by that name alone (``tango://127.0.0.1:10001/a/b/c#dbase=no``).
            absences: Why devices cannot be used at all, by their name in the map: they are left
                out, or reject the command, as the map says.
            ask_devices: See :class:`ComponentContext`.
            find_devices: See :class:`ComponentContext`.
        """
        found, absent = addresses or {}, absences or {}

        def device_of(name: str) -> MapComponent:
            return MapComponent(found.get(name, name), read_attribute, absent.get(name))

        components = {
            keyword: [name if is_pattern(name) else device_of(name) for name in names]
            for keyword, names in command_map.components.items()
        }
        return cls(
            components,
            manager,
            ask_devices=ask_devices,
            device_of=device_of,
            find_devices=find_devices,
        )


@dataclass(frozen=True, slots=True)
class Component:
    """A component as the composer sees it.

    Attributes:
        target: The target of a leaf.
        name: Its short TANGO name.
        keyword: The keyword, or other name, that it is listed under; empty: under none.
        leaf_name: The name of a leaf on it.
        listed_name: Its name as it was given, with the address where one was.
        key: A text that is the same for every spelling of its name.
    """

    target: Any
    name: str
    keyword: str
    leaf_name: str
    listed_name: str
    key: str

    @property
    def member(self) -> str:
        """The last part of the name: ``01``."""
        return self.name.rsplit("/", 1)[-1]


def leaf_name_of(device_name: str) -> str:
    """Return the name of a leaf on a device: ``mid-pst/beam/01`` → ``pst-beam-01``."""
    short = device_name_of(device_name) or device_name
    if short[:4].lower() in ("low-", "mid-") and len(short) > 4 and short[4] != "/":
        short = short[4:]
    return short.replace("/", "-")


class ManagerView:
    """A component manager, a dict in its place or a ComponentContext, seen alike.

    Args:
        component_manager: The context, or None.
        map_components: The section ``components:``, for a context that lists nothing.

    Attributes:
        owner: The object whose methods internal entries call, or None.
        ask_devices: Whether conditions may be checked on devices.
    """

    def __init__(
        self, component_manager: Any, map_components: Mapping[str, Any] | None = None
    ) -> None:
        self.ask_devices = True
        self._device_of: DeviceFactory = MapComponent
        self._find_devices: DeviceFinder | None = None
        if isinstance(component_manager, ComponentContext):
            self.ask_devices = component_manager.ask_devices
            self._device_of = component_manager.device_of
            self._find_devices = component_manager.find_devices
            self.owner = component_manager.manager
            listed: Any = component_manager.components
        elif isinstance(component_manager, Mapping):
            self.owner = component_manager
            listed = component_manager.get("components")
        else:
            self.owner = component_manager
            listed = getattr(component_manager, "components", None)
        self._owner_word = type(self.owner).__name__
        if isinstance(self.owner, Mapping):
            self._owner_word = "a dict"
            self.owner = SimpleNamespace(**{str(key): value for key, value in self.owner.items()})
        if listed is None:
            listed = map_components or {}
        if not isinstance(listed, Mapping):
            raise CommandError(
                f"the component manager's components are {type(listed).__name__},"
                " not a mapping of keywords",
                hint="map a keyword to one component or an ordered list",
            )
        self._listed: Mapping[str, Any] = listed
        #: The component of each device, by the key of its name.
        self._devices: dict[str, Component] = {}
        self._known: dict[str, tuple[Component, ...]] = {}
        self._by_key: dict[str, Component] = {}

    def components(self, keyword: str) -> tuple[Component, ...]:
        """Return the components of a keyword, in order; without one, none.

        ``csp_subs`` are the components that the context lists so, else all of cbf, pss and pst.

        Raises:
            CommandError: A component has no name.
        """
        if keyword not in self._known:
            self._known[keyword] = tuple(self._found(keyword))
        return self._known[keyword]

    @property
    def all_components(self) -> Iterator[Component]:
        """Every component of every keyword; one that is listed twice comes twice."""
        for keyword in dict.fromkeys((*COMPONENT_KEYWORDS, *self._listed)):
            yield from self.components(keyword)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the components: keywords and others."""
        return tuple(map(str, self._listed))

    def named(self, names: Iterable[str]) -> tuple[Component, ...]:
        """Return the components that a step names.

        Args:
            names: Names of components, TANGO names and patterns.

        Raises:
            CommandError: There is no such component, a pattern cannot be resolved, or a device
                is named twice.
        """
        first: dict[str, Component] = {}
        for name in names:
            for component in self._of_name(name):
                if component.key in first:
                    raise CommandError(
                        f"{component.name} is named twice in one step",
                        hint="a name knows no case, and one device may be spelt in several ways",
                    )
                first[component.key] = component
        return tuple(first.values())

    def _of_name(self, name: str) -> tuple[Component, ...]:
        if "/" in name:
            return tuple(self._by_device_name(it) for it in self._resolved(name))
        if name not in self._listed and name not in COMPONENT_KEYWORDS:
            known = f"there are: {', '.join(self.names) or 'none'}"
            near = nearest(name, (*self.names, *COMPONENT_KEYWORDS))
            raise CommandError(
                f"there is no component {shown(name)}",
                hint=f"did you mean {near!r}? {known}" if near else known,
            )
        return self.components(name)

    def _by_device_name(self, name: str) -> Component:
        """Return the component of a TANGO name; that of a listed device, where it is one."""
        if not self._by_key:
            for component in self.all_components:
                self._by_key.setdefault(component.key, component)
        made = _component(self._device_of(name), "")
        return self._by_key.setdefault(made.key, made)

    def _resolved(self, name: str) -> Sequence[str]:
        """Return the TANGO names that a name stands for: itself, or those of a pattern."""
        if not is_pattern(name):
            return (name,)
        if self._find_devices is None:
            raise CommandError(f"{name} is a pattern of device names", hint=_NO_DATABASE)
        found = self._find_devices(name)
        if not found:
            raise CommandError(
                f"the TANGO database has no device that fits {name}",
                hint="only devices that are exported count: start their servers",
            )
        return found

    def _found(self, keyword: str) -> Iterator[Component]:
        parts = ("cbf", "pss", "pst") if keyword == "csp_subs" else ()
        subsystems = [item for part in parts for item in self.components(part)]
        value = self._listed.get(keyword)
        if keyword == "csp_subs" and value is None:
            yield from subsystems
            return
        kinds = {item.key: item.keyword for item in subsystems}
        first: dict[str, Component] = {}
        for item in self._items(value):
            component = _component(item, keyword)
            if isinstance(component.target, MapComponent):
                known = self._devices.setdefault(component.key, component)
                if known is not component:
                    component = replace(known, keyword=keyword)
            if component.key in kinds:
                component = replace(component, keyword=kinds[component.key])
            known = first.setdefault(component.key, component)
            if known is not component:
                raise CommandError(
                    f"{component.name} is listed twice among the components of {keyword!r}",
                    hint="a name knows no case, and one device may be spelt in several ways",
                )
            yield component

    def _items(self, value: Any) -> Iterator[Any]:
        """Yield what a component lists, patterns resolved."""
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, str) and is_pattern(item):
                yield from map(self._device_of, self._resolved(item))
            elif item is not None:
                yield item

    def own_guard(self, guard: AllowedStates | None) -> tuple[Objection | None, str]:
        """Return why a guard does not let the manager pass, and a note if it is unchecked."""
        if guard is None or self.owner is not None:
            return guard_objection(self.owner, guard), ""
        if not self.ask_devices:
            return None, unchecked_note(guard)
        reason = f"there is no component manager whose {guard.attr_name} could be read"
        return Objection("guard", reason), ""

    def device_guard(
        self, target: Any, guard: AllowedStates | None
    ) -> tuple[Objection | None, str]:
        """Return why a device is left out, and a note if its guard is unchecked."""
        if self.ask_devices:
            return guard_objection(target, guard), ""
        return None, "" if guard is None else unchecked_note(guard)

    def check_method(self, name: str, path: str) -> None:
        """Make sure that an internal entry's method is there.

        Raises:
            CommandError: There is no manager, no such method, or it cannot be called.
        """
        if self.owner is None:
            raise CommandError(
                f"{path}: there is no component manager to call {name} on",
                path=path,
                hint="give one; on the command line: --manager package:Class",
            )
        reading = read_attribute(self.owner, name)
        if reading.missing is None and callable(reading.value):
            return
        methods = [item for item in dir(self.owner) if not item.startswith("_")]
        said = f"{name} of the component manager ({self._owner_word}) cannot be called"
        if reading.missing is not None:
            what = "key" if self._owner_word == "a dict" else "method"
            said = f"{name} is no {what} of the component manager ({self._owner_word})"
        raise CommandError(f"{path}: {said}", path=path, hint=did_you_mean(name, methods))

    def obs_mode(self) -> str | None:
        """Return the manager's observation mode by name, where it tells one."""
        for attribute in ("obs_mode", "obsMode"):
            value = None if self.owner is None else read_attribute(self.owner, attribute).value
            if isinstance(value, Enum):
                return value.name
            if isinstance(value, str) and value:
                return value
        return None


def _component(item: Any, keyword: str) -> Component:
    target = item
    if isinstance(item, str):
        target = MapComponent(item)
    elif isinstance(item, Mapping):
        target = SimpleNamespace(**{str(key): value for key, value in item.items()})
    name = device_name_of(target)
    if name is None:
        raise CommandError(
            f"a component of {keyword!r} has no name: {shown(item)}",
            hint="a component has its TANGO name as 'name'",
        )
    address = getattr(target, "name", None) or getattr(target, "trl", None)
    listed = address if isinstance(address, str) else name
    return Component(target, name, keyword, leaf_name_of(name), listed, device_key(listed))
