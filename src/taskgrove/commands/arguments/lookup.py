"""The value at the end of a reference's steps, in a document or a result. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from taskgrove.commands.arguments.reference import ItemNumber, Key, OwnItem, PathStep, Reference
from taskgrove.commands.arguments.template import UnresolvedError
from taskgrove.commands.arguments.type_words import type_word
from taskgrove.errors import nearest

_TOLD_NAMES: Final = 10


class MissingPartError(UnresolvedError):
    """A document or a result has no such part."""


def value_at(
    reference: Reference,
    value: Any,
    steps: Iterable[PathStep],
    *,
    at: str,
    names: Collection[str] = (),
) -> Any:
    """Return the value at the end of some steps.

    Args:
        reference: The reference, for errors.
        value: The value to begin with.
        steps: The steps.
        at: The name of ``value``, for errors.
        names: The names of the component of the step, in small letters, and its number.

    Raises:
        MissingPartError: There is no such part.
        UnresolvedError: A step does not fit the value that it meets.
    """
    for step in steps:
        if isinstance(step, OwnItem):
            value, at = _own_item(reference, value, step.key, at, names), f"{at}[{step.key}]"
        elif isinstance(step, ItemNumber) or (isinstance(value, list) and step.name.isdecimal()):
            number = step.number if isinstance(step, ItemNumber) else int(step.name)
            value, at = _item(reference, value, number, at), f"{at}[{number}]"
        else:
            value, at = _of_key(reference, value, step, at), f"{at}.{step.name}"
    return value


def _of_key(reference: Reference, value: Any, step: Key, at: str) -> Any:
    if not isinstance(value, Mapping):
        raise UnresolvedError(
            f"{reference.source}: {at} is {type_word(value)}, which has no key {step.name!r}",
            reference,
        )
    if step.name not in value:
        keys = [str(key) for key in value]
        close = nearest(step.name, keys)
        more = f" and {len(keys) - _TOLD_NAMES} more" if len(keys) > _TOLD_NAMES else ""
        has = f"{', '.join(keys[:_TOLD_NAMES]) or 'nothing'}{more}"
        raise MissingPartError(
            f"{reference.source}: {at} has no {step.name!r}; it has: {has}", reference, close
        )
    return value[step.name]


def _item(reference: Reference, value: Any, number: int, at: str) -> Any:
    if not isinstance(value, list):
        raise UnresolvedError(
            f"{reference.source}: {at} is {type_word(value)}, which has no item {number}", reference
        )
    if number >= len(value):
        raise MissingPartError(
            f"{reference.source}: {at} has {len(value)} items, and none of number {number}",
            reference,
        )
    return value[number]


def _own_item(reference: Reference, value: Any, key: str, at: str, names: Collection[str]) -> Any:
    if not names:
        raise UnresolvedError(
            f"{reference.source}: [{key}] selects by the component, and the step has none",
            reference,
        )
    if not isinstance(value, list):
        raise UnresolvedError(
            f"{reference.source}: {at} is {type_word(value)}, and no list of items with a {key!r}",
            reference,
        )
    found = [it for it in value if isinstance(it, Mapping) and _names(it.get(key), names)]
    if len(found) > 1:
        raise UnresolvedError(
            f"{reference.source}: {len(found)} items of {at} have a {key!r} of this component",
            reference,
        )
    if not found:
        raise MissingPartError(
            f"{reference.source}: no item of {at} has a {key!r} of this component", reference
        )
    return found[0]


def _names(value: Any, names: Collection[str]) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return False
    word = str(value).strip().lower()
    is_number = word.isascii() and word.isdecimal()
    return word in names or (is_number and (word.lstrip("0") or "0") in names)
