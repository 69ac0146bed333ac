"""Where parameters of an analysis came from, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from taskgrove.events.value_origin import ValueOrigin
from taskgrove.view.why.actions import place_text

#: The longest text that is shown as it was written, in characters.
_MOST_WRITTEN: Final = 100


def origin_text(origin: ValueOrigin, given: str) -> str:
    """Return where a value came from, in a few words: ``peaks.yaml:5 (header)``.

    Args:
        origin: Where it came from.
        given: The words for a value that stands in no file, such as ``command line``.
    """
    words = _WORDS[origin.kind](origin)
    if origin.place is not None:
        return f"{place_text(origin.place)} ({words})"
    return given if origin.kind == "given" else words


def origin_rows(
    name: str, value: str, origin: ValueOrigin, given: str, indent: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield a value, then the values of its placeholders: name, value, and where from.

    Args:
        name: The name of the value.
        value: The value.
        origin: Where it came from.
        given: As :func:`origin_text`.
        indent: Spaces before its name.
    """
    text = origin_text(origin, given)
    if "{{" in origin.written:
        short = origin.written[:_MOST_WRITTEN]
        text += f": {short}{'…' if short != origin.written else ''}"
    yield f"{indent}{name}", value, text
    for item in origin.used:
        yield from origin_rows(item.name, item.value, item, given, f"{indent}  ")


def _section(origin: ValueOrigin) -> str:
    return "section" if origin.place is None else f"section {origin.place.key.partition('.')[0]}"


def _variable(origin: ValueOrigin) -> str:
    return "variable" if origin.place is None else origin.place.key


def _environment(origin: ValueOrigin) -> str:
    variable = origin.written.partition(" ")[0] if origin.written.startswith("$") else ""
    return f"environment, {variable}" if variable else "environment"


def _earlier(origin: ValueOrigin) -> str:
    return "an earlier run" if origin.run is None else f"run {origin.run}"


_WORDS: Final[dict[str, Callable[[ValueOrigin], str]]] = {
    "section": _section,
    "variable": _variable,
    "header": lambda _: "header",
    "given": lambda _: "given there",
    "environment": _environment,
    "earlier": _earlier,
    "default": lambda _: "default",
    "entry": lambda _: "entry of the analysis",
}
