r"""Placeholders in texts: ``{{ name }}``, replaced by values; nothing is evaluated.

========================================  ====================================================
``{{ run }}``                             a variable
``{{ FindPeaks.out_file }}``              a value inside another, by key or index
``{{ $HOME }}``                           an environment variable
``{{ earlier.FindPeaks.out_file }}``      a result of an earlier run
``{{ earlier(run=12).FindPeaks.tag }}``   the same, of another run or experiment
``{{ earlier.A.tag | earlier.B.tag }}``   the first of these that is there
``{{ run:04d }}``                         a value, formatted: ``0012``
``\{{``                                    two braces
========================================  ====================================================

A text that is one placeholder and nothing else becomes the value itself and keeps its type;
inside a longer text, and with a format, a value becomes text. The value of a placeholder is not
searched for placeholders: a value that holds ``{{`` stays unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal, TypeAlias

from taskgrove.analysis.written import written_text
from taskgrove.errors import AnalysisError, nearest

#: The first word of a placeholder that asks for a result of an earlier run.
EARLIER: Final = "earlier"
#: Longest text that substitution makes, in characters.
MAX_TEXT: Final = 1 << 20

_TOKEN = re.compile(r"\\\{\{|\{\{([^{}]*)\}\}|\{\{(?!\{)")
_NAME: Final = r"[A-Za-z_][\w-]*"
_PATH = re.compile(rf"{_NAME}(?:\.(?:{_NAME}|[0-9]+))*\Z", re.ASCII)
_ENV = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\Z")
_EARLIER = re.compile(
    rf"{EARLIER}(?:\(([^()]*)\))?\.({_NAME})\.({_NAME}(?:\.(?:{_NAME}|[0-9]+))*)\Z", re.ASCII
)
_SELECTOR = re.compile(r"(run|experiment)\s*=\s*([\w./+-]+)\Z", re.ASCII)
_SPEC = re.compile(
    r"(?:[^{}]?[<>=^])?[-+ ]?#?(?P<zero>0?)[0-9]{0,3}[,_]?(?:\.[0-9]{1,3})?"
    r"(?P<type>[bdeEfFgGnosxX%]?)\Z"
)
_WHOLE = re.compile(r"[-+]?[0-9]+\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``{{ … }}``.

    Attributes:
        source: Its text.
        kind: The kind of value that it asks for.
        parts: A name and the keys inside it; the name of an environment variable; or the name of
            an analysis, and the key of its result.
        selectors: ``run`` and ``experiment`` of an earlier run, where they are given.
        spec: How to format the value, or None.
        otherwise: Of an earlier result: the one that is asked for where this one is not there.
    """

    source: str
    kind: Literal["name", "environment", "earlier"]
    parts: tuple[str, ...]
    selectors: tuple[tuple[str, str], ...] = ()
    spec: str | None = None
    otherwise: Placeholder | None = None


Pieces: TypeAlias = Sequence[str | Placeholder]
Lookup: TypeAlias = Callable[[Placeholder], Any]


def parse(text: str) -> Pieces:
    """Return a text as plain pieces and placeholders.

    Raises:
        AnalysisError: Something in double braces is no placeholder: nothing is evaluated.
    """
    pieces: list[str | Placeholder] = []
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() > end:
            pieces.append(text[end : match.start()])
        end = match.end()
        if match[0].startswith("\\"):
            pieces.append("{{")
        elif match[1] is None:
            raise AnalysisError("'{{' is not closed by '}}'", hint=_ESCAPE)
        else:
            pieces.append(_placeholder(match[0], match[1].strip()))
    if end < len(text):
        pieces.append(text[end:])
    return pieces


_ESCAPE: Final = r"write \{{ where two braces are meant"


def _placeholder(source: str, inner: str) -> Placeholder:
    before, colon, spec = inner.partition(":")
    before = before.strip()
    if colon and not (spec and _SPEC.match(spec)):
        raise AnalysisError(
            f"{_cut(source)} has a format that is not known: {_cut(spec)}",
            hint="a format is that of Python's numbers and texts, such as 04d or .3f",
        )
    wanted = spec if colon else None
    if match := _ENV.match(before):
        return Placeholder(source, "environment", (match[1],), spec=wanted)
    if earlier := _earlier(source, before, wanted):
        return earlier
    if _PATH.match(before) and before.partition(".")[0] != EARLIER:
        return Placeholder(source, "name", tuple(before.split(".")), spec=wanted)
    raise AnalysisError(
        f"{_cut(source)} is no placeholder: it holds a name, such as {{{{ run }}}}, and is never"
        " evaluated",
        hint=f"{EARLIER}.TASK.key asks for an earlier result, {EARLIER}.A.key | {EARLIER}.B.key for"
        " the first one that is there" if before.startswith(EARLIER)
        else _ESCAPE,
    )  # fmt: skip


def _earlier(source: str, text: str, spec: str | None) -> Placeholder | None:
    """Return the placeholder of an earlier result with its alternatives; None: it is none."""
    found: Placeholder | None = None
    for part in reversed(text.split("|")):
        match = _EARLIER.match(part.strip())
        if match is None:
            return None
        chosen = _selectors(source, match[1])
        found = Placeholder(source, "earlier", match.group(2, 3), chosen, spec, found)
    return found


def _selectors(source: str, text: str | None) -> tuple[tuple[str, str], ...]:
    if text is None:
        return ()
    found = []
    for part in text.split(","):
        match = _SELECTOR.match(part.strip())
        if match is None:
            raise AnalysisError(
                f"{_cut(source)} selects no run", hint="write earlier(run=12, experiment=abc)"
            )
        found.append((match[1], match[2]))
    return tuple(found)


def _cut(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:77]!r}…"


def has_placeholders(text: str) -> bool:
    """Return whether a text may hold placeholders at all."""
    return "{{" in text


def evaluate(pieces: Pieces, lookup: Lookup) -> Any:
    """Return the value of a parsed text.

    Args:
        pieces: The text, parsed.
        lookup: Finds the value of a placeholder.

    Raises:
        AnalysisError: A value cannot be a text, or not in this format, or the text gets longer
            than ``MAX_TEXT``; or an error of ``lookup``.
    """
    if len(pieces) == 1 and isinstance(pieces[0], Placeholder) and pieces[0].spec is None:
        return lookup(pieces[0])
    texts, length = [], 0
    for piece in pieces:
        texts.append(piece if isinstance(piece, str) else _as_text(piece, lookup(piece)))
        length += len(texts[-1])
        if length > MAX_TEXT:
            raise AnalysisError(f"the text gets longer than {MAX_TEXT:,} characters")
    return "".join(texts)


def _as_text(piece: Placeholder, value: Any) -> str:
    if value is None or not isinstance(value, (str, int, float, bool, PurePath)):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise AnalysisError(
            f"{piece.source} is {kind}, which cannot stand inside a text",
            hint="write it alone, as the whole value, to keep its type",
        )
    if piece.spec is None:
        return written_text(value)
    try:
        return format(_for_format(value, piece.spec), piece.spec)
    except (ValueError, OverflowError) as exc:
        raise AnalysisError(
            f"{piece.source}: the value {_cut(str(value))} has no such format: {exc}"
        ) from exc


def _for_format(value: Any, spec: str) -> Any:
    """Return a value in the type of its format: the text ``12`` is a number for ``04d``."""
    match = _SPEC.match(spec)
    assert match is not None  # it was checked when the placeholder was parsed
    kind = match["type"]
    if kind == "s" or isinstance(value, PurePath):
        return written_text(value)
    is_numeric = bool(kind) or bool(match["zero"])
    if isinstance(value, str) and is_numeric:
        if _WHOLE.match(value):
            return int(value)
        if _NUMBER.match(value):
            value = float(value)
    if isinstance(value, float) and kind in tuple("bdoxX") and value.is_integer():
        return int(value)
    return value


def dig(value: Any, keys: Sequence[str], source: str) -> Any:
    """Return a part of a value, by keys of dicts and indices of lists, never by attributes.

    Raises:
        AnalysisError: There is no such key; the hint has the nearest.
    """
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, (list, tuple)) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            names = [str(name) for name in value] if isinstance(value, Mapping) else []
            raise unknown(source, key, names)
    return value


def unknown(source: str, key: str, names: Sequence[str]) -> AnalysisError:
    """Return the error of a placeholder whose name, or a key of it, is not there."""
    close = nearest(key, names)
    some = f"there are: {', '.join(sorted(names)[:20])}" if names else None
    return AnalysisError(
        f"{_cut(source)}: there is no {key!r}", key=key, nearest=close,
        hint=f"did you mean {close!r}?" if close else some,
    )  # fmt: skip


def fill(text: str, values: Mapping[str, Any]) -> Any:
    """Return a text with values in place of its placeholders; only names are known.

    Raises:
        AnalysisError: A placeholder names an unknown value.
    """

    def lookup(piece: Placeholder) -> Any:
        if piece.kind != "name":
            raise AnalysisError(f"{piece.source}: only names of parameters are known here")
        return dig(values, piece.parts, piece.source)

    return evaluate(parse(text), lookup)
