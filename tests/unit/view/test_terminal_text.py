"""Text for terminals: harmless, measured, cut to fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.view.terminal_text import (
    ASCII,
    UNICODE,
    charset_for,
    clip,
    duration_text,
    encodable,
    pad,
    safe_lines,
    safe_text,
    width_of,
    wrapped,
)


@given(st.text())
def test_safe_text_is_one_printable_line(text: str) -> None:
    assert safe_text(text).isprintable()


@given(st.text())
def test_safe_lines_are_printable_lines(text: str) -> None:
    assert all(line.isprintable() for line in safe_lines(text))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_printable_text_stays_as_it_is(text: str) -> None:
    if text.isprintable():
        assert safe_text(text) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a b c"),
        ("\x9b2J", "\\x9b2J"),
        ("evil\u202etxt", "evil\\u202etxt"),
        ("bell\x07", "bell\\x07"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0001", "\\U000e0001"),
        (42, "42"),
    ],
)
def test_what_acts_on_a_terminal_is_written_out(said: object, shown: str) -> None:
    assert safe_text(said) == shown


def test_indentation_of_lines_is_kept() -> None:
    assert safe_lines("a:\n  - b\x1b\r\n\n") == ["a:", "  - b\\x1b", "", ""]


@given(st.text(), st.integers(0, 40))
def test_clipped_text_fits(text: str, width: int) -> None:
    line = safe_text(text)
    for ellipsis in ("…", "...", ""):
        assert width_of(clip(line, width, ellipsis)) <= width


def test_wide_and_combining_characters_are_measured() -> None:
    assert width_of("日本") == 4
    assert width_of("e\u0301") == 1
    assert clip("日本語", 5) == "日本…"
    assert pad("日", 4) == "日  "


@pytest.mark.parametrize(
    ("encoding", "charset"),
    [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII), ("nonsense", ASCII)],
)
def test_signs_follow_the_encoding(encoding: str | None, charset: object) -> None:
    assert charset_for(encoding) is charset


@given(st.text())
def test_encodable_text_can_be_encoded(text: str) -> None:
    for encoding in ("ascii", "latin-1", "utf-8", "cp1252", None, "nonsense"):
        codec = encoding if encoding in ("ascii", "latin-1", "utf-8", "cp1252") else "ascii"
        encodable(text, encoding).encode(codec)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (12.34, "12.3 s"),
        (59.97, "1:00 min"),
        (125, "2:05 min"),
        (3723, "1:02:03 h"),
    ],
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_command_line_in_a_sentence_is_not_broken() -> None:
    line = "taskgrove resume 20261121T082155Z-a3e59862 --manager obs:Manager --db '/a record/x.db'"
    lines = wrapped(f"mend the receiver of beam 3, then {line} runs the rest of it", 40, "  ")
    assert lines == ["mend the receiver of beam 3, then", f"  {line}", "  runs the rest of it"]
    assert wrapped("taskgrove runs list --db 'a b' shows", 20) == [
        "taskgrove runs list --db 'a b'",
        "shows",
    ]
    assert wrapped("", 20) == [""]


def test_a_command_line_stands_behind_the_sign_of_its_item() -> None:
    command = (
        "taskgrove resume 20261130T091208Z-1c02b7e4 --manager my_package:Telescope --db runs.db"
    )
    told = wrapped(f"  - {command}: go on", 60, "    ", [command])
    assert told == [f"  - {command}:", "    go on"]
