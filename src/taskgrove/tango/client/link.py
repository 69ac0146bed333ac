"""The blocking side of one device: its proxy, its subscriptions, its calls.

Transparent reconnection is off: with it, a call whose connection breaks is silently executed
twice. A call is never repeated here; where repeating is harmless, a ping is.

Threads: any thread may call any method; all of them may block for the length of a call.
``_lock`` guards the state and ``_repair``, and is never held while PyTango is called: the thread
that finds the link unusable repairs it, and the others wait for that repair.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum, auto
from functools import partial
from typing import Any, Final, NamedTuple

from taskgrove.errors import DeviceError, nearest
from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.tango.client.attributes import DeviceAttributes
from taskgrove.tango.client.dispatcher import call_out
from taskgrove.tango.client.failure import FailureKind, classify
from taskgrove.tango.client.lists import CHECK_COMMAND, CommandLists, Snapshot
from taskgrove.tango.client.protocol import choose_protocol
from taskgrove.tango.client.subscriptions import Subscriptions

_LOGGER = logging.getLogger(__name__)

#: The call of the administrative device that tells the address of its server's heartbeat.
_WHERE_IS_THE_HEARTBEAT: Final = ("ZmqEventSubscriptionChange", ["info"])
#: A device that pushes no events is asked for them again after so many seconds.
_EVENTS_AGAIN_S: Final = 10.0
#: A device that was heard of this recently is called without trying its connection, in seconds.
_FRESH_S: Final = 0.5
#: PyTango connects to a device at most once in this many seconds.
CONNECT_PAUSE_S: Final = 1.05
#: The longest limit that PyTango takes, in milliseconds.
_LONGEST_CALL_MS: Final = 2**31 - 1


class CommandShape(NamedTuple):
    """The description of a command by its device.

    Attributes:
        name: The name, as the device spells it.
        in_type: TANGO name of the type that it takes.
        out_type: TANGO name of the type that it returns.
    """

    name: str
    in_type: str
    out_type: str

    @property
    def is_coded(self) -> bool:
        """True for a command that replies as long-running commands do."""
        return self.out_type == "DevVarLongStringArray"


class LinkState(IntEnum):
    """Whether the connection to a device can be used."""

    STALE = auto()
    """The connection must be made or repaired before it is used."""
    REPAIRING = auto()
    """A thread makes or repairs the connection; the others wait for it."""
    MARKED = auto()
    """As REPAIRING, and a fault was found meanwhile: one more repair follows."""
    USABLE = auto()
    """The device was reached, and its events are subscribed to."""
    CLOSED = auto()
    """The client was closed."""


class LinkRequest(IntEnum):
    """The requests to a link, and the ends of its repair."""

    USE = auto()
    MARK = auto()
    REPAIRED = auto()
    FAILED = auto()
    CLOSE = auto()


_STALE, _REPAIRING, _MARKED, _USABLE, _CLOSED = LinkState
_ROW: Final = partial(row_of, LinkRequest)

# fmt: off
MOVES: Final = table_of(LinkState, LinkRequest, {
    #                USE         MARK     REPAIRED FAILED  CLOSE
    _STALE:     _ROW(_REPAIRING, IGNORE,  REFUSE,  REFUSE, _CLOSED),
    _REPAIRING: _ROW(IGNORE,     _MARKED, _USABLE, _STALE, _CLOSED),
    _MARKED:    _ROW(IGNORE,     IGNORE,  _STALE,  _STALE, _CLOSED),
    _USABLE:    _ROW(_REPAIRING, _STALE,  REFUSE,  REFUSE, _CLOSED),
    _CLOSED:    _ROW(IGNORE,     IGNORE,  IGNORE,  IGNORE, IGNORE),
})
# fmt: on


class DeviceLink:
    """Proxy and subscriptions of one device.

    Args:
        tango: The module ``tango``.
        device: The device's TANGO name.
        subscriptions: The device's subscriptions, which the link keeps alive.
        rpc_timeout_s: Limit of each call, in seconds.
        on_broken: Called with the link by any thread that finds its connection broken; must
            not block. Devices of one server share a connection, and only one of them is told.
        sure: When each server process last answered (monotonic seconds), by the address of its
            heartbeat; shared by all links, so that a thousand devices of one server are not asked
            one by one whether it is still the same.

    Attributes:
        attributes: The attributes of the device.
        device: The device's TANGO name.
        state: Whether the connection can be used.
        protocol: Version of the protocol that the device serves; 0 for none, or not known yet.
        server: Name of its server, once known.
        subscribed_at: When its events were last subscribed to (monotonic seconds).
    """

    def __init__(
        self,
        tango: Any,
        device: str,
        subscriptions: Subscriptions,
        *,
        rpc_timeout_s: float,
        on_broken: Callable[[DeviceLink], object],
        sure: dict[str, float] | None = None,
    ) -> None:
        self.device = device
        self.protocol = 0
        self.server = ""
        self.subscribed_at = 0.0
        self._tango = tango
        self._subscriptions = subscriptions
        self._lists = CommandLists(tango)
        self._timeout_ms = max(1, int(rpc_timeout_s * 1000))
        self._on_broken = on_broken
        self._proxy: Any = None
        self._admin: Any = None
        self._heartbeat = ""
        self._shapes: dict[str, CommandShape] = {}
        self.attributes = DeviceAttributes(tango, lambda: self._proxy)
        self._mute: bool | None = None
        self._sure_at = 0.0
        self._sure = {} if sure is None else sure
        self.state = LinkState.STALE
        self._lock = threading.Lock()
        #: Ends with the repair that is under way.
        self._repair: Future[None] = Future()
        self._closed = threading.Event()

    @property
    def generation(self) -> int:
        """Number of the set of subscriptions; 0 before the first."""
        return self._subscriptions.generation

    @property
    def has_events(self) -> bool:
        """False for a device that has to be polled, because it pushes no events."""
        return self._subscriptions.has_events

    @property
    def heard_at(self) -> float:
        """When its server was last heard of (monotonic seconds)."""
        return self._sure_at

    def heard(self) -> None:
        """Take note that an event came: the server is the one that was subscribed to."""
        self._sure_at = time.monotonic()

    def mark_stale(self) -> None:
        """Have the link repaired before it is used again."""
        with self._lock:
            self._move(LinkRequest.MARK)

    def ensure(self) -> None:
        """Return when the device was reached and its events are subscribed to.

        Raises:
            DevFailed: It cannot be reached; nothing was sent to the device's commands.
            DeviceError: The link is closed.
        """
        if self.state is LinkState.USABLE and self._is_fresh(time.monotonic()):
            return
        with self._lock:
            sound = self.state is LinkState.USABLE
            is_mine = self._move(LinkRequest.USE)
            if self.state is LinkState.CLOSED:
                raise DeviceError("the client is closed", device=self.device)
            if is_mine:
                self._repair = Future()
            repair = self._repair
        if not is_mine:
            repair.result()
            return
        try:
            with self._tango.EnsureOmniThread():
                self._establish(sound)
        except BaseException as exc:
            with self._lock:
                self._move(LinkRequest.FAILED)
            repair.set_exception(exc)
            raise
        with self._lock:
            self._move(LinkRequest.REPAIRED)
        repair.set_result(None)

    def _is_fresh(self, now: float) -> bool:
        """Return True where the server that is subscribed to was heard of a moment ago."""
        if now - self._sure_at < _FRESH_S:
            return True
        return self.has_events and now - self._sure.get(self._heartbeat, 0.0) < _FRESH_S

    def _move(self, request: LinkRequest) -> bool:
        before = self.state
        self.state = step(MOVES, before, request, self.device)
        return self.state is not before

    def call(
        self, name: str, argin: Any, *, within_s: float = 0.0, limit_s: float | None = None
    ) -> Any:
        """Call a command once and return its reply; the call is never repeated.

        Args:
            name: The command.
            argin: Its argument, checked.
            within_s: How long the reply may take, in seconds, where that is more than the limit
                of each call.
            limit_s: How long the reply may take at most, in seconds, in place of both; or None.
        """
        limit_ms = max(self._timeout_ms, min(int(within_s * 1000), _LONGEST_CALL_MS))
        if limit_s is not None:
            limit_ms = max(1, min(int(limit_s * 1000), _LONGEST_CALL_MS))
        proxy = self._proxy if limit_ms == self._timeout_ms else self._new_proxy(limit_ms)
        with call_out():
            return proxy.command_inout(name, self._packed(name, argin))

    def _new_proxy(self, limit_ms: int, name: str = "") -> Any:
        proxy = self._tango.DeviceProxy(name or self.device)
        proxy.set_transparency_reconnection(False)
        proxy.set_timeout_millis(limit_ms)
        return proxy

    def is_mute(self) -> bool:
        """Return True when the device reports its commands by their replies only.

        Raises:
            DevFailed: It cannot be reached.
        """
        if self.protocol:
            return False
        if self._mute is None:
            readable = self._lists.read(self._proxy, self.protocol, ()).readable
            self._mute = not readable and not self._has_check()
        return self._mute

    def _has_check(self) -> bool:
        try:
            self.describe(CHECK_COMMAND)
        except self._tango.DevFailed as exc:
            failure = classify(exc)
            if failure.reason != "API_CommandNotFound":
                raise
            return False
        return True

    def _packed(self, name: str, argin: Any) -> Any:
        """Return an argument with its type: for a bare value PyTango asks the device each time."""
        shape = self._shapes.get(name.lower())
        if argin is None or shape is None:
            return argin
        data = self._tango.DeviceData()
        data.insert(self._tango.CmdArgType.names[shape.in_type], argin)
        return data

    def describe(self, name: str) -> CommandShape:
        """Return the description of a command; the device is asked once.

        Raises:
            DevFailed: The device has no such command, or cannot be reached.
        """
        shape = self._shapes.get(name.lower())
        if shape is None:
            info = self._proxy.command_query(name)
            shape = CommandShape(info.cmd_name, _type_name(info.in_type), _type_name(info.out_type))
            self._shapes[name.lower()] = shape
        return shape

    def near_command(self, name: str) -> str | None:
        """Return the command of the device whose name is most like ``name``, or None."""
        return nearest(name, [str(item) for item in self._proxy.get_command_list()])

    def poll(self, ids: tuple[str, ...]) -> Snapshot:
        """Read the states of the device's commands.

        Args:
            ids: Commands that are waited for: those that no list holds are asked for one by one.

        Raises:
            DevFailed: The device cannot be reached.
        """
        self.ensure()
        return self._lists.read(self._proxy, self.protocol, ids)

    def close(self) -> None:
        """End every subscription and drop the proxy."""
        self._closed.set()
        with self._lock:
            is_repaired = self.state in (LinkState.REPAIRING, LinkState.MARKED)
            self._move(LinkRequest.CLOSE)
        if is_repaired:
            self._repair.exception()
        if self._proxy is not None:
            self._subscriptions.end(self._proxy)
        self._proxy = self._admin = None

    # -- making and repairing ------------------------------------------------
    def _establish(self, sound: bool) -> None:
        if self._proxy is None:
            self._proxy = self._new_proxy(self._timeout_ms)
        unbroken = self._knock()
        same = self._is_same_server()
        self._sure_at = time.monotonic()
        if self._heartbeat:
            self._sure[self._heartbeat] = self._sure_at
        silent_s = 0.0 if self.has_events else self._sure_at - self.subscribed_at
        if sound and unbroken and same and silent_s < _EVENTS_AGAIN_S:
            return
        self._shapes.clear()
        self.attributes.forget()
        self._mute = None
        self._lists.forget()
        self.subscribed_at = time.monotonic()
        self.protocol = self._subscriptions.renew(self._proxy, self._newest_protocol())

    def _knock(self) -> bool:
        """Have the device answer once; return False when the connection had to be made again.

        A connection that broke while it was not used is found here, where repeating is
        harmless: a ping has no effect.
        """
        unbroken = True
        deadline = time.monotonic() + 2.0 * CONNECT_PAUSE_S
        while True:
            try:
                self._proxy.ping()
            except self._tango.DevFailed as exc:
                unbroken = False
                kind = classify(exc).kind
                if kind is FailureKind.BROKEN:
                    self._on_broken(self)
                if time.monotonic() > deadline or kind not in (
                    FailureKind.DELAYED,
                    FailureKind.BROKEN,
                ):
                    raise
                if kind is FailureKind.DELAYED and self._closed.wait(0.1):
                    raise
            else:
                return unbroken

    def _is_same_server(self) -> bool:
        """Return False when the device's server is another process than before.

        A connection is shared by all proxies of this process, so that another one's call may
        have renewed it after a restart: nothing breaks then, and the subscriptions are deaf.
        The address of a server's heartbeat is new with each process.
        """
        if self._admin is None:
            self.server = str(self._proxy.adm_name())
            self._admin = self._new_proxy(self._timeout_ms, self.server)
        before = self._heartbeat
        try:
            self._heartbeat = str(self._admin.command_inout(*_WHERE_IS_THE_HEARTBEAT)[1][0])
        except (self._tango.DevFailed, IndexError, TypeError) as exc:
            _LOGGER.debug("%s: the server has no heartbeat: %r", self.device, exc)
            return True
        same = before in ("", self._heartbeat)
        if not same:
            self._on_broken(self)
        return same

    def _newest_protocol(self) -> int:
        try:
            return choose_protocol(self._proxy.read_attribute("lrcProtocolVersions").value)
        except self._tango.DevFailed as exc:
            if classify(exc).kind is not FailureKind.RAISED:
                raise
            return 1


def _type_name(value: Any) -> str:
    return str(getattr(value, "name", value))
