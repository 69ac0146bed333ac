"""Rules for the source itself: what its words cite, and that no name stands for two things."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import taskgrove

SOURCE = Path(taskgrove.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
#: A reader of the source cannot see such a page.
CITATION = re.compile(r"\bSPEC\b|\bDESIGN\b|\bS\d+\.\d+|\(S\d+\)")
#: Documented names that users import: two modules each, and two classes each.
PUBLIC_TWICE = frozenset({"base", "task", "TaskStatus", "AnalysisEntry"})


def test_no_page_is_cited_that_a_reader_cannot_see() -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if CITATION.search(line)
    ]
    assert found == []


def test_no_file_name_is_given_twice() -> None:
    places = defaultdict(list)
    for file in FILES:
        places[file.stem].append(str(file.relative_to(SOURCE)))
    del places["__init__"]
    doubles = {name: found for name, found in places.items() if len(found) > 1}
    assert not doubles.keys() - PUBLIC_TWICE, doubles


def test_no_class_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(SOURCE)}:{node.lineno}")
    doubles = {name: found for name, found in places.items() if len(found) > 1}
    assert not doubles.keys() - PUBLIC_TWICE, doubles
