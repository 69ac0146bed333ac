"""The parts of a command map's text: pieces, as they are read, and nodes of a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from taskgrove.commands.arguments.type_words import type_word
from taskgrove.commands.command_map.problems import NOWHERE, Mark, shown

PieceKind: TypeAlias = Literal["document", "mapping", "sequence", "scalar", "end", "alias", "merge"]


class Piece(NamedTuple):
    """One piece of the text: a document or collection begins, one ends, a scalar, an alias.

    ``merge`` is YAML's key ``<<``. ``identity`` is the ``id`` of a Python collection or the anchor
    of a YAML one, so that a value that refers to itself is found.
    """

    kind: PieceKind
    value: Any = None
    mark: Mark = NOWHERE
    identity: str | int | None = None


@dataclass(slots=True)
class Node:
    """A value of the map and where it stands.

    Attributes:
        kind: Whether the value is a mapping, a sequence or a scalar.
        value: The scalar, or a dict of nodes, or a list of nodes.
        mark: Where the value begins.
        key_marks: Where each key of a mapping stands.
        size: Values in it, itself included, aliases followed.
        height: Levels in it: 1 for a scalar.
    """

    kind: Literal["mapping", "sequence", "scalar"]
    value: Any
    mark: Mark = NOWHERE
    key_marks: dict[str, Mark] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    @property
    def type_word(self) -> str:
        """The type of the value, in words of a map: ``a mapping``, ``a list``, ``a text``."""
        return type_word(self.value)

    @property
    def scalar(self) -> Any:
        """The value of a scalar; None of a collection."""
        return self.value if self.kind == "scalar" else None

    @property
    def found(self) -> str:
        """The value as a problem tells it: ``found a number 3``."""
        value = self.scalar
        return f"found {self.type_word}" + ("" if value is None else f" {shown(value)}")


def to_data(node: Node) -> Any:
    """Return the plain data of a node, without recursion."""
    result: list[Any] = [None]
    todo: list[tuple[Node, Any, Any]] = [(node, result, 0)]
    while todo:
        item, into, key = todo.pop()
        made: Any = item.value
        if item.kind == "mapping":
            made = dict.fromkeys(item.value)  # the order of its keys, before they are filled
            todo.extend((child, made, name) for name, child in item.value.items())
        elif item.kind == "sequence":
            made = [None] * len(item.value)
            todo.extend((child, made, index) for index, child in enumerate(item.value))
        into[key] = made
    return result[0]
