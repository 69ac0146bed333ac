"""docs/summary-plots.md says what is true: its samples run, and its JSON is what is sent."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.publishing.logbook_entries import parameters_entry, status_entry
from taskgrove.analysis.publishing.page_names import iso_time
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots, TaskStatus
from tests.analysis.drawings import matplotlib_figure

PAGE = (Path(__file__).parents[2] / "docs" / "summary-plots.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: Programs, each with the plain block that follows it: what it prints.
SAMPLES = [
    (program, shown)
    for (language, program), (following, shown) in itertools.pairwise(BLOCKS)
    if (language, following) == ("python", "")
]


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.mark.parametrize(("program", "shown"), SAMPLES, ids=["pages", "files", "logbook"])
def test_a_sample_prints_what_is_shown(program: str, shown: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == shown


def test_the_analysis_of_a_scan_publishes_its_page(tmp_path: Path) -> None:
    pytest.importorskip("click")
    command, _ = blocks("text")
    (tmp_path / "motor_scan.py").write_text(blocks("python")[0])
    (tmp_path / "align.yaml").write_text(blocks("yaml")[0])
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--no-record"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best at 2.0 mm" in done.stdout + done.stderr
    page = (tmp_path / "pages" / "scans" / "sample_x" / "report.html").read_text()
    assert 'alt="best at 2.0 mm"' in page
    index = (tmp_path / "pages" / "index.html").read_text()
    for word in ("sample_x", "motor-scan", "exp1", "12"):
        assert f"<bdi>{word}</bdi>" in index


def test_the_json_is_what_is_sent() -> None:
    reference, *entries = map(json.loads, blocks("json"))
    origin = PageOrigin("run-7", "observe/fit", "fit-rings", 1, "exp1", 12)
    at_ns = entries[0]["at_ns"]
    made = [
        status_entry(origin, TaskStatus.COMPLETED, "5 rings", at_ns),
        parameters_entry(origin, {"distance": 0.1, "fit": {"rings": 5}}, at_ns + 1),
    ]
    for shown, entry in zip(entries, made, strict=True):
        sent = json.loads(entry.body)
        assert len(shown["id"]) == len(sent["id"])
        assert sent | {"id": shown["id"]} == shown
        assert list(sent) == list(shown)
        assert shown["at"] == iso_time(shown["at_ns"])
    assert set(reference) == {"page", "file", "size_bytes", "sha256"}


def test_the_reference_and_the_files_are_as_shown(tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path / "pages")
    plots = ElogSummaryPlots("scans/my_motor_scan", matplotlib_figure())
    publisher.publish(plots)
    published = publisher.publish_payload(plots)
    assert set(published.payload) == set(json.loads(blocks("json")[0]))
    _, tree = blocks("text")
    for line in tree.splitlines():
        path = re.split(r"\s{2,}", line)[0].replace("<time>", "*")
        assert list(tmp_path.glob(path.rstrip("/"))), path
