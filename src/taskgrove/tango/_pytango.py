"""The one place that imports PyTango, so that a missing extra is told with its remedy."""

from __future__ import annotations

import importlib.util
from typing import Any

from taskgrove.errors import MissingExtraError


def require_pytango(what: str) -> None:
    """Check that PyTango is installed, without importing it.

    Args:
        what: The part that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: It is not; the error names the extra that brings it.
    """
    if importlib.util.find_spec("tango") is None:
        raise MissingExtraError("tango", what)


def load_pytango(what: str) -> Any:
    """Return the module ``tango``.

    Args:
        what: The part that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: PyTango is not installed.
    """
    try:
        import tango  # noqa: PLC0415 - an optional part, needed only where it is used
    except ImportError as exc:
        raise MissingExtraError("tango", what) from exc
    return tango
