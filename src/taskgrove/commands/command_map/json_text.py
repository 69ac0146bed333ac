"""JSON as pieces with lines and columns.

The decoder of the standard library says whether a text is JSON. It tells neither the place of a
value nor that a key stands twice, so the text is read once more, token by token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from taskgrove.commands.command_map.nodes import Piece
from taskgrove.commands.command_map.problems import Mark, Problems, shown

_TOKEN: Final = re.compile(r'[\s,:]*([{}\[\]]|"(?:[^"\\]|\\.)*"|[^\s,:{}\[\]"]+)')
_NOT_JSON: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_TOO_DEEP: Final = "this JSON is nested too deep to be read"


def json_pieces(text: str, problems: Problems) -> Iterator[Piece]:
    """Yield the pieces of a JSON text, up to its first error.

    Raises:
        MapError: The text is not JSON.
    """
    if not text.strip():
        return
    end, wrong = _first_error(text)
    line, line_start, at = 1, 0, 0
    mark = Mark(line, 1)
    while token := _TOKEN.match(text, at, end):
        word, start = token[1], token.start(1)
        line += text.count("\n", at, start)
        line_start = max(line_start, text.rfind("\n", at, start) + 1)
        mark, at = Mark(line, start - line_start + 1), token.end()
        if word in "{[":
            yield Piece("mapping" if word == "{" else "sequence", None, mark)
        elif word in "}]":
            yield Piece("end", None, mark)
        elif word in _NOT_JSON:
            end, wrong = start, "Expecting value"
            break
        else:
            try:
                yield Piece("scalar", json.loads(word), mark)
            except ValueError as exc:
                raise problems.stop("a number has too many digits", "", mark) from exc
    if wrong:
        found = text[end : end + 20]
        said = shown(found) if found else "the end of the file"
        mark = Mark(text.count("\n", 0, end) + 1, end - text.rfind("\n", 0, end))
        raise problems.stop(f"this is not JSON: {wrong}; found {said}", "", mark, found=found)


def _first_error(text: str) -> tuple[int, str]:
    """Return how far a text is JSON, and the problem there, or an empty text."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as exc:
        return exc.pos, exc.msg
    except RecursionError:
        return len(text), _TOO_DEEP
    return len(text), ""
