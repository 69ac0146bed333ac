"""Where the values of a section, and of the header, came from.

The resolver remembers which placeholders each text had and where their values were found; here
that becomes data for people and for the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from taskgrove.analysis.configuring.config_section import Section, spellings_of
from taskgrove.analysis.configuring.config_text import HEADER
from taskgrove.analysis.configuring.resolver import EarlierResults, Found, Resolver, Where
from taskgrove.analysis.written import written_text
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import NOWHERE, Mark, join_path
from taskgrove.events import Place
from taskgrove.events.foreign_values import readable
from taskgrove.events.value_origin import OriginKind, ValueOrigin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: The longest text of a value, in characters.
_MOST_TEXT: Final = 200
_ELSEWHERE: Final[dict[Where, OriginKind]] = {
    "environment": "environment",
    "earlier": "earlier",
    "given": "given",
}
#: How deep placeholders are followed, and how many of one value are told, all levels together.
_MOST_DEPTH: Final = 8
_MOST_USED: Final = 50


class _Budget:
    """How many placeholders of one value may still be told."""

    def __init__(self) -> None:
        self._left = _MOST_USED

    def taken(self, found: list[Found]) -> list[Found]:
        """Return as many of some placeholders as may be told."""
        taken = found[: self._left]
        self._left -= len(taken)
        return taken


@dataclass(frozen=True, slots=True)
class OriginFinder:
    """Says where the values of one section, or of the header, came from.

    Attributes:
        file: The file of the configuration, or None.
        section: The name of the section; ``header`` for the header.
        text: The section as it stands in the text, a mapping.
        resolver: The resolver that has resolved it.
        from_environment: The variables that gave keys of the header, by key.
        from_entry: The parameters that the entry of the analysis gives.
    """

    file: str | None
    section: str
    text: Node
    resolver: Resolver
    from_environment: Mapping[str, str] = field(default_factory=dict)
    from_entry: frozenset[str] = frozenset()

    def of_section(
        self, section: Section, names: Iterable[str], fields: Mapping[str, FieldInfo]
    ) -> tuple[ValueOrigin, ...]:
        """Return the origins of parameters, with an empty value: the model makes the values.

        Args:
            section: The section, defaults included.
            names: The parameters.
            fields: The fields of the model: some have an alias.
        """
        values, found = section.node.value, []
        for name in names:
            key = next((it for it in sorted(spellings_of(name, fields)) if it in values), name)
            origin = self._origin(key, values.get(key), section.given.value)
            found.append(origin if key == name else replace(origin, name=name))
        return tuple(found)

    def of_header(self, keys: Iterable[str]) -> tuple[ValueOrigin, ...]:
        """Return the origins of the header's keys."""
        return tuple(self._origin(key, self.text.value.get(key), {}) for key in keys)

    def _origin(self, name: str, node: Node | None, given: Mapping[str, Node]) -> ValueOrigin:
        mark = self.text.key_marks.get(name, NOWHERE)
        kind: OriginKind = "header" if self.section == HEADER else "section"
        if name in given or (self.section == HEADER and node is not None and mark == NOWHERE):
            kind, mark = "given", NOWHERE
        elif node is None or mark == NOWHERE:
            kind = "entry" if name in self.from_entry else "default"
        if self.section == HEADER and kind == "given" and name in self.from_environment:
            return ValueOrigin(name, "environment", written=f"${self.from_environment[name]}")
        key = name if self.section == HEADER else join_path(self.section, name)
        return ValueOrigin(
            name,
            kind,
            place=self._place(mark, key),
            written=_written(node),
            used=() if node is None else self._used(node, 0, _Budget()),
        )

    def _used(self, node: Node, depth: int, budget: _Budget) -> tuple[ValueOrigin, ...]:
        if depth == _MOST_DEPTH:
            return ()
        found = {item.piece.source: item for text in _texts(node) for item in self._of(text)}
        items = budget.taken(list(found.values()))
        return tuple(self._from(item, depth, budget) for item in items)

    def _of(self, text: Node) -> list[Found]:
        return self.resolver.used.get(id(text), [])

    def _from(self, found: Found, depth: int, budget: _Budget) -> ValueOrigin:
        kind, key = self._kind_of(found)
        node, written = found.node, _written(found.node)
        if kind == "environment" and found.where == "header":
            written = f"${self.from_environment[found.keys[0]]}"
        return ValueOrigin(
            found.piece.source,
            kind,
            short(found.value),
            self._place(found.mark, key) if key else None,
            written,
            _run_of(self.resolver.scope.earlier, found.keys) if kind == "earlier" else None,
            () if node is None else self._used(node, depth + 1, budget),
        )

    def _kind_of(self, found: Found) -> tuple[OriginKind, str]:
        """Return where a placeholder found its value; and the key in the text, else nothing."""
        where, keys = found.where, found.keys
        is_given = any(found.node is node for node in self.resolver.scope.given.value.values())
        if where in _ELSEWHERE or is_given:
            return _ELSEWHERE.get(where, "given"), ""
        if where == "header" and keys[0] in self.from_environment:
            return "environment", ""
        if found.mark == NOWHERE:
            return ("given" if where == "header" else "default"), ""
        path = join_path(self.section, ".".join(keys)) if where == "own" else ".".join(keys)
        if where == "header":
            return "header", path
        return ("section" if path.startswith(f"{self.section}.") else "variable"), path

    def _place(self, mark: Mark, key: str) -> Place | None:
        if self.file is None or mark.line is None:
            return None
        return Place(self.file, mark.line, key)


def _texts(node: Node) -> Iterator[Node]:
    """Yield the scalars of a node."""
    todo, seen = [node], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if item.kind == "scalar":
            yield item
        else:
            todo += reversed(list(item.value.values() if item.kind == "mapping" else item.value))


def _written(node: Node | None) -> str:
    """Return the text of a node that holds placeholders, or nothing."""
    is_text = node is not None and node.kind == "scalar" and isinstance(node.value, str)
    return node.value[:_MOST_TEXT] if is_text and node is not None and "{{" in node.value else ""


def _run_of(earlier: EarlierResults | None, keys: tuple[str, ...]) -> str | None:
    """Return the run that gave an earlier result, where its finder knows it."""
    run_of = getattr(earlier, "run_of", None)
    found = None if run_of is None else run_of(*keys[:3])
    return found if isinstance(found, str) else None


def short(value: Any) -> str:
    """Return a value as a short text."""
    text = value if isinstance(value, str) else written_text(value)
    return readable(text, _MOST_TEXT)
