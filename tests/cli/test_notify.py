"""``--notify`` and ``TASKGROVE_NOTIFY``: who is told of what, and that no run feels it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import PATIENCE_S, begun, environment, read_until, start, taskgrove

MANAGER = ("--manager", "site_manager:Manager")
TO_FILE = "sh -c 'cat >> notices.jsonl'"


def run(place: Path, command: str, *more: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return taskgrove("run", "map.yaml", command, *MANAGER, *more, cwd=place, **options)


def notices(place: Path) -> list[dict[str, Any]]:
    file = place / "notices.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("command", "outcome", "code"), [("bad", "failed", 1), ("half", "degraded", 3)]
)
def test_a_run_that_ends_other_than_well_is_told(
    command: str, outcome: str, code: int, place: Path
) -> None:
    done = run(place, command, "--notify", TO_FILE)
    assert done.returncode == code, done
    (document,) = notices(place)
    assert (document["schema"], document["kind"]) == (1, "ended")
    assert (document["command"], document["outcome"]) == (command, outcome)
    assert document["run"] in done.stdout
    assert document["why"].startswith(f"{command} {outcome}") or outcome == "degraded"
    assert document["why"] in " ".join(done.stdout.split())
    shown = taskgrove(*document["commands"][0].split()[1:], cwd=place)
    assert document["why"].partition(";")[0] in " ".join(shown.stdout.split())
    assert any(line.startswith("taskgrove resume ") for line in document["commands"])


def test_a_run_that_ends_well_is_not_told(place: Path) -> None:
    assert run(place, "good", "--notify", TO_FILE).returncode == 0
    assert notices(place) == []


def test_a_refusal_before_the_start_is_told(place: Path) -> None:
    done = run(place, "guarded", "--notify", TO_FILE)
    assert done.returncode == 4, done
    (document,) = notices(place)
    assert (document["kind"], document["outcome"]) == ("ended", "rejected")


def test_an_abort_is_told(place: Path) -> None:
    words = ("run", "map.yaml", "long", *MANAGER, "--notify", TO_FILE)
    with start(*words, cwd=place) as process:
        begun(place)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    (document,) = notices(place)
    assert (document["kind"], document["outcome"]) == ("ended", "aborted")


def test_a_run_without_a_record_is_told_without_its_commands(place: Path) -> None:
    run(place, "bad", "--no-record", "--notify", TO_FILE)
    (document,) = notices(place)
    assert document["commands"] == []
    assert document["outcome"] == "failed"


def test_the_setting_counts_where_there_is_no_option_and_the_option_ends_it(place: Path) -> None:
    env = environment(TASKGROVE_NOTIFY=TO_FILE)
    run(place, "bad", env=env)
    assert len(notices(place)) == 1
    run(place, "bad", "--notify", "", env=env)
    assert len(notices(place)) == 1


def test_resume_and_analyse_tell_too(place: Path) -> None:
    run(place, "bad")
    done = taskgrove("resume", "last", "--yes", *MANAGER, "--notify", TO_FILE, cwd=place)
    assert done.returncode == 1, done
    assert [item["outcome"] for item in notices(place)] == ["failed"]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("./none --x", "the program of --notify is not there: ./none"),
        ("no-such-program", "the program of --notify is not there: no-such-program"),
        ("./map.yaml", "the program of --notify cannot be executed: ./map.yaml"),
        ("sh -c 'open", "--notify cannot be read: No closing quotation"),
    ],
)
@pytest.mark.parametrize("by", ["option", "setting"])
def test_a_program_that_cannot_be_started_is_told_before_the_run(
    program: str, said: str, by: str, place: Path
) -> None:
    if by == "option":
        done = run(place, "good", "--notify", program)
    else:
        done = run(place, "good", env=environment(TASKGROVE_NOTIFY=program))
    assert done.returncode == 2, done
    assert said in " ".join(done.stderr.split())
    assert "hint" in done.stderr
    assert "good: started" not in done.stdout


def test_a_program_that_fails_changes_nothing_and_is_one_line(place: Path) -> None:
    usual = run(place, "bad")
    done = run(place, "bad", "--notify", "sh -c 'echo \"\x1b[31mno host\" >&2; exit 7'")
    assert done.returncode == usual.returncode
    assert done.stderr == "notify: sh: failed with exit code 7: \\x1b[31mno host\n"


@pytest.mark.thorough  # it waits for as long as a verb waits for the program
def test_a_program_that_hangs_is_ended_with_the_verb(place: Path) -> None:
    done = run(place, "bad", "--notify", "sh -c 'echo $$ > pid; sleep 1000'")
    assert done.returncode == 1
    assert done.stderr == "notify: sh: was killed, because it still ran at the end of the run\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((place / "pid").read_text()), 0)


def killed_run(place: Path) -> None:
    with start("run", "map.yaml", "long", *MANAGER, cwd=place) as process:
        read_until(process.stdout, "long: started")  # so it is on record
        begun(place)
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_a_lost_run_is_told_once_by_whoever_finds_it(place: Path) -> None:
    killed_run(place)
    env = environment(TASKGROVE_NOTIFY=TO_FILE)
    with ThreadPoolExecutor() as several:
        list(
            several.map(
                lambda words: taskgrove(*words, cwd=place, env=env, fresh=True),
                [("runs", "list"), ("why",), ("doctor",), ("recover",)],
            )
        )
    (document,) = notices(place)
    assert (document["kind"], document["command"], document["outcome"]) == ("lost", "long", None)
    recover, why = document["commands"]
    assert recover.startswith(f"taskgrove recover {document['run']}")
    assert why.startswith(f"taskgrove why {document['run']}")
    done = taskgrove(*recover.split()[1:], cwd=place, env=env)
    assert done.returncode == 1, done
    assert [item["kind"] for item in notices(place)] == ["lost", "ended"]


def test_a_verb_that_only_reads_goes_on_without_the_program(place: Path) -> None:
    killed_run(place)
    done = taskgrove("runs", "list", cwd=place, env=environment(TASKGROVE_NOTIFY="./none"))
    assert done.returncode == 0
    assert "notify: ./none: cannot be started: No such file or directory" in done.stderr
    done = taskgrove("runs", "list", cwd=place, env=environment(TASKGROVE_NOTIFY="'open"))
    assert done.returncode == 0
    assert done.stderr == ""  # there is nothing to tell


def test_no_secret_is_sent(place: Path) -> None:
    manager = (place / "site_manager.py").read_text()
    said = manager.replace("no [red]lock", "password=hunter2hunter2 no lock")
    (place / "site_manager.py").write_text(said)
    run(place, "bad", "--notify", TO_FILE)
    assert len(notices(place)) == 1
    assert "hunter2" not in (place / "notices.jsonl").read_text()
