"""Beginnings of JSON are told from whole documents, and from anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation.json_beginning import ends_too_early

DOCUMENTS = (
    [],
    {},
    [[], {}, [[]]],
    {"a": {"b": [1, -2.5e-7, 1e300], "": None}, "c": '\u00e9 \n "x" \\\\ \U0001f600'},
    [0, "no lock", True, False, None, float("nan"), float("inf"), -float("inf")],
    {"result": [3, "boom"], "numbers": [10**30, -0.0, 0]},
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def check_json(whole: str) -> None:
    assert not ends_too_early(whole), whole
    assert not ends_too_early(f"{whole} ]"), whole
    for end in range(1, len(whole)):
        assert ends_too_early(whole[:end]), whole[:end]


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("form", [{}, {"ensure_ascii": False}, {"indent": 1}])
def test_every_cut_of_a_json_text_ends_too_early(document: Any, form: Any) -> None:
    check_json(json.dumps(document, **form))


@given(VALUES.map(lambda value: [value]))
def test_every_cut_of_any_json_text_ends_too_early(document: Any) -> None:
    check_json(json.dumps(document, default=repr))


@pytest.mark.parametrize(
    "text",
    ["[1 2", "[,", "[1,,", "{1", "{,", '{"a",', '{"a" "b', '{"a": ]', "[}", '{"a": 1]',
     "[1,]", '{"a": 1,}', "[01", "[+1", "[.5", "[trux", "[truex", "[1x", '["\\q', '["\\u12g',
     "[--", "[1e5.", "[nulll", "[Infinityy", "[NaNa", "['a", "[1 true", '{"a": "b" x', "[1. ",
     '[1, "a" 2', '[1, 2, {"a", '],
)  # fmt: skip
def test_what_no_end_would_mend_is_no_beginning(text: str) -> None:
    assert not ends_too_early(text)
