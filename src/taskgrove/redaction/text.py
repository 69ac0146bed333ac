"""Finding values by their name in a document: YAML, JSON, ini and shell, without parsing it.

A document such as a command map need not be valid, and must still read as its author wrote it. So
this module goes from name to name: a value follows ``name:`` or ``name=``. Behind the name of a
secret the whole value is hidden: the quoted part, else the rest of the line and the lines below
that are indented deeper. In case of doubt more is hidden; only a mapping stays, and the names
inside it decide. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from taskgrove.redaction.forms import REDACTED
from taskgrove.redaction.secret_names import Certainty

#: ``name: `` or ``name=``, the name perhaps quoted.
_NAME: Final = re.compile(
    r"""["']?(?<![A-Za-z_])(?P<name>[A-Za-z_][\w.-]{0,200}+)\\?["']?[ \t]*[:=][ \t]*"""
)
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
#: Values that are no secret.
_NOTHING: Final = re.compile(r"""(?:null|~|true|false|""|'')(?=\s*(?:[,;}\])#]|$))""", re.MULTILINE)
#: A small number, which is no secret where the name is not sure.
_SMALL: Final = re.compile(r"[-+]?\d{1,3}(?=[ \t]*(?:[,;}\])#]|$))", re.MULTILINE)
#: Nothing, or the mark of a block, on the line itself: the value is below.
_BELOW: Final = re.compile(r"""(?P<mark>[|>][-+0-9]*|\[)?[ \t]*(?:#.*)?$""", re.MULTILINE)
#: The beginning of a mapping below, or of a list of mappings.
_MAPPING: Final = re.compile(r"""\s*(?:-[ \t]+)*(?:["']?[\w.-]+["']?[ \t]*:(?:\s|$)|\{)""")
#: The end of a value inside of braces.
_NEXT: Final = re.compile(r"[,}\]]")
#: Signs that may close, after a value, a bracket that was opened before it.
_CLOSING: Final = " \t\r,}])"


def hide_values(
    text: str,
    certainty_of: Callable[[str], Certainty],
    heard: Callable[[str], object] = len,
) -> str:
    """Return a text, of one line or many, in which values with the name of a secret are hidden.

    Args:
        text: The text.
        certainty_of: Decides by the name.
        heard: Called with each value that is hidden.
    """
    shown: list[str] = []
    at = depth = 0
    while (found := _NAME.search(text, at)) is not None:
        shown.append(text[at : found.end()])
        depth += _depth(text, at, found.end())
        at = found.end()
        quoted = _QUOTED.match(text, at)
        certainty = certainty_of(found["name"])
        if certainty == "no" or (certainty == "weak" and _SMALL.match(text, at)):
            if quoted is not None and "\n" not in quoted[0]:
                shown.append(text[at])
                shown.append(hide_values(quoted[0][1:-1], certainty_of, heard))
                shown.append(text[at])
                depth += _depth(text, at, quoted.end())
                at = quoted.end()
        elif _NOTHING.match(text, at) or text.startswith("{", at):
            continue
        elif quoted is not None:
            heard(quoted[0][1:-1])
            shown.append(f"{text[at]}{REDACTED}{text[at]}")
            at = quoted.end()
        else:
            end = _end_of(text, found, within=depth > 0)
            if end > at:
                heard(text[at:end].strip())
                shown.append(REDACTED if text[at - 1] != ":" else f" {REDACTED}")
            at = end
    shown.append(text[at:])
    return "".join(shown)


def _end_of(text: str, name: re.Match[str], *, within: bool) -> int:
    """Return where the unquoted value behind a name ends; ``within``: inside of open braces."""
    at = name.end()
    column = name.start() - (text.rfind("\n", 0, name.start()) + 1)
    below = _BELOW.match(text, at)
    if below is not None:
        end = _below(text, below.end(), column, with_list=True)
        is_text = below["mark"] in ("|", ">")
        if end == below.end() or (not is_text and _MAPPING.match(text, below.end())):
            return at
        return end
    return _end_of_plain(text, name, column, within=within)


def _end_of_plain(text: str, name: re.Match[str], column: int, *, within: bool) -> int:
    at, line = name.end(), name.start() - column
    if text.startswith("[", at):
        close = text.find("]", at)
        if close >= 0:
            return close + 1
    if _depth(text, line, name.start()) > 0:
        found = _NEXT.search(text, at + 1)
        if found is not None:
            return found.start()
    end = _end_of_line(text, at)
    bare = max(at + 1, at + len(text[at:end].rstrip(_CLOSING)))
    if bare < at + len(text[at:end].rstrip(" \t\r")):
        return bare  # a bracket is closed, or the text goes on, behind the value
    if within:
        found = _NEXT.search(text, end)
        return end if found is None else found.start()
    return _below(text, end, column)


def _depth(text: str, start: int, end: int) -> int:
    """Return how many more braces are opened than closed in a part of a text."""
    opened = text.count("{", start, end) + text.count("[", start, end)
    return opened - text.count("}", start, end) - text.count("]", start, end)


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _below(text: str, end: int, column: int, *, with_list: bool = False) -> int:
    """Return the end of the last line that is deeper than the column of a name.

    Args:
        text: The text.
        end: The end of the line of the name.
        column: The column of the name.
        with_list: Whether a list in that same column belongs to the name.
    """
    at = end
    while at < len(text):
        until = _end_of_line(text, at + 1)
        line = text[at + 1 : until]
        bare = line.lstrip(" \t")
        is_item = with_list and len(line) - len(bare) == column and bare.startswith(("- ", "]"))
        if bare.strip():
            if len(line) - len(bare) <= column and not is_item:
                break
            end = until - (len(bare) - len(bare.rstrip(" \t\r,")) if bare[0] == "]" else 0)
        at = until  # blank lines belong to the value only where more of it follows
    return end
