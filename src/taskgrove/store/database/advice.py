"""Command lines for people to type: they name the record where the usual one is another.

Threads: any thread may call any function here.
"""

from __future__ import annotations

import shlex

from taskgrove.errors import StoreError
from taskgrove.redaction import REDACTED
from taskgrove.store.database.location import find_location


def command_line(location: str, *words: str) -> str:
    """Return a command line of taskgrove that works on a record, quoted for a shell.

    Args:
        location: The record, as ``Store.location`` names it.
        *words: The verb, and what it takes.
    """
    line, option = shlex.join(["taskgrove", *words]), db_option(location)
    return f"{line} {option}" if option else line


def quoted_line(location: str, *words: str) -> str:
    """Return a command line to stand in a sentence: in quotation marks, unless it holds some.

    Args:
        location: As :func:`command_line`.
        *words: As :func:`command_line`.
    """
    line = command_line(location, *words)
    return line if "'" in line else f"'{line}'"


def db_option(location: str) -> str:
    """Return ``--db FILE``, quoted for a shell; empty where it is the record that is used anyway.

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
        return ""
    return f"--db {shlex.quote(location.replace(f':{REDACTED}@', '@'))}"
