"""The text of a command map as a tree of nodes that know their lines.

Three sources (YAML, JSON, a Python mapping) give one stream of pieces; one
builder makes nodes of it, without recursion, and refuses what is too big, too
deep, refers to itself or names a key twice. Nothing is ever constructed but
plain data: no tags, no objects, no import (DESIGN, safety lines).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from taskgrove.commands.command_map.json_text import json_pieces
from taskgrove.commands.command_map.nodes import Node, Piece
from taskgrove.commands.command_map.problems import (
    NOWHERE,
    Mark,
    Problems,
    can_be_written,
    join_path,
    shown,
)
from taskgrove.commands.command_map.yaml_text import plain_scalar, yaml_pieces
from taskgrove.errors import MapError


@dataclass(frozen=True, slots=True)
class MapLimits:
    """How big a map may be; beyond that it is refused before it costs anything.

    Attributes:
        max_bytes: Size of the file, in bytes.
        max_depth: Levels of nesting of the text; a level of tasks takes two.
        max_nodes: Values in the map after its aliases and merge keys are followed.
        max_aliases: Uses of YAML aliases.
    """

    max_bytes: int = 4 * 1024 * 1024
    max_depth: int = 200
    max_nodes: int = 250_000
    max_aliases: int = 1_000


DEFAULT_LIMITS: Final = MapLimits()


def read_text(
    text: str | bytes,
    syntax: Literal["yaml", "json"],
    problems: Problems,
    limits: MapLimits = DEFAULT_LIMITS,
) -> Node | None:
    """Return the tree of a text, or None where there is nothing in it.

    Args:
        text: YAML or JSON; bytes are UTF-8.
        syntax: Which of the two it is.
        problems: Takes what is wrong but lets reading go on: keys that stand twice.
        limits: How big it may be.

    Raises:
        MapError: It cannot be read further.
    """
    if len(text) > limits.max_bytes:
        raise too_big(problems, len(text), limits)
    words = text if isinstance(text, str) else _decoded(text, problems)
    pieces = json_pieces if syntax == "json" else yaml_pieces
    return _Builder(problems, limits).build(pieces(words, problems))


def read_yaml_documents(
    text: str | bytes,
    problems: Problems,
    limits: MapLimits = DEFAULT_LIMITS,
    *,
    scalar: Callable[[str], Any] = plain_scalar,
    max_documents: int = 2,
) -> list[Node | None]:
    """Return the tree of each document of a YAML text; None for an empty one.

    Args:
        text: The YAML; bytes are UTF-8.
        problems: Takes what is wrong but lets reading go on: keys that stand twice.
        limits: How big each document may be.
        scalar: What an unquoted scalar is; it may raise a ValueError.
        max_documents: How many documents there may be.

    Raises:
        MapError: It cannot be read further.
    """
    if len(text) > limits.max_bytes:
        raise too_big(problems, len(text), limits)
    words = text if isinstance(text, str) else _decoded(text, problems)
    pieces = yaml_pieces(words, problems, scalar=scalar, max_documents=max_documents)
    trees: list[Node | None] = []
    for is_break, part in itertools.groupby(pieces, lambda piece: piece.kind == "document"):
        if is_break:
            trees += [None for _ in part]
        else:
            trees[-1] = _Builder(problems, limits).build(part)
    return trees


def read_data(data: Mapping[str, Any], problems: Problems, limits: MapLimits) -> Node | None:
    """Return the tree of a Python mapping; see :func:`read_text`."""
    return _Builder(problems, limits).build(_data_pieces(data))


def too_big(problems: Problems, size: int, limits: MapLimits) -> MapError:
    """Return the error of a text that is bigger than ``limits`` allow."""
    return problems.stop(
        f"the file has {size:,} bytes; at most {limits.max_bytes:,} are read",
        found=size,
        hint=f"split the {problems.what}, or raise MapLimits.max_bytes",
    )


def _decoded(text: bytes, problems: Problems) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise problems.stop(
            f"this is not UTF-8: byte {text[exc.start]:#04x}", "",
            Mark(text.count(b"\n", 0, exc.start) + 1), hint="save the file as UTF-8",
        ) from exc  # fmt: skip


def _data_pieces(data: Any) -> Iterator[Piece]:
    """Yield the pieces of Python data, without recursion; sets and objects are left as they are."""
    stack: list[Iterator[Any]] = [iter((data,))]
    while stack:
        for value in stack[-1]:
            if isinstance(value, Mapping):
                yield Piece("mapping", None, NOWHERE, id(value))
                stack.append(_flat(value))
                break
            if isinstance(value, (list, tuple)):
                yield Piece("sequence", None, NOWHERE, id(value))
                stack.append(iter(value))
                break
            yield Piece("scalar", value)
        else:
            stack.pop()
            if stack:
                yield Piece("end")


def _flat(mapping: Mapping[Any, Any]) -> Iterator[Any]:
    for key, value in mapping.items():
        # A tuple as a key is no list of the map.
        yield key if isinstance(key, (str, int, float, Enum)) or key is None else shown(key)
        yield value


@dataclass(slots=True)
class _Frame:
    """A collection that is being filled."""

    node: Node
    identity: str | int | None
    key: str | None = None
    merging: bool = False
    merges: list[Node] = field(default_factory=list)

    @property
    def awaits_key(self) -> bool:
        return self.node.kind == "mapping" and self.key is None and not self.merging


class _Builder:
    def __init__(self, problems: Problems, limits: MapLimits) -> None:
        self._problems = problems
        self._limits = limits
        self._stack: list[_Frame] = []
        self._anchors: dict[str | int, Node] = {}
        self._open: set[str | int] = set()
        self._aliases = 0
        self._root: Node | None = None

    def build(self, pieces: Iterable[Piece]) -> Node | None:
        for piece in pieces:
            if piece.kind == "document":
                continue
            if piece.kind == "end":
                self._end(self._stack.pop(), piece.mark)
            elif piece.kind == "alias":
                self._place(self._followed(piece), piece.mark)
            elif piece.kind in ("mapping", "sequence"):
                self._begin(piece)
            elif piece.kind == "merge" and self._stack and self._stack[-1].awaits_key:
                self._stack[-1].merging = True
            else:
                value = "<<" if piece.kind == "merge" else piece.value
                if isinstance(value, int) and not can_be_written(value):
                    raise self._too_long(piece.mark)
                node = Node("scalar", value, piece.mark)
                if piece.identity is not None:
                    self._anchors[piece.identity] = node
                self._place(node, piece.mark)
        return self._root

    @property
    def _path(self) -> str:
        path = ""
        for frame in self._stack:
            if frame.node.kind == "sequence":
                path = join_path(path, len(frame.node.value))
            elif frame.merging or frame.key is not None:
                path = join_path(path, "<<" if frame.merging else str(frame.key))
        return path

    def _begin(self, piece: Piece) -> None:
        if self._stack and self._stack[-1].awaits_key:
            hint = "put a text that begins with '{' in quotes" if piece.kind == "mapping" else None
            raise self._problems.stop(
                "a key is a text, not a collection", self._path, piece.mark, hint=hint
            )
        if len(self._stack) >= self._limits.max_depth:
            raise self._too_deep(piece.mark)
        if piece.identity is not None:
            if isinstance(piece.identity, int) and piece.identity in self._open:
                raise self._cycle(piece, "the value contains itself")
            self._open.add(piece.identity)
        empty: Any = {} if piece.kind == "mapping" else []
        node = Node("mapping" if piece.kind == "mapping" else "sequence", empty, piece.mark)
        self._stack.append(_Frame(node, piece.identity))

    def _end(self, frame: _Frame, mark: Mark) -> None:
        for source in frame.merges:
            for key, child in source.value.items():
                if key not in frame.node.value:
                    frame.node.value[key] = child
                    frame.node.key_marks[key] = source.key_marks.get(key, source.mark)
                    self._count(frame.node, child, mark)
        if frame.identity is not None:
            self._open.discard(frame.identity)
            if isinstance(frame.identity, str):
                self._anchors[frame.identity] = frame.node
        self._place(frame.node, frame.node.mark)

    def _count(self, parent: Node, child: Node, mark: Mark) -> None:
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)
        if parent.size > self._limits.max_nodes:
            raise self._problems.stop(
                f"the {self._problems.what} holds more than {self._limits.max_nodes:,} values"
                " once its aliases are followed", self._path, mark,
            )  # fmt: skip
        if len(self._stack) + parent.height > self._limits.max_depth + 1:
            raise self._too_deep(mark)

    def _place(self, node: Node, mark: Mark) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if frame.awaits_key:
            self._key(frame, node, mark)
            return
        if frame.merging:
            self._merge(frame, node, mark)
            return
        self._count(frame.node, node, mark)
        if frame.node.kind == "sequence":
            frame.node.value.append(node)
        else:
            assert frame.key is not None
            frame.node.value[frame.key] = node
            frame.key = None

    def _key(self, frame: _Frame, node: Node, mark: Mark) -> None:
        key = node.value
        if node.kind != "scalar" or not isinstance(key, str):
            self._problems.add(
                f"a key is a text, not {node.type_word} {shown(key)}", self._path, mark,
                found=key, hint="put it in quotes",
            )  # fmt: skip
            key = shown(key)
        elif isinstance(key, Enum):
            key = str(key.value)
        if key in frame.node.value:
            first = frame.node.key_marks[key].line
            where = f" (first in line {first})" if first is not None else ""
            self._problems.add(
                f"the key {shown(key)} stands here twice{where}",
                join_path(self._path, key), mark, found=key, hint="names are unique",
            )  # fmt: skip
        frame.key = key
        frame.node.key_marks[key] = mark

    def _merge(self, frame: _Frame, node: Node, mark: Mark) -> None:
        sources: Sequence[Node] = node.value if node.kind == "sequence" else [node]
        for source in sources:
            if source.kind == "mapping":
                frame.merges.append(source)
            else:
                self._problems.add(
                    f"'<<' takes a mapping or a list of them, not {source.type_word}",
                    self._path, mark, found=source.value if source.kind == "scalar" else None,
                )  # fmt: skip
        frame.merging = False

    def _followed(self, piece: Piece) -> Node:
        assert isinstance(piece.identity, str)
        self._aliases += 1
        if self._aliases > self._limits.max_aliases:
            raise self._problems.stop(
                f"the {self._problems.what} uses more than {self._limits.max_aliases:,} aliases",
                self._path,
                piece.mark,
            )
        if piece.identity in self._open:
            raise self._cycle(piece, f"the alias *{piece.identity} stands inside its own anchor")
        if piece.identity not in self._anchors:
            raise self._problems.stop(
                f"there is no anchor &{piece.identity} before this alias", self._path, piece.mark,
                found=piece.identity, allowed=[f"*{name}" for name in self._anchors],
            )  # fmt: skip
        return self._anchors[piece.identity]

    def _cycle(self, piece: Piece, said: str) -> MapError:
        return self._problems.stop(
            f"{said}: a cycle", self._path, piece.mark, found=piece.identity,
            hint="a task cannot be its own part" if self._problems.what == "map" else None,
        )  # fmt: skip

    def _too_long(self, mark: Mark) -> MapError:
        # Written in another base, or a number of Python: whoever writes it in digits would fail.
        return self._problems.stop(
            "a number has too many digits", self._path, mark,
            hint=f"at most {sys.get_int_max_str_digits():,} are read",
        )  # fmt: skip

    def _too_deep(self, mark: Mark) -> MapError:
        return self._problems.stop(
            f"the {self._problems.what} is nested deeper than {self._limits.max_depth} levels",
            self._path,
            mark,
        )
