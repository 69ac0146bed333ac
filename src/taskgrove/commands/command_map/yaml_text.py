"""YAML as pieces with lines and columns, without recursion and with nothing but plain data.

Scalars follow the core schema of YAML 1.2, so that ``ON`` and ``OFF``, which are
states of devices, stay words: only ``true`` and ``false`` are booleans. A number that
would not be what was written (``0001``, ``1e999``) stays a text.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import yaml

from taskgrove.commands.command_map.nodes import Piece, PieceKind
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, shown

# The parser of libyaml is ten times faster; PyYAML is built without it on some machines.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LOOKAHEAD: Final = 1_024
#: So many levels may begin within libyaml's look ahead: then the slow parser is asked.
_DENSE: Final = 200

#: A scan 0001 is not the scan 1: what stands there has a width.
_PADDED = re.compile(r"[-+]?0[0-9]")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED_INT = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def plain_scalar(text: str) -> Any:
    """Return the value of an unquoted YAML scalar by the core schema of YAML 1.2.

    Raises:
        ValueError: A whole number has too many digits.
    """
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _PADDED.match(text):
        return text
    if _INT.match(text):
        return int(text)
    if _BASED_INT.match(text):
        return int(text, 0)
    if not _FLOAT.match(text):
        return text
    number = float(text)
    return number if math.isfinite(number) else text


_CORE_TAGS: Final = {
    "tag:yaml.org,2002:str": "scalar",
    "tag:yaml.org,2002:map": "mapping",
    "tag:yaml.org,2002:seq": "sequence",
    "!": "scalar",
}


def yaml_pieces(
    text: str,
    problems: Problems,
    *,
    scalar: Callable[[str], Any] = plain_scalar,
    max_documents: int = 1,
) -> Iterator[Piece]:
    """Yield the pieces of a YAML text; each document begins with a piece of its own.

    Args:
        text: The text.
        problems: Takes what is wrong but lets reading go on.
        scalar: What an unquoted scalar is; it may raise a ValueError.
        max_documents: How many documents there may be.

    Raises:
        MapError: The text is not YAML, has a tag that names a type, or several documents.
    """
    documents = 0
    try:
        for event in _events(text):
            place = event.start_mark
            mark = NOWHERE if place is None else Mark(place.line + 1, place.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > max_documents:
                    ordinal = "second" if documents == 2 else "further"
                    raise problems.stop(
                        f"a {ordinal} document begins; a {problems.what} is"
                        f" {'one document' if max_documents == 1 else f'{max_documents} at most'}",
                        "", mark,
                    )  # fmt: skip
                yield Piece("document", None, mark)
                continue
            piece = _yaml_piece(event, mark, problems, scalar)
            if piece is not None:
                yield piece
    except yaml.MarkedYAMLError as exc:
        wrong = exc.problem_mark or exc.context_mark
        mark = NOWHERE if wrong is None else Mark(wrong.line + 1, wrong.column + 1)
        said = " ".join(str(part) for part in (exc.context, exc.problem) if part)
        raise problems.stop(f"this is not YAML: {said}", "", mark) from exc
    except yaml.YAMLError as exc:
        said = str(getattr(exc, "reason", exc))
        raise problems.stop(f"this is not YAML: {said}", "", _reader_mark(text, exc)) from exc


def _events(text: str) -> Iterator[Any]:
    """Yield the events of a YAML text, in order, until its first error.

    libyaml reads up to 1,024 characters ahead, to see whether a bracket begins a key, and from
    0.2.6 on it refuses more than 1,000 levels. So it may refuse a text before it has told of a
    single level, and our own limit could not speak. PyYAML's parser goes on from there.
    """
    told = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            told += 1
            yield event
    except yaml.MarkedYAMLError as exc:
        at = 0 if exc.problem_mark is None else exc.problem_mark.index
        ahead = text[max(at - _LOOKAHEAD, 0) : at]
        if ahead.count("[") + ahead.count("{") < _DENSE:  # any other error
            raise
        yield from itertools.islice(yaml.parse(text, Loader=yaml.SafeLoader), told, None)


def _reader_mark(text: str, exc: yaml.YAMLError) -> Mark:
    position = getattr(exc, "position", None)
    if not isinstance(position, int):
        return NOWHERE
    return Mark(text.count("\n", 0, position) + 1, None)


def _yaml_piece(
    event: Any, mark: Mark, problems: Problems, scalar: Callable[[str], Any]
) -> Piece | None:
    if isinstance(event, yaml.AliasEvent):
        return Piece("alias", None, mark, event.anchor)
    if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
        return Piece("end", None, mark)
    if not isinstance(event, yaml.NodeEvent):
        return None
    event = cast(Any, event)  # its stubs know neither tag nor value
    kind: PieceKind = "scalar"
    if isinstance(event, yaml.MappingStartEvent):
        kind = "mapping"
    elif isinstance(event, yaml.SequenceStartEvent):
        kind = "sequence"
    tag = event.tag
    if tag is not None and _CORE_TAGS.get(tag) != kind:
        problems.add(
            f"a tag is not allowed: {shown(tag)}", "", mark, found=tag,
            hint=f"a {problems.what} holds plain data only",
        )  # fmt: skip
    if kind != "scalar":
        return Piece(kind, None, mark, event.anchor)
    value: Any = event.value
    if not event.style and tag is None:  # unquoted
        if value == "<<":
            return Piece("merge", None, mark, event.anchor)
        try:
            value = scalar(value)
        except ValueError:
            hint = f"at most {sys.get_int_max_str_digits():,} are read"
            problems.add("a number has too many digits", "", mark, hint=hint)
    return Piece("scalar", value, mark, event.anchor)
