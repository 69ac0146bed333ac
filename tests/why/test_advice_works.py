"""Every kind of advice is carried out as it is printed, and the command then works.

Each test brings about a failure, reads what ``taskgrove why`` advises, does what it says to the
very file, device or process that it names, and types the command in a shell.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import PATIENCE_S, begun, environment, start, taskgrove

pytest.importorskip("sqlalchemy")

MANAGER = """
import time
from pathlib import Path


class Manager:
    components = {}

    def fine(self):
        return 0, "fine"

    def measure(self):
        raise RuntimeError("beam lost")

    def measures_later(self):
        if not Path("mended").exists():
            raise RuntimeError("beam lost")
        return 0, "measured"

    def slow(self):
        time.sleep(1.0)
        return 0, "done"

    def waits(self, task_callback=None, task_abort_event=None):
        task_callback(progress=10)
        Path("begun").touch()
        while not Path("go on").exists():
            if task_abort_event.wait(0.05):
                return 7, "stopped"
        return 0, "went on"
"""
MAP = """
go:
  type: sequential
  skip_subtasks: true
  tasks:
    first: {handler: internal, command_name: fine}
    second: {handler: internal, command_name: STEP}
    third: {handler: internal, command_name: fine}
"""
ANALYSES = """
from taskgrove.analysis import (
    AnalysisEntry, AnalysisTask, TaskParameters, ThirdPartyParameters
)


class Tool(ThirdPartyParameters):
    executable: str = "/bin/sh"
    p_arg1: str = "job.sh"


class Frames(TaskParameters):
    frames: int = 1


class Fit(AnalysisTask[Frames]):
    def run(self):
        return {"frames": self.parameters.frames}


ENTRIES = [
    AnalysisEntry("ToolRun", Tool),
    AnalysisEntry("FitRun", Frames, task="site_analyses:Fit"),
]
"""
HEAD = "header: {experiment: e, run: 1, work_dir: .}\n"


class Site:
    """A folder, with a blank in its name, in which an operator works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = "the record.db"
        self.told: dict[str, Any] = {}

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def edit(self, action: dict[str, Any], old: str, new: str) -> None:
        """Change the line that an action names, as an editor does that is sent there."""
        place = action["place"]
        file = self.folder / place["file"]
        if "line" not in place:
            assert action["part"] == "configuration"
            file.write_text(file.read_text().replace(old, new))
            return
        lines = file.read_text().splitlines(keepends=True)
        number = place["line"] - 1
        assert old in lines[number], (place, lines)
        lines[number] = lines[number].replace(old, new)
        file.write_text("".join(lines))

    def run(self, command: str, *words: str) -> None:
        """Run a command that does not end well, and read why."""
        done = taskgrove(
            "run", "map.yaml", command, *words, "--no-live", "--db", self.database, cwd=self.folder
        )
        assert done.returncode != 0, done
        self.why()
        # The end of the run says the same.
        assert self.told["sentence"] in done.stdout or "error: " in done.stderr
        for line in self.lines():
            assert line in done.stdout + done.stderr, done

    def why(self, run: str = "last") -> None:
        done = taskgrove("why", run, "--json", "--db", self.database, cwd=self.folder)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        self.told = json.loads(done.stdout)
        shown = taskgrove("why", run, "--db", self.database, cwd=self.folder).stdout
        for line in self.lines():
            assert line in shown, shown

    def lines(self) -> list[str]:
        """Return the commands that are advised, as they are printed."""
        return [
            shlex.join(action["argv"]) for action in self.told["actions"] if action["do"] == "run"
        ]

    def advice(self, do: str) -> dict[str, Any]:
        (action,) = [action for action in self.told["actions"] if action["do"] == do]
        return action

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type a line in a shell; taskgrove gets the words that the shell makes of it."""
        done = subprocess.run(
            ["bash", "-c", f"taskgrove() {{ printf '%s\\0' \"$@\"; }}; {line}"],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if not line.startswith("taskgrove "):
            return done
        words = done.stdout.split("\0")[:-1]
        extra = ("--yes", "--no-live") if words[0] == "resume" else ()
        return taskgrove(*words, *extra, cwd=self.folder)

    def ends_well(self) -> None:
        """Type the last command that is advised: the printed words end with it."""
        line = self.lines()[-1]
        assert self.told["next_step"].endswith(line)
        done = self.type(line)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "a site"
    folder.mkdir()
    made = Site(folder)
    made.write("site_manager.py", MANAGER)
    made.write("site_analyses.py", ANALYSES)
    return made


# -- what the user wrote, and methods ----------------------------------------------------------

MANAGED = ("--manager", "site_manager:Manager")


def test_a_method_that_is_mended(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "measure"))
    site.run("go", *MANAGED)
    assert site.advice("mend")["method"] == "Manager.measure"
    site.write(
        "site_manager.py", MANAGER.replace('raise RuntimeError("beam lost")', "return 0, ''")
    )
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_a_limit_that_is_raised_where_it_stands(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "slow, timeout: 0.3"))
    site.run("go", *MANAGED, "--grace", "3")
    edit = site.advice("edit_file")
    assert "increase `timeout` of go/second" in edit["what"]
    site.edit(edit, "timeout: 0.3", "timeout: 30")
    assert "--use-file" in site.lines()[-1]
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_a_limit_of_a_clean_up_that_is_raised_where_it_stands(site: Site) -> None:
    clean_up = "  finally: {internal: {command_name: slow}}\n"
    site.write("map.yaml", MAP.replace("STEP", "fine") + clean_up + "  finally_timeout: 0.3\n")
    site.run("go", *MANAGED, "--grace", "3")
    edit = site.advice("edit_file")
    assert "increase `finally_timeout` of go" in edit["what"]
    site.edit(edit, "finally_timeout: 0.3", "finally_timeout: 30")
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_a_verdict_leaves_only_the_resume(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "measure"))
    site.run("go", *MANAGED)
    said = ("verdict", "last", "go/measure", "ok", "--why", "seen", "--by", "ann")
    assert taskgrove(*said, "--db", site.database, cwd=site.folder).returncode == 0
    site.why()
    assert [action["do"] for action in site.told["actions"]] == ["run"]
    done = site.type(site.lines()[0])
    assert done.returncode == 0, done
    site.why()
    assert "ann" in site.told["sentence"]


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_the_run_that_resumed_it_is_named(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "measure"))
    site.run("go", *MANAGED)
    first = site.told["run_id"]
    assert site.type(site.lines()[-1]).returncode == 1  # nothing was mended
    site.why(first)
    done = site.type(site.lines()[0])
    assert done.returncode == 0, done
    assert "beam lost" in done.stdout


def test_what_failed_is_shown_with_its_exceptions(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "measure"))
    site.run("go", *MANAGED)
    (line,) = [shlex.join(it["argv"]) for it in site.told["see_also"] if it["do"] == "run"]
    done = site.type(line)
    assert done.returncode == 0, done
    assert "RuntimeError: beam lost" in done.stdout
    wrong = site.type(line.replace("go/second", "go/secnd"))
    assert wrong.returncode == 2
    assert "did you mean go/second?" in wrong.stderr


# -- runners -----------------------------------------------------------------------------------


def test_a_runner_that_is_stopped_goes_on(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "waits"))
    words = ("run", "map.yaml", "go", *MANAGED, "--no-live", "--db", site.database)
    with start(*words, cwd=site.folder) as process:
        begun(site.folder)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            site.why()
            assert f"process {process.pid}" in site.told["sentence"]
            (line,) = site.lines()
            site.write("go on", "")
            assert site.type(line).returncode == 0
            process.communicate(timeout=PATIENCE_S)
        finally:
            process.send_signal(signal.SIGCONT)
    assert process.returncode == 0


def steered(site: Site, choose: Callable[[Site], str]) -> tuple[int, str]:
    """Run a command whose second step fails and is held, and type a line that why advises."""
    site.write("map.yaml", MAP.replace("STEP", "measures_later, hold: on_failure"))
    words = ("run", "map.yaml", "go", *MANAGED, "--no-live", "--db", site.database)
    with start(*words, cwd=site.folder) as process:
        assert process.stdout is not None
        while "beam lost" not in process.stdout.readline():
            assert process.poll() is None
        site.why()
        assert "waits for a decision on step second" in site.told["sentence"]
        assert [group["how"] for group in site.told["held"]] == ["held"]
        done = site.type(choose(site))
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        process.communicate(timeout=PATIENCE_S)
    site.why()
    shown = taskgrove("runs", "show", "last", "--db", site.database, cwd=site.folder)
    return process.returncode, shown.stdout


def chosen(site: Site, verb: str) -> str:
    """Return the other choice of a verb, as it is printed."""
    lines = [shlex.join(action["argv"]) for action in site.told["choices"]]
    (line,) = [line for line in lines if line.startswith(f"taskgrove {verb} ")]
    assert line in taskgrove("why", "last", "--db", site.database, cwd=site.folder).stdout
    return line


def test_a_held_step_is_tried_again(site: Site) -> None:
    def mended(site: Site) -> str:
        site.write("mended", "")
        return site.lines()[-1]

    code, shown = steered(site, mended)
    assert code == 0
    assert "had second tried again" in shown


@pytest.mark.parametrize(
    ("verb", "code", "words"),
    [
        ("accept", 3, "accepted second: REASON"),
        ("skip", 1, "skipped second"),
        ("fail", 1, "let the failure of second stand"),
        ("abort", 5, "aborted the run"),
    ],
)
def test_each_other_choice_for_a_held_step_is_carried_out(
    site: Site, verb: str, code: int, words: str
) -> None:
    ended, shown = steered(site, lambda site: chosen(site, verb))
    assert ended == code
    assert words in shown
    if verb == "accept":
        assert "accepted" in site.told["sentence"]
        assert "≈ accepted" in shown


def test_a_pause_is_ended(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "waits"))
    words = ("run", "map.yaml", "go", *MANAGED, "--no-live", "--db", site.database)
    with start(*words, cwd=site.folder) as process:
        begun(site.folder)
        pause = site.type(f"taskgrove pause last:go --why wind --db {shlex.quote(site.database)}")
        assert pause.returncode == 0, f"{pause.stdout}{pause.stderr}"
        site.why()
        assert "is paused by" in site.told["sentence"]
        assert "(wind)" in site.told["sentence"]
        site.write("go on", "")
        done = site.type(site.lines()[-1])
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_a_run_that_lost_its_runner_is_run_to_its_end(site: Site) -> None:
    site.write("map.yaml", MAP.replace("STEP", "waits"))
    words = ("run", "map.yaml", "go", *MANAGED, "--no-live", "--db", site.database)
    with start(*words, "--json", cwd=site.folder) as process:
        assert process.stdout is not None
        assert any('"progress":10' in line for line in process.stdout)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    site.why()
    assert "lost its runner" in site.told["sentence"]
    site.write("go on", "")
    site.ends_well()


# -- analyses ----------------------------------------------------------------------------------


def analysis(site: Site, section: str, name: str = "ToolRun") -> None:
    site.write("c.yaml", f"{HEAD}{name}: {section}\n")
    site.write("job.sh", "echo no peaks in frame 12 >&2; test -e ready\n")
    site.write(
        "map.yaml",
        "scan:\n  type: sequential\n  tasks:\n"
        f"    a: {{handler: analysis, command_name: {name}, config: c.yaml}}\n",
    )
    site.run("scan", "--analyses", "site_analyses")


def test_the_output_that_is_named_is_there(site: Site) -> None:
    analysis(site, "{}")
    look = site.advice("see_file")
    assert "no peaks in frame 12" in Path(look["path"]).read_text()
    assert look["path"] in site.told["next_step"]
    site.write("ready", "")
    site.ends_well()


def test_a_program_that_does_not_exist(site: Site) -> None:
    analysis(site, "\n  executable: /opt/none/bin/indexer")
    edit = site.advice("edit_file")
    assert "/opt/none/bin/indexer" in edit["what"]
    site.edit(edit, "/opt/none/bin/indexer", "/bin/true")
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
def test_a_program_that_may_not_be_executed(site: Site) -> None:
    tool = site.folder / "the tool.sh"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o644)
    analysis(site, f"{{executable: '{tool}'}}")
    chmod, _resume = site.lines()
    assert site.type(chmod).returncode == 0
    assert os.access(tool, os.X_OK)
    site.ends_well()


def test_a_key_that_is_unknown(site: Site) -> None:
    analysis(site, "\n  frmes: 2", "FitRun")
    edit = site.advice("edit_file")
    assert "frames" in edit["what"]  # the near one
    site.edit(edit, "frmes", "frames")
    site.ends_well()


# -- devices -----------------------------------------------------------------------------------

DEVICE = "low-pss/subarray/01"


@pytest.fixture
def fleet() -> Iterator[Any]:
    pytest.importorskip("tango")
    from taskgrove.tango.simulator import SimulatedFleet

    with SimulatedFleet([DEVICE], settings={"duration_s": 0.2}) as made:
        yield made


def device_map(site: Site, trl: str, step: str) -> None:
    site.write(
        "map.yaml",
        f'components:\n  pss: "{trl}"\ncommands:\n  go:\n    type: sequential\n    tasks:\n'
        f"      pss: {step}\n",
    )


@pytest.mark.tango
@pytest.mark.parametrize(
    ("step", "old", "new"),
    [
        ("{command_name: Configur, argin: {id: 1}, timeout: 10}", "Configur,", "Configure,"),
        ('{command_name: "Off", argin: {a: 1}, timeout: 10}', "argin: {a: 1}, ", ""),
    ],
)
def test_a_map_that_is_corrected_where_it_is_wrong(
    site: Site, fleet: Any, step: str, old: str, new: str
) -> None:
    device_map(site, fleet.trl(DEVICE), step)
    site.run("go")
    site.edit(site.advice("edit_file"), old, new)
    assert "--use-file" in site.lines()[-1]
    site.ends_well()


@pytest.mark.tango
def test_a_command_that_takes_no_argument_of_a_file(site: Site, fleet: Any) -> None:
    device_map(site, fleet.trl(DEVICE), '{command_name: "Off", timeout: 10}')
    site.write("the arguments.yaml", "pss:\n  a: 1\n")
    site.run("go", "--argin", "the arguments.yaml")
    edit = site.advice("edit_file")
    assert "`argin: null`" in edit["what"]
    site.edit(edit, "timeout: 10", "timeout: 10, argin: null")
    site.ends_well()


@pytest.mark.tango
def test_a_device_that_its_server_does_not_have(site: Site, fleet: Any) -> None:
    step = "{command_name: Configure, argin: {id: 1}, reject_missing: true}"
    device_map(site, fleet.trl(DEVICE).replace("subarray/01", "subarray/91"), step)
    site.run("go")
    edit = site.advice("edit_file")
    assert "low-pss/subarray/91" in edit["what"]
    site.edit(edit, "subarray/91", "subarray/01")
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
@pytest.mark.tango
def test_a_device_that_is_mended(site: Site, fleet: Any) -> None:
    device_map(site, fleet.trl(DEVICE), "{command_name: Configure, argin: {id: 1}, timeout: 20}")
    fleet.set_fault(DEVICE, "Configure", "fail,message=no lock")
    site.run("go")
    assert site.advice("see_device")["device"] == DEVICE
    fleet.set_fault(DEVICE, "Configure")
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
@pytest.mark.tango
@pytest.mark.leaks("the fleet has a new server process; the fleet stops it")
def test_a_server_that_is_started_again(site: Site, fleet: Any) -> None:
    device_map(site, fleet.trl(DEVICE), "{command_name: Configure, argin: {id: 1}, timeout: 20}")
    fleet.set_fault(DEVICE, "Configure", "crash,at=50")
    site.run("go")
    assert site.advice("start_server")["device"] == DEVICE
    doctor, _resume = site.lines()
    assert site.type(doctor).returncode == 1
    fleet.restart(DEVICE)
    fleet.set_fault(DEVICE, "Configure")
    assert site.type(doctor).returncode == 0
    site.ends_well()


@pytest.mark.thorough  # the words of this advice have tests of their own
@pytest.mark.tango
@pytest.mark.leaks("the fleet has a new server process; the fleet stops it")
def test_a_server_that_hangs(site: Site, fleet: Any) -> None:
    device_map(site, fleet.trl(DEVICE), "{command_name: Configure, argin: {id: 1}, timeout: 9}")
    fleet.set_fault(DEVICE, "Configure", "slow,factor=200")
    words = ("run", "map.yaml", "go", "--json", "--db", site.database)
    with start(*words, cwd=site.folder) as process:
        assert process.stdout is not None
        assert any('"progress":' in line and '"go/' in line for line in process.stdout)
        fleet.suspend(DEVICE)
        process.communicate(timeout=PATIENCE_S)
    try:
        site.why()
        restart = site.advice("restart_server")
        assert restart["device"] == DEVICE
        assert re.search(r"it has not answered since \d\d:\d\d:\d\d UTC", site.told["next_step"])
    finally:
        fleet.resume(DEVICE)
    fleet.restart(DEVICE)
    fleet.set_fault(DEVICE, "Configure")
    site.ends_well()
