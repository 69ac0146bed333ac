r"""Text as a terminal shows it: made harmless, measured in columns, cut to fit.

Words of a device are shown unchanged, except characters that act on a terminal: control
characters, escape sequences and marks that turn the writing direction are written out
(``\x1b``), and a line's end becomes a space.
"""

from __future__ import annotations

import codecs
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taskgrove.story.node_state import NodeState
from taskgrove.view.states import LOOKS

#: A word as shlex quotes it, and a command line of ours in a sentence: its verb, what follows it,
#: and its options.
_WORD: Final = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
_COMMAND_LINE: Final = re.compile(
    rf"\btaskgrove (?:runs )?[a-z]+(?: (?!--){_WORD})?(?: --[a-z-]+(?: (?!--){_WORD})?)*"
)
#: Stands for a blank that no line is broken at; nothing that is shown holds it.
_GLUE: Final = "\0"


@dataclass(frozen=True, slots=True)
class Charset:
    """The signs that a tree is drawn with.

    Attributes:
        branch: Before a child that has a later sibling.
        corner: Before the last child.
        stem: Below a branch.
        gap: Below a corner.
        full: A full part of a progress bar.
        empty: An empty part of a progress bar.
        ellipsis: Where something was cut.
        dot: Between two facts.
        marks: One sign for each state of a node.
    """

    branch: str
    corner: str
    stem: str
    gap: str
    full: str
    empty: str
    ellipsis: str
    dot: str
    marks: Mapping[NodeState, str]


UNICODE: Final = Charset(
    *("├─ ", "└─ ", "│  ", "   ", "█", "░", "…", "·"),
    {state: look.mark for state, look in LOOKS.items()},
)
ASCII: Final = Charset(
    *("|- ", "`- ", "|  ", "   ", "#", ".", "...", "-"),
    {state: look.ascii_mark for state, look in LOOKS.items()},
)

_PROBE: Final = "├─└│█░…·○●✓✗■"


def charset_for(encoding: str | None) -> Charset:
    """Return the signs that a stream of this encoding can show."""
    try:
        _PROBE.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return UNICODE


def encodable(text: str, encoding: str | None) -> str:
    r"""Return ``text`` with signs that the encoding cannot show written out (``\u2713``)."""
    try:
        codec = codecs.lookup(encoding or "ascii").name
    except LookupError:
        codec = "ascii"
    if codec in ("utf-8", "utf-16", "utf-32") and text.isprintable():
        return text
    return text.encode(codec, "backslashreplace").decode(codec)


def safe_text(text: object) -> str:
    """Return ``text`` as one line in which nothing acts on a terminal."""
    line = str(text)
    if line.isprintable():
        return line
    line = " ".join(line.split())
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _written_out(char) for char in line)


def safe_lines(text: object) -> list[str]:
    """Return the lines of ``text``, each made harmless; trailing blanks are dropped."""
    # Only the two line ends: str.splitlines also splits at control characters.
    lines = str(text).replace("\r\n", "\n").split("\n")
    return [_safe_keeping_indent(line) for line in lines]


def width_of(text: str) -> int:
    """Return how many columns ``text`` takes; wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def clip(text: str, width: int, ellipsis: str = "…") -> str:
    """Return ``text`` cut to ``width`` columns, with a mark where it was cut."""
    if width_of(text) <= width:
        return text
    mark = width_of(ellipsis)
    if width < mark:
        return ellipsis[: max(width, 0)]
    room = width - mark
    end = 0
    for end, char in enumerate(text):  # noqa: B007 - the place where the room ends
        room -= _columns(char)
        if room < 0:
            break
    return text[:end].rstrip() + ellipsis


def clip_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """Return ``text`` cut to ``width`` columns in its middle: both of its ends tell most."""
    if 2 * len(text) <= width or width_of(text) <= width:  # a sign takes two columns at most
        return text
    room = max(0, width - width_of(ellipsis))
    head = clip(text, room - room // 2, "")
    tail = clip(text[::-1], room // 2, "")[::-1]
    return f"{head}{ellipsis}{tail}"


def pad(text: str, width: int) -> str:
    """Return ``text`` filled with spaces to ``width`` columns."""
    return text + " " * max(0, width - width_of(text))


def duration_text(seconds: float | None) -> str:
    """Return a duration for people: ``0.4 s``, ``59.9 s``, ``2:05 min``, ``1:02:05 h``."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"


def _safe_keeping_indent(line: str) -> str:
    line = line.rstrip().replace("\t", "    ")
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + "".join(
        char if char.isprintable() else _written_out(char) for char in body
    )


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _written_out(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


#: What a line of a list begins with.
_LIST_SIGN: Final = re.compile(r" *- ")


def wrapped(text: str, width: int, indent: str = "", whole: Sequence[str] = ()) -> list[str]:
    """Return text as lines that are broken between words, at least one.

    Names of nodes and devices stay whole, and so do command lines: they are to be copied.

    Args:
        text: The text, on one line.
        width: Columns that a line may take; only a part that stays whole exceeds it.
        indent: The beginning of every line but the first.
        whole: Further parts that stay whole, such as command lines.
    """
    sign = _LIST_SIGN.match(text)
    first = "" if sign is None else sign[0]  # a long part stands behind its sign, not below it
    glued = text.removeprefix(first)
    for part in whole:
        glued = glued.replace(part, part.replace(" ", _GLUE))
    glued = _COMMAND_LINE.sub(lambda found: found[0].replace(" ", _GLUE), glued)
    lines = textwrap.wrap(
        glued, width, initial_indent=first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(_GLUE, " ") for line in lines] or [""]
