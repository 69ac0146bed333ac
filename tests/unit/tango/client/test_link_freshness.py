"""Which devices are asked whether their server is still the same: not each of a thousand."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.tango.client import link
from taskgrove.tango.client.link import DeviceLink
from taskgrove.testing import ManualClock


class Server:
    """A module ``tango`` whose devices are all on one server."""

    DevFailed = type("DevFailed", (Exception,), {})
    EnsureOmniThread = nullcontext

    def __init__(self) -> None:
        self.pings: list[str] = []
        self.heartbeat = "tcp://127.0.0.1:1"

    def DeviceProxy(self, name: str) -> Any:
        return SimpleNamespace(
            set_transparency_reconnection=lambda _on: None,
            set_timeout_millis=lambda _ms: None,
            ping=lambda: self.pings.append(name),
            adm_name=lambda: "dserver/x/1",
            command_inout=lambda _name, _argin: ([], [self.heartbeat]),
            read_attribute=lambda _name: SimpleNamespace(value=(1, 2)),
        )


class Devices:
    """Two devices of the server, as one client sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_events: bool) -> None:
        self.clock = ManualClock(monotonic_s=1000.0)
        monkeypatch.setattr(link, "time", SimpleNamespace(monotonic=self.clock.monotonic))
        self.server, self.renewed = Server(), 0
        sure: dict[str, float] = {}
        self.links = [
            DeviceLink(
                self.server,
                name,
                SimpleNamespace(has_events=has_events, renew=self._renew, generation=1),  # type: ignore[arg-type]
                rpc_timeout_s=1.0,
                on_broken=lambda _link: None,
                sure=sure,
            )
            for name in ("a/b/1", "a/b/2")
        ]

    def _renew(self, _proxy: Any, _newest: int) -> int:
        self.renewed += 1
        return 2

    def use(self) -> list[str]:
        """Use both devices a while after the last use; return which of them were pinged."""
        self.clock.advance(5.0)
        self.server.pings.clear()
        for item in self.links:
            item.ensure()
        return self.server.pings


def test_one_device_is_asked_for_all_of_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch, has_events=True)
    assert devices.use() == ["a/b/1", "a/b/2"]
    assert devices.use() == ["a/b/1"]
    assert devices.renewed == 2


def test_a_restarted_server_is_found_by_each_of_its_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = Devices(monkeypatch, has_events=True)
    devices.use()
    devices.server.heartbeat = "tcp://127.0.0.1:2"
    assert devices.use() == ["a/b/1", "a/b/2"]
    assert devices.renewed == 4
    assert devices.use() == ["a/b/1"]


def test_a_device_that_is_marked_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch, has_events=True)
    devices.use()
    devices.links[1].mark_stale()
    assert devices.use() == ["a/b/1", "a/b/2"]


def test_a_device_without_events_is_asked_for_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(monkeypatch, has_events=False)
    devices.use()
    assert devices.use() == ["a/b/1", "a/b/2"]
