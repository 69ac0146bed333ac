"""The scenarios without a wire: the client's own proxies, with a script behind them.

Here every event comes, at once and in its order, so that what a client makes of it can be told
step by step. How the wire delays and loses events is not a matter of these scripts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import tango

from tests.tango.replay_process import SCENARIOS
from tests.tango.replay_server import VOID_COMMANDS, Replay

_CHECK = "CheckLongRunningCommandStatus"


class ReplayInProcess(Replay):
    """A scenario's device, and the proxy to it.

    Args:
        name: The scenario's.
    """

    def __init__(self, name: str) -> None:
        self.scenario = SCENARIOS[name]  # type: ignore[misc]
        self._sinks: dict[int, tuple[str, Callable[[Any], object]]] = {}
        self._numbers = itertools.count(1)
        self.begin()
        names = {key.partition("#")[0] for key in self.scenario["commands"]}
        self._commands = {*names, "Barrier"} | (
            set() if _CHECK in (self._device.get("without") or ()) else {_CHECK}
        )

    # -- the device's side -----------------------------------------------------------------------

    def push_change_event(self, name: str, content: Any) -> None:
        """Give an event to whoever has subscribed to it."""
        failed = isinstance(content, tango.DevFailed)
        event = SimpleNamespace(
            err=failed,
            errors=content.args if failed else (),
            attr_value=None if failed else SimpleNamespace(value=tuple(content)),
        )
        for attribute, sink in list(self._sinks.values()):
            if attribute == name:
                sink(event)

    def _value(self, name: str) -> Any:
        if name not in self._values:
            _throw("API_AttrNotFound", f"there is no attribute {name}")
        return self._read(name)

    # -- the proxy's -----------------------------------------------------------------------------

    def set_transparency_reconnection(self, _on: bool) -> None: ...
    def set_timeout_millis(self, _limit: int) -> None: ...
    def ping(self) -> int:
        return 1

    def adm_name(self) -> str:
        return "dserver/replay/in-process"

    def subscribe_event(self, name: str, _kind: Any, sink: Callable[[Any], object]) -> int:
        if name not in self._values:
            _throw("API_AttrNotFound", f"there is no attribute {name}")
        number = next(self._numbers)
        self._sinks[number] = name, sink
        try:
            first: Any = self._read(name)
        except tango.DevFailed as exc:
            sink(SimpleNamespace(err=True, errors=exc.args, attr_value=None))
        else:
            sink(SimpleNamespace(err=False, errors=(), attr_value=SimpleNamespace(value=first)))
        return number

    def unsubscribe_event(self, number: int) -> None:
        del self._sinks[number]

    def read_attribute(self, name: str) -> Any:
        return SimpleNamespace(name=name, value=self._value(name))

    def read_attributes(self, names: list[str]) -> list[Any]:
        found = []
        for name in names:
            try:
                value = self._value(name)
            except tango.DevFailed as exc:
                found.append(
                    SimpleNamespace(
                        name=name, has_failed=True, get_err_stack=lambda errors=exc.args: errors
                    )
                )
            else:
                found.append(SimpleNamespace(name=name, has_failed=False, value=value))
        return found

    def get_command_list(self) -> list[str]:
        return sorted(self._commands)

    def command_query(self, name: str) -> Any:
        if name not in self._commands:
            _throw("API_CommandNotFound", f"there is no command {name}")
        return SimpleNamespace(
            cmd_name=name,
            in_type="DevVoid" if name in VOID_COMMANDS else "DevString",
            out_type="DevVarLongStringArray",
        )

    def command_inout(self, name: str, argin: Any = None) -> Any:
        self.command_query(name)
        given = argin.extract() if isinstance(argin, tango.DeviceData) else argin
        return self._check(given) if name == _CHECK else self._call(name, given)


class Admin(SimpleNamespace):
    """The proxy of the server's own device."""

    def set_transparency_reconnection(self, _on: bool) -> None: ...
    def set_timeout_millis(self, _limit: int) -> None: ...
    def command_inout(self, *_words: Any) -> Any:
        return [], ["the address of its heartbeat"]


def without_a_wire(devices: dict[str, ReplayInProcess]) -> Any:
    """Return the module ``tango`` with proxies to these devices, by name."""

    class Tango(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return getattr(tango, name)

    return Tango(DeviceProxy=lambda name: devices.get(name) or Admin())


def _throw(reason: str, text: str) -> None:
    tango.Except.throw_exception(reason, text, "replay in process")
