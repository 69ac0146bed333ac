"""References in the texts of an argument: ``{{ argin.common }}``; nothing is evaluated.

=====================================  ========================================================
``{{ argin.pss.beams }}``              a value of the command's document, by keys
``{{ argin.list[0] }}``                an item of a list, by its number
``{{ argin.pst.beam[beam_id] }}``      the item whose ``beam_id`` names the component of the step
``{{ argin.pss? }}``                   the same; a step whose document has no such part is left out
``{{ results.prepare.addresses }}``    the result of an earlier step, or a value in it
``{{ results['pst-beam-01'].x }}``     the same, with a name in quotes
``{{ earlier.FindPeaks.payload }}``    the result of an analysis of an earlier run
``{{{{``                               two braces
=====================================  ========================================================

Pure; any thread may call these functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from taskgrove.errors import nearest

Root: TypeAlias = Literal["argin", "results", "earlier"]
#: The words that a reference begins with.
ROOTS: Final[tuple[str, ...]] = get_args(Root)
#: The longest reference, in characters.
MAX_REFERENCE: Final = 1_000

_TOKEN: Final = re.compile(r"\{\{\{\{|\{\{([^{}]*)\}\}|\{\{")
_NAME: Final = r"[A-Za-z_][\w-]*"
_ROOT: Final = re.compile(_NAME, re.ASCII)
_STEP: Final = re.compile(
    rf"\.(?P<key>{_NAME}|[0-9]+)|\[\s*(?:(?P<index>[0-9]{{1,9}})|(?P<own>{_NAME})"
    r"|'(?P<single>[^'\]]+)'|\"(?P<double>[^\"\]]+)\")\s*\]",
    re.ASCII,
)


class Key(NamedTuple):
    """A step to the value of a key."""

    name: str


class ItemNumber(NamedTuple):
    """A step to an item of a list, by its number from 0."""

    number: int


class OwnItem(NamedTuple):
    """A step to the item of a list whose value of ``key`` names the component of the step."""

    key: str


PathStep: TypeAlias = Key | ItemNumber | OwnItem


@dataclass(frozen=True, slots=True)
class Reference:
    """One ``{{ … }}``.

    Attributes:
        source: Its text.
        root: The place of its value: the document, earlier steps, or earlier runs.
        steps: The way from there.
        optional: Whether the step is left out where the document has no such part.
    """

    source: str
    root: Root
    steps: tuple[PathStep, ...]
    optional: bool = False


class ReferenceProblemError(ValueError):
    """Something in double braces is no reference.

    Args:
        message: The problem.
        hint: The likely remedy.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def holds_braces(text: str) -> bool:
    """Return whether a text may hold a reference."""
    return "{{" in text


def parse_text(text: str) -> Sequence[str | Reference]:
    """Return a text as plain pieces and references.

    Raises:
        ReferenceProblemError: Something in double braces is no reference.
    """
    pieces: list[str | Reference] = []
    end = 0
    for match in _TOKEN.finditer(text):
        if match.start() > end:
            pieces.append(text[end : match.start()])
        end = match.end()
        if match[0] == "{{{{":
            pieces.append("{{")
        elif match[1] is None:
            raise ReferenceProblemError("'{{' is not closed by '}}'", _ESCAPE)
        else:
            pieces.append(_reference(match[0], match[1].strip()))
    if end < len(text):
        pieces.append(text[end:])
    return pieces


_ESCAPE: Final = "write {{{{ where two braces are meant"
_FORMS: Final = "{{ argin.KEY }}, {{ results.STEP.KEY }} or {{ earlier.ANALYSIS.KEY }}"


def _reference(source: str, inner: str) -> Reference:
    if len(source) > MAX_REFERENCE:
        raise ReferenceProblemError(
            f"a reference has more than {MAX_REFERENCE:,} characters", _ESCAPE
        )
    optional = inner.endswith("?")
    inner = inner.removesuffix("?").rstrip()
    found = _ROOT.match(inner)
    word = found[0] if found else ""
    root: Root | None = next((it for it in get_args(Root) if it == word), None)
    if root is None:
        close = nearest(word, ROOTS) if word else None
        raise ReferenceProblemError(
            f"{source} is no reference" + (f": it begins with {word!r}" if word else ""),
            f"did you mean {close!r}?" if close else f"a reference is {_FORMS}; {_ESCAPE}",
        )
    steps: list[PathStep] = []
    at = len(word)
    while at < len(inner):
        match = _STEP.match(inner, at)
        if match is None:
            raise ReferenceProblemError(
                f"{source} cannot be read from {inner[at : at + 20]!r} on",
                "a step is .key, ['a key'], [0] or [key], and nothing is evaluated",
            )
        steps.append(_step(match))
        at = match.end()
    _check_form(source, root, steps, optional=optional)
    return Reference(source, root, tuple(steps), optional)


def _step(match: re.Match[str]) -> PathStep:
    if match["index"] is not None:
        return ItemNumber(int(match["index"]))
    if match["own"] is not None:
        return OwnItem(match["own"])
    return Key(match["key"] or match["single"] or match["double"])


def _check_form(source: str, root: Root, steps: Sequence[PathStep], *, optional: bool) -> None:
    if root == "results" and not (steps and isinstance(steps[0], Key)):
        raise ReferenceProblemError(
            f"{source} names no step", "name it: {{ results.STEP }} or {{ results['STEP'].KEY }}"
        )
    if root == "earlier" and (
        len(steps) < 2 or not all(isinstance(step, (Key, ItemNumber)) for step in steps)
    ):
        raise ReferenceProblemError(
            f"{source} names no analysis and key", "name them: {{ earlier.ANALYSIS.payload }}"
        )
    if optional and root != "argin":
        raise ReferenceProblemError(
            f"{source}: only a reference to the document may be optional",
            "remove the question mark",
        )
