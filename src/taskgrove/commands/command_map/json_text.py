"""JSON as pieces with lines and columns, without recursion.

The standard library's decoder tells neither where a value stood nor that a key
stood twice, and it recurses; this reader gives the same pieces as the one of YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from taskgrove.commands.command_map.nodes import Piece
from taskgrove.commands.command_map.problems import Mark, Problems, shown
from taskgrove.errors import MapError

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_OPEN: Final = {"{": "}", "[": "]"}
_DECODER = json.JSONDecoder()


class _Reader:
    def __init__(self, text: str, problems: Problems) -> None:
        self._text = text
        self._problems = problems
        self._at = 0
        # Lines are counted as the reader goes: a file may be one line of megabytes.
        self._line = 1
        self._line_start = 0
        self._seen = 0

    def pieces(self) -> Iterator[Piece]:
        if not self._peek():
            return
        closers: list[str] = []
        fresh = False  # whether the innermost collection has just begun
        while True:
            if closers and self._peek() == closers[-1] and fresh:
                opened = False
            else:
                if closers and closers[-1] == "}":
                    yield self._key()
                opened = self._peek() in _OPEN
                if opened:
                    closers.append(_OPEN[self._peek()])
                    yield Piece("mapping" if closers[-1] == "}" else "sequence", None, self._mark())
                    self._at += 1
                    fresh = True
                    continue
                yield self._scalar()
            while closers and self._peek() == closers[-1]:
                yield Piece("end", None, self._mark())
                self._at += 1
                closers.pop()
            if not closers:
                break
            self._expect(",", f"',' or '{closers[-1]}'")
            fresh = False
        if self._peek():
            raise self._wrong("nothing more after the value")

    def _peek(self) -> str:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _mark(self) -> Mark:
        self._line += self._text.count("\n", self._seen, self._at)
        newline = self._text.rfind("\n", self._seen, self._at)
        if newline >= 0:
            self._line_start = newline + 1
        self._seen = self._at
        return Mark(self._line, self._at - self._line_start + 1)

    def _wrong(self, wanted: str) -> MapError:
        self._peek()
        found = self._text[self._at : self._at + 20]
        said = shown(found) if found else "the end of the file"
        return self._problems.stop(
            f"this is not JSON: {wanted} expected, found {said}", "", self._mark(), found=found
        )

    def _expect(self, sign: str, wanted: str) -> None:
        if self._peek() != sign:
            raise self._wrong(wanted)
        self._at += 1

    def _string(self) -> str:
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as exc:
            raise self._problems.stop(f"this is not JSON: {exc.msg}", "", self._mark()) from exc
        assert isinstance(value, str)
        return value

    def _key(self) -> Piece:
        if self._peek() != '"':
            raise self._wrong("a key in double quotes")
        mark = self._mark()
        key = self._string()
        self._expect(":", "':'")
        return Piece("scalar", key, mark)

    def _scalar(self) -> Piece:
        sign, mark = self._peek(), self._mark()
        if sign == '"':
            return Piece("scalar", self._string(), mark)
        found = _WORD.match(self._text, self._at)
        if found:
            self._at = found.end()
            return Piece("scalar", _WORDS[found.group()], mark)
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise self._wrong("a value")
        self._at = number.end()
        try:
            value = float(number[0]) if number[1] or number[2] else int(number[0])
        except ValueError as exc:
            raise self._problems.stop("a number has too many digits", "", mark) from exc
        return Piece("scalar", value, mark)


def json_pieces(text: str, problems: Problems) -> Iterator[Piece]:
    """Yield the pieces of a JSON text.

    Raises:
        MapError: The text is not JSON.
    """
    return _Reader(text, problems).pieces()
