"""References in arguments: reading, filling, merging, selecting."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.arguments.lookup import MissingPartError, value_at
from taskgrove.commands.arguments.reference import Reference, ReferenceProblemError, parse_text
from taskgrove.commands.arguments.template import (
    UnresolvedError,
    filled,
    read_template,
    references_in,
    shown_template,
    value_of,
)

DOCUMENT: dict[str, Any] = {
    "common": {"id": "c1", "subarray": 1},
    "pst": {"beam": [{"beam_id": 1, "x": 5}, {"beam_id": "03", "x": 7}]},
    "text": "{{ argin.common }} and {{{{",
    "n": 3,
    "on": True,
}


def resolved(written: Any, names: frozenset[str] = frozenset(), document: Any = DOCUMENT) -> Any:
    def lookup(reference: Reference) -> Any:
        return value_at(reference, document, reference.steps, at="argin", names=names)

    return value_of(filled(read_template(written), lookup))


def test_an_item_whose_id_has_very_many_digits_is_that_of_no_component() -> None:
    document = {"beam": [{"id": "1" * 5000, "x": 1}, {"id": "0" * 5000, "x": 2}, {"id": "001"}]}
    found = resolved("{{ argin.beam[id] }}", frozenset({"beam/01", "1"}), document)
    assert found == {"id": "001"}
    assert resolved("{{ argin.beam[id].x }}", frozenset({"0"}), document) == 2


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{{ argin.n }}", 3),
        ("{{ argin.on }}", True),
        ("{{argin.common}}", {"id": "c1", "subarray": 1}),
        ("{{ argin.pst.beam[1].x }}", 7),
        ("{{ argin.pst.beam.1.x }}", 7),
        ("{{ argin['common']['id'] }}", "c1"),
        ("band {{ argin.n }} is {{ argin.on }}", "band 3 is true"),
        ("{{ argin.text }}", "{{ argin.common }} and {{{{"),
        ("<{{ argin.text }}>", "<{{ argin.common }} and {{{{>"),
        ("{{{{ argin.n }}", "{{ argin.n }}"),
        (["{{ argin.n }}", {"a": "{{ argin.n }}"}], [3, {"a": 3}]),
        ({"$merge": ["{{ argin.common }}", {"id": 2}], "z": 1}, {"id": 2, "subarray": 1, "z": 1}),
        ({"$merge": "{{ argin.common }}", "id": "own"}, {"id": "own", "subarray": 1}),
        ({"$merge": []}, {}),
        ({"{{{{k": 1, "x": "{{ argin.n }}"}, {"{{k": 1, "x": 3}),
    ],
)
def test_a_value_takes_the_place_of_its_reference_and_keeps_its_type(
    written: Any, value: Any
) -> None:
    before = copy.deepcopy(DOCUMENT)
    assert resolved(written) == value
    assert type(resolved(written)) is type(value)
    assert before == DOCUMENT


@pytest.mark.parametrize(("names", "x"), [({"1", "01"}, 5), ({"3"}, 7), ({"03", "pst-beam-03"}, 7)])
def test_an_item_is_chosen_by_the_component(names: set[str], x: int) -> None:
    assert resolved("{{ argin.pst.beam[beam_id].x }}", frozenset(names)) == x


@pytest.mark.parametrize(
    ("written", "said", "close"),
    [
        ("{{ argin.comon }}", "argin has no 'comon'; it has: common, pst", "common"),
        ("{{ argin.common.ident }}", "argin.common has no 'ident'", None),
        ("{{ argin.pst.beam[2] }}", "argin.pst.beam has 2 items, and none of number 2", None),
        ("{{ argin.pst.beam[beam_id] }}", "no item of argin.pst.beam has a 'beam_id' of", None),
    ],
)
def test_a_part_that_is_missing_is_named_with_the_nearest(
    written: str, said: str, close: str | None
) -> None:
    with pytest.raises(MissingPartError) as caught:
        resolved(written, frozenset({"9"}))
    assert said in str(caught.value)
    assert caught.value.nearest == close


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{{ argin.n.x }}", "argin.n is a number, which has no key 'x'"),
        ("{{ argin.n[0] }}", "argin.n is a number, which has no item 0"),
        ("{{ argin.common[beam_id] }}", "argin.common is a mapping, and no list of items"),
        ("a {{ argin.common }}", "is a mapping, which cannot stand inside a text"),
        ({"$merge": ["{{ argin.n }}"]}, "$merge takes mappings, not 3"),
    ],
)
def test_a_value_that_does_not_fit_its_place_is_refused(written: Any, said: str) -> None:
    with pytest.raises(UnresolvedError) as caught:
        resolved(written, frozenset({"1"}))
    assert said in str(caught.value)
    assert not isinstance(caught.value, MissingPartError)


def test_two_items_of_one_component_are_refused() -> None:
    document = {"beam": [{"id": 1}, {"id": "01"}]}
    with pytest.raises(UnresolvedError, match=r"2 items of argin\.beam"):
        resolved("{{ argin.beam[id] }}", frozenset({"1"}), document)


def test_an_item_is_chosen_only_for_a_step_with_a_component() -> None:
    with pytest.raises(UnresolvedError, match="the step has none"):
        resolved("{{ argin.pst.beam[beam_id] }}")


def test_a_reference_without_a_value_stays_and_is_shown_as_written() -> None:
    written = {"$merge": ["{{ argin.common }}"], "a": "{{ results.pst }}", "b": "x {{ results.q }}"}

    def lookup(reference: Reference) -> Any:
        return reference if reference.root == "results" else {"id": "{{ results.no }}"}

    template = filled(read_template(written), lookup)
    assert [it.source for it in references_in(template)] == ["{{ results.pst }}", "{{ results.q }}"]
    assert shown_template(template) == {
        "id": "{{ results.no }}",
        "a": "{{ results.pst }}",
        "b": "x {{ results.q }}",
    }
    assert value_of(filled(template, lambda reference: reference.steps[0][0])) == {
        "id": "{{ results.no }}",
        "a": "pst",
        "b": "x q",
    }


_KEYS = st.sampled_from(["a", "b", "c-d", "e e", "0"])
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("{{ argin.a }}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(_PLAIN, st.data())
def test_a_path_leads_to_what_python_finds(document: Any, data: st.DataObject) -> None:
    value, path = document, "argin"
    while isinstance(value, (dict, list)) and value and data.draw(st.booleans()):
        if isinstance(value, dict):
            key = data.draw(st.sampled_from(sorted(value)))
            value = value[key]
            path += f"['{key}']"
        else:
            index = data.draw(st.integers(0, len(value) - 1))
            value = value[index]
            path += f"[{index}]"
    assert resolved(f"{{{{ {path} }}}}", document=document) == value


@given(st.text(alphabet="{}argin.[]'\"?$ x0", max_size=30))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        pieces = parse_text(text)
    except ReferenceProblemError:
        return
    written = "".join(it if isinstance(it, str) else it.source for it in pieces)
    assert len(written) <= len(text)
    if "{{" not in text:
        assert list(pieces) == ([text] if text else [])
