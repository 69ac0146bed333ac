"""Who runs this process, and with which versions of the code."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable


@functools.cache
def user_name() -> str:
    """Return the user of this process: a name, or the number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


@functools.cache
def version_of(package: str) -> str | None:
    """Return the version of a package, by the name of its import or of its distribution."""
    found = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(found, str):
        return found
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of taskgrove and of those packages that are installed."""
    found = {name: version_of(name) for name in ("taskgrove", *packages)}
    known = {name: version for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), **known}
