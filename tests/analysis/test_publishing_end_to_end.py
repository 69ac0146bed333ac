"""An analysis in a process of its own: its plots become pages, and the logbook hears of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots, TaskResult, TaskStatus
from taskgrove.analysis.summary_plots import collect_plots
from taskgrove.analysis.task import AnalysisTask
from taskgrove.analysis.tasklets import TaskletContext
from tests.analysis.analysis_runs import Heard, Runs
from tests.analysis.drawings import matplotlib_figure
from tests.analysis.sample_tasks import SampleParameters

ORIGIN = PageOrigin("run-1", "observe/fit", "Draw", 1, "exp1", 12)


#: A dict as a summary: the seed says text, and LUTE's users give a dict.
_PARAMETERS: Any = {"distance": 0.1, "rings": 5}


class Draw(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        match self.parameters.text:
            case "fail":
                raise RuntimeError("no peaks")
            case "bad plot":
                return {"plots": ElogSummaryPlots("scans/a", object()), "n": 3}
            case "dict":
                return TaskResult("Draw", TaskStatus.COMPLETED, _PARAMETERS, None)
            case "summary":
                plots = ElogSummaryPlots("scans/a", matplotlib_figure("a"))
                return self.result({"again": plots}, [_PARAMETERS, plots])
            case "hang":
                threading.Event().wait()
        plots = [ElogSummaryPlots(f"scans/{name}", matplotlib_figure(name)) for name in "ab"]
        return self.result({"plots": plots, "n": 3}, "drawn")


class Notes:
    """A logbook that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def post_status(self, origin: PageOrigin, status: TaskStatus | str, message: str = "") -> None:
        assert origin is ORIGIN
        self.told.append((getattr(status, "name", str(status)), message))

    def post_parameters(self, origin: PageOrigin, parameters: Mapping[str, Any]) -> None:
        self.told.append(("parameters", dict(parameters)))

    def post_message(
        self,
        origin: PageOrigin,
        text: str,
        *,
        tags: Iterable[str] = (),
        files: Iterable[str | Path] = (),
    ) -> None:
        self.told.append(("message", (text, list(tags), list(files))))

    def close(self, timeout_s: float = 10.0) -> bool:
        return True


def test_plots_of_another_process_are_published(analyses: Runs, tmp_path: Path) -> None:
    root = tmp_path / "pages"
    handle = analyses.run(Draw, SampleParameters(), publisher=PagePublisher(root), origin=ORIGIN)
    assert handle.outcome is not None
    assert handle.status is TaskStatus.COMPLETED, handle.outcome.cause
    assert [page.display_name for page in handle.outcome.pages] == ["scans/a", "scans/b"]
    for name in "ab":
        page = (root / "scans" / name / "report.html").read_bytes()
        assert b"data:image/svg+xml" in page
    payload = handle.outcome.result.payload
    assert payload == {"plots": [page.reference() for page in handle.outcome.pages], "n": 3}
    assert b"run-1" in (root / "index.html").read_bytes()


@pytest.mark.parametrize("publishes", [True, False])
def test_plots_of_a_summary_are_published_too(
    analyses: Runs, tmp_path: Path, publishes: bool
) -> None:
    publisher = PagePublisher(tmp_path / "pages") if publishes else None
    handle = analyses.run(Draw, SampleParameters(text="summary"), publisher=publisher)
    outcome = handle.outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.COMPLETED, outcome.cause
    # Payload and summary hold the same plots: there is one page.
    assert [page.display_name for page in outcome.pages] == ["scans/a"] * publishes
    assert "'distance': 0.1" in outcome.detail.summary
    assert "scans/a" in outcome.detail.summary
    assert len(outcome.detail.summary) < 1_000
    assert len(collect_plots((outcome.result.payload, outcome.result.summary))) == 2 - 2 * publishes


def test_figures_are_converted_where_they_were_drawn(analyses: Runs) -> None:
    handle = analyses.run(Draw, SampleParameters())
    assert handle.outcome is not None
    plots = collect_plots(handle.outcome.result.payload)
    assert [one.display_name for one in plots] == ["scans/a", "scans/b"]
    assert all(isinstance(one.figures, bytes) for one in plots)


def test_a_plot_that_cannot_be_drawn_fails_the_analysis_and_says_which(
    analyses: Runs, tmp_path: Path
) -> None:
    publisher = PagePublisher(tmp_path / "pages")
    publisher.publish(ElogSummaryPlots("scans/a", "good"))
    handle = analyses.run(Draw, SampleParameters(text="bad plot"), publisher=publisher)
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "the page scans/a: object cannot be drawn" in handle.outcome.cause
    assert b"good" in (tmp_path / "pages" / "scans" / "a" / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("text", "settings", "ends"),
    [
        ("", {}, [("RUNNING", None), ("COMPLETED", None)]),
        ("fail", {}, [("RUNNING", None), ("FAILED", "RuntimeError: no peaks")]),
        ("hang", {"timeout_s": 1.0, "grace_s": 0.0}, [("RUNNING", None), ("TIMEDOUT", None)]),
    ],
)
def test_every_end_is_told_to_the_logbook_as_it_is(
    analyses: Runs, text: str, settings: dict[str, Any], ends: list[tuple[str, str | None]]
) -> None:
    notes = Notes()
    handle = analyses.run(
        Draw, SampleParameters(text=text), logbook=notes, origin=ORIGIN, **settings
    )
    heard = Heard()
    handle.on_event(heard)
    heard.wait_for("done")
    assert len(notes.told) == len(ends)
    for (status, message), (expected, words) in zip(notes.told, ends, strict=True):
        assert status == expected
        assert words is None or message == words


def test_a_summary_that_is_a_dict_is_told_as_parameters(analyses: Runs) -> None:
    notes = Notes()
    handle = analyses.run(Draw, SampleParameters(text="dict"), logbook=notes, origin=ORIGIN)
    heard = Heard()
    handle.on_event(heard)
    heard.wait_for("done")
    assert [status for status, _ in notes.told] == ["RUNNING", "COMPLETED", "parameters"]
    assert notes.told[-1][1] == {"distance": 0.1, "rings": 5}


def test_a_tasklet_posts_messages_with_files(analyses: Runs, tmp_path: Path) -> None:
    answers: list[bool] = []

    def tell(context: TaskletContext) -> None:
        text = "password=hunter2secret is kept out"
        answers.append(context.post_message(text, tags=["fit"], files=["map.ccp4"]))

    for logbook in (Notes(), None):
        handle = analyses.run(
            Draw, SampleParameters(text="dict"), logbook=logbook, origin=ORIGIN,
            after=[tell], work_dir=tmp_path,
        )  # fmt: skip
        heard = Heard()
        handle.on_event(heard)
        heard.wait_for("done")
        if logbook is not None:
            (message,) = [told for kind, told in logbook.told if kind == "message"]
            assert "hunter2secret" not in message[0]
            assert message[1:] == (["fit"], [tmp_path / "map.ccp4"])
    assert answers == [True, False]
