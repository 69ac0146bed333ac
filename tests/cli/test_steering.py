"""A run in one terminal, and the operator at it or at another one: real processes, one record."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from taskgrove.store.history import History
from tests.cli.command_line import PATIENCE_S, Started, begun, read_until, start, taskgrove
from tests.cli.terminals import on_a_terminal, see
from tests.store.postgres_server import PostgresServer

STEPS = """
import time
from pathlib import Path


class Manager:
    def end(self):
        return 0, "fine"

    def scan(self):
        if Path("once").exists():
            return 0, "fine"
        Path("once").touch()
        return 3, "no lock on the pulsar"

    def beam_1(self):
        return 3, "no lock on the pulsar"

    beam_2 = beam_1

    def told(self):
        Path("begun").touch()
        while not Path("go-on").exists():
            time.sleep(0.02)
        return 0, "told"

    def until_aborted(self, task_abort_event=None):
        Path("begun").touch()
        task_abort_event.wait()
        return 7, "stopped"

    def clean(self, task_abort_event=None):
        Path("cleaning").touch()
        task_abort_event.wait()
        return 7, "clean-up was stopped"

    def deaf(self):
        Path("cleaning").touch()
        time.sleep(600)
"""
MAP = """
observe:
  type: sequential
  skip_subtasks: true
  tasks:
    scan: {handler: internal, command_name: scan}
    end: {handler: internal, command_name: end}
beams:
  type: parallel
  tasks:
    a: {handler: internal, command_name: beam_1}
    b: {handler: internal, command_name: beam_2}
waits:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: told}
    end: {handler: internal, command_name: end}
long:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: until_aborted}
cleans:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: until_aborted}
  finally:
    clean: {handler: internal, command_name: clean}
stuck:
  type: sequential
  tasks:
    scan: {handler: internal, command_name: until_aborted}
  finally:
    clean: {handler: internal, command_name: deaf}
"""
DB = ("--db", "runs.db")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "site_manager.py").write_text(STEPS)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path


def run_of(name: str, *more: str) -> tuple[str, ...]:
    return ("run", "map.yaml", name, "--manager", "site_manager:Manager", *DB, *more)


def ended(here: Path, name: str) -> str:
    with History.open(here / "runs.db") as history:
        return history.find(f"last:{name}").outcome


def held_line(process: Started) -> str:
    return read_until(process.stdout, ": held").splitlines()[-1]


# -- without a terminal ---------------------------------------------------------------------------


def test_a_held_step_is_told_with_the_command_to_type_and_that_works(here: Path) -> None:
    with start(*run_of("observe", "--hold"), cwd=here) as process:
        line = held_line(process)
        assert "no lock on the pulsar" in line
        typed = re.search(r"taskgrove (retry .*) \(or accept, skip, fail\)", line)
        assert typed is not None
        done = taskgrove(*shlex.split(typed[1]), cwd=here)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "done: observe/scan is tried again\n"
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
    late = taskgrove("retry", "last:observe", "observe/scan", *DB, cwd=here)
    assert late.returncode == 6
    assert late.stdout.startswith("too late: the run has ended")


@pytest.mark.parametrize(("verb", "code"), [("accept", 3), ("fail", 1), ("skip", 1)])
def test_a_decision_from_another_process_decides_the_exit_code(
    here: Path, verb: str, code: int
) -> None:
    with start(*run_of("observe", "--hold"), cwd=here) as process:
        held_line(process)
        why = ("--why", "by hand", "--by", "ann")
        done = taskgrove(verb, "last:observe", "observe/scan", *why, *DB, cwd=here)
        assert done.returncode == 0, done
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
    with History.open(here / "runs.db") as history:
        nodes = {node.path: node for node in history.nodes("last")}
    finished = nodes["observe/scan"].finished
    assert finished is not None
    assert finished.request is not None
    assert (finished.request.who, finished.request.why) == ("ann", "by hand")
    assert finished.accepted is (verb == "accept")
    assert nodes["observe/end"].skipped is (verb == "fail")


def test_what_is_not_held_is_refused(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        done = taskgrove("retry", "last:waits", "waits/scan", *DB, cwd=here)
        assert done.returncode == 1
        assert done.stdout.startswith("refused: waits/scan: no decision is open on it")
        near = taskgrove("retry", "last:waits", "waits/scn", *DB, cwd=here)
        assert near.returncode == 1
        assert "did you mean 'waits/scan'?" in near.stdout
        (here / "go-on").touch()
        process.communicate(timeout=PATIENCE_S)


def test_a_pause_keeps_the_next_step_until_the_run_goes_on(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        done = taskgrove("pause", "last:waits", "--why", "wind", *DB, cwd=here)
        assert done.stdout.startswith("done: the run is paused")
        again = taskgrove("pause", "last:waits", *DB, cwd=here)
        assert again.returncode == 1
        assert "the run is paused already by " in again.stdout
        (here / "go-on").touch()
        read_until(process.stdout, "paused")
        assert taskgrove("continue", "last:waits", *DB, cwd=here).returncode == 0
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


def test_abort_from_another_process(here: Path) -> None:
    with start(*run_of("long"), cwd=here) as process:
        begun(here)
        assert taskgrove("abort", "last:long", "--why", "rain", *DB, cwd=here).returncode == 0
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 5
    assert "rain" in taskgrove("why", "last", *DB, cwd=here).stdout


def test_a_run_pauses_before_a_step_that_was_named(here: Path) -> None:
    (here / "once").touch()
    with start(*run_of("observe", "--pause-before", "observe/end"), cwd=here) as process:
        read_until(process.stdout, "paused")
        assert taskgrove("continue", "last:observe", *DB, cwd=here).returncode == 0
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "near"),
    [("end", "'observe/end'"), ("observe/scn", "'observe/scan'"), ("zzz", "observe/scan")],
)
def test_a_wrong_step_to_pause_before_is_refused_before_anything_starts(
    here: Path, name: str, near: str
) -> None:
    done = taskgrove(*run_of("observe", "--pause-before", name), cwd=here)
    assert done.returncode == 2
    assert near in done.stderr
    assert not (here / "once").exists()


def test_a_hold_that_nobody_could_end_is_refused(here: Path) -> None:
    words = ("run", "map.yaml", "observe", "--manager", "site_manager:Manager", "--no-record")
    done = taskgrove(*words, "--hold", cwd=here)
    assert done.returncode == 2
    assert "--hold needs a record or a terminal" in done.stderr
    assert not (here / "once").exists()


# -- the keys of the terminal that runs it --------------------------------------------------------


def test_the_keys_of_the_terminal_decide(here: Path) -> None:
    with on_a_terminal(here, *run_of("observe", "--hold")) as (process, terminal):
        shown = see(terminal, "r retry  a accept  s skip  f fail  p pause  x abort")
        assert "observe/scan" in shown
        assert "no lock on the pulsar" in shown
        os.write(terminal, b"r")
        see(terminal, "Why retry observe/scan? (Enter: none, Esc: back)")
        os.write(terminal, b"receiver\n")
        see(terminal, "is tried again")
        assert process.wait(PATIENCE_S) == 0
        after = termios.tcgetattr(terminal)
        assert after[3] & termios.ECHO
        assert after[3] & termios.ICANON
        os.close(terminal)
    with History.open(here / "runs.db") as history:
        [scan] = [node for node in history.nodes("last") if node.path == "observe/scan"]
    [retry] = [note.request for note in scan.notes if note.topic == "retry"]
    assert retry is not None
    assert retry.why == "receiver"


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_several_held_steps_are_chosen_among(here: Path) -> None:
    with on_a_terminal(here, *run_of("beams", "--hold")) as (process, terminal):
        see(terminal, "1/2")
        os.write(terminal, b"n")
        see(terminal, "2/2")
        os.write(terminal, b"fno\n")
        see(terminal, "its failure stands")
        os.write(terminal, b"fno\n")
        assert process.wait(PATIENCE_S) == 1
        os.close(terminal)


def test_x_aborts_once_it_was_asked_about(here: Path) -> None:
    with on_a_terminal(here, *run_of("observe", "--hold")) as (process, terminal):
        see(terminal, "x abort")
        os.write(terminal, b"x")
        see(terminal, "Abort the run?")
        os.write(terminal, b"n")
        see(terminal, "x abort")
        os.write(terminal, b"xy")
        assert process.wait(PATIENCE_S) == 5
        os.close(terminal)
    assert ended(here, "observe") == "aborted"


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_the_keys_work_without_a_record(here: Path) -> None:
    words = ("run", "map.yaml", "observe", "--manager", "site_manager:Manager", "--no-record")
    with on_a_terminal(here, *words, "--hold") as (process, terminal):
        see(terminal, "a accept")
        os.write(terminal, b"aby hand\n")
        assert process.wait(PATIENCE_S) == 3
        os.close(terminal)


# -- the second terminal --------------------------------------------------------------------------


def test_watch_shows_the_run_and_its_keys_act_on_it(here: Path) -> None:
    with start(*run_of("observe", "--hold"), cwd=here) as process:
        held_line(process)
        with on_a_terminal(here, "watch", "last:observe", *DB) as (watching, terminal):
            see(terminal, "a accept")
            os.write(terminal, b"aby hand\n")
            see(terminal, "is accepted")
            assert watching.wait(PATIENCE_S) == 3
            os.close(terminal)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 3


@pytest.mark.postgres
def test_two_terminals_on_postgresql(here: Path, postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    words = ("run", "map.yaml", "observe", "--manager", "site_manager:Manager", "--hold")
    with start(*words, "--db", url, cwd=here) as process:
        held_line(process)
        with start("watch", "last", "--db", url, cwd=here) as watching:
            read_until(watching.stdout, ": held")
            done = taskgrove("retry", "last:observe", "observe/scan", "--db", url, cwd=here)
            assert done.returncode == 0, done
            told, _ = watching.communicate(timeout=PATIENCE_S)
            assert "observe completed" in told
            assert watching.returncode == 0
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
    postgres_server.drop_database(url)


def test_watch_as_json_says_that_the_runner_is_lost(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        read_until(process.stdout, "waits: started")  # as it is kept
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    done = taskgrove("watch", "last", "--json", *DB, cwd=here)
    assert done.returncode == 1
    assert ": lost; " in done.stderr
    assert json.loads(done.stdout.splitlines()[0])["kind"] == "composed"


def test_ctrl_c_leaves_watch_and_not_the_run(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        with on_a_terminal(here, "watch", "last", *DB) as (watching, terminal):
            see(terminal, "p pause")
            os.write(terminal, b"\x03")
            see(terminal, "Left; run ")
            assert watching.wait(PATIENCE_S) == 7
            assert termios.tcgetattr(terminal)[3] & termios.ECHO
            os.close(terminal)
        (here / "go-on").touch()
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


def test_watch_tells_that_the_runner_is_lost(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        with start("watch", "last", *DB, cwd=here) as watching:
            read_until(watching.stdout, "waits: started")
            process.kill()
            process.communicate(timeout=PATIENCE_S)
            words, _ = watching.communicate(timeout=PATIENCE_S)
        assert watching.returncode == 1
        assert "lost" in words


def test_watch_as_json_is_all_events_to_the_end(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        with start("watch", "last", "--json", *DB, cwd=here) as watching:
            (here / "go-on").touch()
            written, errors = watching.communicate(timeout=PATIENCE_S)
        process.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, errors) == (0, "")
    lines = [json.loads(line) for line in written.splitlines()]
    with History.open(here / "runs.db") as history:
        kept = [event.sequence for event in history.events("last")]
    assert [line["sequence"] for line in lines] == kept


@pytest.mark.parametrize(("name", "code"), [("observe", 0), ("beams", 1)])
def test_watch_of_a_run_that_has_ended_is_its_tree_and_its_outcome(
    here: Path, name: str, code: int
) -> None:
    (here / "once").touch()
    assert taskgrove(*run_of(name), cwd=here).returncode == code
    shown = taskgrove("watch", f"last:{name}", *DB, cwd=here)
    assert shown.returncode == code
    assert f"{name}" in shown.stdout
    assert "scan" in shown.stdout or "no lock" in shown.stdout


# -- a clean-up and Ctrl-C ------------------------------------------------------------------------


def cleaning(here: Path, process: subprocess.Popen[str]) -> None:
    begun(here)
    process.send_signal(signal.SIGINT)
    read_until(process.stdout, "The clean-up runs; press Ctrl-C again to stop it.")
    begun(here, "cleaning")


def test_the_second_ctrl_c_stops_the_clean_up(here: Path) -> None:
    with start(*run_of("cleans"), cwd=here) as process:
        cleaning(here, process)
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "Ctrl-C again: the clean-up is stopped." in words
    with History.open(here / "runs.db") as history:
        nodes = {node.path: node for node in history.nodes("last")}
    assert nodes["cleans/finally/clean"].state == "aborted"


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_the_third_ctrl_c_quits_although_the_clean_up_does_not_end(here: Path) -> None:
    with start(*run_of("stuck", "--grace", "3000"), cwd=here) as process:
        cleaning(here, process)
        process.send_signal(signal.SIGINT)
        read_until(process.stdout, "the clean-up is stopped. Press Ctrl-C again to quit")
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "quit immediately" in words


def test_quitting_at_once_leaves_the_terminal_as_it_was(here: Path) -> None:
    with on_a_terminal(here, *run_of("stuck", "--grace", "3000")) as (process, terminal):
        see(terminal, "x abort")
        begun(here)
        os.write(terminal, b"\x03")
        see(terminal, "press Ctrl-C again")
        begun(here, "cleaning")
        os.write(terminal, b"\x03")
        see(terminal, "clean-up is stopped")
        os.write(terminal, b"\x03")
        assert process.wait(PATIENCE_S) == 5
        modes = termios.tcgetattr(terminal)[3]
        assert modes & termios.ECHO
        assert modes & termios.ICANON
        os.close(terminal)


def test_at_the_terminal_last_is_asked_about(here: Path) -> None:
    with start(*run_of("waits"), cwd=here) as process:
        begun(here)
        with on_a_terminal(here, "pause", "last", *DB) as (asking, terminal):
            assert "(waits, running)" in see(terminal, "meant? [y/N]")
            os.write(terminal, b"n\n")
            see(terminal, "Nothing was asked for.")
            assert asking.wait(PATIENCE_S) == 5
            os.close(terminal)
        with on_a_terminal(here, "pause", "last", *DB) as (asking, terminal):
            see(terminal, "meant? [y/N]")
            os.write(terminal, b"y\n")
            see(terminal, "done: the run is paused")
            assert asking.wait(PATIENCE_S) == 0
            os.close(terminal)
        assert taskgrove("continue", "last:waits", *DB, cwd=here).returncode == 0
        (here / "go-on").touch()
        process.communicate(timeout=PATIENCE_S)
