"""The processes of a simulated fleet: a nursery that forks one TANGO server per group.

``python -m taskgrove.tango.simulation.server FD`` is the nursery. It imports PyTango once
and never uses it: each server is a fork of it that starts its own TANGO, so eighteen
servers start in the time of one and share their memory. The nursery has one thread; it
takes orders from the socket ``FD`` and reports over it, one JSON object a line.

Nothing outlives the fleet: when its end of the socket closes, however it died, the
nursery ends its servers and exits; and each server watches a pipe from the nursery and
exits when that closes. (PR_SET_PDEATHSIG would not do: it fires when the forking thread ends.)
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec

from taskgrove.loops.threads import spawn
from taskgrove.tango.simulation.fault_text import parse_command_faults
from taskgrove.tango.simulation.simulator_settings import DeviceSpec

#: How long servers that are asked to end may take, in seconds, before they are killed.
STOP_GRACE_S: Final = 2.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of the fleet to the nursery.

    Attributes:
        do: ``start`` a group (again), or send it a signal.
        group: The group's number.
        devices: ``start``: the group's devices; empty: as before.
        host: ``start``: the address to listen on.
        signal: ``signal``: its number.
    """

    do: str
    group: int
    devices: tuple[DeviceSpec, ...] = ()
    host: str = "127.0.0.1"
    signal: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report of the nursery: ``started``, ``ready``, ``suspended`` or ``ended``.

    Attributes:
        event: The event.
        group: The group's number.
        pid: The process' id.
        port: The port that it listens on.
        token: The word that the process was given; its devices tell it.
        reason: ``ended``: how, such as ``signal 9`` or ``exit code 75``.
        will_restart: ``ended``: it will be started again without being asked.
    """

    event: str
    group: int
    pid: int
    port: int = 0
    token: str = ""
    reason: str = ""
    will_restart: bool = False


@dataclass(slots=True)
class _Group:
    """One server process, or the place for one."""

    number: int
    devices: dict[str, DeviceSpec]
    host: str
    reserved: socket.socket
    pid: int = 0
    pipe: int = -1
    unread: bytes = b""
    token: str = ""
    is_ready: bool = False
    is_killed: bool = False
    restart_after_s: float | None = None
    restart_at: float | None = None

    @property
    def port(self) -> int:
        """The port of the group, the same through every restart."""
        return int(self.reserved.getsockname()[1])


def reserve_port(host: str) -> socket.socket:
    """Return a socket that holds a free port of ``host`` without listening.

    A server may listen on the port besides, because both allow address reuse; nobody
    else is given it, not while the server is down either.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((host, 0))
    return reserved


class Nursery:
    """Forks servers, watches them, restarts those that asked for it, ends them all."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._unread = b""
        self._groups: dict[int, _Group] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ, None)
        self._life_read, self._life_write = os.pipe()

    def run(self) -> None:
        """Serve until the fleet's end of the channel closes; then end every server."""
        try:
            while self._step():
                pass
        finally:
            self._end_all()

    def _step(self) -> bool:
        for key, _ in self._selector.select(self._next_restart_s()):
            if key.data is None:
                if not self._take_orders():
                    return False
            else:
                self._listen(key.data)
        for group in self._groups.values():
            if group.restart_at is not None and group.restart_at <= time.monotonic():
                self._fork(group)
        return True

    def _next_restart_s(self) -> float | None:
        due = [group.restart_at for group in self._groups.values() if group.restart_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _take_orders(self) -> bool:
        try:
            data = self._channel.recv(65536)
        except ConnectionError:
            data = b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(msgspec.json.decode(line, type=Order))
        return bool(data)

    def _obey(self, order: Order) -> None:
        if order.do == "start":
            group = self._groups.get(order.group)
            if group is None:
                devices = {spec.name: spec for spec in order.devices}
                group = _Group(order.group, devices, order.host, reserve_port(order.host))
                self._groups[order.group] = group
            if not group.pid:
                self._fork(group)
        elif order.do == "signal":
            self._signal(self._groups[order.group], order.signal)

    def _signal(self, group: _Group, number: int) -> None:
        if not group.pid:
            if number == signal.SIGKILL:
                group.restart_at = None  # killed while it was away: it stays away
            self._tell(group, "ended", reason="not running")
            return
        group.is_killed = group.is_killed or number == signal.SIGKILL
        os.kill(group.pid, number)  # not reaped yet, so the id is still this process'
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, group.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            self._tell(group, "suspended")
        elif number == signal.SIGCONT:
            self._tell(group, "ready" if group.is_ready else "started")

    def _report(self, report: Report) -> None:
        # The fleet may be gone; the next read of the channel tells, and ends the servers.
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(msgspec.json.encode(report) + b"\n")

    def _fork(self, group: _Group) -> None:
        group.restart_at = group.restart_after_s = None
        group.is_killed = False
        group.token = secrets.token_hex(8)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            self._become_server(group, write_end)
        os.close(write_end)
        group.pid, group.pipe, group.unread = pid, read_end, b""
        self._selector.register(read_end, selectors.EVENT_READ, group)
        self._tell(group, "started")

    def _tell(self, group: _Group, event: str, **more: Any) -> None:
        own: dict[str, Any] = {"group": group.number, "port": group.port, "token": group.token}
        self._report(Report(event=event, pid=group.pid, **own, **more))

    def _listen(self, group: _Group) -> None:
        data = os.read(group.pipe, 65536)
        *lines, group.unread = (group.unread + data).split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line)
            if "ready" in message:
                group.is_ready = True
                self._tell(group, "ready")
            elif "restart_after_s" in message:
                group.restart_after_s = message["restart_after_s"]
            else:
                spec = group.devices[message["device"]]
                faults = parse_command_faults(message["faults"])
                group.devices[spec.name] = msgspec.structs.replace(spec, faults=faults)
        if not data:
            self._bury(group)

    def _bury(self, group: _Group) -> None:
        self._selector.unregister(group.pipe)
        os.close(group.pipe)
        _, status = os.waitpid(group.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        if group.is_killed:  # it wanted to come back, but was killed meanwhile
            group.restart_after_s = None
        again = group.restart_after_s is not None
        self._tell(group, "ended", reason=reason, will_restart=again)
        group.pid, group.pipe, group.is_ready = 0, -1, False
        if group.restart_after_s is not None:
            group.restart_at = time.monotonic() + group.restart_after_s

    def _end_all(self) -> None:
        running = [group for group in self._groups.values() if group.pid]
        for group in running:
            os.kill(group.pid, signal.SIGTERM)
            os.kill(group.pid, signal.SIGCONT)
        deadline = time.monotonic() + STOP_GRACE_S
        while running and time.monotonic() < deadline:
            running = [g for g in running if os.waitpid(g.pid, os.WNOHANG)[0] == 0]
            if running:
                time.sleep(0.01)
        for group in running:
            os.kill(group.pid, signal.SIGKILL)
            os.waitpid(group.pid, 0)

    # In the fork.

    def _become_server(self, group: _Group, report_fd: int) -> NoReturn:
        code = 1
        try:
            port = group.port
            self._leave_nursery()
            spawn("watch", self._exit_with_nursery)
            _serve(group, port, report_fd)
            code = 0
        except Exception:  # noqa: BLE001 - the process' last words, in the fleet's log
            traceback.print_exc()
        finally:
            os._exit(code)

    def _leave_nursery(self) -> None:
        """Close all descriptors of the nursery, above all the pipe that keeps its servers alive."""
        self._selector.close()
        self._channel.close()
        os.close(self._life_write)
        for group in self._groups.values():
            group.reserved.close()
            if group.pipe >= 0:
                os.close(group.pipe)

    def _exit_with_nursery(self) -> None:
        os.read(self._life_read, 1)  # returns when the nursery is gone
        os._exit(1)


def _serve(group: _Group, port: int, report_fd: int) -> None:
    """Serve the group's devices until the process is asked to end."""
    import tango.server  # noqa: PLC0415 - the nursery has imported it; a fork starts it

    from taskgrove.tango.simulation.controls import HOST  # noqa: PLC0415
    from taskgrove.tango.simulation.device import DEVICE_CLASSES  # noqa: PLC0415

    def report(message: dict[str, Any]) -> None:
        os.write(report_fd, msgspec.json.encode(message) + b"\n")

    HOST.specs, HOST.token, HOST.report = dict(group.devices), group.token, report
    HOST.started_at = time.time()
    classes = {
        name: DEVICE_CLASSES[spec.settings.dialect.protocol] for name, spec in group.devices.items()
    }
    names = ",".join(f"{cls.__name__}::{name}" for name, cls in classes.items())
    endpoint = f"giop:tcp:{group.host}:{port}"
    tango.server.run(
        list(set(classes.values())),
        ["simulator", f"g{group.number}", "-nodb", "-dlist", names, "-ORBendPoint", endpoint],
        post_init_callback=lambda: report({"ready": True}),
        raises=True,
    )


def main(argv: list[str]) -> int:
    """Run the nursery on the socket whose number is the only argument."""
    import taskgrove.tango.simulation.device  # noqa: F401, PLC0415 - once, for every fork

    with socket.socket(fileno=int(argv[1])) as channel:
        Nursery(channel).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
