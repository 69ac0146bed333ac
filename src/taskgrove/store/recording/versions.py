"""The versions of the code that a run was made with."""

from __future__ import annotations

import functools
import platform
from importlib import metadata
from typing import Final

#: Packages whose version may change what a run does; those that are installed are kept.
_PACKAGES: Final = (
    "taskgrove",
    "pytango",
    "ska-control-model",
    "msgspec",
    "pydantic",
    "PyYAML",
    "SQLAlchemy",
    "numpy",
    "h5py",
)


@functools.cache
def code_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
