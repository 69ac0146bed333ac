"""docs/coming-from-lute.md says what is true: its commands work as typed, its names exist."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import tomllib
import venv
import warnings
from pathlib import Path

import pytest

from taskgrove.analysis.parameters import (
    TemplateConfig,
    ThirdPartyParameters,
    render_argv,
    render_template,
)
from taskgrove.analysis.registry import ENTRY_POINT_GROUP, AnalysisEntry
from taskgrove.analysis.results import DescribedAnalysis, TaskStatus
from taskgrove.analysis.running.analysis_events import KINDS
from taskgrove.analysis.task import AnalysisTask
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.cli.analyse import analyse
from taskgrove.cli.app import VERBS
from taskgrove.errors import AnalysisError
from tests.cli.command_line import environment, taskgrove
from tests.repository.test_docs_pages import DOCS, blocks

PAGE = (DOCS / "coming-from-lute.md").read_text(encoding="utf-8")
FILES = {
    match[1]: block.text
    for block in blocks(PAGE, "python") + blocks(PAGE, "yaml")
    if (match := re.match(r"# (\S+)\n", block.text))
}
NAMES = PAGE.split("## Names")[1].split("\n## ")[0]


class _Task(AnalysisTask[None]):
    def run(self) -> None: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page, and an interpreter beside them."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    venv.create(tmp_path / "psana", symlinks=True)
    return tmp_path


def test_every_block_is_a_file_or_is_typed() -> None:
    assert set(FILES) == {"spots_task.py", "spots.py", "spots.yaml", "workflow.yaml"}
    languages = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert sorted(languages) == sorted(["python"] * 2 + ["yaml"] * 2 + ["console"] * 3 + ["toml"])


def test_what_is_typed_works_and_prints_what_is_shown(folder: Path) -> None:
    typed = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(
        block.text for block in blocks(PAGE, "console")
    ), re.MULTILINE)  # fmt: skip
    assert len(typed) == 10
    surroundings = environment(TASKGROVE_DB=str(folder / "runs.db"))
    for line, shown in typed:
        program, *words = line.split()
        if program == "taskgrove":
            done = taskgrove(*words, cwd=folder, env=surroundings)
        else:
            done = subprocess.run(
                [program, *words], cwd=folder, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done
        missing = set(shown.splitlines()) - set(done.stdout.splitlines())
        assert not missing, (line, done.stdout)
        if "--list" in words:
            assert "FindSpots" in done.stdout
        if "--help-task" in words:
            assert "Least height of a spot." in done.stdout


def test_the_entry_point_is_the_one_that_is_looked_for() -> None:
    (block,) = blocks(PAGE, "toml")
    (group,) = tomllib.loads(block.text)["project"]["entry-points"].items()
    assert group == (ENTRY_POINT_GROUP, {"spots": "spots:ENTRIES"})
    assert "ENTRIES = [" in FILES["spots.py"]


def right_column() -> str:
    rows = [line.split(" | ") for line in NAMES.splitlines() if line.startswith("| `")]
    assert len(rows) > 35
    return "\n".join(" | ".join(row[1:]) for row in rows)


def test_the_names_that_something_became_exist() -> None:
    told = right_column()
    fields = {field.name for field in dataclasses.fields(AnalysisEntry)}
    assert set(re.findall(r"AnalysisEntry\((\w+)=", told)) <= fields
    assert set(re.findall(r"hooks=\{\"(\w+)\"", told)) <= set(KINDS)
    task = _Task(None)
    for name in re.findall(r"self\.(\w+)", told):
        assert hasattr(task, name)
    for name in re.findall(r"context\.(\w+)\(", told):
        assert hasattr(TaskletContext, name)
    options = {
        name.replace("-", "_") for name in re.findall(r"--([a-z-]+)", told) if name != "wrap"
    }
    given = {"help_task", "set", "analyses"} | set(inspect.signature(analyse).parameters)
    assert options <= given
    assert set(re.findall(r"`taskgrove (\w+)", told)) <= {
        verb for table in VERBS.values() for verb in table
    }


def test_the_results_have_the_fields_that_are_said() -> None:
    assert "UNRESPONSIVE" not in TaskStatus.__members__
    names = [field.name for field in dataclasses.fields(DescribedAnalysis)]
    assert "executor_name" not in names
    for name in ("long_flags_use_eq", "run_directory", "result_from_params"):
        assert hasattr(ThirdPartyParameters, name)
    assert {"before_run", "run", "after_run"} <= set(dir(AnalysisTask))
    assert inspect.signature(AnalysisTask.result).parameters.keys() >= {"payload", "summary"}


# -- the differences ------------------------------------------------------------------------------


class Filled(ThirdPartyParameters):
    executable: str = "x"
    lute_template_cfg: TemplateConfig = TemplateConfig(template_name="t.txt", output_path="out.txt")


def rendered(folder: Path, template: str, **data: object) -> str:
    (folder / "t.txt").write_text(template, encoding="utf-8")
    place = render_template(Filled.model_validate(data), template_root=folder, output_root=folder)
    assert place is not None
    return place.read_text(encoding="utf-8")


def test_what_is_said_of_templates(tmp_path: Path) -> None:
    sample = re.search(r"`({{ x .. default.*? }})`", PAGE)
    assert sample is not None
    assert rendered(tmp_path, sample[1].replace("\\|", "|") + "|\n", y=1) == "|\n"
    kinds = set(re.findall(r"is (string|mapping|sequence)\b", PAGE))
    for kind, value in {"string": "a", "mapping": {}, "sequence": []}.items():
        assert kind in kinds
        assert rendered(tmp_path, f"{{% if x is {kind} %}}yes{{% endif %}}", x=value) == "yes"
    with pytest.raises(AnalysisError, match="__class__"):
        rendered(tmp_path, "{{ x.__class__ }}", x="a")


def test_what_is_said_of_classes_that_stay_as_they_were() -> None:
    import pydantic

    assert "`@validator(…, always=True)` and `Field(…, flag_type=…)` still work" in PAGE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydantic says that they will go

        class Merge(ThirdPartyParameters):
            executable: str = pydantic.Field("merge", flag_type="")
            in_file: str = pydantic.Field("a.stream", flag_type="-", rename_param="i")
            out_file: str = pydantic.Field("", flag_type="--", rename_param="out", is_result=True)

            @pydantic.validator("out_file", always=True)
            def _named(cls, out_file, values):  # noqa: N805
                return out_file or values["in_file"].replace("stream", "hkl")

    made = Merge()
    assert render_argv(made) == ["merge", "-i", "a.stream", "--out", "a.hkl"]
    assert made.described_result() == "a.hkl"
