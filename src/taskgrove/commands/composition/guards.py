"""Guards: an attribute is read and compared with the states that are allowed."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from taskgrove import control_model
from taskgrove.commands.command_map.map_base import AllowedStates
from taskgrove.commands.command_map.problems import shown
from taskgrove.events import Cause, CauseKind, LeftOutKind, exception_line, exception_text
from taskgrove.foreign_code import is_interrupt

AttributeReader: TypeAlias = Callable[[str, str], object]
"""Called with a device's name (or address) and an attribute's name; returns its value."""


class Objection(NamedTuple):
    """Why something cannot be part of a command.

    Attributes:
        kind: ``guard`` where a condition does not hold, ``fault`` where it cannot be used.
        reason: The reason, in a few words: ``no answer``.
        said: More about it, such as the text of an error; may be empty.
        known: The reason as data, where more is known than the kind.
    """

    kind: LeftOutKind
    reason: str
    said: str = ""
    known: Cause | None = None

    def cause(self, device: str | None = None) -> Cause:
        """Return it as the cause of the end of a step.

        Args:
            device: The device of the step, or None.
        """
        found = self.known
        if found is None:
            kind: CauseKind = "not_allowed" if self.kind == "guard" else "unreachable"
            found = Cause(kind=kind, said=self.said)
        return msgspec.structs.replace(found, device=device)

    def __str__(self) -> str:
        return f"{self.reason}: {self.said}" if self.said else self.reason


class MapComponent:
    """A device that is known by its name only.

    Args:
        name: Its TANGO name, or its address (``tango://host:port/a/b/c#dbase=no``).
        read_attribute: Reads its attributes; None: it has none that can be read.
        absence: Why the device cannot be used at all, where that is known, or the text of the
            error where it gives no answer; else None.
    """

    __slots__ = ("_read_attribute", "absence", "name")

    def __init__(
        self,
        name: str,
        read_attribute: AttributeReader | None = None,
        absence: Objection | str | None = None,
    ) -> None:
        self.name = name
        self.absence = Objection("fault", absence) if isinstance(absence, str) else absence
        self._read_attribute = read_attribute

    def read(self, attribute: str) -> object:
        """Return the value of an attribute.

        Raises:
            AttributeError: Nothing was given that could read it.
        """
        if self._read_attribute is None:
            raise AttributeError(f"there is no way to read attributes of {self.name}")
        return self._read_attribute(self.name, attribute)

    def __repr__(self) -> str:
        return f"<MapComponent {self.name}>"


class AttributeRead(NamedTuple):
    """The value of an attribute, or why there is none."""

    value: Any = None
    missing: Objection | None = None


def read_attribute(thing: Any, name: str) -> AttributeRead:
    """Read an attribute; one that cannot be read counts as missing, with the reason."""
    try:
        if isinstance(thing, MapComponent):
            return AttributeRead(thing.read(name))
        return AttributeRead(getattr(thing, name))
    except AttributeError as exc:
        text = exception_text(exc)
        reason = "" if "has no attribute" in text else f": {text}"
        known = Cause(kind="misconfigured")
        return AttributeRead(
            missing=Objection("guard", f"it has no attribute {name}{reason}", "", known)
        )
    except BaseException as exc:
        if is_interrupt(exc):  # composing runs on the thread of the caller
            raise
        return AttributeRead(missing=_raised(f"reading {name}", exc))


_KNOWN_ENUMS: Final[dict[str, type[Enum]]] = {
    "obsstate": control_model.ObsState,
    "obsmode": control_model.ObsMode,
    "adminmode": control_model.AdminMode,
    "healthstate": control_model.HealthState,
}


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() and len(value) < 20 else None
    try:
        return int(value) if int(value) == value else None
    except (TypeError, ValueError, OverflowError):
        return None


def _word(value: Any) -> str | None:
    if isinstance(value, bool):
        value = str(value)
    elif not isinstance(value, str):
        value = getattr(value, "name", None)
    if not isinstance(value, str) or value.strip().isdecimal():
        return None
    return value.strip().casefold().replace("-", "_").replace(" ", "_")


def is_same_state(value: Any, allowed: Any, attribute: str) -> bool:
    """Return whether an attribute's value is the one that a guard names.

    Names are compared where both have one, in any case, else numbers; a bare name and a
    bare number are compared by the enum of the control model that the attribute has.
    """
    words = _word(value), _word(allowed)
    if words[0] is not None and words[1] is not None:
        return words[0] == words[1]
    numbers = _number(value), _number(allowed)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    known = _known_enum(attribute)
    word = words[0] or words[1]
    number = numbers[0] if numbers[0] is not None else numbers[1]
    if known is None or word is None or number is None:
        return False
    return any(item.value == number and _word(item) == word for item in known)


def state_text(value: Any, attribute: str = "") -> str:
    """Return a state as people name it: ``SCANNING``, ``1 (OFFLINE)``, or the value itself."""
    name = getattr(value, "name", None)
    if isinstance(name, str):
        return name
    if isinstance(value, str):
        return value if value.isidentifier() else shown(value)
    number = _number(value)
    known = _known_enum(attribute)
    word = next((item.name for item in known or () if item.value == number), None)
    return f"{shown(value)} ({word})" if word else shown(value)


def _known_enum(attribute: str) -> type[Enum] | None:
    return _KNOWN_ENUMS.get(attribute.replace("_", "").lower())


def guard_objection(thing: Any, guard: AllowedStates | None) -> Objection | None:
    """Return why a guard does not let ``thing`` pass, or None when it does."""
    if isinstance(thing, MapComponent) and thing.absence is not None:
        return thing.absence
    if guard is None:
        return None
    reading = read_attribute(thing, guard.attr_name)
    if reading.missing is not None:
        return reading.missing
    try:
        if any(is_same_state(reading.value, state, guard.attr_name) for state in guard.attr_value):
            return None
        found = state_text(reading.value, guard.attr_name)
    except BaseException as exc:
        if is_interrupt(exc):
            raise
        return _raised(f"comparing {guard.attr_name}", exc)
    allowed = _allowed(guard)
    known = Cause(kind="not_allowed", expected=f"{guard.attr_name} {allowed}")
    return Objection("guard", f"{guard.attr_name} is {found}; allowed: {allowed}", "", known)


def _raised(deed: str, exc: BaseException) -> Objection:
    kind, line = type(exc).__name__, exception_line(exc)
    said = line.removeprefix(kind).removeprefix(": ")
    return Objection("fault", f"{deed} raised {kind}", said)


def unchecked_note(guard: AllowedStates) -> str:
    """Return the note of a guard that was not checked."""
    return f"condition not checked: {guard.attr_name}; allowed: {_allowed(guard)}"


def _allowed(guard: AllowedStates) -> str:
    return ", ".join(state_text(state, guard.attr_name) for state in guard.attr_value)
