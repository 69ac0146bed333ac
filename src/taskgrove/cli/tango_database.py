"""The TANGO databases that look up names of devices: whether they answer, and what they know.

For ``taskgrove doctor``. Needs the extra ``tango``; importing this module does not. Every question
has a limit of time; the functions may be called on any thread.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from taskgrove.cli.devices import TIMEOUT_S
from taskgrove.events.cause import NameProblem
from taskgrove.tango.client.failure import classify

_RC_FILES: Final = (Path("~/.tangorc"), Path("/etc/tangorc"))
_HOST: Final = re.compile(r"[^:/\s]+:[0-9]{1,5}")
_ADDRESS: Final = re.compile(r"(?:tango:)?//(?P<host>[^/#]+)/[^#]*")
_ENDPOINT: Final = re.compile(r"^(?P<use>.*?): *tcp://(?P<host>.+):(?P<port>[0-9]+)$")
Address: TypeAlias = tuple[str, int]


class Host(NamedTuple):
    """The value of ``TANGO_HOST``.

    Attributes:
        value: The value; empty where there is none.
        file: The file that sets it; None: the environment.
    """

    value: str
    file: Path | None = None

    @property
    def databases(self) -> list[str]:
        """``host:port`` of each of its databases; empty where it has not that form."""
        parts = [part.strip() for part in self.value.split(",")]
        return parts if all(_HOST.fullmatch(part) for part in parts) else []


class DatabaseReach(NamedTuple):
    """Whether a database answers.

    Attributes:
        address: ``host:port``.
        problem: Why it cannot be used; None: it can.
        device: The database as a device, such as ``sys/database/2``.
        machine: Where it runs, by its own words.
        exported: How many devices have a running server, by its own words.
    """

    address: str
    problem: NameProblem | None
    device: str = ""
    machine: str = ""
    exported: int = 0


class Registered(NamedTuple):
    """A device in the database.

    Attributes:
        server: The program and the instance that serve it, such as ``TangoTest/demo``.
        machine: Where the server ran last; empty: it never did.
        pid: Its process there.
        is_exported: Whether the server runs, by the words of the database.
    """

    server: str
    machine: str
    pid: int
    is_exported: bool

    @property
    def command(self) -> str:
        """The usual command line of the server."""
        return self.server.replace("/", " ", 1)


def tango_host(tango: Any) -> Host:
    """Return the value of ``TANGO_HOST``, as TANGO finds it.

    Args:
        tango: The module ``tango``; None where it is not installed.
    """
    if (value := os.environ.get("TANGO_HOST")) or tango is None:
        return Host(value or "")
    found = tango.ApiUtil.get_env_var("TANGO_HOST") or ""
    files = [file.expanduser() for file in _RC_FILES]
    return Host(found, next((file for file in files if file.is_file()), None) if found else None)


def databases_of(names: Iterable[str]) -> list[str]:
    """Return ``host:port`` of each database that names with an address are looked up in."""
    found = (_ADDRESS.fullmatch(name.strip()) for name in names)
    return list(dict.fromkeys(match["host"] for match in found if match is not None))


def reach_database(tango: Any, address: str) -> DatabaseReach:
    """Return whether a database answers.

    Args:
        tango: The module ``tango``.
        address: ``host:port``.
    """
    try:
        database = _database(tango, address)
        device = str(database.dev_name())
        exported = len(database.get_device_exported("*").value_string)
        proxy = tango.DeviceProxy(f"tango://{address}/{device}")
        proxy.set_timeout_millis(int(TIMEOUT_S * 1000))
        return DatabaseReach(address, None, device, str(proxy.info().server_host), exported)
    except tango.DevFailed as exc:
        return DatabaseReach(address, classify(exc).name_problem or "database_gone")


def registered(tango: Any, device: str, addresses: Iterable[str]) -> Registered | None:
    """Return what the first database that answers knows of a device, or None.

    Args:
        tango: The module ``tango``.
        device: The name of the device, also with the address of its database.
        addresses: ``host:port`` of the databases of names without an address.
    """
    own = databases_of([device])
    short = device.rpartition("//")[2].partition("/")[2] if own else device
    for address in own or addresses:
        try:
            info = _database(tango, address).get_device_info(short)
        except tango.DevFailed:  # the reason is told of the device and of the database
            continue
        machine = "" if info.host == "nada" else str(info.host)
        return Registered(str(info.ds_full_name), machine, int(info.pid), bool(info.exported))
    return None


def blocked_events(tango: Any, device: str) -> Address | None:
    """Return the port for events of a device's server that cannot be connected to, or None.

    The server is asked for its ports; nothing is subscribed.

    Args:
        tango: The module ``tango``.
        device: A device that answers.

    Raises:
        DevFailed: The server does not answer.
    """
    admin = tango.DeviceProxy(tango.DeviceProxy(device).adm_name())
    admin.set_timeout_millis(int(TIMEOUT_S * 1000))
    _, told = admin.command_inout("ZmqEventSubscriptionChange", ["info"])
    return blocked_port([str(line) for line in told])


def blocked_port(lines: Iterable[str]) -> Address | None:
    """Return the first port that cannot be connected to, of a use that has no other, or None.

    Args:
        lines: The ports as a server tells them: ``Heartbeat: tcp://127.0.0.1:44235``.
    """
    uses: dict[str, list[Address]] = {}
    for line in lines:
        match = _ENDPOINT.match(line)
        if match is not None:
            use = "heartbeat" if "heartbeat" in match["use"].lower() else "event"
            uses.setdefault(use, []).append((match["host"].strip("[]"), int(match["port"])))
    for addresses in uses.values():
        if not any(_can_connect(address) for address in addresses):
            return addresses[0]
    return None


def _can_connect(address: Address) -> bool:
    try:
        socket.create_connection(address, TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _database(tango: Any, address: str) -> Any:
    host, _, port = address.rpartition(":")
    database = tango.Database(host, int(port))
    database.set_timeout_millis(int(TIMEOUT_S * 1000))
    return database
