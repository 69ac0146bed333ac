"""Advice as data: one type for each kind of advice, rendered to text here only. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from taskgrove.events import Place
from taskgrove.view.phrases import clock_text
from taskgrove.view.terminal_text import clip_middle, safe_text

Part: TypeAlias = Literal["map", "argin", "configuration"]

#: Names and paths keep so many columns in the short form.
_SHORT: Final = 48


class Action(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="do"):
    """A piece of advice; ``do`` tells its type in JSON.

    Several types have ``what``: the work, as a clause in which ``{device}`` or ``{method}`` stands
    for the name; ``device``; and ``more``: how many further devices have the same cause.
    """


class EditFile(Action, frozen=True, tag="edit_file"):
    """Correct something that the user wrote.

    Attributes:
        place: Where; None where the place is not known.
        part: Which part it is: a map, the argument of a command, the configuration of an analysis.
    """

    what: str
    place: Place | None = None
    part: Part = "map"


class RunCommand(Action, frozen=True, tag="run"):
    """Type a command in a shell; it is complete, and works as it is printed.

    Attributes:
        argv: The words of the command.
        aim: What the command does, as a clause before it, or empty.
    """

    argv: tuple[str, ...]
    aim: str = ""


class RunAgain(Action, frozen=True, tag="run_again"):
    """Run the same command (which may be empty) again, with the program that made it."""

    command: str


class LookAtFile(Action, frozen=True, tag="see_file"):
    """Read a file; ``what`` names its content."""

    path: str
    what: str


class LookAtDevice(Action, frozen=True, tag="see_device"):
    """Do something on a device, or find out something there."""

    what: str
    device: str
    more: int = 0


class RestartServer(Action, frozen=True, tag="restart_server"):
    """Restart the server of a device that hangs.

    Attributes:
        since_ns: Since when it has not answered, UTC, nanoseconds since the epoch, or None.
    """

    device: str
    since_ns: int | None = None
    more: int = 0


class StartServer(Action, frozen=True, tag="start_server"):
    """Start the server of a device that does not run; ``again`` where it ran before."""

    device: str
    again: bool = False
    more: int = 0


class MendMethod(Action, frozen=True, tag="mend"):
    """Fix the method or function of a step."""

    what: str
    method: str


class SeeTo(Action, frozen=True, tag="see_to"):
    """Do something that cannot be named more exactly."""

    what: str


def text_of(action: Action, now_ns: int, *, short: bool = False) -> str:
    """Return one piece of advice as a clause, harmless on a terminal.

    Args:
        action: The advice.
        now_ns: When it is read, UTC, nanoseconds since the epoch.
        short: Whether long names and paths are cut in the middle; a command never is.
    """

    def name(text: str) -> str:
        line = safe_text(text)
        return clip_middle(line, _SHORT) if short else line

    def devices(device: str, more: int) -> str:
        return f"{name(device)} (and {more:,} more)" if more else name(device)

    match action:
        case RunCommand(aim=aim):
            line = command_text(action)
            told = f"{aim}: {line}" if aim else line
        case RunAgain(command=command):
            told = f"run {name(command) or 'the command'} again"
        case EditFile(what=what, place=place, part=part):
            told = f"{what} in {f'the {part}' if place is None else place_text(place, name)}"
        case LookAtFile(path=path, what=what):
            told = f"see {what} in {name(path)}"
        case LookAtDevice(what=what, device=device, more=more):
            told = what.replace("{device}", devices(device, more))
        case StartServer(device=device, again=again, more=more):
            told = f"start the server of {devices(device, more)}{' again' if again else ''}"
        case RestartServer(device=device, since_ns=since_ns, more=more):
            at = None if since_ns is None else clock_text(since_ns, now_ns)
            reason = " if it hangs" if at is None else f": it has not answered since {at}"
            told = f"restart the server of {devices(device, more)}{reason}"
        case MendMethod(what=what, method=method):
            told = what.replace("{method}", name(method))
        case SeeTo(what=told):
            pass
    return safe_text(told)


def command_text(action: RunCommand) -> str:
    """Return a command as it is typed in a shell."""
    return safe_text(shlex.join(action.argv))


def next_text(actions: Sequence[Action], now_ns: int) -> str:
    """Return advice as one clause; the last piece, mostly a command, comes after ``then``."""
    told = [text_of(action, now_ns) for action in actions]
    if len(told) < 2:
        return "".join(told)
    return f"{', and '.join(told[:-1])}, then {told[-1]}"


def place_text(place: Place, name: Callable[[str], str] = safe_text) -> str:
    """Return a place as people and editors write it: ``map.yaml:12``."""
    return name(place.file) + ("" if place.line is None else f":{place.line}")
