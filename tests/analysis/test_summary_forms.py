"""Summary and payload may hold values, plots and files, nested: wherever a result comes from."""

from __future__ import annotations

import json
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.registry import AnalysisEntry, AnalysisRegistry
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.events import AnalysisDetail, PageDetail, TaskEvent
from tests.analysis.analysis_runs import GUARD_S, Runs
from tests.analysis.sample_tasks import SampleParameters
from tests.cli.command_line import environment, taskgrove

#: It needs nothing but taskgrove, so that it runs in a bare interpreter, too.
_MODULE = """
from pathlib import Path
from taskgrove.analysis import AnalysisTask, ElogSummaryPlots

class Forms(AnalysisTask):
    def run(self):
        Path("peaks.csv").write_text("x,y")
        one = ElogSummaryPlots("forms/one", {"text": "first", "the peaks": Path("peaks.csv")})
        two = ElogSummaryPlots("forms/two", "second")
        three = ElogSummaryPlots("forms/three", ["third"])
        payload = {"deep": [{"er": (one, 3)}], "same": one}
        values = {"rings": 5, "fit": {"chi2": 1.5}, "plots": one}
        return self.result(payload, [values, two, [{"more": three}], "text"])
"""
_ENTRIES = """
from taskgrove.analysis.registry import AnalysisEntry
from tests.analysis.sample_tasks import SampleParameters
ENTRIES = [AnalysisEntry("Forms", SampleParameters, task="forms_module:Forms")]
"""
_NAMES = ["forms/one", "forms/two", "forms/three"]
_VALUES = {"rings": 5, "fit": {"chi2": 1.5}}


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnalysisEntry:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "forms_module.py").write_text(_MODULE)
    (tmp_path / "code" / "forms_entries.py").write_text(_ENTRIES)
    monkeypatch.syspath_prepend(tmp_path / "code")
    return AnalysisEntry("Forms", SampleParameters, task="forms_module:Forms")


def check_pages(root: Path) -> None:
    """See that all three pages are there, one of them with its file."""
    index = json.loads((root / "index.json").read_text())
    assert sorted(page["display_name"] for page in index["pages"]) == sorted(_NAMES)
    for name, words in zip(_NAMES, ("first", "second", "third"), strict=True):
        assert f'<pre class="text">{words}</pre>' in (root / name / "report.html").read_text()
    (file,) = (root / "forms" / "one" / "_taskgrove").glob("*/peaks.csv")
    assert file.read_text() == "x,y"
    assert "peaks.csv" in (root / "forms" / "one" / "report.html").read_text()


def check_detail(detail: AnalysisDetail, root: Path) -> None:
    """See that references stand where the plots were, and that the values are those given."""
    payload = json.loads(detail.payload)
    assert payload["same"]["file"] == str(root / "forms/one/report.html")
    assert len(payload["same"]["files"]) == 1
    (deep,) = payload["deep"]
    assert payload["same"] in deep["er"]["v"]  # a tuple
    assert json.loads(detail.summary_values) == _VALUES
    assert "forms/two" in detail.summary
    assert "forms/three" in detail.summary
    assert len(detail.summary) < 5_000


@pytest.mark.parametrize("where", ["own", "other"])
def test_a_process_of_its_own(
    entry: AnalysisEntry, analyses: Runs, tmp_path: Path, where: str
) -> None:
    python = None
    if where == "other":
        venv.create(tmp_path / "bare", symlinks=True)
        python = str(tmp_path / "bare" / "bin" / "python")
    executor = AnalysisExecutor(
        entry, SampleParameters(), publisher=PagePublisher(tmp_path / "pages"), python=python,
        work_dir=tmp_path / "work", supervisor=analyses.supervisor,
    )  # fmt: skip
    handle = executor.start()
    assert handle.wait(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert (outcome.cause, outcome.notes) == ("", ())
    assert [page.display_name for page in outcome.pages] == _NAMES
    check_pages(tmp_path / "pages")
    check_detail(outcome.detail, tmp_path / "pages")


def test_a_leaf_of_a_tree(entry: AnalysisEntry, tmp_path: Path) -> None:
    registry = AnalysisRegistry()
    registry.register(entry)
    leaf = LeafTask("forms", None, "Forms", None, TaskExecutionType.ANALYSIS)
    told: list[TaskEvent] = []
    with (
        AnalysisRunner(
            registry, publisher=tmp_path / "pages", work_dir=tmp_path / "work"
        ) as runner,
        MainTaskExecutor(1, {TaskExecutionType.ANALYSIS: runner}) as executor,
    ):
        tree = Task("root", subtasks=[leaf])
        assert executor.submit_main_task(tree, observers=[told.append]).wait(GUARD_S)
    pages = [event.detail for event in told if isinstance(event.detail, PageDetail)]
    assert [page.display_name for page in pages] == _NAMES
    (detail,) = (event.detail for event in told if isinstance(event.detail, AnalysisDetail))
    check_pages(tmp_path / "pages")
    check_detail(detail, tmp_path / "pages")


def test_the_command_line(entry: AnalysisEntry, tmp_path: Path) -> None:
    assert entry.name == "Forms"
    (tmp_path / "forms.yaml").write_text("Forms: {}\n")
    code = f"{tmp_path / 'code'}:{Path(__file__).parents[2]}"
    env = environment()
    env["PYTHONPATH"] = f"{env['PYTHONPATH']}:{code}"
    done = taskgrove(
        "analyse", "forms.yaml", "Forms", "--analyses", "forms_entries", "--pages", "pages",
        "--no-record", cwd=tmp_path, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_pages(tmp_path / "pages")
    for name in _NAMES:
        assert f"  {name}: {tmp_path}/pages/{name}/report.html\n" in done.stdout
    assert f"  peaks.csv: {tmp_path}/pages/forms/one/_taskgrove/" in done.stdout


def test_what_comes_after_a_program(analyses: Runs, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "map.ccp4").write_text("density")

    def draw(context: TaskletContext) -> None:
        assert context.result is not None
        plots = ElogSummaryPlots("dimple/map", {"R": "0.19", "map": Path("map.ccp4")})
        summary: Any = [{"R": 0.19}, plots]
        context.result.summary = summary

    entry = AnalysisEntry("program", SampleParameters, executable=sys.executable)
    executor = AnalysisExecutor(
        entry, None, after=[draw],
        publisher=PagePublisher(tmp_path / "pages"), work_dir=tmp_path / "work",
        supervisor=analyses.supervisor,
    )  # fmt: skip
    handle = executor.start()
    assert handle.wait(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert (outcome.cause, outcome.notes) == ("", ())
    (page,) = outcome.pages
    (file,) = page.files
    assert page.place_of(file).read_text() == "density"
    assert json.loads(outcome.detail.summary_values) == {"R": 0.19}
