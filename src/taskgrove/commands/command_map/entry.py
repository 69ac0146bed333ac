"""The validation of one entry of a command map, and the words for its problems.

The models of :mod:`taskgrove.commands.command_map.map_models` decide. This module tells their
objections with the place in the file, the value that was found, the values that are allowed and
the nearest name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from taskgrove.commands.arguments.reference import (
    Reference,
    ReferenceProblemError,
    holds_braces,
    parse_text,
)
from taskgrove.commands.arguments.template import MERGE
from taskgrove.commands.base_task import HOLD_SETTINGS
from taskgrove.commands.command_map.map_base import AllowedStates, AnyEntry
from taskgrove.commands.command_map.map_conditions import (
    CONDITION_KEYS,
    OTHER_STEPS,
    STEP_KEYS,
    ExpectCondition,
    SkipCondition,
    WaitCondition,
    WriteValue,
)
from taskgrove.commands.command_map.map_fields import (
    MAX_BACKOFF,
    MAX_DESCRIPTION,
    MAX_TIMEOUT_S,
)
from taskgrove.commands.command_map.map_models import (
    FINALLY_KEY,
    KEYWORDS,
    MAX_EACH,
    AnalysisEntry,
    EachValue,
    keys_of,
)
from taskgrove.commands.command_map.nodes import Node, to_data
from taskgrove.commands.command_map.problems import (
    NOWHERE,
    Mark,
    Problems,
    join_path,
    place_in_file,
    shown,
)
from taskgrove.errors import did_you_mean, nearest

#: Levels of nesting inside an argument or another value of an entry.
MAX_VALUE_DEPTH: Final = 64

_CONDITION: Final = (f"attribute with {', '.join(CONDITION_KEYS)}",)
_SECONDS: Final = (f"seconds greater than 0, at most {MAX_TIMEOUT_S:g}",)
_WANTED: Final[dict[str, tuple[str, ...]]] = {
    "type": ("sequential", "parallel"),
    "handler": KEYWORDS,
    "skip_subtasks": ("true", "false"),
    "reject_missing": ("true", "false"),
    "abort_on_timeout": ("true", "false"),
    "timeout": _SECONDS,
    "finally_timeout": _SECONDS,
    "hold": HOLD_SETTINGS,
    "hold_timeout": _SECONDS,
    "retries": ("a whole number from 0 to 1000",),
    "retry_delay": (f"seconds from 0, at most {MAX_TIMEOUT_S:g}",),
    "retry_backoff": (f"a number from 1 to {MAX_BACKOFF}",),
    "description": (f"a text of at most {MAX_DESCRIPTION:,} characters",),
    "call": ("the name of a command of this map",),
    "rule": ("all", "any", "quorum: 13 (how many)", "quorum: 0.8 (what share)"),
    "allowed_states": ("attr_name with attr_value",),
    "attr_name": ("an attribute's name",),
    "attr_value": ("a list of at least one name or number",),
    "command_name": ("a name of letters, digits and '_' that begins with a letter",),
    "config": ("a text",),
    "launcher": ("a program and its arguments, such as mpirun -n 4",),
    "heartbeat": _SECONDS,
    "grace": (f"seconds from 0, at most {MAX_TIMEOUT_S:g}",),
    "source": ("a file's name",),
    "stdin": ("a file's name",),
    "python": ("a Python interpreter, such as /opt/conda/bin/python",),
    "tasks": ("a mapping of tasks by name",),
    FINALLY_KEY: ("a mapping of tasks by name",),
    "argin": ("a mapping",),
    "each": ("parameter with count, range or values, or parameters with values",),
    "": STEP_KEYS,
    "device": ("a component, a TANGO name such as x01/motor/01, or a list of them",),
    "call_timeout": _SECONDS,
    "write": ("attribute with value",),
    **dict.fromkeys(("wait", "expect", "skip_if"), _CONDITION),
    "attribute": ("an attribute's name",),
    "value": ("a text, a number, true, false, or a list of them",),
    "within": ("a number above 0",),
    **dict.fromkeys(("min", "max"), ("a number",)),
    **dict.fromkeys(("any_of", "none_of", "fail_on"), ("a list of at least one value",)),
    "parameter": ("a parameter's name",),
    "parameters": ("a list of at least one parameter's name",),
    "count": (f"a whole number from 1 to {MAX_EACH}",),
    "range": ("[first, last], two whole numbers",),
    "values": ("a list of at least one value",),
}
#: Mappings inside an entry, with their models.
_INNER: Final[dict[str, type[BaseModel]]] = {
    "allowed_states": AllowedStates,
    "each": EachValue,
    "write": WriteValue,
    "wait": WaitCondition,
    "expect": ExpectCondition,
    "skip_if": SkipCondition,
}
#: Keys whose values are plain data, and hold no references unless they say so.
_PLAIN: Final = ("argin", "each", *OTHER_STEPS, "skip_if")


def _wanted(key: str, error: Any) -> tuple[str, ...]:
    if key.isdigit():
        return ("a whole number",) if "range" in error["loc"] else ("a name or a number",)
    return _WANTED.get(key, (str(error["msg"]),))


def _keys_of(cls: type[AnyEntry], inside: list[Any]) -> tuple[str, ...]:
    inner = _INNER.get(str(inside[0])) if inside else None
    return keys_of(inner or cls)


def unknown_keys(node: Node, allowed: Sequence[str]) -> dict[str, str | None]:
    """Return the keys of a mapping that are not allowed, each with the nearest that is."""
    return {key: nearest(key, allowed) for key in node.value if key not in allowed}


def last_mark(node: Node, keys: Iterable[str]) -> Mark:
    """Return where the last of some keys of a mapping stands."""
    marks = [node.key_marks.get(key, NOWHERE) for key in keys]
    return max(marks, key=place_in_file, default=NOWHERE)


def _below(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        below = node.value if node.kind == "sequence" else []
        return below[part] if part < len(below) else None
    return node.value.get(part) if node.kind == "mapping" else None


def _nodes(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Yield a node and all below it, each with its path."""
    todo = [(path, node)]
    while todo:
        where, item = todo.pop()
        yield where, item
        if item.kind == "mapping":
            todo.extend((join_path(where, key), child) for key, child in item.value.items())
        elif item.kind == "sequence":
            todo.extend((join_path(where, i), child) for i, child in enumerate(item.value))


class EntryCheck:
    """Validates entries, and adds their problems to ``problems``."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def validated(
        self,
        cls: type[AnyEntry],
        node: Node,
        path: str,
        mark: Mark,
        given: dict[str, Any],
    ) -> AnyEntry | None:
        """Return the entry of a mapping, without the entries below it; None when it is not valid.

        Args:
            cls: The model of the entry.
            node: The mapping.
            path: Where it stands in the map.
            mark: Where it stands in the file.
            given: Values that are known already and not read from ``node``.
        """
        values = dict(given)
        sound = True
        for key, child in node.value.items():
            if key in given:
                continue
            where = join_path(path, key)
            if child.height > MAX_VALUE_DEPTH:
                said = f"the value is nested deeper than {MAX_VALUE_DEPTH} levels"
                self._problems.add(said, where, child.mark)
                sound = False
                continue
            if key in _PLAIN:
                self.plain(child, where)
            if key in _PLAIN and not issubclass(cls, AnalysisEntry):
                self._references(child, where, are_taken=key != "skip_if")
            values[key] = to_data(child)
        try:
            entry = cls.model_validate(values)
        except ValidationError as exc:
            errors = exc.errors(include_url=False)
            for error in sorted(errors, key=lambda item: item["type"] == "missing"):
                # A value that was left out for its depth is not missing.
                if sound or error["type"] != "missing":
                    self._add_error(error, cls, node, path, mark)
            return None
        return entry if sound else None

    def _add_error(
        self,
        error: Any,
        cls: type[AnyEntry],
        node: Node,
        path: str,
        mark: Mark,
    ) -> None:
        place = [part for part in error["loc"] if isinstance(part, int) or part.isidentifier()]
        if error["type"] in ("extra_forbidden", "missing"):
            place = list(error["loc"])
        target, where, target_mark, parent_mark = node, path, mark, mark
        for part in place:
            parent_mark = target_mark
            child = _below(target, part)
            where = join_path(where, part)
            if child is None:
                break
            target_mark = (
                target.key_marks.get(part, child.mark) if isinstance(part, str) else child.mark
            )
            target = child
        key, allowed = str(place[-1]) if place else "", _keys_of(cls, place[:-1])
        if error["type"] == "extra_forbidden":
            inside = str(place[0]) in _INNER and key in keys_of(cls)
            hint = f"{key!r} stands beside {place[0]!r}, not in it" if inside else ""
            self._problems.add_unknown("key", key, where, target_mark, allowed, hint)
        elif error["type"] == "missing":
            self.missing(key, allowed, target, where.removesuffix(f".{key}"), parent_mark)
        else:
            self._add_wrong_value(error, key, target, where)

    def missing(self, key: str, allowed: Sequence[str], node: Node, path: str, mark: Mark) -> None:
        """Add the problem that a mapping lacks a key, unless an unknown key is its misspelling.

        Then the unknown key, which has the line, tells it all.
        """
        unknown = unknown_keys(node, allowed)
        if key not in unknown.values():
            self._problems.add(
                f"the key {key!r} is missing",
                path,
                mark,
                allowed=[f"{key}: {' | '.join(_WANTED.get(key, ()))}"],
                told_after=last_mark(node, unknown),
            )

    def _add_wrong_value(self, error: Any, key: str, target: Node, where: str) -> None:
        found, said, hint = target.scalar, target.found, None
        if error["type"] == "value_error":
            cause = error["ctx"]["error"]
            said += f": {getattr(cause, 'message', cause)}"
            hint = getattr(cause, "hint", None)
        allowed = _wanted(key, error)
        if hint is None and isinstance(found, str):
            hint = None if found in allowed else did_you_mean(found.lower(), allowed)
        self._problems.add(said, where, target.mark, found=found, allowed=allowed, hint=hint)

    def plain(self, node: Node, path: str) -> None:
        """Add a problem for each value below ``node`` that JSON does not know."""
        for where, leaf in _nodes(node, path):
            value = leaf.scalar
            if isinstance(value, float) and not math.isfinite(value):
                said, allowed = f"found {value}, which JSON does not know", "a finite number"
            elif value is not None and not isinstance(value, (str, int, float)):
                said = f"found {leaf.type_word}, which is no plain data"
                allowed = "texts, numbers, booleans, lists and mappings of them"
            else:
                continue
            self._problems.add(said, where, leaf.mark, found=value, allowed=[allowed])

    def _references(self, node: Node, path: str, *, are_taken: bool = True) -> None:
        """Add a problem for each text with double braces that is no reference."""
        for where, item in _nodes(node, path):
            texts = [(item.value, item.mark)] if item.kind == "scalar" else []
            if item.kind == "mapping":
                texts = [(key, item.key_marks.get(key, item.mark)) for key in item.value]
            for text, mark in texts:
                if isinstance(text, str) and holds_braces(text):
                    if are_taken:
                        self._reference(text, where, mark, is_key=item.kind == "mapping")
                        continue
                    said = f"{shown(text)}: no reference is replaced here"
                    hint = "references stand in argin, write, wait and expect"
                    self._problems.add(said, where, mark, found=text, hint=hint)
            if item.kind == "mapping" and MERGE in item.value:
                self._merge(item.value[MERGE], join_path(where, MERGE))

    def _reference(self, text: str, where: str, mark: Mark, *, is_key: bool) -> None:
        try:
            pieces = parse_text(text)
        except ReferenceProblemError as exc:
            self._problems.add(exc.message, where, mark, found=text, hint=exc.hint)
            return
        if is_key and any(isinstance(piece, Reference) for piece in pieces):
            said = f"the key {shown(text)} is a reference: only values are replaced"
            self._problems.add(said, where, mark, found=text, hint="write the key itself")

    def _merge(self, node: Node, path: str) -> None:
        """Add a problem for each part of ``$merge`` that can be no mapping."""
        parts = node.value if node.kind == "sequence" else [node]
        for part in parts:
            is_text = part.kind == "scalar" and isinstance(part.value, str)
            if part.kind != "mapping" and not (is_text and holds_braces(part.value)):
                allowed = ["a mapping, a reference to one, or a list of them"]
                self._problems.add(part.found, path, part.mark, found=part.scalar, allowed=allowed)

    def mapping(self, node: Node, path: str) -> bool:
        """Return whether ``node`` is a mapping; else add the problem that it is not."""
        if node.kind == "mapping":
            return True
        self._problems.add(node.found, path, node.mark, found=node.scalar, allowed=["a mapping"])
        return False
