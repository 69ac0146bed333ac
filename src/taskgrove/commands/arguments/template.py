"""The argument of a step with references in it, and the values that take their places.

A template is plain data, in which a :class:`Reference`, a :class:`Joined` text and a
:class:`Merged` mapping stand for values that are still to come. A text of a template is final: a
value that took the place of a reference is never looked at again. Pure; any thread may call these
functions. A value has a bounded depth, so recursion is safe here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from taskgrove.commands.arguments.reference import Reference, holds_braces, parse_text
from taskgrove.commands.arguments.type_words import type_word

#: The key of a mapping whose value is a list of mappings that are merged.
MERGE: Final = "$merge"


@dataclass(frozen=True, slots=True)
class Joined:
    """A text with references inside; their values become text."""

    pieces: Sequence[str | Reference]


@dataclass(frozen=True, slots=True)
class Merged:
    """A mapping made of others: a later one counts before an earlier one, key by key.

    Attributes:
        parts: The mappings, or references to them, in order.
        own: The keys that stand beside ``$merge``; they count before all.
    """

    parts: Sequence[Any]
    own: Mapping[str, Any]


#: Returns the value of a reference, or the reference itself while the value is not known.
Lookup: TypeAlias = Callable[[Reference], Any]


class UnresolvedError(ValueError):
    """A reference has no value, or a value that does not fit its place.

    Attributes:
        reference: The reference, or None.
        nearest: The name that was probably meant, or None.
        because_of: The path of the step that has given no result, or None.
    """

    def __init__(
        self,
        text: str,
        reference: Reference | None = None,
        close: str | None = None,
        *,
        because_of: str | None = None,
    ) -> None:
        super().__init__(text)
        self.reference = reference
        self.nearest = close
        self.because_of = because_of


def read_template(value: Any) -> Any:
    """Return an argument of a map as a template; one without references is plain data.

    Raises:
        ReferenceProblemError: A text in it is not valid.
    """
    if isinstance(value, str):
        return _text(value) if holds_braces(value) else value
    if isinstance(value, (list, tuple)):
        return [read_template(item) for item in value]
    if isinstance(value, Mapping):
        read = {
            key if not holds_braces(key) else _key(key): read_template(item)
            for key, item in value.items()
        }
        if MERGE not in read:
            return read
        parts = read.pop(MERGE)
        return Merged(parts if isinstance(parts, list) else [parts], read)
    return value


def _text(value: str) -> Any:
    pieces = parse_text(value)
    if len(pieces) == 1:
        return pieces[0]
    if any(isinstance(piece, Reference) for piece in pieces):
        return Joined(pieces)
    return "".join(str(piece) for piece in pieces)


def _key(key: str) -> str:
    return "".join(
        piece.source if isinstance(piece, Reference) else piece for piece in parse_text(key)
    )


def references_in(template: Any) -> Iterator[Reference]:
    """Yield the references of a template that have no value yet."""
    if isinstance(template, Reference):
        yield template
    elif isinstance(template, Joined):
        for piece in template.pieces:
            if isinstance(piece, Reference):
                yield piece
    elif isinstance(template, Merged):
        for part in (*template.parts, *template.own.values()):
            yield from references_in(part)
    elif isinstance(template, dict):
        for item in template.values():
            yield from references_in(item)
    elif isinstance(template, list):
        for item in template:
            yield from references_in(item)


def holds_reference(value: Any) -> bool:
    """Return whether a text of an argument holds double braces, or a mapping is merged."""
    if isinstance(value, str):
        return holds_braces(value)
    if isinstance(value, Mapping):
        return MERGE in value or any(
            holds_braces(key) or holds_reference(item) for key, item in value.items()
        )
    return isinstance(value, (list, tuple)) and any(holds_reference(item) for item in value)


def filled(template: Any, lookup: Lookup) -> Any:
    """Return a template with the values that are known.

    Raises:
        UnresolvedError: A value does not fit its place, or ``lookup`` has none.
    """
    if isinstance(template, Reference):
        value = lookup(template)
        return value if isinstance(value, Reference) else Fixed(value)
    return _filled(template, lookup)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that took the place of a reference: no part of it is a template."""

    value: Any


def _filled(template: Any, lookup: Lookup) -> Any:
    if isinstance(template, Joined):
        return _joined([_piece(piece, lookup) for piece in template.pieces])
    if isinstance(template, Merged):
        parts = [filled(part, lookup) for part in template.parts]
        own = {key: filled(item, lookup) for key, item in template.own.items()}
        return Merged(parts, own)
    if isinstance(template, dict):
        return {key: filled(item, lookup) for key, item in template.items()}
    if isinstance(template, list):
        return [filled(item, lookup) for item in template]
    return template


def _piece(piece: str | Reference, lookup: Lookup) -> str | Reference:
    if isinstance(piece, str):
        return piece
    value = lookup(piece)
    return piece if isinstance(value, Reference) else _as_text(value, piece)


def _as_text(value: Any, reference: Reference) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise UnresolvedError(
        f"{reference.source} is {type_word(value)}, which cannot stand inside a text", reference
    )


def _joined(pieces: Sequence[str | Reference]) -> Any:
    if any(isinstance(piece, Reference) for piece in pieces):
        return Joined(pieces)
    return "".join(str(piece) for piece in pieces)


def value_of(template: Any) -> Any:
    """Return the plain value of a template that has no reference left.

    Raises:
        UnresolvedError: ``$merge`` holds something that is no mapping.
    """
    if isinstance(template, Fixed):
        return template.value
    if isinstance(template, Merged):
        merged: dict[str, Any] = {}
        for part in template.parts:
            value = value_of(part)
            if not isinstance(value, Mapping):
                raise UnresolvedError(f"{MERGE} takes mappings, not {_cut(value)}")
            merged.update(value)
        merged.update({key: value_of(item) for key, item in template.own.items()})
        return merged
    if isinstance(template, dict):
        return {key: value_of(item) for key, item in template.items()}
    if isinstance(template, list):
        return [value_of(item) for item in template]
    return template


def shown_template(template: Any) -> Any:
    """Return a template as plain data for people: a reference without a value as it is written."""
    shown = template
    if isinstance(template, Reference):
        shown = template.source
    elif isinstance(template, Joined):
        shown = "".join(it.source if isinstance(it, Reference) else it for it in template.pieces)
    elif isinstance(template, Fixed):
        shown = template.value
    elif isinstance(template, Merged):
        shown = _shown_merged(template)
    elif isinstance(template, dict):
        shown = {key: shown_template(item) for key, item in template.items()}
    elif isinstance(template, list):
        shown = [shown_template(item) for item in template]
    return shown


def _shown_merged(template: Merged) -> dict[str, Any]:
    parts = [shown_template(part) for part in template.parts]
    own = {key: shown_template(item) for key, item in template.own.items()}
    if all(isinstance(part, Mapping) for part in parts):
        return {key: item for part in (*parts, own) for key, item in part.items()}
    return {MERGE: parts, **own}


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"
