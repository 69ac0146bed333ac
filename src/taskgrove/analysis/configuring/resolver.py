"""Puts values in place of the placeholders of one configuration (see :mod:`.substitution`).

Names are looked up among the values that replace those of the section; then, as in LUTE, among
the sections and variables of the configuration and in the header; then in the section itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from taskgrove.analysis.configuring.config_section import Section
from taskgrove.analysis.substitution import (
    EARLIER,
    Placeholder,
    dig,
    evaluate,
    has_placeholders,
    parse,
    unknown,
)
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, join_path
from taskgrove.errors import AnalysisError, nearest

#: How deep values may lie in values, placeholders followed.
MAX_DEPTH: Final = 100
#: How many values a section may have, placeholders followed.
MAX_VALUES: Final = 250_000


@runtime_checkable
class EarlierResults(Protocol):
    """Finds values of earlier analyses."""

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return a value of the latest completed run of an analysis.

        Args:
            experiment: The experiment.
            run: The run of data acquisition, as text.
            task: The name of the analysis.
            key: ``payload`` or ``summary``, or a key inside the payload (``payload.rings.0``);
                else the name of a parameter of that run (``out_file``), keys inside it after dots.

        Raises:
            LookupError: There is none; the text lists the values that are there.
        """


@dataclass(frozen=True, slots=True)
class Scope:
    """The values that placeholders of a configuration may use.

    Attributes:
        tasks: The sections and variables, a mapping.
        header: The header, a mapping.
        environ: The environment.
        earlier: Finds results of earlier runs; None: there is no record.
        which_run: The experiment and the run of the header, as texts; None: not yet known.
        given: Values that replace those of the section that is resolved, a mapping.
    """

    tasks: Node
    header: Node
    environ: Mapping[str, str]
    earlier: EarlierResults | None = None
    which_run: tuple[str, str] | None = None
    given: Node = field(default_factory=lambda: Node("mapping", {}))

    def with_section(self, name: str, section: Section) -> Scope:
        """Return the scope in which a section is resolved."""
        tasks = replace(self.tasks, value={**self.tasks.value, name: section.node})
        return replace(self, tasks=tasks, given=section.given)


@dataclass(slots=True)
class _Value:
    value: Any
    size: int


#: Where a placeholder found its value.
Where: TypeAlias = Literal["given", "tasks", "header", "own", "environment", "earlier"]


class Found(NamedTuple):
    """The value of one placeholder, and where it was found.

    Attributes:
        piece: The placeholder; of alternatives the one that is there.
        where: Where it was found.
        value: The value.
        keys: The keys that lead to it; of an earlier result its experiment, run, task and key.
        node: The node that holds it, or None.
        mark: Where it stands in the text.
    """

    piece: Placeholder
    where: Where
    value: Any
    keys: tuple[str, ...]
    node: Node | None = None
    mark: Mark = NOWHERE


@dataclass(slots=True)
class Resolver:
    """Resolves nodes of one configuration; errors go to ``problems``.

    Used by one thread, for one section or the header.

    Attributes:
        scope: The values that placeholders may use.
        problems: Takes the errors; a wrong value becomes None.
        own: The section that is resolved, a mapping.
        header_first: Whether names are looked up in the header first: for the header itself.
        used: The placeholders of each text that was resolved, by the ``id`` of its node.
    """

    scope: Scope
    problems: Problems
    own: Node
    header_first: bool = False
    used: dict[int, list[Found]] = field(default_factory=dict)
    _made: dict[int, _Value] = field(default_factory=dict)
    _open: dict[int, str] = field(default_factory=dict)  # the nodes around the present one
    _following: int = 0  # how many placeholders led to the present node

    def resolve(self, node: Node, path: str) -> Any:
        """Return the value of a node with all placeholders replaced; errors name ``path``."""
        return self._value(node, path).value

    def _value(self, node: Node, path: str) -> _Value:
        if node.kind == "scalar" and not (
            isinstance(node.value, str) and has_placeholders(node.value)
        ):
            return _Value(node.value, 1)
        if id(node) in self._made:
            return self._made[id(node)]
        if id(node) in self._open:
            begin = list(self._open).index(id(node))
            circle = [*list(self._open.values())[begin:], self._open[id(node)]]
            raise AnalysisError(
                f"the values refer to each other in a circle: {' → '.join(circle[-8:])}"
            )
        if len(self._open) >= MAX_DEPTH:
            raise AnalysisError(f"the values are nested deeper than {MAX_DEPTH} levels")
        self._open[id(node)] = path
        try:
            made = self._collection(node, path) if node.kind != "scalar" else self._text(node)
        finally:
            del self._open[id(node)]
        if made.size > MAX_VALUES:
            raise AnalysisError(f"the values become more than {MAX_VALUES:,}")
        self._made[id(node)] = made
        return made

    def _collection(self, node: Node, path: str) -> _Value:
        items: Iterable[tuple[Any, Node]]
        items = node.value.items() if node.kind == "mapping" else enumerate(node.value)
        values: dict[Any, Any] = {}
        size = 1
        for key, child in items:
            place = join_path(path, key)
            try:
                made = self._value(child, place)
            except AnalysisError as exc:
                if self._following:
                    raise  # it is reported at the place of the placeholder
                mark: Mark = node.key_marks.get(str(key), child.mark)
                self.problems.add(exc.message, place, mark, hint=exc.hint, nearest=exc.nearest)
                continue
            values[key] = made.value
            size += made.size
            if size > MAX_VALUES:
                raise AnalysisError(f"the values become more than {MAX_VALUES:,}")
        return _Value(values if node.kind == "mapping" else list(values.values()), size)

    def _text(self, node: Node) -> _Value:
        size = 1

        def lookup(piece: Placeholder) -> Any:
            nonlocal size
            self._following += 1
            try:
                made, found = self._find(piece)
            finally:
                self._following -= 1
            self.used.setdefault(id(node), []).append(found)
            size += made.size
            return made.value

        value = evaluate(parse(node.value), lookup)
        return _Value(value, 1 if isinstance(value, str) else size)

    def _find(self, piece: Placeholder) -> tuple[_Value, Found]:
        if piece.kind == "environment":
            text = self._environment(piece)
            return _Value(text, 1), Found(piece, "environment", text, piece.parts)
        if piece.kind == "earlier":
            found = self._earlier(piece)
            return _Value(found.value, 1), found
        roots: list[tuple[Where, Node, str]] = [
            ("tasks", self.scope.tasks, ""),
            ("header", self.scope.header, "header"),
        ]
        if self.header_first:
            roots.reverse()
        roots.append(("own", self.own, ""))
        given = self.scope.given.value.get(piece.parts[0])
        if given is not None and id(given) not in self._open:  # it may name the replaced one
            return self._descend("given", self.scope.given, piece, "")
        for where, root, path in roots:
            if piece.parts[0] in root.value:
                return self._descend(where, root, piece, path)
        names = [name for _, root, _ in roots for name in root.value]
        raise unknown(piece.source, piece.parts[0], list(dict.fromkeys(names)))

    def _descend(
        self, where: Where, node: Node, piece: Placeholder, path: str
    ) -> tuple[_Value, Found]:
        """Follow the keys of a placeholder from node to node, and inside a value from there."""
        parts: Sequence[str] = piece.parts
        mark = NOWHERE
        for index, key in enumerate(parts):
            if node.kind == "mapping" and key in node.value:
                mark = node.key_marks.get(key, NOWHERE)
                node, path = node.value[key], join_path(path, key)
            elif node.kind == "sequence" and key.isdecimal() and int(key) < len(node.value):
                node, path = node.value[int(key)], join_path(path, int(key))
                mark = node.mark
            elif node.kind == "scalar":
                made = self._value(node, path)
                value = dig(made.value, parts[index:], piece.source)
                return _Value(value, made.size), Found(piece, where, value, piece.parts, node, mark)
            else:
                raise unknown(piece.source, key, list(node.value) if node.kind == "mapping" else [])
        made = self._value(node, path)
        return made, Found(piece, where, made.value, piece.parts, node, mark)

    def _environment(self, piece: Placeholder) -> str:
        name = piece.parts[0]
        if name in self.scope.environ:
            return self.scope.environ[name]
        close = nearest(name, self.scope.environ)
        raise AnalysisError(
            f"{piece.source}: the environment has no {name}",
            hint=f"did you mean ${close}?" if close else f"set {name} before taskgrove is started",
        )

    def _earlier(self, piece: Placeholder) -> Found:
        if self.scope.which_run is None:
            raise AnalysisError(f"{piece.source}: the header cannot ask for earlier results")
        if self.scope.earlier is None:
            raise AnalysisError(
                f"{piece.source}: there is no record of earlier results",
                hint="open the record in which the earlier analysis was kept",
            )
        experiment, run = self.scope.which_run
        chosen = dict(piece.selectors)
        experiment, run = chosen.get("experiment", experiment), chosen.get("run", run)
        task, key = piece.parts
        try:
            value = self.scope.earlier(experiment, run, task, key)
            return Found(piece, "earlier", value, (experiment, run, task, key))
        except LookupError as exc:
            if piece.otherwise is not None:
                return self._earlier(piece.otherwise)
            said = str(exc.args[0]) if exc.args else "there is none"
            raise AnalysisError(
                f"{piece.source}: no {EARLIER} result of {task} for experiment {experiment!r},"
                f" run {run!r}: {said}",
                hint=f"run {task} first, or name a run: {EARLIER}(run=12).{task}.{key}",
            ) from exc
