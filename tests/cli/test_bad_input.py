"""Wrong words, bad maps and missing parts: one clear block, the right code, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_line import PATIENCE_S, environment, taskgrove

WITH_DEVICES = """
go:
  type: sequential
  tasks:
    cbf: {command_name: Configure, reject_missing: true}
components:
  cbf: tango://127.0.0.1:9/low-cbf/subarray/01#dbase=no
"""


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run"],
        ["run", "map.yaml"],
        ["run", "map.yaml", "good", "--nonsense"],
        ["run", "map.yaml", "good", "--max-workers", "0"],
        ["run", "map.yaml", "good", "--grace", "-1"],
        ["demo", "--act", "5"],
        ["run", "map.yaml", "good", "--manager", "no-colon"],
        ["run", "map.yaml", "good", "--manager", "no_such_module:Manager"],
        ["run", "map.yaml", "good", "--manager", "site_manager:Manger"],
        ["run", "map.yaml", "good", "--argin", "no-such-file"],
        ["run", "no-such-map.yaml", "good"],
        ["simulate", "map.yaml"],
        ["simulate", "--fault", "nonsense"],
    ],
)
def test_wrong_usage_is_2(place: Path, words: list[str]) -> None:
    done = taskgrove(*words, cwd=place)
    assert done.returncode == 2, done
    assert done.stderr != ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("go: 42", ["go", "line 1"]),
        (
            "go:\n  type: sequential\n  rules: all\n  tasks: {internal: {command_name: a}}\n",
            ["did you mean 'rule'", "line 3", "go.rules", "allowed: type, tasks"],
        ),
        (
            "go:\n  type: sequential\n  tasks:\n    x: {handler: cbff, command_name: A}\n",
            ["go.tasks.x", "line 4", "allowed:", "cbf"],
        ),
        ("go:\n  type: sequential\n  tasks: &a\n    b: {type: parallel, tasks: *a}\n", ["line"]),
        ("a: " + "[" * 10_000, ["line 1"]),
        ("go: {type: x\x00}", ["line 1"]),
    ],
)
def test_a_bad_map_is_told_with_its_place(place: Path, text: str, words: list[str]) -> None:
    (place / "bad.yaml").write_text(text)
    for verb in (["run", "bad.yaml", "go"], ["compose", "bad.yaml", "go"], ["doctor", "bad.yaml"]):
        done = taskgrove(*verb, cwd=place)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
        assert "bad.yaml" in done.stderr
        for word in words:
            assert word in done.stderr
        assert done.stdout == ""


SIMULATED = """\
go: {type: parallel, tasks: {pst: {command_name: Scan}}}
components: {pst: [low-pst/beam/01, low-pst/beam/02]}
simulator:
"""


@pytest.mark.parametrize(
    ("line", "at", "words"),
    [
        ("speed: fast", "speed", ["found a text 'fast'", "allowed: a number over 0"]),
        ("speed: -1", "speed", ["found a number -1"]),
        ("speed: true", "speed", ["found a boolean"]),
        ("devices_per_process: two", "devices_per_process", ["allowed: a whole number from 1"]),
        ("duration_s: abc", "duration_s", ["found a text 'abc'", "seconds from 0 to 3600"]),
        ("durations_s: {Scan: x}", "durations_s.Scan", ["found a text 'x'", "seconds from 0"]),
        ("dialect: {protocol: v9}", "dialect.protocol", ["'v9'"]),
        ("obs_state: WEIRD", "obs_state", ["IDLE"]),
        (
            "faults: {low-pst/beam/01: {Scan: fial}}",
            "faults.low-pst/beam/01.Scan",
            ["no fault 'fial'", "did you mean 'fail'", "allowed: fail, reject"],
        ),
        (
            "faults: {low-pst/beam/*: {Scan: [slow, {fail: {at: x}}]}}",
            "faults.low-pst/beam/*.Scan[1]",
            ["at: Expected float"],
        ),
        (
            "faults: {low-pst/beam/09: {Scan: fail}}",
            "faults.low-pst/beam/09",
            ["did you mean 'low-pst/beam/0"],
        ),
        (
            "faults: {low-pst/beam/01: {Scann: fail}}",
            "faults.low-pst/beam/01.Scann",
            ["did you mean 'Scan'"],
        ),
        (
            "devices: {low-pst/beam/02: {duratio_s: 1}}",
            "devices.low-pst/beam/02.duratio_s",
            ["did you mean 'duration_s'"],
        ),
        ("devices: {low-pst/beam/03: {}}", "devices.low-pst/beam/03", ["unknown device"]),
    ],
)
def test_a_wrong_value_for_the_simulator_is_told_with_its_place_before_anything_starts(
    place: Path, line: str, at: str, words: list[str]
) -> None:
    pytest.importorskip("tango")
    (place / "s.yaml").write_text(f"{SIMULATED}  {line}\n")
    done = taskgrove("simulate", "s.yaml", cwd=place)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "file:    s.yaml, line 4\n" in done.stderr
    assert f"at:      simulator.{at}\n" in done.stderr
    for word in words:
        assert word in done.stderr
    assert "also:" not in done.stderr


def test_all_that_is_wrong_for_the_simulator_is_told_at_once(place: Path) -> None:
    pytest.importorskip("tango")
    (place / "s.yaml").write_text(f"{SIMULATED}  speed: fast\n  steps: many\n")
    done = taskgrove("simulate", "s.yaml", "--fault", "low-pst/beam/01:Scan=fail", cwd=place)
    assert "also:    s.yaml:5:3: simulator.steps: found a text 'many'" in done.stderr
    (place / "s.yaml").write_text(f"{SIMULATED}  speed: 2\n")
    done = taskgrove("simulate", "s.yaml", "--fault", "low-pst/beam/01:Scan=fial", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'fail'" in done.stderr


def test_an_unknown_command_is_rejected_with_the_nearest(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "godo", cwd=place)
    assert done.returncode == 4
    assert "did you mean 'good'" in done.stderr


def _main(
    place: Path, before: str, *arguments: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    program = f"import sys\n{before}\nfrom taskgrove.__main__ import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=place,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("missing", ["click"])
def test_without_the_extra_one_line_names_it(place: Path, missing: str) -> None:
    done = _main(place, f"sys.modules[{missing!r}] = None", "version")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "taskgrove[cli]" in done.stderr


@pytest.mark.parametrize(
    "verb", [["run", "d.yaml", "go"], ["doctor", "d.yaml"], ["demo"], ["simulate"]]
)
def test_without_pytango_the_extra_is_named(place: Path, verb: list[str]) -> None:
    (place / "d.yaml").write_text(WITH_DEVICES)
    done = _main(place, "sys.modules['tango'] = None", *verb)
    assert done.returncode == 2, done
    assert "taskgrove[tango]" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Starting" not in done.stdout


def test_without_pytango_a_tree_is_composed_offline(place: Path) -> None:
    (place / "d.yaml").write_text(WITH_DEVICES)
    done = _main(place, "sys.modules['tango'] = None", "compose", "d.yaml", "go", "--offline")
    assert done.returncode == 0, done.stderr
    assert "nothing was started" in done.stdout
    assert "note: the effect of aborts and timeouts is not known: " in done.stdout
    done = _main(place, "sys.modules['tango'] = None", "compose", "d.yaml", "go")
    assert done.returncode == 2
    assert "asking devices for their states ('--offline' asks none) needs the extra" in done.stderr


def test_what_to_do_about_devices_that_do_not_answer_is_said(place: Path) -> None:
    pytest.importorskip("tango")
    (place / "d.yaml").write_text(
        "go: {type: sequential, tasks: {cbf: {command_name: Configure}}}\n"
        "components: {cbf: low-cbf/subarray/01}\n"
    )
    done = taskgrove("compose", "d.yaml", "go", cwd=place)
    assert done.returncode == 4
    assert "hint:    set TANGO_HOST to the host:port of the TANGO database" in done.stderr


def test_a_wrong_argument_is_not_blamed_on_devices_that_do_not_answer(place: Path) -> None:
    pytest.importorskip("tango")
    (place / "d.yaml").write_text(
        "go: {type: sequential, tasks: {cbf: {command_name: Scan, argin: 'n {{ argin.n }}'}}}\n"
        "maybe: {type: sequential, tasks: {cbf: {command_name: Scan, argin: '{{ argin.m? }}'}}}\n"
        "components: {cbf: low-cbf/subarray/01}\n"
    )
    (place / "n.json").write_text('{"n": [1]}')
    for verb in ("compose", "run"):
        for command, words in (("go", "cannot stand inside a text"), ("maybe", "nothing to run")):
            done = taskgrove(verb, "d.yaml", command, "--argin", "n.json", cwd=place)
            assert done.returncode == 4
            assert words in done.stderr
            assert "TANGO_HOST" not in done.stderr


def test_an_unexpected_error_is_one_line_and_its_traceback_on_request(place: Path) -> None:
    before = (
        "import taskgrove.cli.version as v\n"
        "def broken(): raise ZeroDivisionError('oh \\x1b[31m')\n"
        "v.Terminal = broken"
    )
    done = _main(place, before, "version")
    assert done.returncode == 1
    assert "unexpected ZeroDivisionError: oh \\x1b[31m" in done.stderr
    assert "Traceback" not in done.stderr
    for changes, words in (({"TASKGROVE_DEBUG": "1"}, []), ({}, ["--debug"])):
        done = _main(place, before, *words, "version", **changes)
        assert done.returncode == 1
        assert "Traceback" in done.stderr


def test_a_device_that_is_not_there_rejects_with_its_name_and_how_it_was_tried(
    place: Path,
) -> None:
    pytest.importorskip("tango")
    (place / "d.yaml").write_text(WITH_DEVICES)
    done = taskgrove("run", "d.yaml", "go", cwd=place)
    assert done.returncode == 4, done
    assert "cbf-subarray-01 on low-cbf/subarray/01 could not be reached" in done.stdout
    assert done.stderr == ""


def test_a_map_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for target in (tmp_path / "missing" / "map.yaml", tmp_path):
        done = taskgrove("simulate", "--write-map", str(target), cwd=tmp_path)
        assert done.returncode == 2, done
        assert "cannot be written" in done.stderr
        assert "Starting" not in done.stdout


def test_a_log_of_invocations_goes_into_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("tango")
    (tmp_path / "notes.txt").write_text("mine\n")
    for target in (tmp_path / "missing" / "log", tmp_path, tmp_path / "notes.txt"):
        done = taskgrove("simulate", "--log", str(target), cwd=tmp_path)
        assert done.returncode == 2, done
        assert str(target) in done.stderr
        assert "name another file for the log" in done.stderr
        assert "Starting" not in done.stdout
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_the_map_that_is_read_is_not_written_over(place: Path) -> None:
    pytest.importorskip("tango")
    text = "go: {type: parallel, tasks: {cbf: {command_name: On}}}\ncomponents: {cbf: a/b/c}\n"
    (place / "d.yaml").write_text(text)
    done = taskgrove("simulate", "d.yaml", "--write-map", "./d.yaml", cwd=place)
    assert done.returncode == 2, done
    assert "is the input map" in done.stderr
    assert (place / "d.yaml").read_text() == text
