"""Models of parameters: what they forbid, what they say of themselves, what LUTE's users know."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from taskgrove.analysis.configuration import parse_configuration
from taskgrove.analysis.parameters import (
    AnalysisHeader,
    Parameter,
    ParameterDoc,
    TaskParameters,
    TemplateConfig,
    TemplateParameters,
    ThirdPartyParameters,
    describe_parameters,
    render_argv,
)
from taskgrove.analysis.parameters.describe import type_words
from taskgrove.analysis.parameters.field import UNDECLARED, info_of
from taskgrove.analysis.plain.form import PlainTypes, from_plain, to_plain
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.errors import AnalysisError, UsageError


class Method(Enum):
    FAST = "fast"
    GOOD = "good"


class Window(BaseModel):
    first: int = Field(1, description="where it begins")
    last: int


class Peaks(TaskParameters):
    out_file: Path = Parameter(description="The file.", is_result=True)
    threshold: float = Parameter(5.0, description="Above noise.", unit="sigma", gt=0, le=100)
    method: Method = Method.FAST
    names: list[str] = Parameter(default_factory=list)
    window: Window | None = None
    lute_config: AnalysisHeader | None = None


def test_f10_no_environment_variable_stands_in_for_a_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "LUTE_threshold",
        "LUTE_THRESHOLD",
        "THRESHOLD",
        "threshold",
        "TASKGROVE_THRESHOLD",
    ):
        monkeypatch.setenv(name, "77")
    assert Peaks(out_file=Path("x")).threshold == 5.0
    monkeypatch.setenv("EXPERIMENT", "other")
    monkeypatch.setenv("RUN_NUM", "5")
    assert (AnalysisHeader().experiment, AnalysisHeader().run) == ("", "")


def test_what_is_not_declared_is_forbidden_and_values_stay_valid() -> None:
    with pytest.raises(ValidationError, match="thresold"):
        Peaks(out_file=Path("x"), thresold=1)  # type: ignore[call-arg]
    found = Peaks(out_file=Path("x"))
    with pytest.raises(ValidationError):
        found.threshold = -1
    with pytest.raises(ValidationError, match="finite"):
        Peaks(out_file=Path("x"), threshold=float("nan"))


def test_a_field_says_its_unit_and_flag_also_in_the_schema() -> None:
    assert info_of(Peaks.model_fields["threshold"]).unit == "sigma"
    assert info_of(Peaks.model_fields["method"]) == UNDECLARED
    schema = Peaks.model_json_schema()["properties"]
    assert schema["threshold"]["unit"] == "sigma"
    assert schema["out_file"]["is_result"] is True


def test_a_field_declared_the_way_of_pydantic_is_understood() -> None:
    class Tool(ThirdPartyParameters):
        count: int = Field(1, json_schema_extra={"flag_type": "-", "rename_param": "n"})
        wrong: int = Field(1, json_schema_extra={"flag_type": "---"})

    info = info_of(Tool.model_fields["count"])
    assert (info.flag_type, info.rename_param) == ("-", "n")
    with pytest.raises(UsageError, match="flag_type"):
        info_of(Tool.model_fields["wrong"])


@pytest.mark.parametrize("wrong", [{"flag_type": "+"}, {"list_style": "json"}])
def test_words_that_a_field_does_not_know(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Parameter(1, **wrong)


def test_the_result_is_the_marked_parameter() -> None:
    class Tool(ThirdPartyParameters):
        executable: str = "/bin/true"
        out: str = Parameter("x.h5", is_result=True)

    assert Tool().described_result() == "x.h5"
    assert Tool().described_summary() is None
    assert Peaks(out_file=Path("x")).described_result() is None  # it tells its own

    class Two(Tool):
        other: str = Parameter("y", is_result=True)

    with pytest.raises(AnalysisError, match="2 results: out, other"):
        Two().described_result()


def test_the_result_is_made_of_parameters() -> None:
    class Tool(ThirdPartyParameters):
        executable: str = "/bin/true"
        outdir: str = "/data"
        tag: str = "lyso"
        run: int = 12

        result_from_params = "{{ outdir }}/{{ tag }}_r{{ run:04d }}.cxi"
        result_summary = "tag {{ tag }}"
        run_directory = "{{ outdir }}/run"
        impl_schemas = "HDF5"

    assert Tool().described_result() == "/data/lyso_r0012.cxi"
    assert Tool().described_summary() == "tag lyso"
    assert Tool().run_folder() == "/data/run"
    assert Tool.impl_schemas == "HDF5"

    class Wrong(Tool):
        result_from_params = "{{ outdirr }}"

    with pytest.raises(AnalysisError, match="outdirr") as caught:
        Wrong().described_result()
    assert caught.value.hint == "did you mean 'outdir'?"


def test_parameters_cross_as_plain_data() -> None:
    class Tool(ThirdPartyParameters):
        executable: str = "/bin/true"
        lute_template_cfg: TemplateConfig | None = None
        data: TemplateParameters = TemplateParameters({"root": 1})

    tool = Tool(more={"params": 2}, lute_template_cfg=TemplateConfig(
        template_name="a", output_path="b"))  # type: ignore[call-arg]  # fmt: skip
    types = PlainTypes([Tool, TemplateConfig, TemplateParameters])
    found = from_plain(to_plain(tool), types=types)
    assert found == tool
    assert found.data.params == {"root": 1}
    assert found.model_extra == {"more": {"params": 2}}


def test_a_header_keeps_further_keys_as_variables() -> None:
    header = AnalysisHeader(experiment="mfx1", run="0012", facility="LCLS")  # type: ignore[call-arg]
    assert header.variables == {"facility": "LCLS"}
    assert header.run == "0012"
    assert AnalysisHeader(run=12).run == 12
    assert AnalysisHeader(task_timeout=0.5).task_timeout == 0.5
    with pytest.raises(ValidationError):
        AnalysisHeader(task_timeout=0)


def test_help_tells_types_defaults_units_and_flags() -> None:
    docs = describe_parameters(Peaks)
    assert docs[0] == ParameterDoc("out_file", "path", None, None, "The file.", True, None)
    assert docs[1] == ParameterDoc(
        "threshold", "number", "5.0", "sigma", "Above noise. (> 0, ≤ 100)", False, None
    )
    assert [item.name for item in docs] == [
        "out_file", "threshold", "method", "names", "window", "window.first", "window.last",
    ]  # fmt: skip
    by_name = {item.name: item for item in docs}
    assert by_name["method"].type == "one of fast, good"
    assert by_name["method"].default == "'fast'"
    assert by_name["names"].default == "[]"
    assert by_name["window"].type == "mapping or nothing"
    assert by_name["window.last"].required
    assert by_name["window.first"].description == "where it begins"


def test_help_tells_flags_of_a_program() -> None:
    class Tool(ThirdPartyParameters):
        n: int = 1
        long: str = Parameter("", rename_param="long-name")
        p_arg1: str = ""
        short: int = Parameter(3, flag_type="-", rename_param="s")
        data: TemplateParameters = TemplateParameters({})

    docs = describe_parameters(Tool, executable="/bin/tool")
    assert {item.name: item.flag for item in docs} == {
        "executable": None, "n": "-n", "long": "--long-name", "p_arg1": "", "short": "-s",
        "data": None,
    }  # fmt: skip
    assert docs[0].default == "/bin/tool"
    assert not docs[0].required


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "text"), (bool, "true or false"), (float | None, "number or nothing"),
        (list[int], "list of whole number"), (dict[str, float], "mapping of text to number"),
        (Literal["a", 2], "one of a, 2"), (tuple[int, str], "list of 2: whole number, text"),
        (tuple[int, ...], "list of whole number"), (Annotated[int, "x"], "whole number"),
        (Any, "anything"), (Window, "mapping"), (list, "list"), (Path, "path"),
        (set[str] | None, "list of text or nothing"),
    ],
)  # fmt: skip
def test_types_in_words(annotation: Any, words: str) -> None:
    assert type_words(annotation) == words


# -- what pydantic 1, with which LUTE's models are written, did by itself -------------------------


def test_defaults_are_validated_and_converted() -> None:
    class Wrong(TaskParameters):
        n: int = Parameter("ten")
        t: float = Parameter(5, gt=10)
        made: list[int] = Parameter(default_factory=lambda: ["x"])
        none: str = None  # type: ignore[assignment]

    with pytest.raises(ValidationError) as caught:
        Wrong()
    assert [error["loc"][0] for error in caught.value.errors()] == ["n", "t", "made", "none"]
    assert Wrong(n=1, t=11, made=[], none="x").t == 11.0

    class Converted(ThirdPartyParameters):
        executable: str = "x"
        thr: float = 5
        path: Path = Parameter("a")
        method: Method = Parameter("good")

    found = Converted()
    assert (type(found.thr), found.path, found.method) == (float, Path("a"), Method.GOOD)


def test_a_validator_sees_the_default_so_a_program_keeps_its_argument() -> None:
    class Partialator(ThirdPartyParameters):
        executable: str = "partialator"
        in_file: str = Parameter("a.stream", flag_type="-", rename_param="i")
        out_file: str = Parameter("", flag_type="-", rename_param="o")

        @field_validator("out_file")
        @classmethod
        def _named(cls, value: str, info: ValidationInfo) -> str:
            return value or info.data["in_file"].replace("stream", "hkl")

    wanted = ["partialator", "-i", "a.stream", "-o", "a.hkl"]
    assert render_argv(Partialator()) == wanted
    entry = AnalysisEntry("Partialator", Partialator)
    found = parse_configuration("Partialator: {}").parameters_for(entry)
    assert render_argv(found) == wanted  # type: ignore[arg-type]


def test_a_wrong_default_is_told_with_its_parameter_and_its_class() -> None:
    class Wrong(TaskParameters):
        n: int = Parameter("ten")
        deep: dict[str, int] = Parameter({"a": "b"})

    entry = AnalysisEntry("Wrong", Wrong, task="m:C")
    for text in ("Wrong: {}", "header: {}"):
        with pytest.raises(AnalysisError) as caught:
            parse_configuration(text, file="c.yaml").parameters_for(entry)
        first, second = caught.value.problems
        assert first.startswith("c.yaml: Wrong.n: 'ten' should be a valid integer")
        assert second.startswith("c.yaml: Wrong.deep: 'b' should be a valid integer")
        assert "it is the default of Wrong" in first


def test_a_number_as_the_default_of_a_text_becomes_text_as_a_given_one_does() -> None:
    class Told(TaskParameters):
        radius: str = Parameter(3)
        other: str = Parameter(1.5, alias="o")

    entry = AnalysisEntry("Told", Told, task="m:C")
    found = parse_configuration("Told: {}").parameters_for(entry)
    assert found.model_dump() == {"radius": "3", "other": "1.5"}


def test_a_mutable_default_is_no_others() -> None:
    class Shared(TaskParameters):
        names: list[str] = ["a"]  # noqa: RUF012 - what is tested
        window: Window = Window(last=3)

    Shared().names.append("b")
    Shared().window.last = 4
    assert Shared().model_dump() == {"names": ["a"], "window": {"first": 1, "last": 3}}


def test_an_optional_parameter_without_a_default_is_told_as_missing() -> None:
    class Needed(TaskParameters):
        geometry: str | None = Parameter(description="The file.")

    entry = AnalysisEntry("Needed", Needed, task="m:C")
    with pytest.raises(AnalysisError, match=r"Needed\.geometry: the parameter .* is missing"):
        parse_configuration("Needed: {}").parameters_for(entry)


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
@pytest.mark.parametrize("name", ["set_result", "run_directory", "long_flags_use_eq"])
def test_what_lute_says_in_an_inner_class_is_refused_and_not_lost(name: str) -> None:
    said = {name: "x"}
    with pytest.raises(UsageError, match=rf"Config\.{name} .*\(write '{name} = 'x'' in Tool"):

        class Tool(ThirdPartyParameters):
            class Config:
                locals().update(said)


@pytest.mark.parametrize("annotation", [Method, Literal["fast", "good"]])
def test_a_misspelt_choice_is_told_the_nearest(annotation: Any) -> None:
    kind = type("Choice", (TaskParameters,), {"__annotations__": {"method": annotation}})
    entry = AnalysisEntry("Choice", kind, task="m:C")
    with pytest.raises(AnalysisError, match=r"'godo' should be 'fast' or 'good'") as caught:
        parse_configuration("Choice: {method: godo}").parameters_for(entry)
    assert caught.value.hint == "did you mean 'good'?"


def test_settings_in_the_inner_class_of_lute_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Merge.Config.long_flags_use_eq is read by nothing"):

        class Merge(ThirdPartyParameters):
            class Config(ThirdPartyParameters.Config):  # type: ignore[name-defined]
                long_flags_use_eq = True

    with pytest.deprecated_call():  # by pydantic, which reads it

        class Fine(ThirdPartyParameters):
            executable: str = "x"

            class Config(ThirdPartyParameters.Config):  # type: ignore[name-defined]
                str_strip_whitespace = True

    assert Fine(executable=" y ").executable == "y"


def test_a_validator_sets_nothing_in_the_inner_class_of_lute() -> None:
    class Solve(ThirdPartyParameters):
        executable: str = "x"

        @model_validator(mode="after")
        def _result(self) -> Any:
            type(self).Config.result_from_params = "a"  # type: ignore[attr-defined]
            return self

    entry = AnalysisEntry("Solve", Solve)
    with pytest.raises(AnalysisError, match="result_from_params is read by nothing"):
        parse_configuration("Solve: {}").parameters_for(entry)
    assert not hasattr(ThirdPartyParameters.Config, "result_from_params")  # type: ignore


def test_what_may_be_none_and_has_no_default_is_told_how_to_get_one() -> None:
    class Cycles(TaskParameters):
        niter: int | None = Parameter(description="How many.")

    with pytest.raises(AnalysisError, match="'niter' is missing") as caught:
        parse_configuration("Cycles: {}").parameters_for(AnalysisEntry("A", Cycles, task="m:C"))
    assert caught.value.hint == "How many; Cycles may give it the default None"
