"""Checks of the environment before a verb begins.

Each of these would else be met late, in the middle of something, and by several readers.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from taskgrove.errors import UsageError
from taskgrove.redaction import Redaction

#: Set to 1 to see the traceback of an unexpected error; ``taskgrove --debug`` does the same.
DEBUG_VARIABLE: Final = "TASKGROVE_DEBUG"
#: A terminal is at most so wide, in columns, whatever COLUMNS says: lines are filled up to it.
_MOST_COLUMNS: Final = 1_000
#: Parameters of verbs that name files and folders, whose names may be any bytes.
_FILES: Final = frozenset(
    (
        "map_file",
        "config",
        "argin",
        "pages",
        "work_dir",
        "source",
        "output",
        "write_map",
        "events",
        "log",
    )
)


#: The rule of this command; the default one, until its surroundings are read.
_RULE: Final = [Redaction()]


def prepare_process() -> None:
    """Make streams that are closed safe, and widths of a terminal that cannot be usual ones.

    A file or a connection that is opened while a standard stream is closed takes its number, and
    then gets all that is printed.
    """
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest
            if number:
                setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for name in ("COLUMNS", "LINES"):
        said = os.environ.get(name, "")
        if said and not (said.isascii() and said.isdecimal() and _number(said) > 0):
            del os.environ[name]


def _number(digits: str) -> int:
    """Return a usual number of columns, else 0."""
    return int(digits) if len(digits) < 5 and int(digits) <= _MOST_COLUMNS else 0


def shown_rule() -> Redaction:
    """Return the rule by which this command keeps secrets out of what it shows."""
    return _RULE[-1]


def _set_rule(rule: Redaction) -> None:
    rule.remember(dict(os.environ))
    rule.remember(sys.argv)
    _RULE[:] = [rule]


def check_surroundings(given: Mapping[str, Any]) -> None:
    """Refuse what a verb could not work with.

    Args:
        given: The parameters of the verb by name.

    Raises:
        UsageError: A setting cannot be read, the working folder is gone, a number is none, a
            name of a file is too long, or another text holds bytes that are not UTF-8.
    """
    _set_rule(Redaction.from_environment())
    try:
        os.getcwd()
    except OSError as exc:
        raise UsageError(
            f"the working folder cannot be used: {exc.strerror}", hint="cd to another one"
        ) from exc
    groups = [value for value in given.values() if isinstance(value, Mapping)]
    for name, value in ChainMap(dict(given), *map(dict, groups)).items():
        if isinstance(value, float) and math.isnan(value):
            raise UsageError(f"--{name.replace('_', '-')} is nan, which is no number")
        if name in _FILES:
            _check_length(value)
            continue
        for text in [value] if isinstance(value, str) else value if _is_list(value) else []:
            if not _is_text(text):
                raise UsageError(f"{_shown(text)} holds bytes that are not UTF-8")


def _check_length(file: str | Path | None) -> None:
    try:
        if file:
            os.lstat(file)
    except ValueError as exc:
        raise UsageError(f"{_shown(str(file))} is no name of a file: {exc}") from exc
    except OSError as exc:  # whoever opens it tells all else
        if exc.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{_shown(str(file))} is too long for the name of a file") from exc


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping))


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:60]}…"
