"""The end of an analysis as data: result, schemas, pages, logbook, description, record."""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import BaseModel

from taskgrove.analysis.channel.parameter_transfer import classes_in
from taskgrove.analysis.describing import read_payload
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.parameters.base import ThirdPartyParameters
from taskgrove.analysis.parameters.field import Parameter
from taskgrove.analysis.plain.json_form import dump_json, load_json
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.schemas import register_schema
from taskgrove.errors import AnalysisError, UsageError
from taskgrove.events import AnalysisDetail
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Runs
from tests.analysis.sample_tasks import SampleParameters


class Rings(BaseModel):
    rings: int


@pytest.fixture
def schema() -> str:
    register_schema("SampleRings", Rings)
    return "SampleRings"


def with_schema(analyses: Runs, schema: str, text: str) -> AnalysisExecutor:
    entry = AnalysisEntry("Payload", SampleParameters, task=tasks.Payload, impl_schemas=schema)
    return AnalysisExecutor(entry, SampleParameters(text=text), supervisor=analyses.supervisor)


def test_a_payload_that_keeps_to_its_schema(analyses: Runs, schema: str) -> None:
    described = with_schema(analyses, schema, "").start().result(GUARD_S)
    assert described.task_result.payload == {"rings": 5}
    assert described.task_result.impl_schemas == "SampleRings"


def test_a_payload_that_breaks_its_schema_fails_and_names_the_field(
    analyses: Runs, schema: str
) -> None:
    handle = with_schema(analyses, schema, "wrong").start()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "rings" in handle.outcome.cause
    assert handle.outcome.result.payload == {"rings": "many"}


def test_arrays_come_as_they_were(analyses: Runs) -> None:
    handle = analyses.run(tasks.Payload, SampleParameters(text="arrays"))
    assert handle.outcome is not None
    payload = handle.outcome.result.payload
    expected = np.arange(400_000, dtype="<f8").reshape(400, 1000)
    assert np.array_equal(payload["large"], expected)
    assert np.array_equal(payload["turned"], expected.T)
    assert payload["small"].dtype == np.dtype(">i2")


class Script(ThirdPartyParameters):
    executable: str = "/bin/sh"
    c: str = "true"
    out: str = Parameter("result.txt", description="The output.", is_result=True)


def test_a_program_s_result_is_what_its_parameters_name(analyses: Runs) -> None:
    entry = AnalysisEntry("written", Script)
    executor = AnalysisExecutor(
        entry, Script(c="true", out="scan.h5"), supervisor=analyses.supervisor
    )
    described = executor.start().result(GUARD_S)
    assert described.task_result.payload == "scan.h5"
    assert described.task_result.task_status is TaskStatus.COMPLETED


def test_plots_are_published_and_referred_to(analyses: Runs, tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path / "pages")
    origin = PageOrigin(run_id="r1", analysis="Payload")
    handle = analyses.run(
        tasks.Payload, SampleParameters(text="plots"), publisher=publisher, origin=origin
    )
    assert handle.outcome is not None
    (page,) = handle.outcome.pages
    assert page.display_name == "scans/my_motor_scan"
    file = tmp_path / "pages" / "scans" / "my_motor_scan" / "report.html"
    assert "drawn" in file.read_text()
    assert "report.html" in json.dumps(handle.outcome.result.payload)


def test_a_publisher_that_fails_costs_no_analysis(analyses: Runs, tmp_path: Path) -> None:
    """Fact W6: a figure that cannot be drawn destroys the page that was there."""

    class Broken:
        def publish_payload(self, payload: Any, **about: Any) -> Any:
            raise OSError("the web server's disk is full")

    handle = analyses.run(tasks.Payload, SampleParameters(text="plots"), publisher=Broken())
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert "the web server's disk is full" in handle.outcome.notes[0]


class Book:
    """A logbook that keeps what is posted."""

    def __init__(self) -> None:
        self.posts: list[Any] = []

    def post_status(self, origin: PageOrigin, status: Any, message: str = "") -> None:
        self.posts.append((origin.analysis, status.name, message))

    def post_parameters(self, origin: PageOrigin, parameters: Mapping[str, Any]) -> None:
        self.posts.append((origin.analysis, dict(parameters)))

    def close(self, timeout_s: float = 10.0) -> bool:
        return True


def test_the_logbook_hears_every_status_and_a_dict_summary(analyses: Runs) -> None:
    """Fact S15: a failure is posted as COMPLETED, a limit never."""
    book = Book()
    handle = analyses.run(tasks.Sums, logbook=book)
    assert handle.outcome is not None
    assert [post[1] for post in book.posts] == [
        "RUNNING",
        "COMPLETED",
        {"photons": 12, "rate": 0.5},
    ]
    assert handle.outcome.detail.summary == "photons: 12; rate: 0.5"
    book.posts.clear()
    analyses.run(tasks.Raises, logbook=book)
    assert book.posts[-1] == ("Raises", "FAILED", "ValueError: frame 12: no peaks above 5 sigma")
    book.posts.clear()
    analyses.run(tasks.Waits, logbook=book, timeout_s=1.0)
    assert book.posts[-1] == ("Waits", "TIMEDOUT", "timed out after 1 s")


def test_the_description_is_whole(analyses: Runs, tmp_path: Path) -> None:
    parameters = SampleParameters(n=2, mode=tasks.Mode.EXACT)
    handle = analyses.run(
        tasks.Count, parameters, work_dir=tmp_path, poll_interval=0.25, environment={"X_TOKEN": "s"}
    )
    outcome = handle.outcome
    assert outcome is not None
    described, detail = outcome.described, outcome.detail
    assert described.task_parameters is parameters
    assert described.task_env["X_TOKEN"] == "s"
    assert described.poll_interval == 0.25
    assert [line.split(":")[0] for line in described.communicator_desc] == ["Channel", "Output"]
    types = [SampleParameters, *classes_in(SampleParameters)]
    assert load_json(dump_json(described), types).task_parameters == parameters
    assert detail.analysis == "Count"
    assert json.loads(detail.parameters)["n"] == 2
    assert detail.environment["X_TOKEN"] == "<redacted>"
    assert detail.argv[1:] == (
        "-P",
        "-m",
        "taskgrove.analysis.child",
        "tests.analysis.sample_tasks:Count",
    )
    assert detail.cwd == str(tmp_path)
    assert detail.host == os.uname().nodename
    assert detail.user == getpass.getuser()
    assert detail.pid == handle.pid
    assert detail.versions["python"] == platform.python_version()
    assert detail.versions["taskgrove"]
    assert detail.communicators == tuple(described.communicator_desc)
    assert detail.status == "COMPLETED"
    assert read_payload(detail.payload) == {"n": 2, "mode": "EXACT"}
    assert detail.return_code == 0
    assert detail.duration_s is not None
    assert detail.duration_s > 0
    assert detail.cpu_s is not None
    assert detail.cpu_s > 0.01
    assert detail.max_rss_bytes is not None
    assert 5 << 20 < detail.max_rss_bytes < 1 << 30
    again = msgspec.json.decode(msgspec.json.encode(detail), type=AnalysisDetail)
    assert again == detail


def test_the_memory_is_the_program_s_and_not_ours(analyses: Runs) -> None:
    ballast = bytearray(300 << 20)
    handle = analyses.script("sleep 0.2")
    assert handle.outcome is not None
    assert len(ballast) == 300 << 20
    assert handle.outcome.max_rss_bytes is not None
    assert handle.outcome.max_rss_bytes < 100 << 20


def test_a_large_payload_is_kept_in_files(analyses: Runs, tmp_path: Path) -> None:
    parameters = SampleParameters(text="arrays")
    kept = analyses.run(tasks.Payload, parameters, work_dir=tmp_path)
    assert kept.outcome is not None
    assert len(kept.outcome.detail.payload) < 2000
    payload = read_payload(kept.outcome.detail.payload)
    assert np.array_equal(payload["large"], kept.outcome.result.payload["large"])
    lost = analyses.run(tasks.Payload, parameters)
    assert lost.outcome is not None
    assert lost.outcome.result.payload["large"].shape == (400, 1000)
    with pytest.raises(AnalysisError, match="too large to be kept"):
        read_payload(lost.outcome.detail.payload)


def test_what_never_ran_is_described_too(analyses: Runs) -> None:
    handle = analyses.start_program("/no/such/program")
    described = handle.result(GUARD_S)
    assert described.task_result.task_status is TaskStatus.FAILED
    assert described.task_env == {}
    assert handle.outcome is not None
    assert handle.outcome.duration_s is None
    assert handle.outcome.detail.argv == ("/no/such/program",)
    assert handle.outcome.detail.pid is None


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"grace_s": -1},
        {"poll_interval": 0},
        {"heartbeat_timeout_s": "soon"},
        {"output_limit_bytes": -1},
    ],
)
def test_limits_that_are_none(analyses: Runs, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        analyses.executor(tasks.Trivial, **settings)


def test_a_class_that_no_other_process_finds(analyses: Runs) -> None:
    class Local(tasks.Trivial):
        pass

    with pytest.raises(AnalysisError, match="another process cannot import"):
        analyses.executor(Local)
