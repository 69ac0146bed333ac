"""Placeholders: typed, safe, and nothing else in a text is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis import substitution
from taskgrove.analysis.substitution import fill, parse
from taskgrove.analysis.written import as_written
from taskgrove.errors import AnalysisError

VALUES: dict[str, Any] = {
    "run": 12, "text": "a b", "path": Path("/x y"), "number": 2.5, "flag": True, "nothing": None,
    "list": [1, {"deep": "end"}], "map": {"a": {"b-c": 7}}, "zero": "007", "braces": "{{ run }}",
    "word": as_written(1.1, "1.10"), "_under": 1,
}  # fmt: skip


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_placeholders_is_unchanged(text: str) -> None:
    assert fill(text, VALUES) == text


@given(st.text(), st.text())
def test_what_stands_around_a_placeholder_is_unchanged(before: str, after: str) -> None:
    before, after = before.replace("{", "").rstrip("\\"), after.replace("{", "").lstrip("}")
    assert fill(f"{before}{{{{ text }}}}{after}|", VALUES) == f"{before}a b{after}|"


@given(st.recursive(st.one_of(st.none(), st.integers(), st.text(), st.binary()), st.lists))
def test_a_lone_placeholder_keeps_the_value_and_its_type(value: Any) -> None:
    found = fill("{{ it }}", {"it": value})
    assert found is value


@given(st.text())
def test_what_a_placeholder_brings_is_never_looked_at_again(text: str) -> None:
    assert fill("<{{ it }}>", {"it": text}) == f"<{text}>"
    assert fill("<{{ it }}>", {"it": f"{{{{ run }}}}{text}"}) == f"<{{{{ run }}}}{text}>"


NAMES = st.sampled_from([*VALUES, "list.0", "map.a", "nosuch", "list.7", "earlier", "run run"])


@given(st.one_of(st.text(), NAMES, st.builds("{}{}".format, NAMES, st.text(max_size=3))))
def test_anything_in_braces_is_a_value_or_one_clear_error(text: str) -> None:
    name = text.strip()
    whole = f"{{{{{text}}}}}"
    try:
        found = fill(whole, VALUES)
    except AnalysisError as exc:
        error: AnalysisError = exc
    else:
        assert name.strip("{} ").partition(":")[0].partition(".")[0].strip() in VALUES
        if name in VALUES:
            assert found == VALUES[name]
        return
    assert name not in VALUES
    assert "{{" in str(error)  # the placeholder, as it stands there
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ run }}", 12), ("{{run}}", 12), ("{{ _under }}", 1), (" {{ run }}", " 12"),
        ("{{ run }}{{ run }}", "1212"), ("r{{ run:04d }}", "r0012"), ("{{ run:04d }}", "0012"),
        ("{{ zero }}", "007"), ("x{{ zero }}", "x007"), ("{{ zero:d }}", "7"),
        ("{{ zero:05d }}", "00007"), ("{{ zero:05 }}", "00007"), ("{{ zero:>5 }}", "  007"),
        ("{{ zero:s }}", "007"), ("{{ number:.3f }}", "2.500"), ("{{ number:03.0f }}", "002"),
        ("{{ run:.1f }}", "12.0"), ("{{ run:x }}", "c"), ("{{ text:_^5 }}", "_a b_"),
        ("{{ path }}/f", "/x y/f"), ("is {{ flag }}", "is True"), ("v{{ word }}", "v1.10"),
        ("{{ word }}", 1.1), ("{{ list.1.deep }}", "end"), ("{{ list }}", [1, {"deep": "end"}]),
        ("{{ map.a.b-c }}", 7), (r"\{{ run }}", "{{ run }}"), (r"a\{{b", "a{{b"),
        ("{{{ run }}}", "{12}"), ("{ {run} }", "{ {run} }"), ("}} {", "}} {"), ("", ""),
        ("{{ braces }}", "{{ run }}"), ("\\d {{ run }} \\1", "\\d 12 \\1"), ("{{ nothing }}", None),
        ("{{ list.0:03d }}", "001"), ("{{ number:d }}", None),
    ],
)  # fmt: skip
def test_values_and_formats(text: str, value: Any) -> None:
    if text == "{{ number:d }}":
        with pytest.raises(AnalysisError, match="has no such format"):
            fill(text, VALUES)
        return
    found = fill(text, VALUES)
    assert found == value
    assert type(found) is type(value) or text == "{{ word }}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ __import__('os') }}", "{{ run.__class__ }}", "{{ text.__class__.__mro__ }}",
        "{{ run.real }}", "{{ run.bit_length }}", "{{ map.keys }}", "{{ list.append }}",
        "{{ list[0] }}", "{{ list.-1 }}", "{{ run + 1 }}", "{{ run!r }}", "{{ 'x' }}", "{{ 3 }}",
        "{{ run | upper }}", "{{ open('/etc/passwd') }}", "{{ run:{run} }}", "{{ run:9999d }}",
        "{{ run:.9999f }}", "{{ run:!r }}", "{{ }}", "{{", "a {{ run }", "{{ run }", "{{ $ }}",
        "{{ $1 }}", "{{ $(id) }}", "{{ run: }}", "{{ map.a.c }}", "{{ list.2 }}", "{{ rum }}",
        "{{ text:04d }}", "x{{ nothing }}", "x{{ list }}", "{{ list:3 }}", "{{ earlier }}",
        "{{ earlier.x }}", "{{ earlier(a=1).x.y }}", "{{ earlier(run=$(id)).x.y }}", "{{ é }}",
        "{{ $HOME }}", "{{ earlier.x.y }}", "{{ run }}{{ {{ run }} }}", "{% if 1 %}{{ x }}",
    ],
)  # fmt: skip
def test_nothing_is_evaluated_and_what_is_missing_is_an_error(text: str) -> None:
    with pytest.raises(AnalysisError):
        fill(text, VALUES)


def test_a_missing_name_has_a_near_miss() -> None:
    with pytest.raises(AnalysisError, match="there is no 'rnu'") as caught:
        fill("{{ rnu }}", VALUES)
    assert caught.value.hint == "did you mean 'run'?"
    with pytest.raises(AnalysisError) as caught:
        fill("{{ map.a.bc }}", VALUES)
    assert caught.value.hint == "did you mean 'b-c'?"


def test_an_earlier_result_selects_a_run() -> None:
    (piece,) = parse("{{ earlier(run=12, experiment=mfx-1).FindPeaks.out.0:>4 }}")
    assert not isinstance(piece, str)
    assert piece.parts == ("FindPeaks", "out.0")
    assert piece.selectors == (("run", "12"), ("experiment", "mfx-1"))
    assert piece.spec == ">4"


def test_the_text_that_is_made_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(substitution, "MAX_TEXT", 10)
    with pytest.raises(AnalysisError, match="longer than 10"):
        fill("{{ text }}" * 4, VALUES)
