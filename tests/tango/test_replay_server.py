"""The replay server plays its table to the letter, as bare PyTango sees it."""

from __future__ import annotations

import ast
import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import tango

from tests.tango.replay_process import GUARD_S, HERE, SCENARIOS, ReplayServer, scenarios_on_the_wire
from tests.tango.replay_server import ATTRIBUTES, SHORT_NAMES, VOID_COMMANDS, barrier_steps

pytestmark = pytest.mark.tango


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with ReplayServer("bare", "asked") as process:
        yield process


class Witness:
    """Keeps every event of a device, in order of arrival."""

    def __init__(self, proxy: tango.DeviceProxy) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        present = set(proxy.get_attribute_list())
        self._proxy = proxy
        self.first: dict[str, Any] = {}
        self._ids = [
            proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, self._keep)
            for name in ATTRIBUTES
            if name in present
        ]
        self.first = dict(self.events)  # what the subscription itself tells: where it stands
        self._knock_until_heard()
        self.events.clear()

    def _knock_until_heard(self) -> None:
        """Return when every attribute is heard: right after a subscription events may be lost."""
        for number in range(100):
            self._proxy.command_inout("Knock", number)
            wanted = {(attr, str(number)) for attr in self.first}
            with self._changed:
                if self._changed.wait_for(lambda wanted=wanted: wanted <= self._knocks(), 0.5):
                    return
        raise AssertionError(f"only {self._knocks()} are heard")

    def _knocks(self) -> set[tuple[str, str]]:
        return {(attr, value[0]) for attr, value in self.events if value and value[0].isdigit()}

    def _keep(self, event: tango.EventData) -> None:
        name = event.attr_name.partition("#")[0].rpartition("/")[2]
        if event.err:
            item: Any = event.errors[0].reason
        else:
            value = event.attr_value.value
            item = [] if value is None else [str(one) for one in value]
        with self._changed:
            self.events.append((name, item))
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[tuple[str, Any]]:
        with self._changed:
            self._changed.wait_for(lambda: len(self.events) >= count, GUARD_S)
            return list(self.events)

    def close(self) -> None:
        for event_id in self._ids:
            self._proxy.unsubscribe_event(event_id)


def filled(content: list[Any], names: dict[str, str]) -> list[Any]:
    """Put the ids of this run into a value of the table."""

    def fill(text: str) -> str:
        return re.sub(r"\$(\w+)", lambda match: names[match.group(1)], text)

    return [
        fill(item) if isinstance(item, str) else json.loads(fill(json.dumps(item)))
        for item in content
    ]


def scripted_events(steps: list[dict[str, Any]], names: dict[str, str]) -> Iterator[Any]:
    """Read a script the way a person does: what it pushes, in order."""
    for step in steps:
        [(kind, value)] = step.items()
        if kind == "event":
            yield "_lrcevent", filled(["$id", value], names)
        elif kind in SHORT_NAMES:
            yield SHORT_NAMES[kind].lower(), filled(value, names)
        elif kind in {"push", "transient"}:
            for name, content in value.items():
                yield name.lower(), filled(content, names)
        elif kind == "error":
            for name, reason in value.items():
                yield name.lower(), reason
        elif kind == "flush":
            yield from scripted_events(value, names)


def decoded(scripted: Any, seen: Any) -> Any:
    """Decode those items of an event that the table has as JSON."""
    if isinstance(scripted, str) or len(scripted) != len(seen):
        return seen
    return [
        got if isinstance(item, str) else json.loads(got)
        for item, got in zip(scripted, seen, strict=True)
    ]


@pytest.mark.parametrize("name", scenarios_on_the_wire())
def test_the_script_is_played_in_its_order(server: ReplayServer, name: str) -> None:
    scenario = SCENARIOS[name]
    scripts = {**scenario["commands"], "Barrier": barrier_steps(scenario.get("device", {}))}
    commands = list(dict.fromkeys([*scenario.get("invoke", ()), *scripts]))
    proxy = tango.DeviceProxy(server.trl(name, "bare"))
    witness = Witness(proxy)
    check_start(proxy, witness, scenario.get("device", {}))
    for gate in {*scenario.get("open_when", ()), scenario.get("never_ends_before", "none")}:
        server.open_gate(name, "bare", gate)
    expected: list[Any] = []
    for command in commands:
        argin = () if command in VOID_COMMANDS else ("{}",)
        ending = next(step for step in scripts[command] if {"reply", "raise"} & set(step))
        if "raise" in ending:
            with pytest.raises(tango.DevFailed, match=ending["raise"][0]):
                proxy.command_inout(command, *argin)
        else:
            code, text = proxy.command_inout(command, *argin)
        ids = server.report(name, "bare")["ids"]
        ids = {**ids, "id": ids[command]}
        if "reply" in ending:
            assert [int(code[0]), *text] == filled(ending["reply"], ids)
        expected += scripted_events(scripts[command], ids)
        seen = witness.wait_for(len(expected))
    witness.close()
    report = server.report(name, "bare")
    assert report["errors"] == []
    assert [call[0] for call in report["calls"]] == commands
    assert [attr for attr, _got in seen] == [attr for attr, _want in expected]
    pairs = zip(expected, seen, strict=True)
    assert [(attr, decoded(want, got)) for (_, want), (attr, got) in pairs] == expected


def check_start(proxy: tango.DeviceProxy, witness: Witness, device: dict[str, Any]) -> None:
    """What can be read, and what the first events say, is what the table puts there."""
    for attr, told in witness.first.items():
        name = next(one for one in ATTRIBUTES if one.lower() == attr)
        if name in device.get("unreadable", ()):
            assert told == "PyDs_PythonError"
            continue
        start = device.get("values", {}).get(name, [])
        if name == "lrcProtocolVersions":
            start = [str(number) for number in device.get("versions", [1, 2])]
        assert decoded(start, told) == start, name
        value = proxy.read_attribute(name).value
        assert [str(one) for one in ([] if value is None else value)] == told, name


def test_every_scenario_states_its_claim_and_expectation() -> None:
    for name, scenario in SCENARIOS.items():
        assert scenario["claim"].startswith("LRC protocol"), name
        expected = scenario["expect"]
        invoked = ["attached"] if "attach" in scenario else scenario.get("invoke", ["Configure"])
        assert list(expected) == invoked, name
        for one in expected.values():
            assert set(one) <= {
                "status", "result", "result_says", "value", "by", "order", "progress", "may_retry"
            }, name  # fmt: skip


def test_the_server_shares_no_code_with_the_package() -> None:
    tree = ast.parse((HERE / "replay_server.py").read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert not [name for name in imported if str(name).startswith(("taskgrove", "tests"))]


def test_old_generations_lack_what_came_later(server: ReplayServer) -> None:
    def attributes(name: str) -> set[str]:
        listed = tango.DeviceProxy(server.trl(name, "bare")).get_attribute_list()
        return set(listed) & set(ATTRIBUTES)

    oldest = {name for name, (since, _) in ATTRIBUTES.items() if since == "0.13"}
    assert attributes("v1-ends-before-the-reply") == oldest
    assert attributes("v1-normal") == oldest | {"longRunningCommandInProgress"}
    assert attributes("v2-normal") == set(ATTRIBUTES)
    assert attributes("v1-versions-absent-on-a-new-server") == set(ATTRIBUTES) - {
        "lrcProtocolVersions"
    }


def test_status_of_a_single_command_is_told(server: ReplayServer) -> None:
    def answer(name: str, command: str) -> str:
        proxy = tango.DeviceProxy(server.trl(name, "asked"))
        _code, [command_id] = proxy.command_inout(command, "{}")
        proxy.command_inout("Barrier")  # queued behind the rest of the script
        wait_until_idle(server, name, "asked")
        return str(proxy.command_inout("CheckLongRunningCommandStatus", command_id))

    assert answer("missed-end-told-by-check", "Configure") == "ABORTED"
    assert answer("missed-end-gone-elsewhere", "Configure") == "NOT_FOUND"
    assert answer("v2-normal", "Configure") == "COMPLETED"
    assert answer("v1-normal", "Configure") == "COMPLETED"
    assert answer("v1-flush", "Configure") == "NOT_FOUND"  # it has vanished from the list


def test_status_of_a_single_command_may_be_missing(server: ReplayServer) -> None:
    commands = tango.DeviceProxy(server.trl("no-events-and-no-check", "bare")).get_command_list()
    assert "CheckLongRunningCommandStatus" not in commands


def wait_until_idle(server: ReplayServer, name: str, member: str) -> None:
    deadline = time.monotonic() + GUARD_S
    while not server.report(name, member)["idle"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
