"""How the process of an analysis is started, watched and found again, as a user does it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from taskgrove.analysis import analysis_runner
from taskgrove.analysis.registry import AnalysisRegistry
from taskgrove.cli.app import app
from taskgrove.control_model import TaskStatus
from tests.analysis.analysis_runs import runs, until
from tests.cli.command_line import PATIENCE_S, environment, read_until, start

ANALYSES = """
import os
import re
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.task import AnalysisTask


class ShellParameters(ThirdPartyParameters):
    executable: str = "/bin/sh"
    c: str = "true"


class NoParameters(TaskParameters):
    pass


class Rank(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        self.log.info("rank %s of %s", os.environ["OMPI_COMM_WORLD_RANK"],
                      os.environ["OMPI_COMM_WORLD_SIZE"])


def prepare(context):
    context.environment["PREPARED"] = "by the package"


ENTRIES = [
    AnalysisEntry("Shell", ShellParameters),
    AnalysisEntry("Rank", NoParameters, task="site_analyses:Rank"),
    AnalysisEntry("Packaged", ShellParameters, launcher="./wrap packaged", grace_s=1.5,
                  before=[prepare]),
]
"""

CONFIGURATION = """\
header: {title: processes, environment_file: missing.sh}
Shell: {c: "echo site is $SITE; test -n \\"$SITE\\""}
Packaged: {c: "echo prepared $PREPARED"}
Rank: {}
"""

MAP = """
scan:
  type: sequential
  tasks:
    work:
      handler: analysis
      command_name: Shell
      config: site.yaml
      launcher: ./wrap map
      grace: 2
      source: setup.sh
      argin: {c: "test -e good"}
bad:
  type: sequential
  tasks:
    work: {handler: analysis, command_name: Shell, launcher: mpirn -n 4, source: setup.sh}
    other: {handler: analysis, command_name: Shell, launcher: ./warp, config: header.yaml}
follow:
  type: sequential
  tasks:
    work:
      handler: analysis
      command_name: Shell
      argin: {c: "echo $$ > pid.new; mv pid.new pid; while ! [ -e go ]; do sleep 0.05; done"}
"""

#: A launcher that keeps in a file what it was called with.
WRAP = '#!/bin/sh\necho "$1" >> launched\nshift\nexec "$@"\n'

SITE = ("--analyses", "site_analyses")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_analyses.py").write_text(ANALYSES)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    (tmp_path / "header.yaml").write_text("header: {}\n")
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "setup.sh").write_text("export SITE=beamline\n")
    (tmp_path / "wrap").write_text(WRAP)
    (tmp_path / "wrap").chmod(0o755)
    return tmp_path


Call = Callable[..., SimpleNamespace]


@pytest.fixture
def call(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Calls verbs in the folder, in this process, which has no analyses of other tests."""
    monkeypatch.setattr(analysis_runner, "REGISTRY", AnalysisRegistry())
    monkeypatch.chdir(site)
    monkeypatch.syspath_prepend(str(site))
    for name, value in settings_of(site).items():
        monkeypatch.setenv(name, value)

    def made(*words: str) -> SimpleNamespace:
        done = CliRunner().invoke(app, words)
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    yield made
    sys.modules.pop("site_analyses", None)


def settings_of(site: Path) -> dict[str, str]:
    (site / "runtime").mkdir(exist_ok=True)
    return {"TASKGROVE_DB": str(site / "runs.db"), "XDG_RUNTIME_DIR": str(site / "runtime")}


def recorded(site: Path, query: str) -> Any:
    record = sqlite3.connect(site / "runs.db")
    try:
        return record.execute(query).fetchall()
    finally:
        record.close()


# ------------------------------------------------------------------------------ options


def test_options_say_how_it_is_started_and_the_record_keeps_them(call: Call, site: Path) -> None:
    done = call(
        "analyse", "site.yaml", "Shell", *SITE, "--launcher", "./wrap 'by hand'",
        "--source", "setup.sh", "--grace", "1",
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "stdout: site is beamline" in done.stdout
    assert (site / "launched").read_text() == "by hand\n"
    assert f"limits: 600 s, 1 s from SIGTERM to SIGKILL; sourced {site / 'setup.sh'}" in done.stdout
    [(source,)] = recorded(site, "select source from runs")
    assert json.loads(source)["settings"] == {
        "launcher": ["./wrap", "by hand"], "grace_s": 1.0, "source": str(site / "setup.sh"),
    }  # fmt: skip


def test_what_a_package_brings_holds_unless_an_operator_says_otherwise(
    call: Call, site: Path
) -> None:
    (site / "site.yaml").write_text(CONFIGURATION.replace("missing.sh", "setup.sh"))
    told = call("analyse", "--help-task", "Packaged", *SITE)
    assert "It is started by: ./wrap packaged" in told.stdout
    assert "Before it runs: prepare" in told.stdout
    done = call("analyse", "site.yaml", "Packaged", *SITE)
    assert done.returncode == 0, done
    assert "stdout: prepared by the package" in done.stdout
    assert call("analyse", "site.yaml", "Packaged", *SITE, "--launcher", "").returncode == 0
    assert (site / "launched").read_text() == "packaged\n", "once, and not without a launcher"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--launcher", "mpirn -n 4", "--source", "setup.sh"), None),
        (("--launcher", "./warp x"), "did you mean './wrap'?"),
        (("--launcher", "./wrap $N"), "no shell reads the launcher"),
        (("--source", "setpu.sh"), "/setup.sh'?"),
        ((), "there is no file 'missing.sh' to source"),
        (("--source", "setup.sh", "--heartbeat", "3"), "Shell is a program: it has no heartbeat"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_started(
    call: Call, site: Path, options: tuple[str, ...], words: str | None
) -> None:
    (site / "header.yaml").write_text(CONFIGURATION.replace(", environment_file: missing.sh", ""))
    file = "header.yaml" if "./warp x" in options else "site.yaml"
    done = call("analyse", file, "Shell", *SITE, *options)
    if words is None:  # what is sourced may bring it, so it is looked for at the start
        assert done.returncode == 1, done
        assert "there is no launcher 'mpirn' on the PATH of the analysis" in done.stdout
        return
    assert done.returncode == 2, done
    assert words in done.stderr
    assert not (site / "launched").exists()


def test_ranks_of_openmpi_are_started_from_the_command_line(call: Call, site: Path) -> None:
    if shutil.which("mpirun") is None:
        pytest.skip("needs mpirun (Debian: openmpi-bin)")
    root = "--allow-run-as-root" if os.getuid() == 0 else ""
    done = call(
        "analyse", "site.yaml", "Rank", *SITE, "--source", "setup.sh",
        "--launcher", f"mpirun --oversubscribe {root} -n 2",
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "rank 0 of 2" in done.stdout
    assert "rank 1: rank 1 of 2" in done.stdout


# ------------------------------------------------------------------------------ in a map


def test_a_map_says_it_and_a_resume_uses_it_again(call: Call, site: Path) -> None:
    done = call("run", "map.yaml", "scan", *SITE)
    assert done.returncode == 1, done
    (site / "good").touch()
    again = call("resume", "last", "--yes", *SITE)
    assert again.returncode == 0, again
    assert (site / "launched").read_text() == "map\nmap\n"


def test_a_map_with_a_wrong_launcher_is_rejected_before_anything_starts(
    call: Call, site: Path
) -> None:
    done = call("run", "map.yaml", "bad", *SITE, "--no-record")
    assert done.returncode == 4, done
    assert re.search(r"there is no program /\S+/warp \(did you mean \S+wrap\?\)", done.stdout)


# ------------------------------------------------------------------------------ its runner is lost


@pytest.fixture
def lost(site: Path) -> Iterator[tuple[str, int]]:
    """A run whose runner and guardian were killed, and the process that still runs."""
    command = ("run", "map.yaml", "follow", *SITE, "--json")
    process = start(*command, cwd=site, env=environment(**settings_of(site)))
    pid = 0
    try:
        words = read_until(process.stdout, '"outside_kind":"process"')  # so it is on record
        until((site / "pid").exists)
        pid = int((site / "pid").read_text())
        children = psutil.Process(process.pid).children()
        [guardian] = [child for child in children if "leftovers.py" in " ".join(child.cmdline())]
        guardian.kill()
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        until(lambda: not runs(guardian.pid))
        yield json.loads(words.splitlines()[0])["run_id"], pid
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        if pid and runs(pid):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def test_recover_ends_a_program_that_nobody_supervises(
    call: Call, site: Path, lost: tuple[str, int]
) -> None:
    run_id, pid = lost
    assert runs(pid)
    done = call("recover", run_id)
    assert done.returncode == 1, done
    cause = f"process {pid} still ran and was ended, because its executor is gone"
    assert cause in " ".join(done.stdout.split())
    assert not runs(pid)
    assert list((site / "runtime/taskgrove").iterdir()) == []
    assert recorded(site, "select state, status from runs") == [("final", TaskStatus.FAILED)]
    why = call("why", run_id)
    assert cause in " ".join(why.stdout.split())


def test_recover_follows_a_program_that_it_may_not_end(site: Path, lost: tuple[str, int]) -> None:
    """The ledger is elsewhere: nothing proves that nobody supervises the process any more."""
    run_id, pid = lost
    (site / "elsewhere").mkdir()
    env = environment(**settings_of(site) | {"XDG_RUNTIME_DIR": str(site / "elsewhere")})
    with start("recover", run_id, "--json", cwd=site, env=env) as recover:
        words = read_until(recover.stdout, "its end is waited for")
        assert f"process {pid} still runs" in words
        assert runs(pid)
        (site / "go").touch()
        rest, errors = recover.communicate(timeout=PATIENCE_S)
    assert recover.returncode == 1, errors
    assert f"work: process {pid} has ended; what it gave is not known" in rest
    assert not runs(pid)
