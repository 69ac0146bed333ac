"""Checks and changes of a configuration before any placeholder is replaced."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Final

from taskgrove.analysis.configuring.config_text import Layout
from taskgrove.analysis.parameters.header import FOLDERS_AND_FILES
from taskgrove.analysis.substitution import has_placeholders, parse
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import Problems, join_path
from taskgrove.errors import AnalysisError

_WORK_DIR: Final = "work_dir"
#: Keys that a header of LUTE's form may take from these variables of the environment.
_FROM_ENVIRONMENT: Final = {"experiment": "EXPERIMENT", "run": "RUN_NUM"}


def with_environment(layout: Layout, environ: Mapping[str, str]) -> Layout:
    """Return the layout with the keys filled that a header of LUTE's form leaves to the batch."""
    if not layout.is_two_documents:
        return layout
    found: dict[str, str] = {}
    for key, name in _FROM_ENVIRONMENT.items():
        node = layout.header.value.get(key)
        if environ.get(name) and (node is None or node.value in {None, ""}):
            text = environ[name]
            found[key] = text.partition("_")[0] if key == "run" else text
    return dataclasses.replace(
        layout,
        header=with_values(layout.header, found),
        from_environment={key: _FROM_ENVIRONMENT[key] for key in found},
    )


def check_placeholders(node: Node, path: str, problems: Problems) -> None:
    """Find wrong placeholders in the whole text, also in sections that are not used now."""
    todo, seen = [(node, path)], set()
    while todo:
        item, place = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if item.kind == "mapping":
            todo += [(child, join_path(place, key)) for key, child in item.value.items()]
        elif item.kind == "sequence":
            todo += [(child, join_path(place, key)) for key, child in enumerate(item.value)]
        elif isinstance(item.value, str) and has_placeholders(item.value):
            try:
                parse(item.value)
            except AnalysisError as exc:
                problems.add(exc.message, place, item.mark, hint=exc.hint)


def check_sections(layout: Layout, known: frozenset[str], problems: Problems) -> None:
    """Find sections that are no analysis."""
    for name in layout.sections:
        if name not in known:
            mark = layout.tasks.key_marks[name]
            problems.add_unknown("analysis", name, name, mark, sorted(known))


def with_values(header: Node, values: Mapping[str, str]) -> Node:
    """Return the header with values in place of those of the text."""
    nodes = {key: Node("scalar", text) for key, text in values.items()}
    marks = {key: mark for key, mark in header.key_marks.items() if key not in values}
    return dataclasses.replace(header, value={**header.value, **nodes}, key_marks=marks)


def placed(header: Node) -> Node:
    """Return the header with the user's home in place of ``~``, and an absolute ``work_dir``.

    An analysis runs in its ``work_dir``: there a relative one would lead somewhere else.
    """
    header = _at_home(header)
    node = header.value.get(_WORK_DIR)
    here = _here()
    if node is None or here is None or not isinstance(node.value, str):
        return header
    if not node.value or node.value.startswith(("/", "~", "{{")):
        return header
    inside = "" if node.value == "." else node.value.removeprefix("./")
    folder = dataclasses.replace(node, value=os.path.join(here, inside) if inside else here)
    return dataclasses.replace(header, value={**header.value, _WORK_DIR: folder})


def with_work_dir(header: Node) -> Node:
    """Return the header for placeholders: with an empty ``work_dir`` an analysis runs here."""
    node, here = header.value.get(_WORK_DIR), _here()
    if node is None or here is None or node.value != "":
        return header
    folder = dataclasses.replace(node, value=here)
    return dataclasses.replace(header, value={**header.value, _WORK_DIR: folder})


def _here() -> str | None:
    """Return the present folder, without placeholders; None where it is gone."""
    try:
        return os.getcwd().replace("{{", r"\{{")
    except OSError:
        return None


def _at_home(header: Node) -> Node:
    found = {key: header.value[key] for key in FOLDERS_AND_FILES if key in header.value}
    homes = {
        key: dataclasses.replace(node, value=os.path.expanduser(node.value))
        for key, node in found.items()
        if isinstance(node.value, str) and node.value.startswith("~")
    }
    return dataclasses.replace(header, value={**header.value, **homes}) if homes else header
