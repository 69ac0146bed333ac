"""Values of the command line besides the map: arguments and the component manager."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from taskgrove.cli.surroundings import shown_rule
from taskgrove.commands.command_map import DEFAULT_LIMITS, parse_plain_data
from taskgrove.errors import UsageError, nearest


def load_argin(source: str | None) -> Any:
    """Return the resources that a command is given, by component name or keyword.

    Args:
        source: A file (``.json`` is read as JSON, all else as YAML), ``-`` for standard
            input, or None for none.

    Raises:
        MapError: It cannot be read; the error says where.
        UsageError: The file is not there, or is not text.
    """
    if source is None:
        return None
    name = "standard input" if source == "-" else source
    text = _text_of(source, name)
    is_json = name.lower().endswith(".json") or _is_json(text)
    found = parse_plain_data(text, syntax="json" if is_json else "yaml", file=name)
    shown_rule().remember(found)
    return found


def file_of_argin(source: str | None) -> str | None:
    """Return the file that ``--argin`` named; None for standard input, or without one."""
    return None if source == "-" else source


def digest_of(map_file: str) -> str:
    """Return what tells the content of a map from another: SHA-256, in hex; empty: not readable."""
    try:
        if not Path(map_file).is_file():  # a pipe may wait for ever
            return ""
        with Path(map_file).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # whoever reads the map says why
        return ""


def check_digest(map_file: str, expected: str | None) -> None:
    """Refuse a map that has changed since its digest was taken.

    Args:
        map_file: The map.
        expected: As :func:`digest_of` gave it; None: nothing is expected.

    Raises:
        UsageError: It has changed; nothing was started.
    """
    if expected is not None and digest_of(map_file) != expected:
        raise UsageError(
            f"{map_file} has changed since the dry run; nothing was started",
            hint="look at a new dry run",
        )


def load_manager(name: str | None) -> Any:
    """Return the component manager that the operator named, or None.

    Args:
        name: ``package.module:Class`` (it is called without arguments), or ``…:object``.

    Raises:
        UsageError: There is no such module or name, or it cannot be made.
    """
    if name is None:
        return None
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise UsageError(
            f"--manager is package.module:Class, not {name!r}", hint="the colon is missing"
        )
    found: Any = _module(module_name)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = nearest(part, dir(found))
            raise UsageError(
                f"{module_name} has no {attribute!r}",
                hint=f"did you mean {close!r}?" if close else None,
            ) from None
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return found
    try:
        return found()
    except Exception as exc:
        raise UsageError(f"{name} could not be made: {type(exc).__name__}: {exc}") from exc


def _is_json(text: str) -> bool:
    # Most of JSON is YAML as well, but not all, and YAML may begin with a brace too.
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _text_of(source: str, name: str) -> str:
    limit = DEFAULT_LIMITS.max_bytes
    try:
        if source == "-" and sys.stdin is None:
            raise UsageError("standard input is closed", hint="--argin FILE reads a file")
        if source == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            _check_pipe(source)
            with Path(source).open("rb") as file:
                data = file.read(limit + 1)
        if len(data) > limit:
            raise UsageError(f"{name} has more than {limit:,} bytes")
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise UsageError(f"{name} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{name} is not UTF-8 text") from exc


def _check_pipe(source: str) -> None:
    """Refuse a pipe by name: it may wait for ever. One that a shell has opened is read."""
    opened = source.startswith(("/dev/fd/", "/dev/stdin", "/proc/"))
    if not opened and stat.S_ISFIFO(os.stat(source).st_mode):
        raise UsageError(f"{source} is a pipe", hint=f"cat {source} | taskgrove … --argin -")


def _module(name: str) -> Any:
    # The operator's own modules stand where they work, as for `python -m`.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise UsageError(f"{name} cannot be imported: {exc}") from exc
    except Exception as exc:
        raise UsageError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
