"""Configurations: both forms, substitution through them, and errors with key and line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from taskgrove.analysis.configuration import (
    Configuration,
    EarlierResults,
    load_configuration,
    parse_configuration,
)
from taskgrove.analysis.configuring import resolver
from taskgrove.analysis.configuring.config_text import LIMITS
from taskgrove.analysis.parameters import (
    AnalysisHeader,
    Parameter,
    TaskParameters,
    ThirdPartyParameters,
)
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.errors import AnalysisError


class Window(BaseModel, extra="forbid"):
    first: int
    last: int = 9


class Peaks(TaskParameters):
    out_file: str = Parameter("", description="The file.")
    n: int = 1
    names: list[str] = Parameter(default_factory=list)
    numbers: dict[str, float] = Parameter(default_factory=dict)
    window: Window | None = None
    anything: Any = None
    key: SecretStr | None = None


class Needs(TaskParameters):
    out_file: str = Parameter(description="The file.")
    header: AnalysisHeader


PEAKS = AnalysisEntry("FindPeaks", Peaks, task="m:C")
NEEDS = AnalysisEntry("Needs", Needs, task="m:C")


def parse(text: str, **kwargs: Any) -> Configuration:
    return parse_configuration(text, **({"file": "c.yaml", "environ": {"HOME": "/root"}} | kwargs))


def peaks(section: str, header: str = "{}", more: str = "", **kwargs: Any) -> Any:
    text = f"header: {header}\nFindPeaks: {section}\n{more}"
    return parse(text, **kwargs).parameters_for(PEAKS)


def problems_of(text: str, entry: AnalysisEntry = PEAKS, **kwargs: Any) -> list[str]:
    with pytest.raises(AnalysisError) as caught:
        parse(text, **kwargs).parameters_for(entry)
    error = caught.value
    assert error.problems[0].startswith(error.message)
    assert error.file == kwargs.get("file", "c.yaml")
    return list(error.problems)


# -- the two forms ------------------------------------------------------------------------------

OURS = """\
header:
  title: a test
  experiment: mfx1
  run: 12
  work_dir: "{{ $HOME }}/x"
shared: [lyso, {deep: 3}]
FindPeaks:
  out_file: "{{ work_dir }}/{{ shared.0 }}_r{{ run:04d }}.cxi"
  n: "{{ shared.1.deep }}"
  names: ["{{ experiment }}", "r{{ run }}", "{{ header_less }}"]
header_less: yes it is
"""
TWO = OURS.replace("header:\n", "%YAML 1.3\n---\n").replace("\n  ", "\n", 4).replace(
    "shared:", "...\n---\nshared:", 1
)  # fmt: skip


@pytest.mark.parametrize("text", [OURS, TWO, TWO.encode(), OURS.encode("utf-8-sig")])
def test_both_forms_say_the_same(text: str) -> None:
    configuration = parse(text)
    assert configuration.header == AnalysisHeader(
        title="a test", experiment="mfx1", run=12, work_dir="/root/x"
    )
    assert configuration.sections == ("FindPeaks",)
    found = configuration.parameters_for(PEAKS)
    assert found == Peaks(
        out_file="/root/x/lyso_r0012.cxi", n=3, names=["mfx1", "r12", "yes it is"]
    )
    assert configuration.text.endswith("yes it is\n")


def test_a_file_is_read_and_errors_name_it(tmp_path: Path) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(OURS, encoding="utf-8")
    configuration = load_configuration(path, environ={"HOME": "/h"})
    assert configuration.file == str(path)
    assert configuration.header.work_dir == "/h/x"
    for wrong in (tmp_path, tmp_path / "none.yaml", "a\0b", "/dev/null"):
        with pytest.raises(AnalysisError) as caught:
            load_configuration(wrong)
        assert str(wrong).split("\0", maxsplit=1)[0] in str(caught.value)


def test_the_environment_is_that_of_the_process_unless_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_BEAMLINE", "cxi")
    text = "header: {experiment: '{{ $A_BEAMLINE }}'}"
    assert parse_configuration(text).header.experiment == "cxi"
    os.environ["A_BEAMLINE"] = "changed"
    assert parse_configuration(text, environ={"A_BEAMLINE": "mfx"}).header.experiment == "mfx"


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    with pytest.raises(AnalysisError, match="at most 4,194,304 are read"):
        load_configuration(path)


def test_variables_and_sections_are_told_apart() -> None:
    configuration = parse("x: 1\ny: [2]\nx-common: {a: 1}\nOne: {}\nTwo:\n")
    assert configuration.sections == ("One", "Two")
    assert configuration.values_for("Two") == {}
    with pytest.raises(AnalysisError, match="no section 'Onee'") as caught:
        configuration.values_for("Onee")
    assert caught.value.hint == "did you mean 'One'?"


def test_an_analysis_without_a_section_gets_its_defaults() -> None:
    assert parse("header: {}\n").parameters_for(PEAKS) == Peaks()
    assert parse("---\n---\n").parameters_for(PEAKS) == Peaks()


def test_a_misspelt_section_is_not_ignored() -> None:
    assert problems_of("FindPeak: {n: 3}") == [
        "c.yaml:1:1: FindPeak: there is no section 'FindPeaks' (is 'FindPeak' meant?)"
    ]
    other = parse("FindPeak: {n: 3}", known_names=["FindPeak", "FindPeaks"])
    assert other.parameters_for(PEAKS) == Peaks()


def test_the_header_is_a_parameter_where_one_asks_for_it() -> None:
    found = parse("header: {run: 3}\nNeeds: {out_file: x}").parameters_for(NEEDS)
    assert found.header.run == 3  # type: ignore[attr-defined]


def test_the_program_of_the_entry_fills_the_parameter() -> None:
    entry = AnalysisEntry("Tool", ThirdPartyParameters, executable="/bin/tool")
    assert parse("Tool: {x: 1}").parameters_for(entry).executable == "/bin/tool"  # type: ignore[attr-defined]
    found = parse("Tool: {executable: other}").parameters_for(entry)
    assert found.executable == "other"  # type: ignore[attr-defined]


def test_overrides_that_are_not_valid_are_told_without_a_line() -> None:
    configuration = parse("FindPeaks: {n: 1, names: [a]}")
    with pytest.raises(AnalysisError) as caught:
        configuration.parameters_for(PEAKS, {"n": "x", "m": 1})
    assert caught.value.line is None
    assert [line.split(": ")[1] for line in caught.value.problems] == ["FindPeaks.m", "FindPeaks.n"]


# -- what is given stands in before placeholders are replaced -----------------------------------


def given_peaks(text: str, overrides: dict[str, Any], **kwargs: Any) -> Any:
    return parse(text, **kwargs).parameters_for(PEAKS, overrides)


@pytest.mark.parametrize(
    ("text", "overrides", "wanted"),
    [
        pytest.param("FindPeaks: {n: 0, out_file: 'f{{ n:03d }}'}", {"n": 7}, "f007", id="key"),
        pytest.param("FindPeaks: {out_file: 'f{{ n:03d }}'}", {"n": 7}, "f007", id="no-key"),
        pytest.param("FindPeaks: {out_file: 'f{{ n }}'}", {}, "f1", id="default"),
        pytest.param(
            "header: {n: 5}\nFindPeaks: {n: '{{ n }}', out_file: 'f{{ n }}'}", {"n": 7}, "f7",
            id="before-the-header",
        ),
        pytest.param(
            "n: 5\nFindPeaks: {out_file: '{{ FindPeaks.n }}-{{ n }}'}", {"n": 7}, "7-7",
            id="before-a-variable",
        ),
        pytest.param(
            "stem: 'f{{ FindPeaks.n }}-{{ n }}'\nFindPeaks: {out_file: '{{ stem }}'}", {"n": 7},
            "f7-7", id="through-a-variable",
        ),
        pytest.param(
            "FindPeaks: {window: {first: 1}, out_file: 'f{{ window.first }}'}",
            {"window": {"first": 7}}, "f7", id="nested",
        ),
        pytest.param(
            "FindPeaks: {names: [a], out_file: '{{ FindPeaks.names.1 }}'}", {"names": ["x", "y"]},
            "y", id="list",
        ),
        pytest.param(
            "header: {run: 12}\nFindPeaks: {}", {"out_file": "r{{ run:04d }}-{{ n }}", "n": 7},
            "r0012-7", id="placeholders-in-what-is-given",
        ),
        pytest.param(
            "out_file: a\nFindPeaks: {}", {"out_file": "{{ out_file }}b"}, "ab",
            id="a-value-names-what-it-replaces",
        ),
        pytest.param(
            "FindPeaks: {out_file: x}", {"out_file": r"\{{ n }}"}, "{{ n }}", id="two-braces"
        ),
    ],
)  # fmt: skip
def test_what_is_given_is_known_to_every_placeholder(
    text: str, overrides: dict[str, Any], wanted: str
) -> None:
    assert given_peaks(text, overrides).out_file == wanted


def test_a_placeholder_that_asks_for_itself_is_a_circle_also_where_it_is_given() -> None:
    with pytest.raises(AnalysisError, match="circle"):
        given_peaks("FindPeaks: {}", {"out_file": "{{ out_file }}"})


def test_what_is_given_wins_under_either_name_of_a_parameter() -> None:
    class Named(TaskParameters):
        n: int = Parameter(0, alias="n-peaks")
        out_file: str = ""

    entry = AnalysisEntry("Named", Named, task="m:C")
    text = "Named: {n-peaks: 1, out_file: 'f{{ n-peaks }}'}"
    assert parse(text).parameters_for(entry, {"n-peaks": 7}).model_dump() == {
        "n": 7, "out_file": "f7",
    }  # fmt: skip
    assert parse("Named: {n-peaks: 1}").parameters_for(entry, {"n": 7}).model_dump()["n"] == 7


def test_a_header_that_refers_to_a_section_follows_what_is_given() -> None:
    text = "header: {work_dir: 'w{{ Needs.out_file }}', run: 1}\nNeeds: {out_file: a}"
    found, header, _ = parse(text).resolved(NEEDS, {"out_file": "b"})
    assert header.work_dir == os.path.abspath("wb")
    assert found.header == header  # type: ignore[attr-defined]
    assert parse(text).header.work_dir == os.path.abspath("wa")


@pytest.mark.parametrize(
    ("folder", "here"),
    [("work", "/work"), ("./a/../b", "/a/../b"), (".", ""), ("''", ""), ("/abs", None)],
)
def test_the_folder_of_the_header_is_where_analyses_run(
    folder: str, here: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a{{ b").mkdir()
    monkeypatch.chdir(tmp_path / "a{{ b")
    text = f"header:\n  work_dir: {folder}\nFindPeaks: {{out_file: '{{{{ work_dir }}}}/x'}}"
    found = parse(text)
    place = "/abs" if here is None else f"{Path.cwd()}{here}"
    assert found.parameters_for(PEAKS).out_file == f"{place}/x"  # type: ignore[attr-defined]
    assert found.header.work_dir == ("" if folder == "''" else place)


def test_a_folder_that_is_gone_leaves_the_header_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert parse("header: {work_dir: work}").header.work_dir == "work"


def test_values_of_the_header_can_be_replaced_later() -> None:
    found = parse("header: {work_dir: a, run: 1}\nFindPeaks: {out_file: '{{ work_dir }}/x'}")
    later = found.with_header({"work_dir": "/b"}).parameters_for(PEAKS)
    assert later.model_dump()["out_file"] == "/b/x"
    assert found.with_header({}) is found


def test_references_in_defaults_are_replaced() -> None:
    class Referring(ThirdPartyParameters):
        executable: str = "{{ $HOME }}/bin/x"
        out_file: str = "{{ work_dir }}/{{ frame:03d }}"
        frame: int = 3
        names: list[str] = Parameter(default_factory=lambda: ["{{ tag }}", "b"])
        window: Window = Window(first=1)
        lute_config: AnalysisHeader | None = None
        of: str = "{{ lute_config.experiment }}"

    entry = AnalysisEntry("Referring", Referring)
    text = "header: {work_dir: /w, experiment: mfx}\ntag: t\n"
    found = parse(text).parameters_for(entry, {"frame": 7}).model_dump(exclude={"lute_config"})
    assert found == {
        "executable": "/root/bin/x", "out_file": "/w/007", "frame": 7, "names": ["t", "b"],
        "window": {"first": 1, "last": 9}, "of": "mfx",
    }  # fmt: skip
    assert parse(text).parameters_for(entry).model_fields_set == {
        "executable", "out_file", "names", "of", "lute_config",
    }  # fmt: skip
    with pytest.raises(AnalysisError, match=r"Referring\.names\[0\]: .*there is no 'tag'"):
        parse("header: {work_dir: /w}").parameters_for(entry)


# -- substitution through a whole configuration -------------------------------------------------


def test_names_are_looked_up_in_the_configuration_then_the_header_then_the_section() -> None:
    section = "{out_file: '{{ a }}-{{ b }}-{{ c }}', anything: {c: 9}}"
    found = peaks(section, "{a: header-a, b: header-b}", "a: top-a\nc: top-c")
    assert found.out_file == "top-a-header-b-top-c"
    own = peaks("{n: 7, out_file: 'n{{ n }}'}")
    assert own.out_file == "n7"
    header = parse("header: {title: '{{ x }}', x: in header}\nx: at top").header
    assert header.title == "in header"


def test_placeholders_lead_through_placeholders_and_keep_types() -> None:
    found = peaks(
        "{anything: {list: '{{ OtherTask.l }}', deep: '{{ OtherTask.l.1.k }}',"
        " me: '{{ FindPeaks.n }}'}, n: 4}",
        more="OtherTask: {l: [1.5, {k: '{{ v }}'}]}\nv: [true, null]",
    )
    assert found.anything == {
        "list": [1.5, {"k": [True, None]}],
        "deep": [True, None],
        "me": 4,
    }


def test_environment_values_are_texts_that_the_model_reads() -> None:
    found = peaks("{n: '{{ $N }}', out_file: '{{ $N }}'}", environ={"N": "0012"})
    assert (found.n, found.out_file) == (12, "0012")
    found = peaks("{out_file: 'x{{ $N }}'}", environ={"N": "\\1 {{ run }}"})
    assert found.out_file == "x\\1 {{ run }}"


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ("a: '{{ b }}'\nb: '{{ a }}'\nFindPeaks: {out_file: '{{ a }}'}", "a → b → a"),
        ("FindPeaks: {out_file: '{{ out_file }}'}", "FindPeaks.out_file → FindPeaks.out_file"),
        ("FindPeaks: {anything: {x: '{{ FindPeaks }}'}}", "FindPeaks → "),
        ("header: {title: '{{ date }}', date: 'x{{ title }}'}", "header.title → header.date"),
    ],
)
def test_circles_are_named(text: str, circle: str) -> None:
    told = problems_of(text)
    assert "refer to each other in a circle" in told[0]
    assert circle in told[0]


def test_what_multiplies_without_end_is_refused() -> None:
    lists = "".join(f"l{i}: ['{{{{ l{i + 1} }}}}', '{{{{ l{i + 1} }}}}']\n" for i in range(40))
    told = problems_of(f"{lists}l40: [1, 2]\nFindPeaks: {{anything: '{{{{ l0 }}}}'}}")
    assert "become more than 250,000" in told[0]
    texts = "".join(f"t{i}: '{{{{ t{i + 1} }}}}{{{{ t{i + 1} }}}}'\n" for i in range(40))
    told = problems_of(f"{texts}t40: xxxx\nFindPeaks: {{anything: '{{{{ t0 }}}}'}}")
    assert "longer than 1,048,576" in told[0]
    chain = "".join(f"c{i}: '{{{{ c{i + 1} }}}}'\n" for i in range(500))
    told = problems_of(f"{chain}c500: 1\nFindPeaks: {{anything: '{{{{ c0 }}}}'}}")
    assert f"deeper than {resolver.MAX_DEPTH} levels" in told[0]


def earlier(experiment: str, run: str, task: str, key: str) -> Any:
    """Answer as a record would that holds one run of one analysis."""
    held = {("mfx1", "12", "Geometry"): {"distance": 0.1, "payload.rings.0": [1, 2]}}
    values = held.get((experiment, run, task))
    if values is None:
        raise LookupError(f"the record has no run of {task}")
    if key not in values:
        raise LookupError(f"it has: {', '.join(values)}")
    return values[key]


def test_results_of_earlier_runs() -> None:
    assert isinstance(earlier, EarlierResults)
    section = (
        "{anything: '{{ earlier.Geometry.payload.rings.0 }}',"
        " out_file: 'd{{ earlier.Geometry.distance:.2f }}'}"
    )
    found = peaks(section, "{experiment: mfx1, run: 12}", earlier=earlier)
    assert (found.anything, found.out_file) == ([1, 2], "d0.10")
    other = section.replace("earlier.", "earlier(run=12, experiment=mfx1).")
    assert peaks(other, "{run: 99}", earlier=earlier).anything == [1, 2]


def test_the_first_of_several_earlier_results_that_is_there() -> None:
    section = (
        "{anything: '{{ earlier.Missing.tag | earlier.Geometry.payload.rings.0 }}',"
        " out_file: 'd{{ earlier.Geometry.distance | earlier.Missing.x:.2f }}'}"
    )
    found = peaks(section, "{experiment: mfx1, run: 12}", earlier=earlier)
    assert (found.anything, found.out_file) == ([1, 2], "d0.10")
    text = (
        "header: {experiment: mfx1, run: 12}\n"
        "FindPeaks:\n  n: '{{ earlier.Missing.n | earlier.Geometry.n }}'\n"
    )
    [told] = problems_of(text, earlier=earlier)
    assert "{{ earlier.Missing.n | earlier.Geometry.n }}" in told
    for wrong in ("{{ run | earlier.A.b }}", "{{ earlier.A.b | 3 }}", "{{ earlier.A.b | }}"):
        assert "is no placeholder" in problems_of(f"FindPeaks: {{n: '{wrong}'}}")[0]


def test_earlier_results_that_are_not_there() -> None:
    text = "header: {experiment: mfx1, run: 12}\nFindPeaks:\n  n: '{{ earlier.Geometry.dist }}'\n"
    assert problems_of(text, earlier=earlier) == [
        "c.yaml:3:3: FindPeaks.n: {{ earlier.Geometry.dist }}: no earlier result of Geometry for"
        " experiment 'mfx1', run '12': it has: distance, payload.rings.0"
        " (run Geometry first, or name a run: earlier(run=12).Geometry.dist)"
    ]
    assert "there is no record" in problems_of(text)[0]
    told = problems_of("header: {title: '{{ earlier.A.b }}'}", earlier=earlier)
    assert "the header cannot ask" in told[0]
    assert "'earlier' is reserved" in problems_of("earlier: {A: {b: 1}}")[0]


def test_a_section_that_is_not_used_may_lack_its_earlier_results() -> None:
    text = "FindPeaks: {n: 2}\nLater: {x: '{{ earlier.FindPeaks.n }}', y: '{{ $NOT_SET }}'}"
    assert parse(text).parameters_for(PEAKS) == Peaks(n=2)


# -- errors -------------------------------------------------------------------------------------


def test_all_problems_are_listed_with_key_and_line() -> None:
    text = """\
header: {run: 1}
FindPeaks:
  n: twelve
  out_fil: x
  names:
    - a
    - {b: 1}
  window: {firts: 1, last: x}
"""
    assert problems_of(text) == [
        "c.yaml:3:3: FindPeaks.n: 'twelve' should be a valid integer, unable to parse string as an"
        " integer",
        "c.yaml:4:3: FindPeaks.out_fil: unknown parameter 'out_fil'; allowed: out_file, n, names,"
        " numbers, window, anything, key (did you mean 'out_file'?)",
        "c.yaml:7:7: FindPeaks.names[1]: {'b': 1} should be a valid string",
        "c.yaml:8:3: FindPeaks.window.first: the parameter 'first' is missing",
        "c.yaml:8:12: FindPeaks.window.firts: unknown parameter 'firts'; allowed: first, last (did"
        " you mean 'first'?)",
        "c.yaml:8:22: FindPeaks.window.last: 'x' should be a valid integer, unable to parse string"
        " as an integer",
    ]


def test_a_missing_parameter_is_told_with_its_meaning_after_unknown_ones() -> None:
    text = "Needs:\n  outfile: x\n"
    assert problems_of(text, NEEDS) == [
        "c.yaml:2:3: Needs.outfile: unknown parameter 'outfile'; allowed: out_file (did you mean"
        " 'out_file'?)",
        "c.yaml:2:3: Needs.out_file: the parameter 'out_file' is missing (The file.)",
    ]


def test_the_error_itself_has_fields() -> None:
    with pytest.raises(AnalysisError) as caught:
        parse("FindPeaks:\n  n: x\n").parameters_for(PEAKS)
    error = caught.value
    assert (error.file, error.key, error.line) == ("c.yaml", "FindPeaks.n", 2)
    assert isinstance(error, ValueError)


def test_branches_of_a_union_that_say_the_same_are_told_once() -> None:
    told = problems_of("header: {task_timeout: -1}")
    assert len(told) == len(set(told)) == 1


def test_a_secret_is_not_shown() -> None:
    told = problems_of("FindPeaks: {key: [hunter2]}")
    assert "hunter2" not in told[0]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("FindPeaks: {n: 1, n: 2}", "c.yaml:1:19: FindPeaks.n", "twice (first in line 1)"),
        ("header: {run: 1}\nheader: {run: 2}", "c.yaml:2:1: header", "twice"),
        ("header: {experimnt: a}", "c.yaml:1:10: header.experimnt", "did you mean 'experiment'?"),
        ("header: {task_timeout: -1}", "c.yaml:1:10: header.task_timeout", "greater than 0"),
        ("header: {task_timeout: .inf}", "c.yaml:1:10: header.task_timeout", "finite number"),
        ("header: [1]", "c.yaml:1:9: header", "the header is a mapping, not a list"),
        ("experiment: a\nFindPeaks: {}", "c.yaml:1:1: experiment", "put it under 'header:'"),
        ("FindPeaks: [1]", "c.yaml:1:1: FindPeaks", "a section is a mapping, not a list"),
        ("- a", "c.yaml:1:1", "is a mapping, not a list"),
        ("", "c.yaml", "there is nothing in it"),
        ("a: {b", "c.yaml:2:1", "this is not YAML"),
        ("a: {{ run }}", "c.yaml:1:5", "put a text that begins with '{' in quotes"),
        ("a: !!python/object:os.system x", "c.yaml:1:4", "a tag is not allowed"),
        ("a: &x [*x]", "c.yaml:1:8", "a cycle"),
        ("{}\n---\n{}\n---\n{}", "c.yaml:4:1", "a further document begins"),
        ("a: '{{ __import__(\"os\") }}'", "c.yaml:1:4: a", "never evaluated"),
        ("FindPeaks: {n: '{{ rtae }}'}\nrate: 1", "c.yaml:1:13: FindPeaks.n", "mean 'rate'?"),
        ("FindPeaks: {n: '{{ $HOMME }}'}", "c.yaml:1:13: FindPeaks.n", "did you mean $HOME?"),
        ("FindPeaks: {n: '{{ a.__class__ }}'}\na: x", "c.yaml:1:13", "there is no '__class__'"),
        ("FindPeaks: '{{ $HOME }}'", "c.yaml:1:1: FindPeaks", "a section is a mapping"),
        ("1: {}", "c.yaml:1:1", "put it in quotes"),
    ],
)  # fmt: skip
def test_errors_name_place_and_remedy(text: str, place: str, why: str) -> None:
    told = problems_of(text)
    assert told[0].startswith(f"{place}: ")
    assert why in told[0]


def test_text_that_is_no_utf8_and_text_that_is_too_deep() -> None:
    with pytest.raises(AnalysisError, match="not UTF-8"):
        parse_configuration(b"a: \xff")
    with pytest.raises(AnalysisError, match="nested deeper than 64"):
        parse("a: " + "[" * 70 + "]" * 70)
    aliases = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30)
    )
    with pytest.raises(AnalysisError, match="more than 100,000 values"):
        parse(aliases)


def test_unknown_sections_have_a_near_miss() -> None:
    told = problems_of("FindPeeks: {}\nx-anchors: {}\nrate: 1", known_names=["FindPeaks", "Other"])
    assert told == [
        "c.yaml:1:1: FindPeeks: unknown analysis 'FindPeeks'; allowed: FindPeaks, Other (did you"
        " mean 'FindPeaks'?)"
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=10)
#: A key of YAML stands on one line.
KEYS = TEXTS.map(lambda text: f"k{text}").filter(lambda key: not {"\u2028", "\u2029"} & set(key))
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS.filter(lambda t: "{{" not in t)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=6,
)


@given(DATA)
def test_a_configuration_without_placeholders_is_what_yaml_says(data: Any) -> None:
    text = json.dumps({"FindPeaks": {"anything": data}}, ensure_ascii=False)  # JSON is YAML
    assert parse(text).parameters_for(PEAKS).anything == data  # type: ignore[attr-defined]


@given(st.text(max_size=60))
def test_any_text_is_a_configuration_or_one_clear_error(text: str) -> None:
    for given_text in (text, f"header: {{}}\nFindPeaks:\n  out_file: {text}\n"):
        try:
            found = parse(given_text).parameters_for(PEAKS)
        except AnalysisError as exc:
            assert exc.message  # noqa: PT017 - any other exception fails the test
        else:
            assert isinstance(found, PEAKS.parameters)


# -- the user's home ----------------------------------------------------------------------------


def test_a_tilde_is_the_users_home_for_the_header_and_for_placeholders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    text = "header: {work_dir: ~/r, template_dir: '{{ t }}', t: ~, environment_file: '~/e.sh'}"
    text = text.replace("t: ~,", "t: '~/t',") + "\nFindPeaks: {out_file: '{{ work_dir }}/x'}"
    found = parse(text)
    header = found.header
    assert (header.work_dir, header.template_dir, header.environment_file) == (
        "/home/u/r", "/home/u/t", "/home/u/e.sh",
    )  # fmt: skip
    assert found.parameters_for(PEAKS).model_dump()["out_file"] == "/home/u/r/x"
    assert found.with_header({"work_dir": "~/s"}).header.work_dir == "/home/u/s"


@pytest.mark.parametrize("folder", ["~nobody-of-this-name/x", "a\\0b"])
def test_a_folder_that_cannot_be_is_refused(folder: str) -> None:
    with pytest.raises(AnalysisError, match=r"header\.work_dir"):
        parse(f'header: {{work_dir: "{folder}"}}')
