"""Checks of environment variables before a program gets them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Final

from taskgrove.errors import AnalysisError
from taskgrove.events.foreign_values import readable

_SHOWN: Final = 200


def checked_variables(given: Mapping[Any, Any]) -> dict[str, str | None]:
    """Return variables as texts, as an environment holds them.

    Args:
        given: Values by name: texts, paths, numbers; None, which removes a variable.

    Raises:
        AnalysisError: A name or a value cannot be in an environment; the error names it.
    """
    found: dict[str, str | None] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name or "=" in name or not _can_be_passed(name):
            raise AnalysisError(f"{name!r} cannot be the name of a variable", key=str(name))
        text = value
        if isinstance(value, Path) or (isinstance(value, Real) and not isinstance(value, bool)):
            text = str(value)
        if text is not None and not (isinstance(text, str) and _can_be_passed(text)):
            what = repr(value) if isinstance(value, (str, bytes)) else readable(value, _SHOWN)
            raise AnalysisError(
                f"the variable {name} cannot hold {what:.{_SHOWN}}", key=name, hint="give a text"
            )
        found[name] = text
    return found


def _can_be_passed(text: str) -> bool:
    """Return whether a program can be given a text: without NUL, and not half a character."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
