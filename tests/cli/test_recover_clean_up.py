"""`taskgrove recover --finally`: the clean-up of a lost run, as a user runs it."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.store import Store
from taskgrove.store.history import History
from tests.cli.command_line import environment, taskgrove

MANAGER = """
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path


def is_on_record():
    with closing(sqlite3.connect("file:runs.db?mode=ro", uri=True)) as record:
        query = "SELECT body FROM events WHERE run_key = (SELECT max(run_key) FROM runs)"
        bodies = [bytes(body) for (body,) in record.execute(query)]
    return any(b'/scan"' in body and b'"started"' in body for body in bodies)


class Manager:
    components = {}

    def scan(self):
        if Path("die").exists():
            while not is_on_record():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def park(self, where):
        with Path("parked").open("a") as file:
            file.write(f"{where}\\n")
"""

MAP = """
observe:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: scan}
  finally:
    park: {handler: internal, command_name: park, argin: zenith}
"""

CALLS = """
scan_once:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: scan}
observe:
  type: sequential
  tasks:
    night: {call: scan_once, description: One scan.}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a run that was killed at its scan."""
    (tmp_path / "manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "die").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TASKGROVE_DB", "runs.db")
    done = taskgrove(
        *("run", "map.yaml", "observe", "--manager", "manager:Manager"),
        cwd=tmp_path,
        env=environment(TASKGROVE_DB="runs.db"),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (tmp_path / "die").unlink()
    sys.modules.pop("manager", None)
    yield tmp_path
    sys.modules.pop("manager", None)


def verb(*words: str) -> SimpleNamespace:
    done = CliRunner().invoke(app, words)
    return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)


def test_a_clean_up_is_told_of_and_runs_when_it_is_asked_for(folder: Path) -> None:
    listed = verb("recover").stdout
    [line] = [line for line in listed.splitlines() if "runs its clean-up" in line]
    found = re.search(r"taskgrove (recover \S+ --finally)", line)
    assert found is not None, listed
    words = (*found[1].split(), "--manager", "manager:Manager", "--no-live")
    explained = " ".join(verb("why", "last").stdout.split())
    assert f"run its clean-up, which has not run: taskgrove {' '.join(words[:-1])}" in explained
    # There is no terminal to ask at.
    refused = verb(*words)
    assert refused.returncode == 2
    assert "  run       observe/finally/park" in refused.stdout
    assert "--yes" in refused.stderr
    assert not (folder / "parked").exists()
    # The manager is typed again, as for a resume.
    unnamed = verb(*found[1].split(), "--yes")
    assert unnamed.returncode == 2
    assert "--manager manager:Manager" in unnamed.stderr
    done = verb(*words, "--yes")
    assert done.returncode == 1, done.stdout + done.stderr  # the scan has no known end
    assert (folder / "parked").read_text() == "zenith\n"  # its argument is not on record
    assert verb("recover").stdout.strip() == "No run is lost."


def test_a_recovery_without_it_says_that_the_clean_up_has_not_run(folder: Path) -> None:
    done = verb("recover", "last", "--no-live")
    assert "The clean-up has not run: observe/finally/park." in done.stdout
    assert not (folder / "parked").exists()
    resumed = verb("resume", "last", "--yes", "--manager", "manager:Manager", "--no-live")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert (folder / "parked").read_text() == "zenith\n"


def test_where_no_clean_up_is_pending_nothing_is_started(folder: Path) -> None:
    (folder / "map.yaml").write_text(MAP.partition("  finally:")[0])
    (folder / "die").touch()
    done = taskgrove(
        *("run", "map.yaml", "observe", "--manager", "manager:Manager"),
        cwd=folder,
        env=environment(TASKGROVE_DB="runs.db"),
    )
    assert done.returncode == -signal.SIGKILL
    done = verb("recover", "last", "--finally", "--no-live")
    assert done.returncode == 1
    assert "no clean-up is pending" in done.stdout


def test_calls_and_descriptions_are_those_of_the_map_in_a_resumed_run(
    folder: Path,
) -> None:
    (folder / "map.yaml").write_text(CALLS)
    (folder / "die").touch()
    done = taskgrove(
        *("run", "map.yaml", "observe", "--manager", "manager:Manager"),
        cwd=folder,
        env=environment(TASKGROVE_DB="runs.db"),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder / "die").unlink()
    (folder / "map.yaml").unlink()  # the map on record counts
    done = verb("resume", "last", "--yes", "--manager", "manager:Manager", "--no-live")
    assert done.returncode == 0, done.stdout + done.stderr
    with Store.open("runs.db") as store:
        facts = History(store).facts("last").nodes
    called = facts["observe/night"].composed
    assert called is not None
    assert (called.call, called.description) == ("scan_once", "One scan.")
    assert "observe/night/scan" in facts
