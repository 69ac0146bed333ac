"""The text of a command map as a tree of nodes with their lines.

Three sources (YAML, JSON, a Python mapping) give one stream of pieces. One builder makes nodes
of the stream, without recursion; it refuses a value that is too big, too deep, refers to itself
or names a key twice. Only plain data is made: no tags, no objects, no import.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from taskgrove.commands.command_map.json_text import json_pieces
from taskgrove.commands.command_map.nodes import Node, Piece
from taskgrove.commands.command_map.problems import (
    NOWHERE,
    MapProblem,
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
        problems: Takes the problems after which reading goes on: keys that stand twice.
        limits: How big it may be.

    Raises:
        MapError: It cannot be read further.
    """
    if syntax == "json":
        words = _decoded(text, problems, limits)
        return _Builder(problems, limits).build(json_pieces(words, problems))
    trees = read_yaml_documents(text, problems, limits, max_documents=1)
    return trees[0] if trees else None


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
        problems: As of :func:`read_text`, and so are the limits, which each document has.
        limits: See there.
        scalar: Returns the value of an unquoted scalar; it may raise a ValueError.
        max_documents: How many documents there may be.

    Raises:
        MapError: It cannot be read further.
    """
    words = _decoded(text, problems, limits)
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


def _decoded(text: str | bytes, problems: Problems, limits: MapLimits) -> str:
    if len(text) > limits.max_bytes:
        raise too_big(problems, len(text), limits)
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        mark = Mark(text.count(b"\n", 0, exc.start) + 1)
        said = f"this is not UTF-8: byte {text[exc.start]:#04x}"
        raise problems.stop(said, "", mark, hint="save the file as UTF-8") from exc


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
            if piece.kind == "end":
                self._end(self._stack.pop(), piece.mark)
            elif piece.kind == "alias":
                self._place(self._followed(piece), piece.mark)
            elif piece.kind in ("mapping", "sequence"):
                self._begin(piece)
            elif piece.kind == "merge" and self._stack and self._stack[-1].awaits_key:
                self._stack[-1].merging = True
            else:
                self._scalar(piece)
        return self._root

    def _scalar(self, piece: Piece) -> None:
        value = "<<" if piece.kind == "merge" else piece.value
        if isinstance(value, int) and not can_be_written(value):
            # Written in another base, or a number of Python: it has no digits to print.
            hint = f"at most {sys.get_int_max_str_digits():,} are read"
            raise self._stop("a number has too many digits", piece.mark, hint=hint)
        node = Node("scalar", value, piece.mark)
        if piece.identity is not None:
            self._anchors[piece.identity] = node
        self._place(node, piece.mark)

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
            raise self._stop("a key is a text, not a collection", piece.mark, hint=hint)
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
            raise self._stop(
                f"the {self._problems.what} holds more than {self._limits.max_nodes:,} values"
                " once its aliases are followed",
                mark,
            )
        if len(self._stack) + parent.height > self._limits.max_depth + 1:
            raise self._too_deep(mark)

    def _place(self, node: Node, mark: Mark) -> None:
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        if frame.awaits_key:
            self._key(frame, node, mark)
        elif frame.merging:
            self._merge(frame, node, mark)
        else:
            self._count(frame.node, node, mark)
            if frame.node.kind == "sequence":
                frame.node.value.append(node)
            else:
                frame.node.value[frame.key] = node
                frame.key = None

    def _key(self, frame: _Frame, node: Node, mark: Mark) -> None:
        key = node.value
        if node.kind != "scalar" or not isinstance(key, str):
            said = f"a key is a text, not {node.type_word} {shown(key)}"
            self._problems.add(said, self._path, mark, found=key, hint="put it in quotes")
            key = shown(key)
        elif isinstance(key, Enum):
            key = str(key.value)
        if key in frame.node.value:
            first = frame.node.key_marks[key].line
            where = f" (first in line {first})" if first is not None else ""
            said, path = (
                f"the key {shown(key)} stands here twice{where}",
                join_path(self._path, key),
            )
            problem = MapProblem(said, path, mark, found=key, hint="names are unique")
            self._problems.doubled.append(problem)
        frame.key = key
        frame.node.key_marks[key] = mark

    def _merge(self, frame: _Frame, node: Node, mark: Mark) -> None:
        for source in node.value if node.kind == "sequence" else [node]:
            if source.kind == "mapping":
                frame.merges.append(source)
            else:
                said = f"'<<' takes a mapping or a list of them, not {source.type_word}"
                self._problems.add(said, self._path, mark, found=source.scalar)
        frame.merging = False

    def _followed(self, piece: Piece) -> Node:
        name = piece.identity
        assert isinstance(name, str)
        self._aliases += 1
        if self._aliases > self._limits.max_aliases:
            what, most = self._problems.what, self._limits.max_aliases
            raise self._stop(f"the {what} uses more than {most:,} aliases", piece.mark)
        if name in self._open:
            raise self._cycle(piece, f"the alias *{name} stands inside its own anchor")
        if name not in self._anchors:
            raise self._stop(
                f"there is no anchor &{name} before this alias",
                piece.mark,
                found=name,
                allowed=[f"*{known}" for known in self._anchors],
            )
        return self._anchors[name]

    def _cycle(self, piece: Piece, said: str) -> MapError:
        hint = "a task cannot be its own part" if self._problems.what == "map" else None
        return self._stop(f"{said}: a cycle", piece.mark, found=piece.identity, hint=hint)

    def _too_deep(self, mark: Mark) -> MapError:
        what, most = self._problems.what, self._limits.max_depth
        return self._stop(f"the {what} is nested deeper than {most} levels", mark)

    def _stop(self, message: str, mark: Mark, **fields: Any) -> MapError:
        return self._problems.stop(message, self._path, mark, **fields)
