"""The section of one analysis: its text, values that replace those of the text, and defaults.

Values from elsewhere (``--set``, ``argin`` and ``each`` of a map) replace those of the section
before any placeholder is replaced: so ``out: "out_{{ frame }}.txt"`` follows a given ``frame``.
Defaults of the model come last, and may hold placeholders too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from taskgrove.analysis.parameters.header import AnalysisHeader, is_header_field
from taskgrove.analysis.substitution import has_placeholders
from taskgrove.commands.command_map.nodes import Node

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from taskgrove.analysis.registry import AnalysisEntry


@dataclass(frozen=True, slots=True)
class Section:
    """A section, ready to be resolved.

    Attributes:
        node: All of it, defaults included: a mapping.
        given: The values from elsewhere, a mapping; names are looked up here first.
        only_seen: The defaults that placeholders may name, but that need no resolving: the model
            has them anyway.
    """

    node: Node
    given: Node
    only_seen: frozenset[str]


def section_of(
    entry: AnalysisEntry, text: Node, overrides: Mapping[str, Any], header: AnalysisHeader
) -> Section:
    """Return the section of an analysis: its text, with overrides by key, and defaults."""
    fields = entry.parameters.model_fields
    values = dict(text.value)
    given: dict[str, Node] = {}
    for key, value in overrides.items():
        for spelling in spellings_of(key, fields):  # else the value of the text would win
            values.pop(spelling, None)
        given[key] = values[key] = to_node(value)
    only_seen = set()
    for name, field in fields.items():
        spellings = spellings_of(name, fields)
        if any(spelling in values for spelling in spellings):
            continue
        found, value = _default(entry, name, field, header)
        if not found:
            continue
        values[name] = to_node(value)
        if not refers(values[name]):
            only_seen.add(name)
    node = Node("mapping", values, text.mark, text.key_marks)
    return Section(node, Node("mapping", given), frozenset(only_seen))


def spellings_of(key: str, fields: Mapping[str, FieldInfo]) -> set[str]:
    """Return all names under which a model takes the value of a key."""
    found = {key}
    for name, field in fields.items():
        aliases = {name, field.alias, field.validation_alias}
        if key in aliases:
            found |= {alias for alias in aliases if isinstance(alias, str)}
    return found


def _default(
    entry: AnalysisEntry, name: str, field: FieldInfo, header: AnalysisHeader
) -> tuple[bool, Any]:
    """Return whether a parameter has a default, and the default."""
    if is_header_field(field):
        return True, header
    if name == "executable" and entry.executable is not None:
        return True, entry.executable
    if field.is_required() or field.default_factory_takes_validated_data:
        return False, None
    return True, field.get_default(call_default_factory=True)


def to_node(value: Any) -> Node:
    """Return plain data as a node; all but mappings and lists become scalars, unchanged."""
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        value = {**fields, **(value.model_extra or {})}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return Node("mapping", {key: to_node(item) for key, item in value.items()})
    if type(value) in {list, tuple}:
        return Node("sequence", [to_node(item) for item in value])
    return Node("scalar", value)


def refers(node: Node) -> bool:
    """Return whether a node holds placeholders."""
    if node.kind == "scalar":
        return isinstance(node.value, str) and has_placeholders(node.value)
    return any(map(refers, node.value.values() if node.kind == "mapping" else node.value))
