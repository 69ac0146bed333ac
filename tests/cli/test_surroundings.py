"""The command line in odd surroundings: exit code 2 and a sentence, or the work is done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command_line import command, environment, taskgrove

MANAGER = ("--manager", "steps:Steps")
RUN = ("run", "map.yaml", "go", *MANAGER, "--no-live")
ANALYSE = ("analyse", "c.yaml", "EchoRun", "--analyses", "prog", "--no-live")
#: A text whose last byte is no UTF-8, as Python reads it from its arguments.
BYTES = "f\udcff"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text("class Steps:\n    def go(self, argin=None): pass\n")
    (tmp_path / "map.yaml").write_text(
        "go: {type: sequential, tasks: {internal: {command_name: go}}}\n"
    )
    (tmp_path / "prog.py").write_text(
        "from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters\n"
        "class Tool(ThirdPartyParameters):\n    executable: str = '/bin/echo'\n    s: str = 'x'\n"
        "ENTRIES = [AnalysisEntry('EchoRun', Tool)]\n"
    )
    (tmp_path / "c.yaml").write_text("header: {work_dir: .}\nEchoRun: {}\n")
    return tmp_path


def said(*words: str, cwd: Path, shell: str = "", **variables: str) -> tuple[int, str]:
    """Return the exit code and all that was printed; ``shell`` stands behind the command."""
    env = environment(TASKGROVE_DB=str(cwd / "runs.db"), HOME=str(cwd)) | variables
    if shell:
        line = ["sh", "-c", f'exec "$@" {shell}', "sh", *command(*words)]
        done = subprocess.run(
            line, cwd=cwd, env=env, capture_output=True, stdin=subprocess.DEVNULL,
            encoding="utf-8", check=False,
        )  # fmt: skip
    else:
        done = taskgrove(*words, cwd=cwd, env=env)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "unexpected" not in text
    return done.returncode, " ".join(text.split())


def test_an_argument_from_a_closed_input_is_refused(place: Path) -> None:
    code, text = said(*RUN, "--argin", "-", cwd=place, shell="<&-")
    assert (code, "standard input is closed" in text) == (2, True)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_printed_to_a_closed_stream_goes_nowhere(place: Path, closed: str) -> None:
    # The record opens files: none of them may get the number of the stream that is closed.
    assert said(*RUN, cwd=place, shell=closed)[0] == 0
    code, text = said("runs", "list", cwd=place)
    assert (code, " go " in text) == (0, True)
    header = (place / "runs.db").read_bytes()[:15]
    assert header == b"SQLite format 3"


@pytest.mark.parametrize("shell", [">/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("nonsense",)])
def test_a_help_that_cannot_be_written_is_told(
    place: Path, words: tuple[str, ...], shell: str
) -> None:
    assert said(*words, cwd=place, shell=shell)[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        (*ANALYSE, "--set", f"s={BYTES}"),
        (*ANALYSE, "--launcher", BYTES),
        (*RUN, "--db", f"{BYTES}.db"),
        ("run", "map.yaml", BYTES),
        ("runs", "list", "--command", BYTES),
        ("runs", "show", BYTES),
        ("why", BYTES),
    ],
)
def test_a_text_that_is_no_utf8_is_refused(place: Path, words: tuple[str, ...]) -> None:
    code, text = said(*words, cwd=place)
    assert (code, "bytes that are not UTF-8" in text) == (2, True)


def test_names_of_files_may_be_any_bytes(place: Path) -> None:
    os.rename(place / "map.yaml", place / f"{BYTES}.yaml")
    (place / BYTES).write_text("{internal: 3}")
    code, _ = said("run", f"{BYTES}.yaml", "go", *MANAGER, "--argin", BYTES, cwd=place)
    assert code == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x" * 5000, "too long"),
        (f"/tmp/{BYTES}", "not UTF-8"),
        ("mysql://x", "names no database"),
    ],
)
def test_a_record_that_cannot_be_named_is_told(place: Path, value: str, why: str) -> None:
    code, text = said("why", "last", cwd=place, TASKGROVE_DB=value)
    assert (code, why in text) == (2, True)
    code, text = said(*RUN, cwd=place, TASKGROVE_DB=value)
    assert (code, why in text) == (0, True)  # the command goes on, without a record


@pytest.mark.parametrize("words", [RUN, ANALYSE, ("why", "last")])
@pytest.mark.parametrize("value", ["-", "off,x"])
def test_a_rule_of_secrets_that_cannot_be_read_is_told_before_anything_starts(
    place: Path, value: str, words: tuple[str, ...]
) -> None:
    code, text = said(*words, cwd=place, TASKGROVE_REDACT=value)
    assert (code, "TASKGROVE_REDACT cannot be read" in text) == (2, True)
    assert "started" not in text


@pytest.mark.parametrize(
    "words",
    [
        ("run", "x" * 5000, "go", *MANAGER),
        (*RUN, "--argin", "x" * 5000),
        (*ANALYSE, "--source", "x" * 5000),
        ("runs", "export", "--output", "x" * 5000),
    ],
)
def test_a_name_of_a_file_that_is_too_long_is_told(place: Path, words: tuple[str, ...]) -> None:
    code, text = said(*words, cwd=place)
    assert (code, "too long" in text) == (2, True)
    assert len(text) < 500


def test_a_working_folder_that_is_gone_is_told(place: Path) -> None:
    (place / "gone").mkdir()
    line = 'rmdir ../gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command("run", str(place / "map.yaml"), "go", *MANAGER)],
        cwd=place / "gone",
        env=environment(HOME=str(place)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the working folder cannot be used" in done.stderr


def test_a_pipe_by_name_is_no_argument_but_one_of_the_shell_is(place: Path) -> None:
    os.mkfifo(place / "pipe")
    code, text = said(*RUN, "--argin", "pipe", cwd=place)
    assert (code, "is a pipe" in text) == (2, True)
    (place / "a.yaml").write_text("{internal: 3}")
    assert said(*RUN, "--argin", "/dev/fd/5", cwd=place, shell="5<a.yaml")[0] == 0


@pytest.mark.parametrize("width", ["1000000000", "9" * 30, "0", "-1", "x"])
def test_no_width_of_a_terminal_is_too_wide(place: Path, width: str) -> None:
    code, text = said("runs", "--help", cwd=place, COLUMNS=width, LINES=width)
    assert (code, "prune" in text) == (0, True)
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("option", "value"),
    [("--timeout", "nan"), ("--grace", "nan"), ("--grace", "1e300"), ("--heartbeat", "inf")],
)
def test_a_number_that_is_no_time_is_refused(place: Path, option: str, value: str) -> None:
    assert said(*ANALYSE, option, value, cwd=place)[0] == 2
