"""Differences between two pieces of plain data, or between two texts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final

#: No more lines of a text that differs are told; the last row says how many there are.
_TOLD_CHANGES: Final = 20
_MISSING: Final = object()


def changed_values(
    before: Any, after: Any, name: str = ""
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield each innermost value that differs: its dotted name, and both values as text.

    Args:
        before: Plain data.
        after: Plain data.
        name: The name of the whole; empty for the outermost.
    """
    stack = [(name, before, after)]
    while stack:
        where, old, new = stack.pop()
        if isinstance(old, dict) and isinstance(new, dict):
            names = [*old, *(key for key in new if key not in old)]
            pairs = [
                (_joined(where, key), old.get(key, _MISSING), new.get(key, _MISSING))
                for key in names
            ]
            stack += reversed(pairs)
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(old, new, strict=True))]
            stack += reversed(pairs)
        elif not _same(old, new):
            texts = _text_or_none(old), _text_or_none(new)
            if texts[0] == texts[1]:  # "1" and 1
                texts = json.dumps(old), json.dumps(new)
            yield where or "value", *texts


def changed_lines(before: str, after: str) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield each place where two texts differ: the line in the second, and both as one line."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    for _, from_old, to_old, from_new, to_new in changes[:_TOLD_CHANGES]:
        yield from_new + 1, _one_line(old[from_old:to_old]), _one_line(new[from_new:to_new])
    if len(changes) > _TOLD_CHANGES:
        more = f"… and {len(changes) - _TOLD_CHANGES} more places"
        yield changes[_TOLD_CHANGES][3] + 1, more, more


def from_json(text: str) -> Any:
    """Return the value of a line of JSON; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def value_text(value: Any) -> str:
    """Return a value of plain data as text; a string as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)


def _joined(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _same(old: Any, new: Any) -> bool:
    # 1 and true are different parameters; NaN is the same as NaN.
    if old is _MISSING or new is _MISSING:
        return old is new
    return value_text(old) == value_text(new) and isinstance(old, str) == isinstance(new, str)


def _text_or_none(value: Any) -> str | None:
    return None if value is _MISSING else value_text(value)


def _one_line(lines: list[str]) -> str | None:
    return " / ".join(line.strip() for line in lines) if lines else None
