"""Patterns mean the same everywhere: in a shell's sense, in SQLite and in PostgreSQL."""

from __future__ import annotations

import fnmatch
import re
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskgrove.store.queries.reading import glob_as_regex, glob_for_sqlite

PATTERNS = st.text(alphabet="ab*?[]!^-\\.(", max_size=8)
TEXTS = st.text(alphabet="ab[]!^-\\.(\n", max_size=5)


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:")
    yield opened
    opened.close()


def has_odd_range(pattern: str) -> bool:
    """A range that ends before it begins, or one whose end is a bracket, is nobody's contract."""
    return any("-" in part for part in re.findall(r"\[.*", pattern))


@given(PATTERNS, TEXTS)
@example("[^a]", "^")
@example("[]a]", "]")
@example("[!]a]", "b")
@example("[a", "[a")
@example("[^]", "^")
def test_sqlite_reads_a_pattern_as_a_shell_does(
    connection: sqlite3.Connection, pattern: str, text: str
) -> None:
    if has_odd_range(pattern):
        return
    (found,) = connection.execute("SELECT ? GLOB ?", (text, glob_for_sqlite(pattern))).fetchone()
    assert bool(found) == fnmatch.fnmatchcase(text, pattern)


@given(PATTERNS, TEXTS)
@example("[!]a]", "b")
@example("[\\]", "\\")
@example("a.(", "ab(")
def test_the_regular_expression_means_the_same(pattern: str, text: str) -> None:
    if has_odd_range(pattern) or "[]" in pattern or "[!]" in pattern or "[^" in pattern:
        return  # Python and PostgreSQL read these brackets differently
    found = re.fullmatch(glob_as_regex(pattern), text, re.DOTALL)
    assert (found is not None) == fnmatch.fnmatchcase(text, pattern)
