"""Where an analysis' environment comes from."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgrove.analysis.configuration import parse_configuration
from taskgrove.analysis.parameters import ThirdPartyParameters, render_argv
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.environment import AnalysisEnvironment, source_file
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.errors import AnalysisError
from tests.analysis.analysis_runs import GUARD_S, Runs, runs, until

PARENT = {"PATH": os.environ["PATH"], "A": "1", "GONE": "x", "HOME": "/home/u"}


def script(folder: Path, text: str) -> Path:
    path = folder / "setup env.sh"
    path.write_text(text)
    return path


def test_the_order_of_sources(tmp_path: Path) -> None:
    path = script(tmp_path, "export A=2 B=2 C=2; unset GONE; echo loud; echo louder >&2")
    environment = AnalysisEnvironment(
        source=path,
        variables={"C": "3", "HOME": None},
        prepend={"PATH": "/first", "NEW": "/only"},
    )
    built = environment.build(PARENT)
    assert {name: built.get(name) for name in ("A", "B", "C", "GONE", "HOME", "NEW")} == {
        "A": "2", "B": "2", "C": "3", "GONE": None, "HOME": None, "NEW": "/only",
    }  # fmt: skip
    assert built["PATH"] == f"/first:{PARENT['PATH']}"
    assert set(built) == {"PATH", "A", "B", "C", "NEW"}, "nothing that the shell does by itself"


def test_values_are_taken_as_they_are(tmp_path: Path) -> None:
    """Fact F23: what the shell prints is evaluated."""
    path = script(
        tmp_path,
        "export LINES2=$'a\\nb=c\\n' EVIL='__import__(\"os\").system(\"touch pwned\")'\n"
        "f() { echo hi; }; export -f f\n",
    )
    built = source_file(path, PARENT)
    assert built["LINES2"] == "a\nb=c\n"
    assert built["EVIL"].startswith("__import__")
    assert built["BASH_FUNC_f%%"].startswith("() {")
    assert not Path("pwned").exists()


def test_a_variable_that_is_not_exported_stays_in_the_shell(tmp_path: Path) -> None:
    assert "LOCAL" not in source_file(script(tmp_path, "LOCAL=1"), PARENT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("return 3", "cannot be sourced: it failed"),
        ("no-such-command-here", "no-such-command-here: command not found"),
        ("exit 0", "it ended the shell that sourced it"),
        ("if then", "syntax error"),
        ("kill -9 $$", "it ended the shell"),
    ],
)
def test_a_file_that_fails(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AnalysisError, match=words) as caught:
        source_file(script(tmp_path, text), PARENT)
    assert caught.value.file == str(tmp_path / "setup env.sh")


def test_a_file_that_does_not_end(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="was not sourced within"):
        source_file(script(tmp_path, "sleep 60"), PARENT, limit_s=0.2)


def test_what_a_file_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    text = f"sleep 600 & echo $! > '{pid_file}'; export READY=1"
    assert source_file(script(tmp_path, text), PARENT)["READY"] == "1"
    until(lambda: not runs(int(pid_file.read_text())))


def test_a_file_that_floods_takes_no_memory(tmp_path: Path) -> None:
    """100 MB of words, an end within the limit, and the environment is taken over."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2; export READY=1"
    assert source_file(script(tmp_path, text), PARENT)["READY"] == "1"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_file_that_writes_for_ever_ends_at_its_limit(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="not sourced within"):
        source_file(script(tmp_path, "while :; do echo more; done"), PARENT, limit_s=0.3)
    with pytest.raises(AnalysisError, match="not sourced within"):
        source_file(script(tmp_path, "exec >&- 2>&- 1>&-; sleep 60"), PARENT, limit_s=0.3)


def test_sourcing_is_called_off_at_once(analyses: Runs, tmp_path: Path) -> None:
    started = tmp_path / "started"
    environment = AnalysisEnvironment(source=script(tmp_path, f"> '{started}'; sleep 600"))
    handle = analyses.start_script("true", environment=environment)
    until(started.exists)
    handle.cancel("no more")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.cause == "no more"


def test_a_missing_file_is_an_error_before_anything_starts(analyses: Runs, tmp_path: Path) -> None:
    """Fact F23: a missing file is a line in the log, and the run goes on."""
    with pytest.raises(AnalysisError, match="there is no file"):
        analyses.start_script("true", environment=AnalysisEnvironment(source=tmp_path / "gone"))


def test_a_file_that_fails_fails_the_analysis(analyses: Runs, tmp_path: Path) -> None:
    environment = AnalysisEnvironment(source=script(tmp_path, "return 7"))
    handle = analyses.script("true", environment=environment)
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "cannot be sourced" in handle.outcome.cause


def test_a_configuration_gives_variables_and_a_file(analyses: Runs, tmp_path: Path) -> None:
    """After the parent and the sourced file comes the configuration (issue 3, part 3)."""
    path = script(tmp_path, "export FROM_FILE=1 BOTH=file; unset HOME")
    text = (
        f"header:\n  environment_file: {path}\n"
        "  environment: {OMP_NUM_THREADS: 04, BOTH: '{{ word }}', LANG: null}\n"
        "  word: configured\n"
    )
    header = parse_configuration(text, environ={}).header
    handle = analyses.script("true", header=header, environment={"OURS": "x"})
    assert handle.outcome is not None
    found = handle.outcome.described.task_env
    assert found["FROM_FILE"] == "1"
    assert found["BOTH"] == "configured"
    assert found["OMP_NUM_THREADS"] == "04"
    assert found["OURS"] == "x"
    assert "LANG" not in found
    assert "HOME" not in found
    whole = AnalysisEnvironment()
    handle = analyses.script("true", header=header, environment=whole)
    assert handle.outcome is not None
    assert "BOTH" not in handle.outcome.described.task_env


def test_without_inheriting_only_the_necessary_is_there() -> None:
    built = AnalysisEnvironment(inherit=False, variables={"X": "y"}).build(PARENT)
    assert built == {"PATH": PARENT["PATH"], "HOME": "/home/u", "X": "y"}


@pytest.mark.parametrize(
    "variables", [{"A=B": "x"}, {"": "x"}, {"A": "x\0y"}, {"A": [5]}, {"A\0": "x"}]
)
def test_what_cannot_stand_in_an_environment(variables: dict[str, str]) -> None:
    with pytest.raises(AnalysisError):
        AnalysisEnvironment(variables=variables).check()


def test_the_exact_environment_is_described(analyses: Runs, tmp_path: Path) -> None:
    path = script(tmp_path, "export SOURCED=yes")
    environment = AnalysisEnvironment(source=path, variables={"MY_TOKEN": "hush"})
    handle = analyses.start_script("env -0", environment=environment)
    described = handle.result(GUARD_S)
    assert handle.outcome is not None
    told = dict(item.split("=", 1) for item in handle.outcome.output[0].tail.split("\0") if item)
    for name in ("PWD", "_", "SHLVL", "OLDPWD"):
        told.pop(name, None)
        described.task_env.pop(name, None)
    assert told == described.task_env
    assert told["SOURCED"] == "yes"
    assert handle.outcome.detail.environment["MY_TOKEN"] == "<redacted>"
    assert handle.outcome.detail.environment["SOURCED"] == "yes"


# -- what cannot stand in an environment, wherever it comes from ----------------------------------

WRONG = [True, b"4", ["4"], {}, object(), "a\0b", "\ud800", 1j]
NAMES = ["", "A=B", "A\0B", 4, None, b"A", "\ud800"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(4, "4"), (0.5, "0.5"), (np.int64(7), "7"), (np.float32(0.5), "0.5"), (Path("/a"), "/a")],
)
def test_numbers_and_paths_become_text_wherever_they_come_from(
    analyses: Runs, value: object, text: str
) -> None:
    built = AnalysisEnvironment(variables={"N": value}, prepend={"P": value}).build({})  # type: ignore[dict-item]
    assert built == {"N": text, "P": text}

    def set_it(context: TaskletContext) -> None:
        context.environment["N"] = value  # type: ignore[assignment]

    handle = analyses.script("echo N=$N", before=[set_it])
    assert handle.outcome is not None
    assert handle.outcome.output[0].tail == f"N={text}\n"


@pytest.mark.parametrize("value", WRONG)
def test_any_other_value_is_refused_with_the_name_of_the_variable(
    analyses: Runs, value: object
) -> None:
    with pytest.raises(AnalysisError, match="the variable OMP_NUM_THREADS cannot hold"):
        AnalysisEnvironment(variables={"OMP_NUM_THREADS": value}).check()  # type: ignore[dict-item]
    cause = cause_after(analyses, {"OMP_NUM_THREADS": value})
    assert cause.startswith(
        "tasklet set_it before: AnalysisError: the variable OMP_NUM_THREADS cannot"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_variable_can_have_is_refused(analyses: Runs, name: object) -> None:
    with pytest.raises(AnalysisError, match="cannot be the name of a variable"):
        AnalysisEnvironment(variables={name: "x"}).check()  # type: ignore[dict-item]
    cause = cause_after(analyses, {name: "x"})
    assert f"{name!r} cannot be the name of a variable" in cause


def cause_after(analyses: Runs, variables: dict[Any, Any]) -> str:
    """Return the cause of an analysis whose tasklet sets variables."""

    def set_it(context: TaskletContext) -> None:
        context.environment.update(variables)

    handle = analyses.script("true", before=[set_it])
    handle.result(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.FAILED
    return handle.outcome.cause


def test_a_tasklet_may_remove_a_variable_or_give_another_environment(analyses: Runs) -> None:
    def remove(context: TaskletContext) -> None:
        context.environment["GONE"] = None  # type: ignore[assignment]

    def replace(context: TaskletContext) -> None:
        context.environment = {"PATH": context.environment["PATH"], "NEW": "1"}

    def spoil(context: TaskletContext) -> None:
        context.environment = None  # type: ignore[assignment]

    handle = analyses.script("env", before=[remove], environment={"GONE": "x"})
    assert "GONE" not in handle.result(GUARD_S).task_env
    handle = analyses.script("env", before=[replace])
    assert {"PATH", "NEW"} <= set(handle.result(GUARD_S).task_env) < {
        "PATH", "NEW", "TASKGROVE_ANALYSIS",
    } | {"_"}  # fmt: skip
    handle = analyses.script("env", before=[spoil])
    handle.result(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.cause.endswith("an environment is a mapping, not NoneType")


def test_a_tilde_is_the_users_home_in_code_too(
    analyses: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script(tmp_path, "export SOURCED=yes").rename(tmp_path / "setup.sh")
    handle = analyses.script("echo $SOURCED > made", source="~/setup.sh", work_dir="~/work")
    assert handle.outcome is not None
    assert handle.outcome.cause == ""
    assert (tmp_path / "work/made").read_text() == "yes\n"


def test_a_tilde_is_the_users_home_before_a_program_and_a_launcher(
    analyses: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in (("fit", "touch fitted"), ("wrap", 'touch wrapped; exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    made = render_argv(ThirdPartyParameters(executable="~/fit"))
    assert made == [str(tmp_path / "fit")]
    handle = analyses.start_program("~/fit", launcher=("~/wrap",), work_dir="~/work")
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.cause == ""
    assert {file.name for file in (tmp_path / "work").iterdir()} >= {"fitted", "wrapped"}


def test_nothing_cannot_be_put_before_a_variable() -> None:
    with pytest.raises(AnalysisError, match="before PATH"):
        AnalysisEnvironment(prepend={"PATH": None}).check()  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("yaml", "wanted"),
    [("4", "4"), ("1.10", "1.10"), ("0001", "0001"), ("1e3", "1e3"), ("2024-05-01", "2024-05-01")],
)
def test_the_environment_of_a_configuration_keeps_what_was_written(yaml: str, wanted: str) -> None:
    header = parse_configuration(f"header: {{environment: {{N: {yaml}}}}}").header
    assert header.environment == {"N": wanted}
