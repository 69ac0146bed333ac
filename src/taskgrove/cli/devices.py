"""Questions of the command line to devices: does a device answer, and the value of an attribute.

Commands go through the client of :mod:`taskgrove.tango`; this is for guards and for
``doctor``. Needs the extra ``tango``; importing this module does not.

Threads: a :class:`DeviceReader` may be called by any thread; ``_lock`` guards its proxies.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec

from taskgrove.cli.interrupts import SignalsTaken
from taskgrove.errors import DeviceError, MissingExtraError
from taskgrove.events import Cause, ChainLink
from taskgrove.events.cause import NameProblem
from taskgrove.loops.pool import call_for_each
from taskgrove.tango.client.dispatcher import call_out
from taskgrove.tango.client.failure import Failure, classify
from taskgrove.tango.client.neighbours import nearest_device, server_address

#: How long one answer may take, in seconds.
TIMEOUT_S: Final = 3.0
#: How many devices are asked at once.
_AT_ONCE: Final = 16
_NO_HOST: Final = "API_TangoHostNotSet"
_NO_DATABASE: Final = "TANGO_HOST is not set: there is no TANGO database to look up the name"

_HINTS: Final[Mapping[NameProblem | None, str]] = {
    "database_gone": "start the TANGO database, or correct its address (TANGO_HOST)",
    "no_database": "end the name of a device at a server without a database with #dbase=no; for"
    " a name without an address, set TANGO_HOST to the host:port of a TANGO database",
    "not_defined": "compare the name in the map with those in the TANGO database",
    "not_exported": "start its server: the TANGO database has the name, and no server of it",
}
_PATTERN: Final = "set TANGO_HOST, or list the devices by their names"
_PATTERN_ADDRESS: Final = re.compile(r"(?:tango://[^/]*/)?")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a device answers.

    Attributes:
        device: The name that was tried, as the map has it.
        answers: True when it answered.
        took_s: How long that took, in seconds.
        state: Its state; empty without an answer.
        problem: Why not; empty when it answered.
        hint: The next step; empty when it answered.
        unknown: True where its server, or the database, answers and does not know it.
        cause: Why it does not answer, as data; None when it answered.
    """

    device: str
    answers: bool
    took_s: float
    state: str = ""
    problem: str = ""
    hint: str = ""
    unknown: bool = False
    cause: Cause | None = None


def import_tango(what: str) -> Any:
    """Return PyTango. A signal that comes during the import takes effect after it.

    An interrupt inside its C++ modules would look as if PyTango was not installed.

    Args:
        what: The purpose, for the error.

    Raises:
        MissingExtraError: It is not installed.
    """
    heard: list[int] = []
    try:
        with SignalsTaken(lambda number, _frame: heard.append(number)):
            import tango  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("tango", what) from exc
    for number in heard:
        signal.raise_signal(number)
    return tango


def ask_each(ask: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Return what ``ask`` returns for each item, in order; several devices are asked at once.

    An interrupt does not wait for a device that hangs.
    """
    return call_for_each(call_out()(ask), items, at_once=_AT_ONCE, name="taskgrove-ask")


class DeviceReader:
    """Reads attributes of devices, each over one proxy.

    Raises:
        MissingExtraError: PyTango is not installed.
    """

    def __init__(self, what: str = "reading a device") -> None:
        self._tango = import_tango(what)
        self._proxies: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, device: str, attribute: str) -> Any:
        """Return the value of an attribute; of an enumeration, its label.

        Args:
            device: The TANGO name, as the map has it.
            attribute: The attribute's name, in any case.

        Raises:
            AttributeError: The device has no such attribute.
            DeviceError: It cannot be asked; the message says why, the hint names the next step.
        """
        if not self._can_look_up(device):
            raise DeviceError(
                f"{attribute} of {device} cannot be read: {_NO_DATABASE}",
                device=device,
                hint=_hint_for(_NO_HOST),
            )
        try:
            proxy = self._proxy(device)
            value = proxy.read_attribute(attribute).value
            return self._label(proxy, attribute, value)
        except self._tango.DevFailed as exc:
            failure = classify(exc)
            if failure.reason in ("API_AttrNotFound", "API_AttributeNotFound"):
                raise AttributeError(f"{device} has no attribute {attribute}") from exc
            raise DeviceError(
                f"{attribute} of {device} cannot be read: {_words(failure)}",
                device=device,
                hint=_hint(failure),
            ) from exc

    def find(self, pattern: str) -> list[str]:
        """Return the exported devices of the TANGO database whose names fit a pattern, sorted.

        Args:
            pattern: Such as ``mid-pst/beam/*``; ``tango://host:port/`` before it names a database.

        Raises:
            DeviceError: There is no database, or it does not answer.
        """
        address = _PATTERN_ADDRESS.match(pattern)
        assert address is not None  # every text has at least an empty one
        where, name = address[0], pattern[address.end() :]
        if not where and not self._can_look_up(name):
            problem, hint = f"{pattern} is a pattern of device names, and {_NO_DATABASE}", _PATTERN
            raise DeviceError(problem, device=pattern, hint=hint)
        try:
            database = self._tango.Database(*where.split("/")[2].rsplit(":", 1)) if where else None
            found = (database or self._tango.Database()).get_device_exported(name).value_string
        except self._tango.DevFailed as exc:
            failure = classify(exc)
            raise DeviceError(
                f"{pattern} cannot be looked up: {_words(failure)}",
                device=pattern,
                hint=_hint(failure),
            ) from exc
        return sorted(f"{where}{device}" for device in found)

    def ping(self, device: str) -> Reach:
        """Return whether a device answers, and how it was tried."""
        began = time.monotonic()
        if not self._can_look_up(device):
            hint = _hint_for(_NO_HOST)
            chain = (ChainLink(_NO_HOST, _NO_DATABASE),)
            cause = Cause(kind="unreachable", chain=chain, name_problem="host_unset")
            return Reach(device, False, 0.0, problem=_NO_DATABASE, hint=hint, cause=cause)
        try:
            proxy = self._proxy(device)
            proxy.ping()
            state = str(proxy.state())
        except self._tango.DevFailed as exc:
            failure = classify(exc)
            return Reach(
                device,
                False,
                time.monotonic() - began,
                problem=_words(failure),
                hint=_hint(failure),
                unknown=failure.is_unknown_device,
                cause=failure.cause(failure.refusal_kind),
            )
        return Reach(device, True, time.monotonic() - began, state)

    def ping_all(self, devices: list[str]) -> list[Reach]:
        """Return whether each device answers, in the given order; they are asked at once."""
        found = ask_each(self.ping, devices)
        answering = [reach.device for reach in found if reach.answers]
        return [self._with_near(reach, answering) for reach in found]

    def _with_near(self, reach: Reach, answering: list[str]) -> Reach:
        """Return the words about a device that does not exist, with the nearest name."""
        near = None
        try:
            if reach.cause is not None and reach.cause.name_problem == "no_database":
                near = server_address(reach.device)
            elif reach.unknown:
                near = nearest_device(self._tango, reach.device, answering, TIMEOUT_S)
        except self._tango.DevFailed:  # the hint is a courtesy, the reason is known
            pass
        if near is None:
            return reach
        cause = None if reach.cause is None else msgspec.structs.replace(reach.cause, nearest=near)
        return replace(reach, problem=f"{reach.problem}; did you mean {near}?", cause=cause)

    def _can_look_up(self, device: str) -> bool:
        # Asked before the proxy is made: cppTango would write to standard error by itself.
        return "://" in device or bool(self._tango.ApiUtil.get_env_var("TANGO_HOST"))

    def _proxy(self, device: str) -> Any:
        with self._lock:
            proxy = self._proxies.get(device)
        if proxy is None:
            proxy = self._tango.DeviceProxy(device)
            proxy.set_timeout_millis(int(TIMEOUT_S * 1000))
            with self._lock:
                proxy = self._proxies.setdefault(device, proxy)
        return proxy

    def _label(self, proxy: Any, attribute: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        config = proxy.get_attribute_config(attribute)
        labels = list(config.enum_labels)
        if config.data_type == self._tango.DevEnum and 0 <= value < len(labels):
            return labels[value]
        return value


def _words(failure: Failure) -> str:
    if failure.is_unknown_device or failure.errno_name or failure.name_problem:
        return failure.words
    return f"{failure.reason}: {failure.text}"


def _hint(failure: Failure) -> str:
    if failure.name_problem in _HINTS:
        return _HINTS[failure.name_problem]
    if failure.is_unknown_device:
        return "compare the name in the map with the devices of its server"
    if failure.errno_name == "ETIMEDOUT":
        return "its server hangs, or is stopped: look at it, and restart it"
    return _hint_for(failure.reason)


def _hint_for(reason: str) -> str:
    if reason == _NO_HOST:
        return (
            "set TANGO_HOST to the host:port of the TANGO database, or name the "
            "device with its address: tango://host:port/domain/family/member#dbase=no"
        )
    if reason == "API_CommandFailed":
        return "the TANGO database does not answer: is TANGO_HOST right, and is it running?"
    return "start its server, or look at the server's log; 'taskgrove simulate' has stand-ins"
