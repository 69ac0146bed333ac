"""Patterns over the paths of nodes: ``configure/configure_pst/**``.

``*`` and ``?`` stay within one part of a path, ``[…]`` is a set of characters, ``**`` crosses
levels. A pattern that matches a composite means every leaf below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from taskgrove.errors import UsageError, nearest

#: How many near misses an error names.
_NAMED = 3
#: The signs of a pattern.
_SIGNS = frozenset("*?[")


def is_pattern(path: str) -> bool:
    """Return whether a path has the signs of a pattern."""
    return not _SIGNS.isdisjoint(path)


def match_paths(
    patterns: Iterable[str], leaves: Sequence[str], composites: Sequence[str] = ()
) -> dict[str, str]:
    """Return the leaves that patterns match, each with the first pattern that does.

    Args:
        patterns: The patterns.
        leaves: The paths of all leaves.
        composites: The paths of all composites.

    Raises:
        UsageError: A pattern matches nothing; it names near misses.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        regex = path_regex(pattern)
        above = [path for path in composites if regex.fullmatch(path)]
        hit = False
        for path in leaves:
            if regex.fullmatch(path) or any(path.startswith(f"{top}/") for top in above):
                found.setdefault(path, pattern)
                hit = True
        if not hit:
            raise _matches_nothing(pattern, [*composites, *leaves])
    return found


def path_of_command(path: str, commands: Iterable[tuple[str, str | None]]) -> str | None:
    """Return the path of the only step whose command a path names in place of the step's name.

    Args:
        path: A path that no node has, such as ``tune/phase`` of the step ``tune/a``.
        commands: The path of each step, with its command.

    Returns:
        The path of the step; None where no step, or more than one, fits.
    """
    above, _, last = path.rpartition("/")
    found = [step for step, name in commands if name == last and step.rpartition("/")[0] == above]
    return found[0] if len(found) == 1 else None


def path_regex(pattern: str) -> re.Pattern[str]:
    """Return the expression that a whole path must match.

    Raises:
        UsageError: It is no pattern of paths.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            parts.append(".*")
            position += 2
            continue
        sign = pattern[position]
        end = pattern.find("]", position + 2) if sign == "[" else -1
        if end > 0:
            inner = pattern[position + 1 : end]
            negated = "^" if inner[:1] in "!^" else ""
            signs = re.escape(inner[1:] if negated else inner).replace(r"\-", "-")
            parts.append(f"(?!/)[{negated}{signs}]")
            position = end + 1
            continue
        parts.append({"*": "[^/]*", "?": "[^/]"}.get(sign, re.escape(sign)))
        position += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as exc:
        raise UsageError(f"{pattern!r} is no pattern of paths: {exc}") from exc


def near_miss(pattern: str, paths: Sequence[str]) -> str | None:
    """Return the pattern or the path that was probably meant by a pattern without a match.

    Args:
        pattern: The pattern, or a path.
        paths: The paths of all nodes.
    """
    # The most frequent mistake is a path without its beginning.
    deeper = path_regex(f"**/{pattern}")
    close = [path for path in paths if deeper.fullmatch(path)]
    if close:
        return close[0] if len(close) == 1 else f"**/{pattern}"
    plain = pattern.replace("/**", "").replace("*", "")
    others = [path for path in paths if not plain.startswith(f"{path}/")]
    near = nearest(plain, others)
    if near is None:
        last = nearest(plain.rpartition("/")[2], [path.rpartition("/")[2] for path in others])
        near = None if last is None else f"**/{last}"
    return near


def _matches_nothing(pattern: str, paths: Sequence[str]) -> UsageError:
    near = near_miss(pattern, paths)
    if near is None:
        hint = f"the paths begin with {paths[0]!r}" if paths else None
    else:
        hint = f"did you mean {near!r}?"
        if is_pattern(near):
            regex = path_regex(near)
            close = [path for path in paths if regex.fullmatch(path)][:_NAMED]
            hint += f" It matches {', '.join(close)}"
    return UsageError(f"--redo {pattern!r} matches no leaf", hint=hint)
