"""Whether two names mean one TANGO device: its address, its alias for a host, its letters' case.

Pure, but for the environment: a name without a host is a name in the database of ``TANGO_HOST``.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from typing import Final

_ADDRESS: Final = re.compile(r"^(?:tango:)?(?://(?P<host>[^/]*)/)?(?P<name>[^#]*)(?:#.*)?$")
_HERE: Final = "127.0.0.1"


def device_key(name: str) -> str:
    """Return a key that is the same for every spelling of one device's name.

    TANGO's names know no case; ``#dbase=no`` says how a device is found, not which one it is.
    A device that is named once in its database and once by the address of its server has two
    keys: only the database could tell.

    Args:
        name: ``a/b/c`` or ``tango://host:port/a/b/c#dbase=no``.
    """
    found = _ADDRESS.match(name.strip().lower())
    if found is None:  # no name of a device; it is only like itself
        return name
    return f"{_place(found)}/{found['name'].strip('/')}"


def device_place(name: str) -> str:
    """Return ``host:port`` of the server, or of the database, that is asked for a device."""
    found = _ADDRESS.match(name.strip().lower())
    return "" if found is None else _place(found)


def _place(found: re.Match[str]) -> str:
    where = found["host"]
    if where is None:
        where = os.environ.get("TANGO_HOST", "").lower().partition(",")[0].strip()
    host, colon, port = where.rpartition(":")
    if not colon:
        host, port = where, ""
    return f"{_host_key(host)}:{port}"


@functools.lru_cache(maxsize=256)  # few hosts have thousands of devices
def _host_key(host: str) -> str:
    """Return a host in one spelling: as an address, or by its name without the domain."""
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        name = bare.partition(".")[0]
        return _HERE if name == "localhost" else name
    return _HERE if address.is_loopback else str(address)
