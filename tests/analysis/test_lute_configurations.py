"""Configurations in LUTE's form are read as they are, and what LUTE loses is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from taskgrove.analysis.configuration import load_configuration, parse_configuration
from taskgrove.analysis.configuring.config_text import scalar
from taskgrove.analysis.parameters import (
    AnalysisHeader,
    Parameter,
    TaskParameters,
    TemplateConfig,
    ThirdPartyParameters,
    render_argv,
    render_template,
)
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.errors import AnalysisError

# Written for this test, in the shape that users of LUTE know.
TEXT = """\
%YAML 1.3
---
# Fill in what your experiment needs
title: "Peaks of the first shift"
experiment: "{{ $EXPERIMENT }}"
run: 12
date: "2024/05/01"
lute_version: 0.2.0      # leave it
task_timeout: 1200
work_dir: "/data/scratch"
...
---
###########
# SFX
###########
FindSpots:
    outdir: "{{ work_dir }}/cxi"
    tag: "lyso"
    min_peaks: 10
    son_min: 1.0e+1
    psana_mask: no
    mask_file: null
    #n_events: 20000

SortSpots:
  in_file: "{{ FindSpots.outdir }}/{{ FindSpots.tag }}_r{{ run:04d }}.lst"
  tolerance: "5,5,5,1.5"
  multi: True
  profile: False
  no_revalidate: yes
  threads: "{{ $RUN:02d }}"

WriteCheetah:
  lute_template_cfg:
    template_name: "cheetah.ini"
    output_path: "cheetah_r{{ run:04d }}.ini"
  detnames: ["jungfrau", "epix_{{ run }}"]
  thresholds: {low: 5, high: 1.5}

# every key is a comment: the defaults hold
MergeSpots:
  #symmetry: "4/mmm"
...
"""


class FindSpots(TaskParameters):
    lute_config: AnalysisHeader
    outdir: str
    tag: str = ""
    min_peaks: int = 1
    son_min: float = 1.0
    psana_mask: bool = True
    mask_file: str | None = "x"


class SortSpots(ThirdPartyParameters):
    executable: str = Field("/bin/indexamajig", json_schema_extra={"flag_type": ""})
    in_file: str = Parameter(flag_type="-", rename_param="i")
    tolerance: str = Parameter(flag_type="--")
    multi: bool = Parameter(False, flag_type="--")
    profile: bool = Parameter(True, flag_type="--")
    no_revalidate: bool = Parameter(False, flag_type="--", rename_param="no-revalidate")
    threads: int = Parameter(1, flag_type="-", rename_param="j")
    long_flags_use_eq = True


class WriteCheetah(ThirdPartyParameters):
    executable: str = "cheetah"
    lute_template_cfg: TemplateConfig


class MergeSpots(TaskParameters):
    symmetry: str = "1"


def entry(kind: type[TaskParameters]) -> AnalysisEntry:
    program = issubclass(kind, ThirdPartyParameters)
    return AnalysisEntry(kind.__name__, kind, task=None if program else "m:C")


def test_a_configuration_of_lute_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(TEXT, encoding="utf-8")
    found = load_configuration(path, environ={"EXPERIMENT": "mfx100", "RUN": "7"})
    assert found.sections == ("FindSpots", "SortSpots", "WriteCheetah", "MergeSpots")
    header = found.header
    assert (header.experiment, header.run, header.task_timeout) == ("mfx100", 12, 1200)
    assert (header.lute_version, header.date) == ("0.2.0", "2024/05/01")
    spots = found.parameters_for(entry(FindSpots))
    assert spots == FindSpots(
        lute_config=header, outdir="/data/scratch/cxi", tag="lyso", min_peaks=10, son_min=10.0,
        psana_mask=False, mask_file=None,
    )  # fmt: skip
    sorting = found.parameters_for(entry(SortSpots))
    assert isinstance(sorting, SortSpots)
    assert render_argv(sorting) == [
        "/bin/indexamajig", "-i", "/data/scratch/cxi/lyso_r0012.lst", "--tolerance=5,5,5,1.5",
        "--multi", "--no-revalidate", "-j", "7",
    ]  # fmt: skip
    assert found.parameters_for(entry(MergeSpots)) == MergeSpots()


def test_further_keys_are_data_of_the_template(tmp_path: Path) -> None:
    (tmp_path / "cheetah.ini").write_text(
        "{% for d in detnames %}{{ d }};{% endfor %}{{ thresholds.high }}\n", encoding="utf-8"
    )
    found = parse_configuration(TEXT, environ={"EXPERIMENT": "x", "RUN": "1"})
    parameters = found.parameters_for(entry(WriteCheetah))
    assert isinstance(parameters, WriteCheetah)
    made = render_template(parameters, template_root=tmp_path, output_root=tmp_path)
    assert made == tmp_path.resolve() / "cheetah_r0012.ini"
    assert made.read_text(encoding="utf-8") == "jungfrau;epix_12;1.5\n"
    assert render_argv(parameters) == ["cheetah"]


def test_of_a_doubled_key_the_last_one_counts_with_a_warning() -> None:
    text = "title: t\nrun: 1\nrun: 12\n...\n---\nA: {x: 1, y: {z: 2, z: 3}}\nA: {x: 5}\n"
    found = parse_configuration(text, file="c.yaml")
    assert (found.header.run, found.values_for("A")) == (12, {"x": 5})
    places = [warning.split(": the key ")[0] for warning in found.warnings]
    assert places == ["c.yaml:3:1: run", "c.yaml:6:21: A.y.z", "c.yaml:7:1: A"]
    assert found.warnings[0].endswith("stands here twice (first in line 2); the last one counts")


def test_a_doubled_key_in_our_form_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="the key 'x' stands here twice"):
        parse_configuration("A: {x: 1, x: 2}")


def test_the_batch_system_may_give_experiment_and_run() -> None:
    two = "title: x\nrun: \n...\n---\nA: {x: '{{ experiment }}-{{ run }}'}\n"
    environ = {"EXPERIMENT": "mfx9", "RUN_NUM": "12_2024-05-01T10:00"}
    found = parse_configuration(two, environ=environ)
    assert (found.header.experiment, found.header.run) == ("mfx9", "12")
    assert found.values_for("A") == {"x": "mfx9-12"}
    # What the header gives comes first, and our own form never looks there.
    found = parse_configuration(two.replace("run: ", "run: 3"), environ=environ)
    assert found.header.run == 3
    assert parse_configuration("header: {title: x}", environ=environ).header.experiment == ""


# -- F13 and others: what LUTE loses ------------------------------------------------------------


def values(section: str, **environ: str) -> Any:
    text = f"title: t\nrun: 12\nzero: '007'\n...\n---\nTask: {section}\n"
    return parse_configuration(text, environ=environ).values_for("Task")


def test_f13_text_that_looks_like_a_number_stays_text() -> None:
    found = values("{a: '{{ zero }}', b: '{{ $N }}', c: 'nan', d: '1_000', e: '007'}", N="1e5")
    assert found == {"a": "007", "b": "1e5", "c": "nan", "d": "1_000", "e": "007"}


def test_f13_a_format_keeps_its_zeros() -> None:
    assert values("{a: '{{ run:04d }}', b: '{{ $RUN:04d }}'}", RUN="7") == {
        "a": "0012",
        "b": "0007",
    }


def test_f13_placeholders_in_lists_are_replaced() -> None:
    found = values("{a: ['{{ run }}', ['x{{ run }}'], {b: '{{ zero }}'}]}")
    assert found == {"a": [12, ["x12"], {"b": "007"}]}


def test_f13_a_missing_name_is_told_with_its_place() -> None:
    with pytest.raises(AnalysisError, match=r"6:8: Task.a: .*there is no 'runn'"):
        values("{a: '{{ runn }}'}")


def test_f13_a_missing_environment_variable_is_an_error() -> None:
    with pytest.raises(AnalysisError, match="the environment has no RUN_X"):
        values("{a: '{{ $RUN_X }}'}")


def test_f13_backslashes_in_values_are_kept() -> None:
    assert values("{a: 'x{{ $B }}y'}", B=r"\1\g<0>\d") == {"a": r"x\1\g<0>\dy"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("Off", False), ("ON", True), ("true", True), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("0x1F", 31), ("0b11", 3), ("0o17", 15), ("1.5", 1.5),
        ("1.0e+5", 1e5), ("1e-3", 1e-3), (".5", 0.5), (".inf", math.inf), ("0.10", 0.1),
        ("007", "007"), ("0012", "0012"), ("1_000", "1_000"), ("1:30", "1:30"), ("1e999", "1e999"),
        ("2024-05-01", "2024-05-01"), ("y", "y"), ("n", "n"), ("nan", "nan"), ("00.5", "00.5"),
        ("0.1.1", "0.1.1"), ("yEs", "yEs"),
    ],
)  # fmt: skip
def test_types_of_unquoted_values(text: str, value: Any) -> None:
    found = scalar(text)
    assert found == value
    assert isinstance(found, type(value))


def test_a_number_in_place_of_a_text_is_the_text_as_written() -> None:
    class Task(TaskParameters):
        version: str
        tags: list[str]
        number: float
        either: int | str

    text = "A: {version: 1.10, tags: [1.0e3, 0x1F, 007, 2], number: 1.10, either: 007}"
    found = parse_configuration(text).parameters_for(AnalysisEntry("A", Task, task="m:C"))
    assert found == Task(
        version="1.10", tags=["1.0e3", "0x1F", "007", "2"], number=1.1, either="007"
    )


def test_a_boolean_in_place_of_a_text_is_an_error_with_the_remedy() -> None:
    class Task(TaskParameters):
        mode: str

    with pytest.raises(AnalysisError, match="put it in quotes") as caught:
        parse_configuration("A:\n  mode: off").parameters_for(AnalysisEntry("A", Task, task="m:C"))
    assert caught.value.line == 2


def test_further_flags_are_as_written() -> None:
    text = "A: {cell: 1.10, e: 1e-3, big: 12345678901234567890, path: 'a b', l: [1.0, x]}"
    tool = AnalysisEntry("A", ThirdPartyParameters, executable="/bin/t")
    found = parse_configuration(text).parameters_for(tool)
    assert isinstance(found, ThirdPartyParameters)
    assert render_argv(found)[1:] == [
        "--cell", "1.10", "-e", "1e-3", "--big", "12345678901234567890", "--path", "a b",
        "-l", "1.0", "-l", "x",
    ]  # fmt: skip


def test_the_folder_of_the_header_need_not_be_there() -> None:
    """Reading a configuration looks at no folder; running an analysis does."""
    assert parse_configuration("header: {work_dir: /no/such}").header.work_dir == "/no/such"
