"""``compose``, ``schema``, ``version``, ``doctor``, and the reference of all verbs."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from taskgrove.cli.app import app
from taskgrove.cli.compose import composition_of, print_composition
from taskgrove.cli.demo import say_where_it_is
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.command_map import command_map_json_schema
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.testing import FakeDeviceRunner
from tests.cli.command_line import ROOT, taskgrove

_CONTEXT = click.Context(app)
VERBS: Any = [app.get_command(_CONTEXT, name) for name in app.list_commands(_CONTEXT)]
REFERENCE = (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: str(verb.name))
def test_every_verb_and_option_has_help_and_is_in_the_reference(verb: Any) -> None:
    assert verb.help
    assert f"\n## {verb.name}\n" in REFERENCE
    section = REFERENCE.split(f"\n## {verb.name}\n")[1].split("\n## ")[0]
    for parameter in verb.params:
        assert getattr(parameter, "help", None), f"{verb.name} {parameter.name}"
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in section, f"{verb.name} {parameter.opts[0]}"


def test_every_exit_code_is_in_the_reference_and_in_the_help(place: Path) -> None:
    done = taskgrove("--help", cwd=place)
    words = " ".join(done.stdout.split())
    for code in ExitCode:
        assert f"\n| {code.value} | " in REFERENCE
        name = {"USAGE": "usage or bad map", "OK": "OK"}.get(
            code.name, code.name.lower().replace("_", " ")
        )
        assert f"{code.value} {name}" in words


def test_compose_shows_targets_limits_rules_and_what_was_left_out(place: Path) -> None:
    done = taskgrove("compose", "map.yaml", "deaf", "--manager", "site_manager:Manager", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "└─ never  deaf on Manager  timeout 500 s (it is not stopped)" in done.stdout
    assert "nothing was started" in done.stdout
    assert "can only be reported, not enforced" in done.stdout


def test_compose_shows_rules_and_skipping(place: Path) -> None:
    for name, words in (("half", "rule quorum 1"), ("bad", "a failure skips the rest")):
        done = taskgrove(
            "compose", "map.yaml", name, "--manager", "site_manager:Manager", cwd=place
        )
        assert words in done.stdout, done.stdout


def test_compose_gives_the_tree_and_its_errors_as_data(place: Path) -> None:
    done = taskgrove(
        "compose", "map.yaml", "half", "--json", "--manager", "site_manager:Manager", cwd=place
    )
    told = json.loads(done.stdout)
    assert [node["path"] for node in told["nodes"]] == ["half", "half/first", "half/second"]
    assert told["nodes"][0]["terms"] == "rule quorum 1"
    assert told["nodes"][1]["what"] == "badly on Manager"
    assert told["leaf_count"] == 2
    assert told["digest"] == hashlib.sha256((place / "map.yaml").read_bytes()).hexdigest()
    (place / "wrong.yaml").write_text("go:\n  type: sideways\n  tasks: {}\n")
    done = taskgrove("compose", "wrong.yaml", "go", "--json", cwd=place)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert (told["code"], told["file"], told["line"]) == ("map-invalid", "wrong.yaml", 2)
    assert told["lines"][0] in done.stderr


def test_a_run_gets_the_id_the_person_and_the_map_that_it_is_given(place: Path) -> None:
    digest = hashlib.sha256((place / "map.yaml").read_bytes()).hexdigest()
    run_id = "20261130T120000Z-0123abcd"
    line = [
        "run", "map.yaml", "good", "--manager", "site_manager:Manager", "--db", "own.db",
        "--run-id", run_id, "--map-digest",
    ]  # fmt: skip
    done = taskgrove(*line, digest, "--by", "Ann", "--why", " after lunch ", cwd=place)
    assert done.returncode == 0, done.stderr
    shown = taskgrove("runs", "show", run_id, "--db", "own.db", "--json", cwd=place)
    assert json.loads(shown.stdout)["run"]["labels"] == {"by": "Ann", "why": "after lunch"}

    done = taskgrove(*line, digest, cwd=place)
    assert done.returncode == 2
    assert f"has a run {run_id} already" in done.stderr
    done = taskgrove(*line, "0" * 64, cwd=place)
    assert done.returncode == 2
    assert "has changed since the dry run" in done.stderr
    done = taskgrove(*(word if word != run_id else "../x" for word in line), digest, cwd=place)
    assert done.returncode == 2
    assert "'../x' is not the id of a run" in done.stderr


def test_compose_shows_clean_ups_calls_holds_and_descriptions(place: Path) -> None:
    (place / "m.yaml").write_text(
        "observe:\n  type: sequential\n  description: One scan\n  tasks:\n"
        "    set up: {call: lock}\n"
        "    wait: {handler: internal, command_name: quick, hold: on_failure, hold_timeout: 9,\n"
        "           retries: 1, retry_delay: 5, retry_backoff: 2}\n"
        "  finally:\n    internal: {command_name: quick}\n"
        "lock: {type: parallel, hold: never, tasks: {internal: {command_name: quick}}}\n"
    )
    (place / "own_manager.py").write_text("class Manager:\n    def quick(self): ...\n")
    done = taskgrove("compose", "m.yaml", "observe", "--manager", "own_manager:Manager", cwd=place)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert 'observe in order "One scan"' in lines
    assert "├─ set up lock, all at once a failure waits for no decision" in lines
    waits = "1 retry; 5 s between attempts, each 2 times as long"
    assert any(
        waits in line and "a failure waits at most 9 s for a decision" in line for line in lines
    )
    assert "└─ finally in order, however the steps before end timeout 60 s" in lines


def test_compose_offline_keeps_devices_and_notes_what_was_not_checked(place: Path) -> None:
    pytest.importorskip("tango")
    (place / "d.yaml").write_text(
        "go:\n  type: parallel\n  allowed_states: {attr_name: obsState, attr_value: [IDLE]}\n"
        "  tasks: {pst: {command_name: Scan}}\n"
        "components: {pst: [low-pst/beam/01, low-pst/beam/02]}\n"
    )
    done = taskgrove("compose", "d.yaml", "go", "--offline", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "2 leaves; nothing was started." in done.stdout
    said = "condition not checked: obsState; allowed: IDLE"
    assert f"  - go: {said}\n" in done.stdout
    assert f"  - go/go_pst/pst-beam-02 (low-pst/beam/02): {said}\n" in done.stdout
    assert "on abort: Abort is sent if the device has it" in done.stdout
    assert "not checked without devices: whether devices answer" in done.stdout


@pytest.mark.parametrize(
    ("aborts", "words"),
    [
        ({"go/cbf": True}, "timeout 9 s; on abort: Abort is sent"),
        ({"go/cbf": False}, "timeout 9 s (the device is not stopped); on abort: it is not stopped"),
        ({}, "timeout 9 s; on abort: Abort is sent if the device has it"),
    ],
)
def test_an_abort_is_promised_only_where_the_device_has_one(
    aborts: dict[str, bool], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    leaf = LeafTask("cbf", "low-cbf/subarray/01", "Scan", timeout=9, abort_on_timeout=True)
    root = Task("go", is_root=True, subtasks=[leaf])
    runner = FakeDeviceRunner()
    runner.limits = lambda _leaf: LeafLimits("ask", "enforced")  # type: ignore[method-assign]
    composed = composition_of(root, {TaskExecutionType.DEVICE: runner}, aborts)
    print_composition(Terminal(), composed)
    line = next(line for line in capsys.readouterr().out.splitlines() if "low-cbf" in line)
    assert line.endswith(f"  {words}")


BAD_MAPS = {
    "simulator": (
        "go: {type: parallel, tasks: {first: {handler: internal, command_name: well}}}\n"
        "components: {pst: low-pst/beam/01}\n"
        "simulator: {faults: {low-pst/beam/01: {Scan: explode}}}\n",
        "explode",
        2,
    ),
    "analysis": (
        "go:\n  type: sequential\n  tasks:\n"
        "    a: {handler: analysis, command_name: EchoRum, config: c.yaml}\n"
        "    b: {handler: analysis, command_name: EchoRun, config: c.yaml, argin: {p_arg1: [1]}}\n",
        "EchoRum",
        4,
    ),
    "parameter": (
        "go:\n  type: sequential\n  tasks:\n"
        "    b: {handler: analysis, command_name: EchoRun, config: c.yaml, argin: {p_arg1: [1]}}\n",
        "p_arg1",
        4,
    ),
    "manager": (
        "go: {type: parallel, tasks: {first: {handler: internal, command_name: wel}}}\n",
        "did you mean 'well'?",
        4,
    ),
}


@pytest.mark.parametrize("wrong", list(BAD_MAPS))
def test_a_dry_run_refuses_what_a_run_refuses(wrong: str, place: Path) -> None:
    pytest.importorskip("tango" if wrong == "simulator" else "taskgrove.analysis")
    text, words, code = BAD_MAPS[wrong]
    (place / "bad.yaml").write_text(text)
    (place / "c.yaml").write_text("header: {experiment: e, run: 1, work_dir: .}\nEchoRun: {}\n")
    (place / "prog.py").write_text(
        "from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters\n"
        "class Tool(ThirdPartyParameters):\n"
        "    executable: str = '/bin/echo'\n"
        "    p_arg1: str = 'x'\n"
        "ENTRIES = [AnalysisEntry('EchoRun', Tool)]\n"
    )
    given = ["bad.yaml", "go", "--analyses", "prog", "--manager", "site_manager:Manager"]
    run = taskgrove("run", *given, "--no-record", cwd=place)
    dry = taskgrove("compose", *given, cwd=place)
    for done in (run, dry):
        assert done.returncode == code, done
        assert words in done.stdout + done.stderr
    offline = taskgrove("compose", *given, "--offline", cwd=place)
    assert offline.returncode == code


def test_schema_is_the_schema(place: Path) -> None:
    done = taskgrove("schema", cwd=place)
    assert done.returncode == 0
    assert json.loads(done.stdout) == command_map_json_schema()


def test_version_names_the_event_schema(place: Path) -> None:
    done = taskgrove("version", cwd=place)
    assert done.returncode == 0
    assert "event schema 1" in done.stdout


@pytest.mark.parametrize("found", [False, True])
def test_the_demo_says_how_the_shell_finds_the_command_where_it_does_not(
    found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a place" / "bin"
    folder.mkdir(parents=True)
    (folder / "taskgrove").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder) if found else str(tmp_path))
    say_where_it_is(Terminal())
    line = f"The shell finds the command taskgrove after: . '{folder}/activate'\n"
    assert capsys.readouterr().out == ("" if found else line)


def test_doctor_without_a_map_tells_what_is_installed(place: Path) -> None:
    done = taskgrove("doctor", cwd=place)
    assert done.returncode == 0
    for word in ("msgspec", "pytango", "TANGO_HOST", "taskgrove doctor MAP"):
        assert word in done.stdout


def test_doctor_names_who_does_not_answer_and_what_to_do(place: Path) -> None:
    pytest.importorskip("tango")
    (place / "d.yaml").write_text(
        "go: {type: sequential, tasks: {cbf: {command_name: Configure}}}\n"
        "components:\n  cbf: tango://127.0.0.1:9/low-cbf/subarray/01#dbase=no\n"
        "  pst: [low-pst/beam/01]\n"
    )
    done = taskgrove("doctor", "d.yaml", cwd=place)
    assert done.returncode == 1
    assert "0 of 2 devices answer." in done.stdout
    assert "TANGO_HOST is not set" in done.stdout
    assert "What to do: start its server" in done.stdout
