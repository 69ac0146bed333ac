"""The report of ``doctor`` on TANGO databases, and on the devices of a map."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from taskgrove.cli.devices import DeviceReader, Reach, ask_each, import_tango
from taskgrove.cli.doctor_record import tell_line
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.extras import installed_version
from taskgrove.cli.tango_database import (
    Address,
    DatabaseReach,
    Registered,
    blocked_events,
    databases_of,
    reach_database,
    registered,
    tango_host,
)
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.command_map import CommandMap
from taskgrove.commands.command_map.map_fields import is_pattern
from taskgrove.errors import DeviceError
from taskgrove.events.cause import NameProblem
from taskgrove.view.terminal_text import pad, safe_text, width_of

_UNSET: Final = "not set: devices need full addresses: tango://host:port/a/b/c#dbase=no"
_MALFORMED: Final = "{}: not host:port, so no name can be looked up: export TANGO_HOST=host:10000"
_DATABASES: Final[dict[NameProblem, str]] = {
    "database_gone": "does not answer: start it, or correct its address",
    "no_database": "a server answers there and is no TANGO database: end names of its devices"
    " with #dbase=no, or correct the address",
}
_NOT_RUNNING: Final = "its server is not running: the TANGO database has no address of it"
_PORT: Final = (
    "let TCP connections to port {} of {} through the firewall; without events, the ends of"
    " commands are found by polling"
)


class DeviceFound(NamedTuple):
    """A device of the map, or a pattern of devices.

    Attributes:
        reach: Whether it answers.
        registered: What its database knows of it; None: it was not asked, or knows nothing.
        blocked: The port of its server from which no event can come; None: there is none.
    """

    reach: Reach
    registered: Registered | None = None
    blocked: Address | None = None

    @property
    def is_well(self) -> bool:
        """Whether it can be used in full."""
        return self.reach.answers and self.blocked is None

    @property
    def problem(self) -> str:
        """Why it does not answer; empty when it does."""
        if self.registered is not None and not self.registered.is_exported:
            return _NOT_RUNNING
        return self.reach.problem

    @property
    def hint(self) -> str:
        """The next step; empty where it is well."""
        if self.blocked is not None:
            host, port = self.blocked
            return _PORT.format(port, host)
        known = self.registered
        if known is None:
            return self.reach.hint
        where = f" on {known.machine}" if known.machine else ""
        ran = f" (its process there was {known.pid})" if known.is_exported and known.pid else ""
        words = known.server.split("/", 1)
        return f"start its server{where}{ran}: {shlex.join(words)}"


def tell_databases(terminal: Terminal, names: Sequence[str]) -> bool:
    """Tell which TANGO databases look up names, and whether each answers.

    Args:
        terminal: Where it goes.
        names: The devices of the map.

    Returns:
        False when one cannot be used.
    """
    tango = None
    if installed_version("pytango") is not None:
        tango = import_tango("asking the TANGO database")
    host = tango_host(tango)
    where = f" (set by {host.file})" if host.file is not None else ""
    if not host.value:
        tell_line(terminal, "TANGO_HOST", _UNSET)
    elif not host.databases:
        tell_line(terminal, "TANGO_HOST", _MALFORMED.format(host.value) + where, "bold red")
    else:
        tell_line(terminal, "TANGO_HOST", f"{host.value}{where}")
    if tango is None:
        return True
    addresses = dict.fromkeys((*host.databases, *databases_of(names)))
    reached = ask_each(lambda address: reach_database(tango, address), addresses)
    for reach in reached:
        _tell_database(terminal, reach)
    return bool(host.databases or not host.value) and not any(reach.problem for reach in reached)


def _tell_database(terminal: Terminal, reach: DatabaseReach) -> None:
    if reach.problem is None:
        text = f"{reach.device} on {reach.machine}, {reach.exported} exported devices"
        tell_line(terminal, "database", f"{reach.address}: {text}")
    else:
        text = _DATABASES.get(reach.problem, _DATABASES["database_gone"])
        tell_line(terminal, "database", f"{reach.address}: {text}", "bold red")


def tell_devices(terminal: Terminal, command_map: CommandMap) -> ExitCode:
    """Tell which devices of a map answer, and the next step for each that does not."""
    terminal.say("Devices", "bold")
    if not command_map.devices:
        terminal.say("  the map names no device: there is nothing to ask")
        return ExitCode.OK
    found = _find(command_map.devices)
    columns = max(width_of(item.reach.device) for item in found)
    for item in found:
        _tell(terminal, item, columns)
    answering = sum(item.reach.answers for item in found)
    terminal.say(f"{answering} of {len(found)} devices answer.")
    for hint in dict.fromkeys(item.hint for item in found if not item.is_well):
        terminal.say(f"What to do: {safe_text(hint)}")
    return ExitCode.OK if all(item.is_well for item in found) else ExitCode.FAILED


def _find(devices: Sequence[str]) -> list[DeviceFound]:
    reader = DeviceReader("asking the map's devices")
    tango = import_tango("asking the map's devices")
    names: dict[str, None] = {}
    lost: list[DeviceFound] = []
    for device in devices:
        if not is_pattern(device):
            names[device] = None
            continue
        try:
            fitting = reader.find(device)
        except DeviceError as exc:
            lost.append(
                DeviceFound(Reach(device, False, 0.0, problem=str(exc), hint=exc.hint or ""))
            )
            continue
        names.update(dict.fromkeys(fitting))
        if not fitting:
            problem = "no exported device of the TANGO database fits it"
            hint = f"start the servers of {device}, or correct the pattern in the map"
            lost.append(DeviceFound(Reach(device, False, 0.0, problem=problem, hint=hint)))
    hosts = tango_host(tango).databases
    return [*ask_each(lambda item: _more(tango, item, hosts), reader.ping_all([*names])), *lost]


def _more(tango: Any, reach: Reach, hosts: Sequence[str]) -> DeviceFound:
    """Return what else can be known of a device."""
    try:
        if reach.answers:
            return DeviceFound(reach, blocked=blocked_events(tango, reach.device))
    except tango.DevFailed:  # a server too old to tell its ports; the device does answer
        return DeviceFound(reach)
    problem = None if reach.cause is None else reach.cause.name_problem
    by_database = "#dbase=no" not in reach.device.lower()
    is_gone = problem == "not_exported" or (
        reach.cause is not None and reach.cause.errno_name == "ECONNREFUSED"
    )
    return DeviceFound(
        reach, registered(tango, reach.device, hosts) if by_database and is_gone else None
    )


def _tell(terminal: Terminal, item: DeviceFound, columns: int) -> None:
    reach = item.reach
    name = pad(reach.device, columns)
    took = f"{reach.took_s * 1000:.0f} ms"
    if not reach.answers:
        terminal.say(f"  {name}  no answer after {took}: {safe_text(item.problem)}", "bold red")
    elif item.blocked is not None:
        host, port = item.blocked
        text = f"no event can come: nothing can connect to its port {port} of {host}"
        terminal.say(f"  {name}  answers in {took}, state {reach.state}; {text}", "bold red")
    else:
        terminal.say(f"  {name}  answers in {took}, state {reach.state}")
