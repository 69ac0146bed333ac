"""Beginnings of JSON and of MessagePack are told from what is whole, and from anything else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation.json_beginning import ends_too_early
from taskgrove.store.recording.message_pack import is_beginning

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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_cut_of_a_value_in_message_pack_is_a_beginning(document: Any) -> None:
    if "numbers" not in document:  # integers end at 64 bits
        check_message_pack(document)


@given(VALUES)
def test_every_cut_of_any_value_in_message_pack_is_a_beginning(value: Any) -> None:
    check_message_pack(value)


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_values_of_every_length_are_known(size: int) -> None:
    large: tuple[Any, ...] = ("x" * size, b"x" * size, [0] * size, dict.fromkeys(range(size)))
    for value in (*large, msgspec.msgpack.Ext(5, b"x" * size)):
        data = msgspec.msgpack.encode(value)
        assert not is_beginning(data)
        assert not is_beginning(data + b"\0")
        assert is_beginning(data[:-1])
        assert is_beginning(data[:2]) or len(data) <= 2


def check_message_pack(value: Any) -> None:
    data = msgspec.msgpack.encode(value)
    assert not is_beginning(data)
    assert not is_beginning(data + b"\xc0")
    for end in range(len(data)):
        assert is_beginning(data[:end])
    assert not is_beginning(b"\x92\xc1" + data[:-1])  # no value begins like that
