"""Command lines of programs: one argument for each value, and argparse reads them back."""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, SecretStr

from taskgrove.analysis.parameters import (
    AnalysisHeader,
    Parameter,
    TemplateConfig,
    TemplateParameters,
    ThirdPartyParameters,
    render_argv,
)
from taskgrove.errors import AnalysisError


class Tool(ThirdPartyParameters):
    executable: str = "/bin/tool"


class Word(Enum):
    ONE = "one word"


class Typical(Tool):
    """A program the way LUTE's users describe one."""

    p_arg1: str = Parameter("script.py", flag_type="")
    n: int = Parameter(1, flag_type="-")
    out_file: str = Parameter("", flag_type="--", rename_param="out-file", is_result=True)
    verbose: bool = Parameter(False, flag_type="--")
    quick: bool = Parameter(False, flag_type="-", rename_param="q")
    det: list[str] = Parameter(default_factory=list, flag_type="--")
    roi: list[int] = Parameter(default_factory=list, flag_type="--", list_style="values")
    tags: list[str] = Parameter(default_factory=list, flag_type="--", list_style="comma")
    scale: float | None = None


def test_what_is_left_out_is_nothing_false_and_the_empty_default() -> None:
    assert render_argv(Typical()) == ["/bin/tool", "script.py", "-n", "1"]


def test_every_form_of_flag() -> None:
    found = render_argv(
        Typical(n=3, out_file="a b.h5", verbose=True, quick=True, det=["x", "y z"], roi=[1, 2],
                tags=["a", "b"], scale=0)
    )  # fmt: skip
    assert found == [
        "/bin/tool", "script.py", "-n", "3", "--out-file", "a b.h5", "--verbose", "-q",
        "--det", "x", "--det", "y z", "--roi", "1", "2", "--tags", "a,b", "--scale", "0.0",
    ]  # fmt: skip


def test_flags_with_an_equals_sign() -> None:
    class Joined(Typical):
        short_flags_use_eq = True
        long_flags_use_eq = True

    found = render_argv(Joined(verbose=True, det=["-x"], roi=[1, 2]))
    assert found[1:] == [
        "script.py", "-n=1", "--verbose", "--det=-x", "--roi=1", "--roi=2",
    ]  # fmt: skip


def test_a_name_alone_decides_where_no_flag_type_is_given() -> None:
    class Bare(Tool):
        e: int = 1
        long_name: int = 2
        p_arg1: int = 3

    assert render_argv(Bare())[1:] == ["-e", "1", "--long_name", "2", "3"]


def test_keys_that_are_not_declared_become_flags() -> None:
    found = render_argv(Tool(m="a b", more=[1, 2], on=True, off=False, p_arg1="x", gone=None))  # type: ignore[call-arg]
    assert found[1:] == ["-m", "a b", "--more", "1", "--more", "2", "--on", "x"]


def test_positional_values_stand_in_the_order_of_their_numbers() -> None:
    assert render_argv(Tool(p_arg10="c", x=1, p_arg2="b", p_arg1="a"))[1:] == [  # type: ignore[call-arg]
        "a", "-x", "1", "b", "c",
    ]  # fmt: skip


def test_with_a_template_other_keys_are_data_for_it() -> None:
    class Templated(Tool):
        lute_template_cfg: TemplateConfig | None = None
        block: TemplateParameters | None = None
        lute_config: AnalysisHeader = AnalysisHeader()

    config = TemplateConfig(template_name="a", output_path="b")
    templated = Templated(lute_template_cfg=config, block=TemplateParameters([1]), more=3)  # type: ignore[call-arg]
    assert render_argv(templated) == ["/bin/tool"]
    assert render_argv(Templated(more=3)) == ["/bin/tool", "--more", "3"]  # type: ignore[call-arg]


def test_an_empty_text_that_was_meant_is_an_argument() -> None:
    class Named(Tool):
        name: str = "default"
        items: list[str] = Parameter(default_factory=list)

    assert render_argv(Named(name="", items=["", "a"]))[1:] == [
        "--name", "", "--items", "", "--items", "a",
    ]  # fmt: skip


def test_values_of_all_kinds() -> None:
    class Kinds(Tool):
        a: Any = Word.ONE
        b: Any = Path("/a b/c")
        c: Any = SecretStr("hidden")
        d: Any = dt.date(2024, 5, 1)
        e: Any = 1e-9
        f: Any = b"raw"

    assert render_argv(Kinds())[2::2] == [
        "one word",
        "/a b/c",
        "hidden",
        "2024-05-01",
        "1e-09",
        "raw",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": 1}, "a dict, which cannot be one argument"),
        ([[1]], r"'x\[0\]' is a list"),
        ([None], "nothing"),
        ("a\0b", "zero byte"),
        ("a\ud800", "half a character"),
    ],
)
def test_what_cannot_be_an_argument(value: Any, why: str) -> None:
    with pytest.raises(AnalysisError, match=why) as caught:
        render_argv(Tool(x=value))  # type: ignore[call-arg]
    assert caught.value.key is not None
    assert caught.value.key.startswith("x")


def test_a_comma_inside_a_value_that_is_joined_by_commas() -> None:
    with pytest.raises(AnalysisError, match="joined by commas"):
        render_argv(Typical(tags=["a,b"]))


def test_f5_a_value_with_spaces_is_one_argument(tmp_path: Path) -> None:
    """The peer splits a text at its spaces; a real process sees ours whole."""
    told = "import json, sys; print(json.dumps(sys.argv[1:]))"
    text = "a b\tc\nd 'e' \"f\" ; $HOME `id` * ☂"

    class Echo(ThirdPartyParameters):
        executable: str = sys.executable
        p_arg1: str = Parameter("-c", flag_type="")
        p_arg2: str = Parameter(told, flag_type="")
        name: str = text

    done = subprocess.run(
        render_argv(Echo()), capture_output=True, text=True, timeout=200, check=True
    )
    assert __import__("json").loads(done.stdout) == ["--name", text]


# -- argparse as a model of what reads a command line --------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
# A text that begins with a dash passes for a flag unless it is joined to its own by "=".
PLAIN = TEXTS.filter(lambda text: not text.startswith("-"))


class Model(Tool):
    p_arg1: str = Parameter(flag_type="")
    p_arg2: str = Parameter(flag_type="")
    count: int | None = None
    t: str | None = Parameter(None, flag_type="-")
    name_x: str | None = Parameter(None, rename_param="name-x")
    verbose: bool = False
    quick: bool = Parameter(False, flag_type="-", rename_param="q")
    many: list[str] = Parameter(default_factory=list)
    floats: list[float] = Parameter(default_factory=list)


class JoinedModel(Model):
    long_flags_use_eq = True


def parser() -> argparse.ArgumentParser:
    reader = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    reader.add_argument("p_arg1")
    reader.add_argument("p_arg2")
    reader.add_argument("--count", type=int)
    reader.add_argument("-t")
    reader.add_argument("--name-x", dest="name_x")
    reader.add_argument("--verbose", action="store_true")
    reader.add_argument("-q", dest="quick", action="store_true")
    reader.add_argument("--many", action="append", default=[])
    reader.add_argument("--floats", action="append", default=[], type=float)
    return reader


@given(
    st.data(),
    st.sampled_from([Model, JoinedModel]),
    st.fixed_dictionaries(
        {"p_arg1": PLAIN, "p_arg2": PLAIN},
        optional={
            "count": st.integers(), "verbose": st.booleans(), "quick": st.booleans(),
            "t": PLAIN, "floats": st.lists(st.floats(0, allow_nan=False, allow_infinity=False)),
        },
    ),
)  # fmt: skip
def test_argparse_reads_the_same_values_back(
    data: st.DataObject, kind: type[Model], values: dict[str, Any]
) -> None:
    texts = TEXTS if kind.long_flags_use_eq else PLAIN
    values |= data.draw(st.fixed_dictionaries({"name_x": texts, "many": st.lists(texts)}))
    given_ = kind(**values)
    argv = render_argv(given_)
    found = vars(parser().parse_args(argv[1:]))
    expected = given_.model_dump(exclude={"executable"})
    assert found == expected


@given(st.lists(st.one_of(TEXTS, st.integers(), st.floats(), st.booleans()), min_size=1))
def test_there_are_as_many_arguments_as_values(values: list[Any]) -> None:
    class Listed(Tool):
        p_arg1: list[Any] = Parameter(default_factory=list)

    argv = render_argv(Listed(p_arg1=values))
    assert argv[1:] == [str(value) for value in values]


# -- structured values ----------------------------------------------------------------------------


class Detector(BaseModel):
    name: str = "jungfrau"


class Gain(RootModel[float]):
    pass


class Structured(Tool):
    lute_template_cfg: TemplateConfig | None = None
    one: Detector = Detector()
    many: list[Detector] = Parameter([Detector()])
    by_name: dict[str, Detector] = Parameter({"a": Detector()})
    gains: list[Gain] = Parameter([Gain(1.5)])
    flag: str = "x"


def test_structured_values_are_data_of_the_template() -> None:
    config = TemplateConfig(template_name="a", output_path="b")
    argv = render_argv(Structured(lute_template_cfg=config))
    assert argv == ["/bin/tool", "--gains", "1.5", "--flag", "x"]


@pytest.mark.parametrize("key", ["one", "many", "by_name"])
def test_without_a_template_a_structured_value_is_an_error(key: str) -> None:
    empty: dict[str, Any] = {"one": None, "many": [], "by_name": None}
    params = Structured.model_construct(**{**empty, key: getattr(Structured(), key)})
    with pytest.raises(AnalysisError, match=f"'{key}.* cannot be one argument"):
        render_argv(params)
