"""``taskgrove run``: outcomes, exit codes, where the words go."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from taskgrove.control_model import TaskStatus
from taskgrove.events import decode_event
from taskgrove.view.snapshot import RunView
from tests.cli.command_line import (
    PATIENCE_S,
    begun,
    command,
    environment,
    read_until,
    start,
    taskgrove,
)

MANAGER = ("--manager", "site_manager:Manager")


@pytest.mark.parametrize(
    ("name", "code", "headline"),
    [
        ("good", 0, "good completed: nothing failed"),
        ("bad", 1, "bad failed: "),
        ("half", 3, "half completed DEGRADED "),
        ("refused", 4, "refused was rejected: "),
    ],
)
def test_the_exit_code_is_the_outcome(place: Path, name: str, code: int, headline: str) -> None:
    done = taskgrove("run", "map.yaml", name, *MANAGER, cwd=place)
    assert done.returncode == code, done
    assert headline in done.stdout
    assert done.stderr == ""


def test_a_condition_that_is_not_met_rejects(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "guarded", *MANAGER, cwd=place)
    assert done.returncode == 4
    assert "obsState" in done.stderr
    assert done.stdout == ""


def test_casualties_and_advice_are_told(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "bad", *MANAGER, cwd=place)
    assert "\n  - 1 skipped (first failed): second\n" in done.stdout
    assert "next: fix the failure that Manager.badly reports, then taskgrove resume" in done.stdout


def test_what_a_step_says_does_nothing_to_the_terminal(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "bad", *MANAGER, cwd=place)
    assert "\x1b" not in done.stdout
    assert "no [red]lock[/red]  here" in done.stdout


def test_piped_words_are_calm_lines(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place)
    *lines, outcome, recorded = done.stdout.splitlines()
    assert [line.split("  ")[-1].split(" after")[0] for line in lines] == [
        "good: started",
        "good/first: completed",
        "good/second: completed",
        "good: completed",
    ]
    assert outcome.startswith("good completed: nothing failed, 2 leaves in ")
    assert recorded.startswith("Recorded as 2")


def test_json_lines_are_the_run(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "bad", *MANAGER, "--json", cwd=place)
    assert done.returncode == 1
    view = RunView().apply_all(decode_event(line) for line in done.stdout.splitlines())
    assert view.root is not None
    assert view.root.status is TaskStatus.FAILED
    assert view.last_sequence == len(done.stdout.splitlines())
    assert "bad failed: step first reported a failure" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_other_encodings_get_ascii(place: Path, encoding: str) -> None:
    env = environment(PYTHONUTF8="0", PYTHONIOENCODING=encoding, LC_ALL="C")
    done = taskgrove("run", "map.yaml", "half", *MANAGER, cwd=place, env=env)
    assert done.returncode == 3, done.stderr
    assert done.stdout.isascii()
    assert "->" in done.stdout


def test_a_reader_that_goes_away_ends_the_words_quietly(place: Path) -> None:
    words = shlex.join(command("run", "map.yaml", "bad", *MANAGER))
    done = subprocess.run(
        ["bash", "-c", f"{words} | true; echo ${{PIPESTATUS[0]}}"],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_ctrl_c_aborts_and_says_so(place: Path) -> None:
    with start("run", "map.yaml", "long", *MANAGER, cwd=place) as process:
        read_until(process.stdout, "long: started")
        begun(place)
        process.send_signal(signal.SIGINT)
        words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "Ctrl-C: aborting the command" in words
    assert "long was aborted: interrupted by Ctrl-C" in words
    assert errors == ""


def test_sigterm_is_like_ctrl_c(place: Path) -> None:
    with start("run", "map.yaml", "long", *MANAGER, cwd=place) as process:
        read_until(process.stdout, "long: started")
        begun(place)
        process.send_signal(signal.SIGTERM)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "SIGTERM: aborting the command" in words


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_what_ignores_the_abort_is_abandoned_and_named(place: Path) -> None:
    with start("run", "map.yaml", "deaf", *MANAGER, "--grace", "0.3", cwd=place) as process:
        read_until(process.stdout, "deaf: started")
        begun(place)
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "never did not stop when asked and may still be running" in words


def test_a_second_ctrl_c_ends_at_once(place: Path) -> None:
    with start("run", "map.yaml", "deaf", *MANAGER, "--grace", "3000", cwd=place) as process:
        read_until(process.stdout, "deaf: started")
        begun(place)
        process.send_signal(signal.SIGINT)
        read_until(process.stdout, "Press Ctrl-C again to quit immediately")
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "Ctrl-C again: quit immediately" in words


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_the_finished_tree_stays(
    place: Path, variables: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", LINES="24", **variables)
    with subprocess.Popen(
        command("run", "map.yaml", "bad", *MANAGER),
        cwd=place,
        env=env,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = _read_all(ours)
    assert process.wait(PATIENCE_S) == 1
    assert "├─ first  ✗ failed" in _plain(shown)
    assert "bad failed: step first reported a failure" in _plain(shown)
    assert ("\x1b[31m" in shown or "\x1b[1;31m" in shown) is coloured
    assert "\x1b[31m here" not in shown


def test_a_dumb_terminal_gets_lines_that_fit_it(place: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (20, 40))
    env = environment(TERM="dumb")
    del env["COLUMNS"]
    with subprocess.Popen(
        command("run", "map.yaml", "bad", *MANAGER),
        cwd=place,
        env=env,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = _read_all(ours)
    assert "\x1b" not in shown
    assert "bad failed: step first reported a" in shown.splitlines()
    wide = [line for line in shown.splitlines() if len(line) > 40]
    assert all(line.startswith("taskgrove ") for line in wide), shown  # to be copied as a whole


def _read_all(fd: int) -> str:
    data = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:  # how a pseudo terminal tells that the other end is closed
            piece = b""
        if not piece:
            os.close(fd)
            return data.decode()
        data += piece


def _plain(shown: str) -> str:
    text, escaped = "", False
    for char in shown:
        if char == "\x1b":
            escaped = True
        elif not escaped:
            text += char
        elif char.isalpha():
            escaped = False
    return text


def test_argin_reaches_the_step_from_a_file_and_from_standard_input(place: Path) -> None:
    (place / "site_manager.py").write_text(
        "class Manager:\n    def well(self, argin):\n        return 0, str(argin)\n"
    )
    given = {"well": {"a": 1}}
    (place / "argin.json").write_text(json.dumps(given))
    for source, text in (("argin.json", None), ("-", "well: {a: 1}")):
        done = taskgrove(
            "run", "map.yaml", "good", *MANAGER, "--argin", source, "--json", cwd=place, input=text
        )
        assert done.returncode == 0, done.stderr
        assert "{'a': 1}" in done.stdout


@pytest.mark.parametrize(
    ("argin", "code", "words"),
    [
        ("{bad", 2, "line"),
        ("a: [", 2, "line"),
        ("nonsense: 1", 4, "nonsense"),
        ("[1, 2]", 4, "mapping"),
    ],
)
def test_argin_that_does_not_fit_is_refused_before_anything_runs(
    place: Path, argin: str, code: int, words: str
) -> None:
    done = taskgrove("run", "map.yaml", "good", *MANAGER, "--argin", "-", cwd=place, input=argin)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_a_full_disk_ends_the_words_and_not_the_command(place: Path) -> None:
    for options, code in ((("bad",), 1), (("good", "--json"), 0)):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                command("run", "map.yaml", *options, *MANAGER),
                cwd=place,
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        assert done.returncode == code, done.stderr
        assert "standard output cannot be written" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_closed_standard_output_ends_the_events_and_not_the_command(place: Path) -> None:
    words = shlex.join(command("run", "map.yaml", "bad", "--json", *MANAGER))
    done = subprocess.run(
        ["bash", "-c", f"{words} >&-"],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "unexpected" not in done.stderr
