"""Subscriptions against a stand-in for PyTango that fails as the real one does."""

from __future__ import annotations

from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.tango.client.subscriptions import Subscriptions


class DevFailed(Exception):  # noqa: N818 - the name that PyTango has given it
    """As PyTango's: its arguments are entries with a reason and a description."""


class ConnectionFailed(DevFailed):
    """As PyTango's."""


def failure(kind: type[DevFailed], reason: str) -> DevFailed:
    return kind(SimpleNamespace(reason=reason, desc="told by the stand-in"))


TANGO = SimpleNamespace(DevFailed=DevFailed, EventType=SimpleNamespace(CHANGE_EVENT=0))


class Proxy:
    """Answers each subscription with the next thing planned for its attribute."""

    def __init__(self, **plans: list[Any]) -> None:
        self.plans = plans
        self.log: list[str] = []
        self.sinks: dict[str, Any] = {}

    def subscribe_event(self, slot: str, _kind: Any, sink: Any) -> int:
        self.log.append(f"subscribe {slot}")
        plan = self.plans.get(slot, [])
        if plan:
            raise plan.pop(0)
        self.sinks[slot] = sink
        return len(self.log)

    def unsubscribe_event(self, number: int) -> None:
        self.log.append(f"unsubscribe {number}")


def made() -> tuple[Subscriptions, SimpleQueue[Any]]:
    inbox: SimpleQueue[Any] = SimpleQueue()
    subscriptions = Subscriptions(TANGO, "a/b/c", inbox, print, repr)  # type: ignore[arg-type]
    return subscriptions, inbox


def missing() -> DevFailed:
    return failure(DevFailed, "API_AttrNotFound")


def test_the_stale_subscription_is_ended_before_the_new_one() -> None:
    subscriptions, _ = made()
    proxy = Proxy()
    assert subscriptions.renew(proxy, 2) == 2
    assert subscriptions.renew(proxy, 2) == 2
    assert proxy.log == ["subscribe _lrcEvent", "unsubscribe 1", "subscribe _lrcEvent"]
    assert subscriptions.generation == 2


def test_an_older_device_is_followed_by_its_three_attributes() -> None:
    subscriptions, _ = made()
    assert subscriptions.renew(Proxy(_lrcEvent=[missing()]), 2) == 1
    proxy = Proxy()
    assert subscriptions.renew(proxy, 1) == 1
    assert len(proxy.sinks) == 3


def test_a_plain_device_has_nothing_to_subscribe_to() -> None:
    subscriptions, _ = made()
    proxy = Proxy(_lrcEvent=[missing()], longRunningCommandResult=[missing()])
    assert subscriptions.renew(proxy, 2) == 0
    assert subscriptions.has_events


def test_a_first_subscription_that_another_thread_disturbs_is_tried_again() -> None:
    subscriptions, _ = made()
    proxy = Proxy(_lrcEvent=[failure(DevFailed, "API_InvalidArgs") for _ in range(2)])
    assert subscriptions.renew(proxy, 2) == 2
    assert subscriptions.has_events
    assert "_lrcEvent" in proxy.sinks


def test_a_server_that_is_busy_with_other_subscriptions_is_asked_again() -> None:
    subscriptions, _ = made()
    busy = [failure(DevFailed, "API_CommandTimedOut") for _ in range(3)]
    assert subscriptions.renew(Proxy(_lrcEvent=busy), 2) == 2
    assert subscriptions.has_events
    always = [failure(DevFailed, "API_CommandTimedOut") for _ in range(4)]
    assert subscriptions.renew(Proxy(_lrcEvent=always), 2) == 2
    assert not subscriptions.has_events  # it is polled


def test_a_device_without_events_is_known_as_such() -> None:
    subscriptions, _ = made()
    never = [failure(DevFailed, "API_AttributePollingNotStarted") for _ in range(9)]
    assert subscriptions.renew(Proxy(_lrcEvent=never), 2) == 2
    assert not subscriptions.has_events


def test_a_device_that_cannot_be_reached_is_told() -> None:
    subscriptions, _ = made()
    proxy = Proxy(_lrcEvent=[failure(ConnectionFailed, "API_ServerNotRunning")])
    with pytest.raises(ConnectionFailed):
        subscriptions.renew(proxy, 2)


def test_an_event_is_only_put_into_the_inbox() -> None:
    subscriptions, inbox = made()
    proxy = Proxy()
    subscriptions.renew(proxy, 2)
    sink = proxy.sinks["_lrcEvent"]
    sink(SimpleNamespace(err=False, attr_value=SimpleNamespace(value=("id", "{}"))))
    sink(SimpleNamespace(err=False, attr_value=None))
    sink(SimpleNamespace(err=True, errors=[SimpleNamespace(reason="API_EventTimeout")]))
    assert inbox.get_nowait() == (print, "_lrcEvent", ("id", "{}"))
    assert inbox.get_nowait() == (print, "_lrcEvent", None)
    assert inbox.get_nowait() == (repr, 1, "API_EventTimeout")
