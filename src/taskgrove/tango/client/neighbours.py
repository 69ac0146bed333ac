"""The devices beside one that is not there: which name was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskgrove.commands.device_names import device_place
from taskgrove.commands.task import device_name_of
from taskgrove.errors import nearest


def nearest_device(tango: Any, device: str, others: Iterable[str], limit_s: float) -> str | None:
    """Return the device whose name is most like that of one that is not there, or None.

    The server of a device that answers tells its devices; of a device of the database, those of
    its domain, or of the domain that is most like it, are known there. Blocks for the answers.

    Args:
        tango: The module ``tango``.
        device: The name that was tried.
        others: Other devices that are in use, those that have answered first.
        limit_s: The limit of each call, in seconds.

    Raises:
        DevFailed: Who should tell does not answer.
    """
    place = device_place(device)
    short = device_name_of(device) or device
    beside = next((other for other in others if device_place(other) == place), None)
    if beside is not None:
        admin = tango.DeviceProxy(tango.DeviceProxy(beside).adm_name())
        admin.set_timeout_millis(max(1, int(limit_s * 1000)))
        told = admin.command_inout("QueryDevice")
        found = nearest(short, [str(item).rpartition("::")[2] for item in told])
        if found is not None:
            return found
    if "#dbase=no" in device.lower():
        return None
    domain = short.partition("/")[0]
    database = _database(tango, place)
    database.set_timeout_millis(max(1, int(limit_s * 1000)))
    named = database.command_inout("DbGetDeviceWideList", f"{domain}/*")
    if not any(named):
        domain = nearest(domain, database.get_device_domain("*").value_string) or domain
        named = database.command_inout("DbGetDeviceWideList", f"{domain}/*")
    return nearest(short, [str(name) for name in named])


def server_address(device: str) -> str | None:
    """Return the name of a device at a server, where that of a database was written, or None."""
    return f"{device}#dbase=no" if "://" in device and "#" not in device else None


def _database(tango: Any, place: str) -> Any:
    host, _, port = place.rpartition(":")
    return tango.Database(host, int(port)) if host and port else tango.Database()
