"""YAML as pieces with lines and columns, without recursion: plain data only.

Scalars follow the core schema of YAML 1.2, so that ``ON`` and ``OFF``, which are states of devices,
stay words: only ``true`` and ``false`` are booleans. A number whose value would differ from its
text (``0001``, ``1e999``) stays a text.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import yaml

from taskgrove.commands.command_map.nodes import Piece
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, shown

# The parser of libyaml is ten times faster; PyYAML is built without it on some machines.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LOOKAHEAD: Final = 1_024
#: When so many levels may begin within libyaml's look ahead, the slow parser reads on.
_DENSE: Final = 200

#: A scan 0001 is not the scan 1: such a text has a width.
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


_KINDS: Final[dict[type, Literal["mapping", "sequence", "scalar"]]] = {
    yaml.MappingStartEvent: "mapping",
    yaml.SequenceStartEvent: "sequence",
    yaml.ScalarEvent: "scalar",
}
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
        problems: Takes the problems after which reading goes on.
        scalar: Returns the value of an unquoted scalar; it may raise a ValueError.
        max_documents: How many documents there may be.

    Raises:
        MapError: The text is not YAML, has a tag that names a type, or several documents.
    """
    documents = 0
    try:
        for event in _events(text):
            mark = _mark(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > max_documents:
                    ordinal = "second" if documents == 2 else "further"
                    most = "one document" if max_documents == 1 else f"{max_documents} at most"
                    said = f"a {ordinal} document begins; a {problems.what} is {most}"
                    raise problems.stop(said, "", mark)
                yield Piece("document", None, mark)
            elif isinstance(event, yaml.AliasEvent):
                yield Piece("alias", None, mark, event.anchor)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                yield Piece("end", None, mark)
            elif isinstance(event, yaml.NodeEvent):
                yield _node_piece(event, mark, problems, scalar)
    except yaml.YAMLError as exc:
        if isinstance(exc, yaml.MarkedYAMLError):
            mark = _mark(exc.problem_mark or exc.context_mark)
            said = " ".join(str(part) for part in (exc.context, exc.problem) if part)
        else:
            position = getattr(exc, "position", None)
            line = None if position is None else text.count("\n", 0, position) + 1
            mark, said = Mark(line), str(getattr(exc, "reason", exc))
        raise problems.stop(f"this is not YAML: {said}", "", mark) from exc


def _mark(place: Any) -> Mark:
    return NOWHERE if place is None else Mark(place.line + 1, place.column + 1)


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


def _node_piece(event: Any, mark: Mark, problems: Problems, scalar: Callable[[str], Any]) -> Piece:
    kind = _KINDS[type(event)]
    tag = event.tag
    if tag is not None and _CORE_TAGS.get(tag) != kind:
        hint = f"a {problems.what} holds plain data only"
        problems.add(f"a tag is not allowed: {shown(tag)}", "", mark, found=tag, hint=hint)
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
