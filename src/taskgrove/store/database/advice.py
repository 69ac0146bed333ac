"""Command lines for people to type: they name the record where the usual one is another.

Threads: any thread may call any function here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from taskgrove.errors import StoreError
from taskgrove.redaction import REDACTED, holds_redacted
from taskgrove.store.database.location import find_location


def command_line(location: str, *words: str) -> str:
    """Return a command line of taskgrove that works on a record, quoted for a shell.

    Args:
        location: The record, as ``Store.location`` names it.
        *words: The verb and its arguments.
    """
    return shlex.join(["taskgrove", *words, *db_option(location)])


def quoted_line(location: str, *words: str) -> str:
    """Return a command line to stand in a sentence: in quotation marks, unless it holds some."""
    line = command_line(location, *words)
    return line if "'" in line else f"'{line}'"


def typed_again(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that ``taskgrove resume`` wants typed again.

    Nothing is imported because a record names it, and secret arguments are not on record.

    Args:
        source: The source of the run.
    """
    words: list[str] = []
    if source.get("manager"):
        words += ["--manager", str(source["manager"])]
    for module in (source.get("analyses") or {}).get("analyses") or ():
        words += ["--analyses", str(module)]
    if holds_redacted(source.get("text")):
        words.append("--use-file")
    if holds_redacted(source.get("argin")):
        words += ["--argin", "FILE"]
    return tuple(words)


def db_option(location: str) -> tuple[str, ...]:
    """Return ``--db FILE``; nothing where it is the record that is used anyway.

    A password is not shown, and so not part of it: libpq finds it in ``PGPASSWORD`` or in the
    user's password file.

    Args:
        location: The record, as ``Store.location`` names it.
    """
    try:
        usual = find_location().shown
    except StoreError:  # TASKGROVE_DB names nothing that can be used
        usual = ""
    if location == usual:
        return ()
    return ("--db", location.replace(f":{REDACTED}@", "@"))
