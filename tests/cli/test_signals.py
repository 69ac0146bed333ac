"""Ctrl-C, SIGTERM and SIGHUP: what each ends, what it leaves on record, and what stays ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.cli.devices import import_tango
from taskgrove.cli.run_session import MapSession
from taskgrove.commands.command_map import load_command_map
from taskgrove.store.history import History
from tests.cli.command_line import (
    PATIENCE_S,
    Started,
    begun,
    command,
    environment,
    read_until,
    start,
    taskgrove,
)
from tests.cli.terminals import on_a_terminal, see

MANAGER = ("--manager", "site_manager:Manager")
#: Steps that tell, by files, that they have begun, and end when a file says so.
STEPS = """
import time
from pathlib import Path


class Manager:
    def until_aborted(self, task_callback=None, task_abort_event=None):
        Path("begun").touch()
        task_abort_event.wait()
        return 7, "stopped"

    def until_told(self):
        Path("begun").touch()
        while not Path("go-on").exists():
            time.sleep(0.02)
        return 0, "told"

    def deaf(self):
        Path("begun").touch()
        time.sleep(600)
"""
MAP = """
long: {type: parallel, tasks: {a: {handler: internal, command_name: until_aborted}}}
told: {type: parallel, tasks: {a: {handler: internal, command_name: until_told}}}
deaf: {type: parallel, tasks: {a: {handler: internal, command_name: deaf}}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "site_manager.py").write_text(STEPS)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path


def run_of(name: str) -> tuple[str, ...]:
    return ("run", "map.yaml", name, *MANAGER, "--db", "runs.db")


def recorded(here: Path) -> tuple[str, str]:
    """Return how the only run on record ended, and what is said of it."""
    with History.open(here / "runs.db") as history:
        [run] = history.runs()
    told = CliRunner().invoke(app, ["why", "last", "--db", str(here / "runs.db")])
    return run.outcome, " ".join(told.output.split())


def test_a_terminal_that_closes_aborts_the_run_and_the_record_says_so(here: Path) -> None:
    with on_a_terminal(here, *run_of("long")) as (process, terminal):
        see(terminal, "running")
        begun(here)
        os.close(terminal)
        assert process.wait(PATIENCE_S) == 5
    outcome, why = recorded(here)
    assert outcome == "aborted"
    assert "interrupted by SIGHUP, which a closed terminal sends" in why
    assert "stopped when asked" in why


@pytest.mark.parametrize(
    ("ends_at", "words"), [("1000", "in Slurm job 7 at its time limit"), ("", "in Slurm job 7")]
)
def test_sigterm_inside_a_batch_job_names_the_job(here: Path, ends_at: str, words: str) -> None:
    batch = environment(SLURM_JOB_ID="7", SLURM_JOB_END_TIME=ends_at)
    with start(*run_of("long"), cwd=here, env=batch) as process:
        read_until(process.stdout, "long: started")
        begun(here)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    outcome, why = recorded(here)
    assert outcome == "aborted"
    assert f"long was aborted: interrupted by SIGTERM, {words}, " in why


def test_under_nohup_a_terminal_that_closes_ends_the_words_only(here: Path) -> None:
    ignoring = str(int(signal.SIGHUP))
    with on_a_terminal(here, *run_of("told"), ignoring=ignoring) as (process, terminal):
        see(terminal, "running")
        os.close(terminal)
        (here / "go-on").touch()
        assert process.wait(PATIENCE_S) == 0
    assert recorded(here)[0] == "ok"


def test_a_second_interrupt_ends_at_once_although_the_terminal_is_gone(here: Path) -> None:
    arguments = (*run_of("deaf"), "--grace", "3000")
    with on_a_terminal(here, *arguments, ignoring=str(int(signal.SIGHUP))) as (process, terminal):
        see(terminal, "running")
        begun(here)
        os.close(terminal)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 5


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_hang_ups_are_one_interrupt_and_never_the_second(here: Path) -> None:
    with start(*run_of("deaf"), "--grace", "1", cwd=here) as process:
        read_until(process.stdout, "deaf: started")
        begun(here)
        process.send_signal(signal.SIGHUP)
        words = read_until(process.stdout, "SIGHUP: aborting the command")
        assert "Once more" not in words
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "Ctrl-C again: quit" not in words
    assert "may still be running" in words
    assert errors == ""
    assert recorded(here)[0] == "aborted"


def test_ctrl_c_twice_after_a_hang_up_ends_at_once(here: Path) -> None:
    with start(*run_of("deaf"), "--grace", "3000", cwd=here) as process:
        read_until(process.stdout, "deaf: started")
        begun(here)
        process.send_signal(signal.SIGHUP)
        read_until(process.stdout, "SIGHUP: aborting")
        process.send_signal(signal.SIGINT)
        read_until(process.stdout, "the abort has already begun. Press Ctrl-C again")
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "Ctrl-C again: quit immediately" in words


def test_what_a_background_job_ignores_stays_ignored(here: Path) -> None:
    words = " ".join(f"'{word}'" for word in command(*run_of("told")))
    with Started(
        ["bash", "-c", f"trap '' INT; exec {words}"],
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        read_until(process.stdout, "told: started")
        process.send_signal(signal.SIGINT)
        (here / "go-on").touch()
        words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Ctrl-C" not in words
    assert errors == ""


def test_ctrl_c_while_pytango_is_imported_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tango.py").write_text(
        "import signal\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:  # as a module in C++ does\n"
        "    raise ImportError('numpy cannot be loaded') from None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "tango", sys)  # the real module, if any, comes back
    del sys.modules["tango"]
    with pytest.raises(KeyboardInterrupt):
        import_tango("this test")


def test_ctrl_c_while_a_verb_is_imported_is_an_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taskgrove.cli.declared.import_module", interrupted)
    monkeypatch.setattr(app, "commands", {})
    assert CliRunner().invoke(app, ["runs", "list"]).exit_code == 5


def test_ctrl_c_inside_code_made_from_text_is_an_abort(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("exec('raise KeyboardInterrupt')")
    words = [sys.executable, "-m", "taskgrove", "version"]
    env = environment(PYTHONPATH=str(tmp_path))
    done = subprocess.run(words, env=env, timeout=PATIENCE_S, check=False)
    assert done.returncode == 5


def test_an_error_beside_a_run_aborts_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    begun = threading.Event()

    class Manager:
        def until_aborted(self, task_abort_event: threading.Event) -> tuple[int, str]:
            begun.set()
            assert task_abort_event.wait(PATIENCE_S)
            return 7, "stopped"

    session = MapSession(load_command_map(here / "map.yaml"), Manager())
    with session:
        handle = session.submit(session.compose("long"))
        assert begun.wait(PATIENCE_S)
        session.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert handle.outcome is not None
    assert handle.outcome.status.name == "ABORTED"


def test_ctrl_c_at_a_question_is_an_interrupt(here: Path) -> None:
    (here / "go-on").touch()
    assert taskgrove(*run_of("told"), cwd=here).returncode == 0
    again = ("resume", "last", "--redo", "told/**", *MANAGER, "--db", "runs.db")
    with on_a_terminal(here, *again) as (process, terminal):
        see(terminal, "[y/N]")
        os.write(terminal, b"\x03")
        assert "unexpected" not in see(terminal, "Interrupted.")
        assert process.wait(PATIENCE_S) == 5
        os.close(terminal)


def test_streams_that_break_leave_the_exit_code_alone(here: Path) -> None:
    (here / "go-on").touch()
    words = " ".join(f"'{word}'" for word in command(*run_of("told")))
    done = subprocess.run(
        ["bash", "-c", f"{words} >/dev/full 2>&1; echo $?"],
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout == "0\n"
