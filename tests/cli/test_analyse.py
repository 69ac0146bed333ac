"""``taskgrove analyse``, and analyses in maps, as a user runs them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import termios
from pathlib import Path

import psutil
import pytest

from taskgrove.analysis.plain.json_form import load_json
from taskgrove.analysis.results import DescribedAnalysis, TaskStatus
from tests.cli.command_line import PATIENCE_S, command, environment, read_until, start, taskgrove

ANALYSES = """
import signal
import time
from pathlib import Path
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.parameters.field import Parameter
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.task import AnalysisTask


class CountParameters(TaskParameters):
    frames: int = Parameter(3, description="How many frames are counted.", ge=1, unit="frames")
    label: str = Parameter("none", description="What it is called.")
    width: float | None = Parameter(None, description="A width.", unit="mm")
    tags: list[str] = Parameter(default_factory=list, description="Words.")


class CountFrames(AnalysisTask[CountParameters]):
    def run(self) -> Any:
        for frame in range(self.parameters.frames):
            self.report_progress(100 * (frame + 1) / self.parameters.frames, f"frame {frame}")
        self.log.warning("the [red]lamp[/red] \\x1b[31m is old")
        print("printed by the analysis")
        return self.result(
            {"frames": self.parameters.frames, "label": self.parameters.label,
             "tags": self.parameters.tags},
            f"{self.parameters.frames} frames counted",
        )


class FailParameters(TaskParameters):
    frame: int = 12


class Fail(AnalysisTask[FailParameters]):
    def run(self) -> Any:
        raise ValueError(f"frame {self.parameters.frame}: no peaks above 5 sigma")


class WaitParameters(TaskParameters):
    deaf: bool = False


class Wait(AnalysisTask[WaitParameters]):
    def run(self) -> Any:
        if self.parameters.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.log.info("it waits")
        while True:
            time.sleep(0.05)


ENTRIES = [
    AnalysisEntry("CountFrames", CountParameters, task="site_analyses:CountFrames",
                  description="Counts frames."),
    AnalysisEntry("Fail", FailParameters, task="site_analyses:Fail"),
    AnalysisEntry("Wait", WaitParameters, task="site_analyses:Wait"),
]
"""

CONFIGURATION = """\
header:
  title: counting
  experiment: mfx100
  run: 7
CountFrames:
  frames: 4
  label: "007"
Fail:
  frame: 12
Wait: {}
"""

MAP = """
count:
  type: sequential
  tasks:
    first: {handler: internal, command_name: well}
    frames:
      handler: analysis
      command_name: Fail
      config: site.yaml
      each: {parameter: frame, range: [1, 2]}
      rule: any
    last: {handler: analysis, command_name: CountFrames, config: site.yaml, argin: {frames: 2}}
wrong:
  type: sequential
  tasks:
    last: {handler: analysis, command_name: CountFrames, config: site.yaml, argin: {framse: 2}}
"""

MANAGER = """
class Manager:
    def well(self):
        return 0, "fine"
"""

SITE = ("--analyses", "site_analyses")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_analyses.py").write_text(ANALYSES)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path


def analyse(site: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return taskgrove(
        "analyse", *arguments, *SITE, cwd=site,
        env=environment(TASKGROVE_DB=str(site / "runs.db"), **changes),
    )  # fmt: skip


# ------------------------------------------------------------------------------ what there is


def test_it_lists_what_there_is_and_what_each_takes(site: Path) -> None:
    done = analyse(site, "--list")
    assert done.returncode == 0, done
    assert "CountFrames" in done.stdout
    assert "PyfaiIntegrate" not in done.stdout
    told = analyse(site, "--help-task", "CountFrames")
    assert told.returncode == 0, told
    assert "frames: whole number, in frames, default 3" in told.stdout
    assert "How many frames are counted." in told.stdout
    assert "width: number or nothing, in mm, default nothing" in told.stdout


def test_a_wrong_name_names_the_nearest(site: Path) -> None:
    for arguments in (("site.yaml", "CountFrame"), ("--help-task", "CountFrame")):
        done = analyse(site, *arguments)
        assert done.returncode == 2
        assert "there is no analysis 'CountFrame'" in done.stderr
        assert "did you mean 'CountFrames'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("site.yaml",), ["a configuration and an analysis are needed"]),
        (("none.yaml", "CountFrames"), ["none.yaml", "No such file"]),
        (("site.yaml", "CountFrames", "--set", "framse=2"), ["framse", "did you mean 'frames'?"]),
        (("site.yaml", "CountFrames", "--set", "frames"), ["KEY=VALUE"]),
        (("site.yaml", "CountFrames", "--set", "frames=x"), ["CountFrames.frames"]),
        (("wrong.yaml", "CountFrames"), ["wrong.yaml:6:3", "did you mean 'frames'?", "also:"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_started(
    site: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    wrong = CONFIGURATION.replace("  frames: 4", "  framse: 4").replace("  label:", "  lable:")
    (site / "wrong.yaml").write_text(wrong)
    done = analyse(site, *arguments)
    assert done.returncode == 2, done
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (site / "runs.db").exists()


def test_a_module_without_analyses_is_refused(site: Path) -> None:
    for name, words in (("json", "brings no analysis"), ("none_such", "cannot be imported")):
        done = taskgrove("analyse", "--list", "--analyses", name, cwd=site)
        assert done.returncode == 2
        assert words in done.stderr


# ------------------------------------------------------------------------------ a run


def test_it_shows_the_log_and_describes_what_the_analysis_gave(site: Path) -> None:
    done = analyse(site, "site.yaml", "CountFrames", "--work-dir", "work")
    assert done.returncode == 0, done
    for words in (
        "started: process ",
        "the [red]lamp[/red] \\x1b[31m is old",
        "stdout: printed by the analysis",
        "COMPLETED: 4 frames counted",
        "  frames: 4",
        "  label: '007'",
        '  label: "007"',
        "exit status 0",
        "taskgrove.analysis.child site_analyses:CountFrames",
        f"  in: {site / 'work'}",
        "Recorded as ",
    ):
        assert words in done.stdout, words
    assert done.stderr == ""
    assert list((site / "work").glob("CountFrames-*"))


def test_values_on_the_command_line_read_as_in_the_configuration(site: Path) -> None:
    done = analyse(
        site, "site.yaml", "CountFrames", "--json", "--no-record",
        "--set", "frames=2", "--set", "label=1.10", "--set", "tags=[a, b]",
    )  # fmt: skip
    assert done.returncode == 0, done
    described = load_json(done.stdout)
    assert isinstance(described, DescribedAnalysis)
    assert described.task_result.payload == {"frames": 2, "label": "1.10", "tags": ["a", "b"]}
    assert described.task_result.task_status is TaskStatus.COMPLETED
    assert described.poll_interval == 0.5
    assert len(described.communicator_desc) == 2
    assert "started: process" in done.stderr


def test_the_description_holds_no_secret(site: Path) -> None:
    done = analyse(site, "site.yaml", "CountFrames", "--json", LOGBOOK_TOKEN="hush")
    assert '"LOGBOOK_TOKEN"' in done.stdout
    assert "hush" not in done.stdout


def test_a_failure_has_its_cause_and_its_exit_code(site: Path) -> None:
    done = analyse(site, "site.yaml", "Fail")
    assert done.returncode == 1, done
    assert "FAILED: ValueError: frame 12: no peaks above 5 sigma" in done.stdout
    why = taskgrove("why", "last", "--db", str(site / "runs.db"), cwd=site)
    assert "raised ValueError: frame 12: no peaks above 5 sigma" in why.stdout


def test_a_limit_ends_it(site: Path) -> None:
    done = analyse(site, "site.yaml", "Wait", "--timeout", "0.3")
    assert done.returncode == 1, done
    assert "timed out after 0.3 s" in done.stdout


def test_on_a_terminal_no_line_is_wider_than_it(site: Path) -> None:
    for arguments in (["--help-task", "CountFrames"], ["site.yaml", "CountFrames", "--no-live"]):
        shown = in_terminal(command("analyse", *arguments, *SITE, "--no-record"), site)
        assert "frames" in shown
        lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in shown.splitlines()]
        assert max(len(line) for line in lines) <= 80


def in_terminal(words: list[str], folder: Path) -> str:
    """Run a command in a terminal of 80 columns and return what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = environment(TERM="xterm")
    del env["COLUMNS"]
    with subprocess.Popen(words, cwd=folder, env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        read = b""
        with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
            while data := terminal.read(65536):
                read += data
        assert process.wait(PATIENCE_S) == 0
    return read.decode()


# ------------------------------------------------------------------------------ interrupts


def started_pid(words: str) -> int:
    line = next(line for line in words.splitlines() if "started: process " in line)
    return int(line.rpartition(" ")[2])


def test_ctrl_c_cancels_it(site: Path) -> None:
    with start("analyse", "site.yaml", "Wait", *SITE, "--no-record", cwd=site) as process:
        words = read_until(process.stdout, "it waits")
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5, errors
    assert "aborting the analysis" in rest
    assert "CANCELLED: interrupted by Ctrl-C" in rest
    assert not psutil.pid_exists(started_pid(words))


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_second_ctrl_c_ends_at_once_and_leaves_no_process(site: Path) -> None:
    arguments = ("analyse", "site.yaml", "Wait", *SITE, "--set", "deaf=true", "--no-record")
    with start(*arguments, "--grace", "3000", cwd=site) as process:
        words = read_until(process.stdout, "it waits")
        process.send_signal(signal.SIGINT)
        read_until(process.stdout, "Press Ctrl-C again to quit immediately")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "quit immediately" in rest
    gone = psutil.Process(started_pid(words)) if psutil.pid_exists(started_pid(words)) else None
    if gone is not None:
        gone.wait(PATIENCE_S)  # its guardian ends it


def test_at_the_limit_of_a_batch_job_it_is_timed_out(site: Path) -> None:
    batch = environment(SLURM_JOB_ID="7", SLURM_JOB_END_TIME="1000")
    with start(
        "analyse", "site.yaml", "Wait", *SITE, "--no-record", cwd=site, env=batch
    ) as process:
        read_until(process.stdout, "it waits")
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, errors
    assert "TIMEDOUT: SIGTERM from outside, in Slurm job 7 at its time limit" in rest


# ------------------------------------------------------------------------------ the record


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_later_configuration_finds_the_result_by_experiment_and_run(site: Path) -> None:
    assert analyse(site, "site.yaml", "CountFrames").returncode == 0
    assert analyse(site, "site.yaml", "CountFrames", "--set", "frames=5").returncode == 0
    later = CONFIGURATION.replace(
        "frames: 4", 'frames: "{{ earlier.CountFrames.payload.frames }}"'
    )  # fmt: skip
    (site / "later.yaml").write_text(later)
    done = analyse(site, "later.yaml", "CountFrames")
    assert done.returncode == 0, done
    assert "COMPLETED: 5 frames counted" in done.stdout
    (site / "other.yaml").write_text(later.replace("run: 7", "run: 8"))
    other = analyse(site, "other.yaml", "CountFrames")
    assert other.returncode == 2
    assert "holds no completed CountFrames of experiment mfx100, run 8" in other.stderr
    with sqlite3.connect(site / "runs.db") as record:
        [(count,)] = record.execute("select count(*) from runs").fetchall()
    record.close()
    assert count == 3


# ------------------------------------------------------------------------------ in a map


def test_a_map_runs_analyses_beside_other_steps(site: Path) -> None:
    done = taskgrove(
        "run", "map.yaml", "count", "--manager", "site_manager:Manager", *SITE,
        "--no-record", "--processes", "1", cwd=site,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "count/first: completed" in done.stdout
    assert "frames-001: ValueError: frame 1: no peaks above 5 sigma" in done.stdout
    assert "any of 2: 0 succeeded" in done.stdout
    assert "count/last: completed" in done.stdout


def test_a_doubled_key_in_the_form_of_lute_is_a_warning(site: Path) -> None:
    text = "title: t\n---\nCountFrames: {frames: 1, label: x,\n  frames: 2}\n"
    (site / "lute.yaml").write_text(text)
    said = "warning: lute.yaml:4:3: CountFrames.frames: the key 'frames' stands here twice"
    done = analyse(site, "lute.yaml", "CountFrames")
    assert done.returncode == 0, done
    assert said in done.stderr + done.stdout
    assert "2 frames counted" in done.stdout
    (site / "twice.yaml").write_text(
        "count:\n  type: sequential\n  tasks:\n"
        "    first: {handler: analysis, command_name: CountFrames, config: lute.yaml}\n"
    )
    done = taskgrove("run", "twice.yaml", "count", *SITE, "--no-record", cwd=site)
    assert done.returncode == 0, done
    assert said in done.stderr + done.stdout


def test_a_map_with_a_wrong_parameter_is_rejected_before_anything_runs(site: Path) -> None:
    done = taskgrove("run", "map.yaml", "wrong", *SITE, "--no-record", cwd=site)
    assert done.returncode == 4, done
    assert done.stdout.startswith("wrong was rejected: ")
    assert "did you mean " in done.stdout
    unknown = taskgrove("run", "map.yaml", "count", "--manager", "site_manager:Manager",
                        "--no-record", cwd=site)  # fmt: skip
    assert unknown.returncode == 4
    assert "there is no analysis 'Fail'" in unknown.stdout


def test_compose_shows_the_leaves_and_that_an_abort_ends_them(site: Path) -> None:
    words = ("compose", "map.yaml", "count", "--manager", "site_manager:Manager")
    unknown = taskgrove(*words, cwd=site)
    assert unknown.returncode == 4
    assert "--analyses PACKAGE.MODULE" in unknown.stderr
    done = taskgrove(*words, *SITE, cwd=site)
    assert done.returncode == 0, done
    assert "frames-002" in done.stdout
    assert "Fail on site.yaml" in done.stdout
    assert "on abort: it is killed" in done.stdout


def test_events_of_analyses_are_json_lines(site: Path) -> None:
    done = taskgrove(
        "run", "map.yaml", "count", "--manager", "site_manager:Manager", *SITE,
        "--no-record", "--json", cwd=site,
    )  # fmt: skip
    kinds = [json.loads(line).get("detail", {}).get("type") for line in done.stdout.splitlines()]
    assert kinds.count("analysis") == 3


def test_a_run_has_the_name_of_its_analysis_as_it_was_typed(site: Path) -> None:
    assert analyse(site, "site.yaml", "CountFrames").returncode == 0
    record = ("--db", str(site / "runs.db"))
    listed = taskgrove("runs", "list", "--command", "CountFrames", "--json", *record, cwd=site)
    assert [run["command"] for run in json.loads(listed.stdout)] == ["CountFrames"]
    assert taskgrove("why", "last:CountFrames", *record, cwd=site).returncode == 0
