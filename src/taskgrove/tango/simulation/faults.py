"""Faults of simulated devices: their kinds, their parameters, how often they strike.

One model, :class:`Fault`; every written form of it (a map's section, a command line, a
TANGO command) is read by :func:`taskgrove.tango.simulation.fault_text.parse_fault`.

=============  ==============================================================
``fail``       ends COMPLETED with code FAILED; ``abnormal``: status FAILED
``reject``     refused: by code, by exception, or when its turn comes (``how``)
``raise``      the command's function raises: status FAILED
``hang``       stops at ``at`` percent until it is aborted; ``deaf``: for ever
``slow``       takes ``factor`` times as long
``stall``      the call itself answers only after ``for_s`` seconds
``crash``      the process ends hard at ``at`` percent
``restart``    so does it, and is back ``for_s`` seconds later
``lose``       events are not sent; ``events`` says which
``duplicate``  events are sent twice
``reorder``    an event is sent after the one that follows it
``jump-back``  the progress falls to ``to`` percent at ``at``, then goes on
``garbage``    the result is nonsense: ``value``, or text that is no JSON
=============  ==============================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias

import msgspec

from taskgrove.control_model import ResultCode


class FaultKind(StrEnum):
    """The kinds of faults; the table of the module describes each."""

    FAIL = "fail"
    REJECT = "reject"
    RAISE = "raise"
    HANG = "hang"
    SLOW = "slow"
    STALL = "stall"
    CRASH = "crash"
    RESTART = "restart"
    LOSE = "lose"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    JUMP_BACK = "jump-back"
    GARBAGE = "garbage"


#: The faults of a command's events, which do not change what the command does.
EVENT_FAULTS: Final = frozenset({FaultKind.LOSE, FaultKind.DUPLICATE, FaultKind.REORDER})

#: The faults that end the process.
DEADLY_FAULTS: Final = frozenset({FaultKind.CRASH, FaultKind.RESTART})


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of one command; only the parameters of its kind matter.

    Attributes:
        kind: The kind of the fault.
        times: It strikes this many calls of the command, then is gone; None: every one.
        at: Where in the command it strikes, in percent, 0 to 100.
        message: The text of the device; empty: a sentence that names the fault.
        code: The result code of ``fail``, a name or a number.
        abnormal: ``fail``: the status is FAILED too, as after an exception.
        how: ``reject``: by ``code`` or ``exception`` at once, or ``late``, at dequeue.
        factor: ``slow``: how many times as long, over 0 to 1,000.
        for_s: Seconds that ``stall`` holds the call, or ``restart`` stays away, 0 to 3,600.
        deaf: ``hang``: it ignores being aborted, too.
        events: ``lose``, ``duplicate``, ``reorder``: which events.
        to: ``jump-back``: the progress it falls to, any integer.
        value: ``garbage``: the result, anything that JSON can hold; None: a list of nonsense.
        broken: ``garbage``: the result is text that is no JSON at all.
    """

    kind: FaultKind
    times: int | None = None
    at: float = 50.0
    message: str = ""
    code: ResultCode = ResultCode.FAILED
    abnormal: bool = False
    how: Literal["code", "exception", "late"] = "code"
    factor: float = 3.0
    for_s: float = 1.0
    deaf: bool = False
    events: Literal["final", "progress", "all"] = "all"
    to: int = 0
    value: Any = None
    broken: bool = False

    def __post_init__(self) -> None:
        _within("at", self.at, 0.0, 100.0)
        _within("for_s", self.for_s, 0.0, 3600.0)
        _within("factor", self.factor, 0.001, 1000.0)
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times}, allowed is 1 or more")

    def text(self, command: str) -> str:
        """Return the text of the device when this fault strikes ``command``."""
        return self.message or f"{command} met the simulated fault {self.kind.value}"


#: device → command → its faults. Device and command may be patterns (``low-pst/beam/*``).
FaultPlan: TypeAlias = dict[str, dict[str, tuple[Fault, ...]]]


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}, allowed is {low:g} to {high:g}")


class FaultTable:
    """The faults of one device, counted down as they strike.

    Threads: not safe by itself; the device guards it with a lock.
    """

    def __init__(self, faults: Mapping[str, tuple[Fault, ...]] | None = None) -> None:
        self._faults: dict[str, list[Fault]] = {
            command: list(each) for command, each in (faults or {}).items()
        }

    def set(self, command: str, faults: tuple[Fault, ...]) -> None:
        """Replace the faults of a command, or of a pattern such as ``*``."""
        self._faults[command] = list(faults)

    def clear(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def take(self, command: str) -> tuple[Fault, ...]:
        """Return the faults that strike this call of ``command``, and count it."""
        taken: list[Fault] = []
        for pattern, faults in list(self._faults.items()):
            if not fnmatchcase(command, pattern):
                continue
            taken.extend(faults)
            left = list(_count_down(faults))
            if left:
                self._faults[pattern] = left
            else:
                del self._faults[pattern]
        return tuple(taken)

    def as_data(self) -> dict[str, list[dict[str, Any]]]:
        """Return the faults that are left, as :func:`parse_command_faults` reads them."""
        return {
            command: [{**_given(fault), "kind": fault.kind.value} for fault in faults]
            for command, faults in self._faults.items()
        }


def _given(fault: Fault) -> dict[str, Any]:
    """Return the parameters of a fault that differ from their defaults."""
    plain, usual = msgspec.to_builtins(fault), msgspec.to_builtins(Fault(kind=fault.kind))
    return {name: value for name, value in plain.items() if value != usual[name]}


def _count_down(faults: list[Fault]) -> Iterator[Fault]:
    for fault in faults:
        if fault.times is None:
            yield fault
        elif fault.times > 1:
            yield msgspec.structs.replace(fault, times=fault.times - 1)
