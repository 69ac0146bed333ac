"""A TANGO server process that plays scripts of the long-running-command protocol.

It is deliberately dumb: it has no idea what a command is, keeps no state of one and
decides nothing. It shows exactly what a table of scenarios says, in that order, so that
a client can be held against written claims about the protocol. It shares no code with
the package under test, and must stay so.

Usage::

    python replay_server.py SCENARIOS.yaml PORT MEMBER...

Each scenario becomes one device per member, ``replay/<scenario>/<member>``, on
``127.0.0.1:PORT`` without a TANGO database. The line ``READY <pid>`` on the standard
output says that the server listens; it ends when its standard input is closed, so that it
never outlives the test that started it. With ``db`` as PORT the members are names of
scenarios, whose devices the TANGO database of ``TANGO_HOST`` already knows as devices of
the server ``replay_server/scenarios``.

A scenario is a mapping; the server reads these keys:

``device``      ``generation`` (0.13, 0.20 or 1.2: which attributes exist), ``versions``
                (content of ``lrcProtocolVersions``; null: no such attribute), ``without``
                (attributes or commands that this device lacks), ``dims`` (attribute →
                ``max_dim_x``), ``values`` (attribute → content at the start),
                ``unreadable`` (attributes that push events and raise when they are read),
                ``known`` (id → status name that ``CheckLongRunningCommandStatus`` answers).
``ids``         command → the id that it is given, instead of one like a real device's.
``commands``    command → steps, played at each call; ``Scan#2``: at the second call.

A step is a mapping with one key. ``$id`` is the id of the call that the steps belong to,
``$Configure`` the latest id of the command ``Configure``. A value in an attribute that is no
string becomes JSON:

``reply: [code, text]``       the command returns; what stands before it happens before that
``raise: {reason, text}``     the command raises DevFailed
``event: {key: value}``       push ``_lrcEvent`` as ``[$id, JSON]``
``status:`` ``progress:`` ``result:`` ``queue:`` ``executing:`` ``finished:``
                              set ``longRunningCommandStatus``, … ``lrcFinished``, and push
``push: {attribute: value}``  set and push any attribute
``set: {attribute: value}``   set it without an event: the event was lost
``transient: {attribute: value}``  push it without setting it
``error: {attribute: reason}`` push an event that carries an error
``check: NAME``               what ``CheckLongRunningCommandStatus($id)`` answers from now on
``wait: seconds``             pause
``flush: [steps]``            wait for the next tick of 100 ms, then play the steps in a burst
``gate: name``                go on when somebody calls ``OpenGate(name)``
``after: command``            go on when that command has been called too

Threads: a command handler plays the steps up to its reply itself (it holds the device's
monitor, so it may push); the rest is played by the one player thread of the device.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import re
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from typing import ClassVar

import tango
import yaml
from tango.server import Device, attribute, command, run

TICK_S = 0.1  # a real device flushes the events of its workers ten times a second

STATUS_NAMES = (
    "STAGING",
    "QUEUED",
    "IN_PROGRESS",
    "ABORTED",
    "NOT_FOUND",
    "COMPLETED",
    "REJECTED",
    "FAILED",
)

# attribute → (generation that brought it, max_dim_x of a device with a queue of 32)
ATTRIBUTES = {
    "longRunningCommandStatus": ("0.13", 132),
    "longRunningCommandProgress": ("0.13", 4),
    "longRunningCommandResult": ("0.13", 2),
    "longRunningCommandIDsInQueue": ("0.13", 66),
    "longRunningCommandsInQueue": ("0.13", 66),
    "longRunningCommandInProgress": ("0.20", 2),
    "lrcProtocolVersions": ("1.2", 2),
    "_lrcEvent": ("1.2", 2),
    "lrcQueue": ("1.2", 66),
    "lrcExecuting": ("1.2", 3),
    "lrcFinished": ("1.2", 100),
}
GENERATIONS = ("0.13", "0.20", "1.2")

SHORT_NAMES = {
    "status": "longRunningCommandStatus",
    "progress": "longRunningCommandProgress",
    "result": "longRunningCommandResult",
    "queue": "lrcQueue",
    "executing": "lrcExecuting",
    "finished": "lrcFinished",
}

# Commands that a real device would have for its own work; these take nothing.
VOID_COMMANDS = {"Standby", "Abort", "AbortCommands", "Barrier"}


def barrier_steps(device: dict) -> list[dict]:
    """The script of ``Barrier``: an ordinary command, in the protocol that the device speaks.

    It leaves the attributes as they were, so that it may also be called before a scenario.
    """
    versions = device.get("versions", [1, 2])
    if device.get("generation", "1.2") == "1.2" and versions is not None and versions[1] >= 2:
        end = [{"event": {"status": 5, "result": [0, "barrier"]}}]
    else:
        end = [
            {"transient": {"longRunningCommandResult": ["$id", [0, "barrier"]]}},
            {"transient": {"longRunningCommandStatus": ["$id", "COMPLETED"]}},
        ]
    return [{"reply": [2, "$id"]}, *end, {"check": "COMPLETED"}]


def attributes_of(device: dict) -> dict[str, int]:
    """Attribute → max_dim_x, of those that a device has."""
    generation = GENERATIONS.index(device.get("generation", "1.2"))
    without = set(device.get("without") or ())
    if device.get("versions", [1, 2]) is None:
        without.add("lrcProtocolVersions")
    dims = device.get("dims") or {}
    return {
        name: dims.get(name, max_dim_x)
        for name, (since, max_dim_x) in ATTRIBUTES.items()
        if GENERATIONS.index(since) <= generation and name not in without
    }


class Replay:
    """One scenario; how its events travel is a matter of those who inherit this."""

    scenario: ClassVar[dict]  # its entry of the table

    def begin(self) -> None:
        """Show what the scenario puts there at the start, and play what is called."""
        scenario = self.scenario
        self._device = scenario.get("device") or {}
        self._scripts = {"Barrier": barrier_steps(self._device), **scenario["commands"]}
        self._ids = scenario.get("ids") or {}
        self._latest_ids: dict[str, str] = {}
        self._calls: list[list[str]] = []
        self._call_counts: Counter[str] = Counter()
        self._reads: Counter[str] = Counter()
        self._errors: list[str] = []
        self._checks: dict[str, str] = dict(self._device.get("known") or {})
        self._gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._gates_lock = threading.Lock()
        self._pending: queue.SimpleQueue = queue.SimpleQueue()
        self._unplayed = 0
        self._values: dict[str, list] = {name: [] for name in attributes_of(self._device)}
        if "lrcProtocolVersions" in self._values:
            self._values["lrcProtocolVersions"] = self._device.get("versions", [1, 2])
        for name, value in (self._device.get("values") or {}).items():
            self._set(name, value, {})
        self._player = threading.Thread(target=self._play_pending, daemon=True)
        self._player.start()

    def end(self) -> None:
        """End the player, once it has played what was called."""
        self._pending.put(None)
        self._player.join()

    def report(self) -> dict:
        """What the device saw: its process, calls, reads, and errors of the script."""
        return {
            "pid": os.getpid(),
            "calls": self._calls,
            "reads": self._reads,
            "errors": self._errors,
            "ids": self._latest_ids,
            "idle": self._unplayed == 0,
        }

    def open_gate(self, name: str) -> None:
        """Let a player pass ``gate: name``."""
        self._gate(name).set()

    def _read(self, name: str) -> list:
        self._reads[name] += 1
        if name in (self._device.get("unreadable") or ()):
            tango.Except.throw_exception("PyDs_PythonError", f"{name} cannot be read", "replay")
        # `_lrcEvent` exists as an event only: reading it gives nothing.
        return [] if name == "_lrcEvent" else self._values[name]

    def _check(self, command_id: str) -> str:
        self._calls.append(["CheckLongRunningCommandStatus", command_id])
        return self._checks.get(command_id, "NOT_FOUND")

    # -- playing ---------------------------------------------------------------------------

    def _call(self, name: str, argin: str | None) -> list:
        self._calls.append([name] if argin is None else [name, argin])
        self._call_counts[name] += 1
        steps = self._scripts.get(f"{name}#{self._call_counts[name]}", self._scripts.get(name))
        command_id = self._ids.get(name) or (
            f"{time.time()}_{random.getrandbits(47)}_{name}"  # as real devices make them
        )
        self._latest_ids[name] = command_id
        self._gate(f"called {name}").set()
        names = {**self._latest_ids, "id": command_id}
        for number, step in enumerate(steps):
            kind = next(iter(step))
            if kind in {"reply", "raise"}:
                rest = steps[number + 1 :]
                if rest:
                    self._unplayed += 1
                    self._pending.put((rest, command_id))
                if kind == "raise":
                    tango.Except.throw_exception(step[kind][0], step[kind][1], name)
                code, text = _fill(step["reply"], names)
                self._checks.setdefault(command_id, "IN_PROGRESS" if code == 1 else "QUEUED")
                return [[code], [text]]
            try:
                self._play(step, names)
            except Exception:
                self._errors.append(f"{name}: {step}: {traceback.format_exc()}")
                raise
        raise RuntimeError(f"the script of {name} has neither reply nor raise")

    def _play_pending(self) -> None:
        with tango.EnsureOmniThread():
            while True:
                item = self._pending.get()
                if item is None:
                    return
                steps, command_id = item
                for step in steps:
                    try:
                        self._play(step, {**self._latest_ids, "id": command_id})
                    except Exception:  # the report shows it, and the test fails on it
                        self._errors.append(f"{step}: {traceback.format_exc()}")
                self._unplayed -= 1

    def _play(self, step: dict, names: dict[str, str]) -> None:
        [(kind, value)] = step.items()
        if kind == "wait":
            time.sleep(value)
        elif kind == "flush":
            time.sleep(TICK_S - time.monotonic() % TICK_S)
            for inner in value:
                self._play(inner, names)
        elif kind == "gate":
            if not self._gate(value).wait(60):
                raise RuntimeError(f"nobody opened the gate {value}")
        elif kind == "after":
            if not self._gate(f"called {value}").wait(60):
                raise RuntimeError(f"nobody called {value}")
        elif kind == "check":
            self._checks[names["id"]] = value
        elif kind == "event":
            self._push("_lrcEvent", ["$id", value], names)
        elif kind in SHORT_NAMES:
            self._push(SHORT_NAMES[kind], value, names)
        elif kind == "push":
            for name, content in value.items():
                self._push(name, content, names)
        elif kind == "transient":
            for name, content in value.items():
                self.push_change_event(name, _texts(content, names))
        elif kind == "set":
            for name, content in value.items():
                self._set(name, content, names)
        elif kind == "error":
            for name, reason in value.items():
                self.push_change_event(name, _dev_failed(reason))
        else:
            raise RuntimeError(f"unknown step {kind}")

    def _gate(self, name: str) -> threading.Event:
        with self._gates_lock:
            return self._gates[name]

    def _set(self, name: str, content: list, names: dict[str, str]) -> list[str]:
        items = _texts(content, names)
        previous, self._values[name] = self._values.get(name, []), items
        # A real device answers CheckLongRunningCommandStatus from the same table.
        if name == "longRunningCommandStatus":
            self._checks.update(dict.fromkeys(previous[0::2], "NOT_FOUND"))
            self._checks.update(itertools.zip_longest(items[0::2], items[1::2], fillvalue="?"))
        return items

    def _push(self, name: str, content: list, names: dict[str, str]) -> None:
        items = self._set(name, content, names)
        if name == "_lrcEvent" and len(content) == 2 and isinstance(content[1], dict):
            status = content[1].get("status")
            if type(status) is int and 0 <= status < len(STATUS_NAMES):
                self._checks[items[0]] = STATUS_NAMES[status]
        self.push_change_event(name, items)


class ReplayDevice(Replay, Device):
    """One scenario, as a device."""

    def init_device(self) -> None:
        super().init_device()
        self.begin()
        for name in self._values:
            self.set_change_event(name, True, False)

    @command(dtype_in=str)
    def OpenGate(self, name: str) -> None:
        """Let a player pass ``gate: name``."""
        self.open_gate(name)

    @command(dtype_in=int)
    def Knock(self, number: int) -> None:
        """Push ``number`` on every attribute, for a listener who asks whether he hears all."""
        for name in self._values:
            self.push_change_event(name, [number if name == "lrcProtocolVersions" else str(number)])

    @command(dtype_out=str)
    def ReplayReport(self) -> str:
        """What the device saw."""
        return json.dumps(self.report())


def class_of(name: str, scenario: dict) -> type[ReplayDevice]:
    """Make the TANGO class of a scenario: the devices of one class share their attributes."""
    device = scenario.get("device") or {}
    body: dict = {"scenario": scenario}
    for attribute_name, max_dim_x in attributes_of(device).items():
        body[attribute_name] = _attribute_of(attribute_name, max_dim_x)
    for command_name in ["Barrier", *(key.partition("#")[0] for key in scenario["commands"])]:
        body[command_name] = _command_of(command_name)
    if "CheckLongRunningCommandStatus" not in (device.get("without") or ()):
        body["CheckLongRunningCommandStatus"] = _check_command()
    return type(class_name(name), (ReplayDevice,), body)


def class_name(scenario_name: str) -> str:
    """Name the TANGO class of a scenario."""
    return "Replay_" + scenario_name.replace("-", "_")


def _attribute_of(name: str, max_dim_x: int) -> attribute:
    def read(self):
        return self._read(name)

    dtype = ("DevLong64",) if name == "lrcProtocolVersions" else (str,)
    return attribute(name=name, dtype=dtype, max_dim_x=max_dim_x, fget=read)


def _command_of(name: str):
    if name in VOID_COMMANDS:

        def handler(self):
            return self._call(name, None)
    else:

        def handler(self, argin):
            return self._call(name, argin)

    handler.__name__ = name
    return command(
        f=handler,
        dtype_in=None if name in VOID_COMMANDS else str,
        dtype_out="DevVarLongStringArray",
    )


def _check_command():
    @command(dtype_in=str, dtype_out=str)
    def CheckLongRunningCommandStatus(self, command_id: str) -> str:
        return self._check(command_id)

    return CheckLongRunningCommandStatus


def _fill(value, names: dict[str, str]):
    """Replace ``$id`` and its like everywhere in ``value``."""
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda match: names[match.group(1)], value)
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    return value


def _texts(content: list, names: dict[str, str]) -> list[str]:
    """What goes on the wire: what is no string becomes JSON."""
    return [item if isinstance(item, str) else json.dumps(item) for item in _fill(content, names)]


def _dev_failed(reason: str) -> tango.DevFailed:
    try:
        tango.Except.throw_exception(reason, "played by the script", "replay")
    except tango.DevFailed as error:
        return error
    raise AssertionError("unreachable")


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)  # the server's own loop would take a second to notice


def main(scenarios_file: str, port: str, *members: str) -> None:
    """Serve every scenario of the file, once for each member."""
    with open(scenarios_file, encoding="utf-8") as file:
        scenarios = yaml.safe_load(file)
    if port == "db":
        scenarios = {name: scenarios[name] for name in members}
        arguments = ["-ORBendPoint", "giop:tcp:127.0.0.1:"]
    else:
        names = [
            f"{class_name(name)}::replay/{name}/{member}"
            for name in scenarios
            for member in members
        ]
        endpoint = f"giop:tcp:127.0.0.1:{port}"
        arguments = ["-nodb", "-dlist", ",".join(names), "-ORBendPoint", endpoint]
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    run(
        [class_of(name, scenario) for name, scenario in scenarios.items()],
        args=["replay_server", "scenarios", *arguments],
        post_init_callback=lambda: print("READY", os.getpid(), flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
