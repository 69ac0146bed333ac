"""`taskgrove resume` of an analysis that was run by itself, failed or lost, as a user runs it."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.command_line import environment, read_until, start, taskgrove

ANALYSES = """
import time
from pathlib import Path
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.task import AnalysisTask


class CountParameters(TaskParameters):
    frames: int = 3
    label: str = "none"
    token: str = ""


class CountFrames(AnalysisTask[CountParameters]):
    def run(self) -> Any:
        if Path("broken").exists():
            raise ValueError("the lamp is off")
        while Path("slow").exists():
            self.log.info("it waits")
            time.sleep(0.05)
        words = f"{self.parameters.frames} frames of {self.parameters.label}"
        return self.result({"frames": self.parameters.frames}, words)


ENTRIES = [AnalysisEntry("CountFrames", CountParameters, task="site_analyses:CountFrames")]
"""
CONFIGURATION = "header: {experiment: mfx100, run: 7}\nCountFrames: {frames: 4}\n"
SITE = ("--analyses", "site_analyses")
JOB = ("analyse", "site.yaml", "CountFrames", *SITE, "--no-live")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_analyses.py").write_text(ANALYSES)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    return tmp_path


def verb(site: Path, *words: str) -> tuple[int, str]:
    done = taskgrove(*words, cwd=site, env=environment(TASKGROVE_DB="runs.db"))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_failed_analysis_is_done_again_with_what_is_on_record(site: Path) -> None:
    (site / "broken").touch()
    code, told = verb(site, *JOB, "--set", "label=007")
    assert code == 1
    (site / "broken").unlink()
    (site / "site.yaml").write_text(CONFIGURATION.replace("4", "5"))
    code, told = verb(site, "why")
    again = re.search(r"taskgrove (resume \S+ --analyses site_analyses)$", told, re.MULTILINE)
    assert again is not None, told
    code, told = verb(site, *again[1].split())
    assert code == 2  # there is nobody to ask, and the plan was shown
    assert "site.yaml has changed since; the configuration on record is used" in told
    assert "redo   count-frames/count-frames: raised ValueError: the lamp" in told
    assert "--yes does it without asking" in told
    code, told = verb(site, *again[1].split(), "--yes", "--no-live")
    assert code == 0, told
    assert "frames: 4" in told
    assert 'label: "007"' in told  # as it was typed, not the number 7
    code, told = verb(site, "resume", "last", *SITE, "--yes")
    assert code == 0
    assert "ended OK" in told
    code, told = verb(site, "runs", "show", "last")
    assert "resumes" in told


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_lost_analysis_is_recovered_and_done_again(site: Path) -> None:
    (site / "slow").touch()
    with start(*JOB, cwd=site, env=environment(TASKGROVE_DB="runs.db")) as process:
        read_until(process.stdout, "it waits")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (site / "slow").unlink()
    code, told = verb(site, "resume", "last", *SITE, "--yes", "--no-live")
    assert code == 0, told
    assert "what it gave is not known" in told  # the recovery
    assert "reuse 0, redo 1, skip 0" in told
    assert "may be done twice" not in told  # its process has certainly ended
    assert "COMPLETED: 4 frames of none" in told


def test_a_secret_parameter_is_not_on_record_and_is_asked_for(site: Path) -> None:
    code, told = verb(site, *JOB, "--set", "token=hush")
    assert code == 0, told
    code, told = verb(site, "resume", "last", *SITE, "--redo", "**", "--yes")
    assert code == 2
    assert "had parameters that are not on record, because they are secret" in told


def test_an_analysis_by_itself_is_never_held(site: Path) -> None:
    code, told = verb(site, *JOB)
    assert code == 0, told
    code, told = verb(site, "resume", "last", *SITE, "--redo", "**", "--yes", "--hold")
    assert code == 2
    assert "are for commands of a map" in told
