"""An error as lines for people, and as plain data for programs: harmless, and without secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from taskgrove.cli.surroundings import shown_rule
from taskgrove.errors import AnalysisError, CommandError, MapError, TaskgroveError
from taskgrove.view.terminal_text import safe_text

#: How many problems of a map, or reasons of a refusal, are listed.
_LISTED: Final = 20


def error_lines(error: BaseException) -> list[str]:
    """Return an error as harmless lines: the problem, its place, allowed values, the next step.

    Secrets are redacted: an error may quote a value that it does not like.
    """
    rule = shown_rule()
    if isinstance(error, MapError) and error.map_path:
        rule.remember({error.map_path.rpartition(".")[2]: error.found})
    message = error.message if isinstance(error, TaskgroveError) else str(error)
    if isinstance(error, MapError):
        message = error.problem
    elif isinstance(error, CommandError) and error.reasons:
        message = error.summary  # the reasons get lines of their own
    lines = [safe_text(message)]
    if isinstance(error, MapError):
        lines += _map_lines(error)
    elif isinstance(error, TaskgroveError) and error.path:
        lines.append(f"  at:      {safe_text(error.path)}")
    if isinstance(error, AnalysisError):
        lines += _also_lines(error.problems[1:])
    if isinstance(error, CommandError):
        lines += _reason_lines(error.reasons)
    if isinstance(error, TaskgroveError) and error.hint:
        lines.append(f"  hint:    {safe_text(error.hint)}")
    return [rule.said(line) for line in lines]


def error_facts(error: TaskgroveError) -> dict[str, Any]:
    """Return an error as plain data: ``error``, ``code``, ``lines`` (as printed) and more.

    ``hint``, ``path``, ``file`` and ``line`` are there where they are known. Secrets are redacted.
    """
    lines = error_lines(error)
    told = {
        "hint": error.hint,
        "path": error.path,
        "file": getattr(error, "file", None),
        "line": getattr(error, "line", None),
    }
    rule = shown_rule()
    known = {name: rule.said(it) if isinstance(it, str) else it for name, it in told.items() if it}
    return {"error": lines[0], "code": error.code, **known, "lines": lines}


def _map_lines(error: MapError) -> list[str]:
    lines = []
    if error.file is not None:
        line = "" if error.line is None else f", line {error.line}"
        lines.append(f"  file:    {safe_text(error.file)}{line}")
    if error.map_path:
        lines.append(f"  at:      {safe_text(error.map_path)}")
    if error.found is not None:
        name = (error.map_path or "").rpartition(".")[2]
        found = shown_rule().plain({name: error.found})[name]
        lines.append(f"  found:   {safe_text(repr(found))[:200]}")
    if error.allowed:
        lines.append(f"  allowed: {', '.join(safe_text(item) for item in error.allowed)}")
    return lines + _also_lines(error.problems[1:])


def _reason_lines(reasons: Sequence[str]) -> list[str]:
    """Return a line for each reason; one that several steps have is told once."""
    told = [
        f"{safe_text(reason)}{f' ({count:,} steps)' if count > 1 else ''}"
        for reason, count in Counter(reasons).items()
    ]
    return _labelled("because:", told)


def _also_lines(problems: Sequence[str]) -> list[str]:
    return _labelled("also:", [safe_text(problem) for problem in problems])


def _labelled(label: str, told: Sequence[str]) -> list[str]:
    lines = [f"  {label:8} {words}" for words in told[:_LISTED]]
    if len(told) > _LISTED:
        lines.append(f"  {label:8} {len(told) - _LISTED} more")
    return lines
