"""What is typed for a parameter: its type is asked before YAML is."""

from __future__ import annotations

import datetime as dt
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from taskgrove.analysis.configuration import parse_configuration
from taskgrove.analysis.configuring.typed_text import typed_value
from taskgrove.analysis.parameters import (
    Parameter,
    TaskParameters,
    TemplateConfig,
    ThirdPartyParameters,
    render_argv,
)
from taskgrove.analysis.registry import AnalysisEntry

Name = NewType("Name", str)


class Mode(StrEnum):
    ON = "on"
    OFF = "off"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(Enum):
    RED = "red"


class Window(BaseModel):
    first: int = 0


class Many(TaskParameters):
    text: str = ""
    named: str = Parameter("", alias="called")
    short: Annotated[str, Field(max_length=30)] = ""
    new: Name = Name("")
    path: Path = Path()
    secret: SecretStr = SecretStr("")
    mode: Mode = Mode.ON
    colour: Colour = Colour.RED
    literal: Literal["on", "off"] = "on"
    day: dt.date = dt.date(2000, 1, 1)
    number: int = 0
    real: float = 0.0
    flag: bool = False
    level: Level = Level.LOW
    either: int | str = 0
    other_way: str | int = 0
    real_or_text: float | str = 0.0
    flag_or_text: bool | str = False
    perhaps: str | None = None
    perhaps_number: Optional[int] = None  # noqa: UP045 - both spellings are in use
    texts: list[str] = Parameter(default_factory=list)
    text_or_texts: str | list[str] = ""
    numbers: list[int] = Parameter(default_factory=list)
    pairs: dict[str, str] = Parameter(default_factory=dict)
    mixed: Literal["auto", 1] = 1
    level_or_text: Level | str = ""
    window: Window | None = None
    anything: Any = None


ENTRY = AnalysisEntry("Many", Many, task="m:C")
#: Words of which YAML makes something else than a text.
TELLING = [
    "yes", "no", "on", "off", "true", "null", "~", "", "0001", "1_000", "0x10", "1e3", "1.10",
    ".inf", ".nan", "12:30", "2024-05-01", "[a]", "[a", "{a: b}", "/data/r12: second try", "#12",
    "a #12", "- a", "'quoted'", '"', "&anchor", "*alias", "!tag x", "%", "@", "`", "|", ">", "? a",
    "---", "...", "a\nb", " padded ", "{x}",
]  # fmt: skip


def given_value(key: str, text: str) -> Any:
    """Return the parameter that what is typed becomes, the whole way."""
    found = parse_configuration("header: {}").parameters_for(
        ENTRY, {key: typed_value(Many, key, text)}
    )
    return getattr(found, "named" if key == "called" else key)


@pytest.mark.parametrize("text", TELLING)
@pytest.mark.parametrize("key", ["text", "called", "named", "short", "new"])
def test_a_text_parameter_gets_what_was_typed(key: str, text: str) -> None:
    assert given_value(key, text) == text


@given(st.text().filter(lambda text: "{{" not in text))
def test_any_text_reaches_a_text_parameter_as_it_was_typed(text: str) -> None:
    assert typed_value(Many, "text", text) == text
    assert given_value("text", text) == text


@pytest.mark.parametrize("text", TELLING)
def test_a_union_that_takes_texts_and_paths_and_secrets_gets_what_was_typed(text: str) -> None:
    assert given_value("path", text) == Path(text)
    assert given_value("secret", text).get_secret_value() == text
    wanted = None if text == "null" else text
    assert given_value("perhaps", text) == wanted


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("either", "12", 12), ("either", "0001", "0001"), ("either", "yes", "yes"),
        ("either", "null", "null"), ("either", "1e3", "1e3"), ("either", "[a]", "[a]"),
        ("other_way", "12", 12), ("other_way", "yes", "yes"), ("other_way", "#12", "#12"),
        ("real_or_text", "1e3", 1000.0), ("real_or_text", "2024-05-01", "2024-05-01"),
        ("flag_or_text", "yes", True), ("flag_or_text", "1", "1"), ("flag_or_text", "a: b", "a: b"),
        ("perhaps_number", "null", None), ("perhaps_number", "3", 3),
        ("mode", "off", Mode.OFF), ("literal", "off", "off"), ("colour", "red", Colour.RED),
        ("day", "2024-05-01", dt.date(2024, 5, 1)),
        ("number", "0x10", 16), ("number", "007", 7), ("number", "1_000", 1000),
        ("real", "1e3", 1000.0), ("flag", "off", False), ("level", "2", Level.HIGH),
        ("texts", "[yes, 0001, 1e3, null, 1.10]", ["yes", "0001", "1e3", "null", "1.10"]),
        ("text_or_texts", "[a, 1.10]", ["a", "1.10"]), ("text_or_texts", "[a", "[a"),
        ("numbers", "[1, 0x10]", [1, 16]),
        ("pairs", "{a: yes, b: 1.10}", {"a": "yes", "b": "1.10"}),
        ("mixed", "auto", "auto"), ("mixed", "1", 1), ("level_or_text", "2", Level.HIGH),
        ("level_or_text", "3", "3"), ("window", "{first: 3}", Window(first=3)),
        ("window", "null", None), ("anything", "[1, yes]", [1, True]), ("anything", "#12", "#12"),
        ("anything", "", ""), ("anything", "null", None), ("anything", "a: b", {"a": "b"}),
    ],
)  # fmt: skip
def test_the_type_of_a_parameter_says_how_what_is_typed_is_read(
    key: str, text: str, wanted: Any
) -> None:
    found = given_value(key, text)
    assert (found, type(found)) == (wanted, type(wanted))


def test_an_undeclared_key_of_a_program_is_an_argument() -> None:
    class Tool(ThirdPartyParameters):
        executable: str = "tool"

    entry = AnalysisEntry("Tool", Tool)
    words = {"x-a": "a: b", "x-b": "#12", "x-c": "1.10", "x-d": "yes", "x-e": "[a, b]"}
    values = {key: typed_value(Tool, key, word) for key, word in words.items()}
    found = parse_configuration("header: {}").parameters_for(entry, values)
    assert render_argv(found) == [  # type: ignore[arg-type]
        "tool", "--x-a", "a: b", "--x-b", "#12", "--x-c", "1.10", "--x-d", "--x-e", "a",
        "--x-e", "b",
    ]  # fmt: skip


def test_an_undeclared_key_may_be_data_of_a_template() -> None:
    class Templated(ThirdPartyParameters):
        executable: str = "tool"
        config: TemplateConfig | None = None

    assert typed_value(Templated, "window", "{first: 1}") == {"first": 1}
