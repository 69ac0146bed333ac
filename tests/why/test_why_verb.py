"""``taskgrove why``: from the record, from files of events, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskgrove.cli.app import app
from taskgrove.events import decode_event
from taskgrove.story.run_story import story_of_events
from taskgrove.view.why import why
from tests.cli.command_line import MANAGER, MAP, environment, taskgrove

pytest.importorskip("sqlalchemy")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record of one failed run, and a file of its events."""
    place = tmp_path_factory.mktemp("recorded")
    (place / "site_manager.py").write_text(MANAGER)
    (place / "map.yaml").write_text(MAP)
    command = ("run", "map.yaml", "bad", "--manager", "site_manager:Manager", "--json")
    done = taskgrove(*command, cwd=place, env=environment(TASKGROVE_DB=str(place / "runs.db")))
    assert done.returncode == 1, done.stderr
    (place / "events.jsonl").write_text(done.stdout)
    return place


def test_the_record_and_the_events_are_explained_alike(recorded: Path) -> None:
    env = environment(TASKGROVE_DB=str(recorded / "runs.db"))
    done = taskgrove("why", cwd=recorded, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    first = " ".join(done.stdout.partition("\n\n")[0].split())
    assert first.startswith('bad failed: step first reported a failure: "no [red]lock')
    assert (
        "it blocked second; next: fix the failure that Manager.badly reports, then taskgrove resume"
        in first
    )
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout
    lines = (recorded / "events.jsonl").read_text().splitlines()
    told = why(story_of_events(map(decode_event, lines), now_ns=0)).sentence
    assert first.partition(", then ")[0] == told.partition(", then ")[0]


def test_json_holds_the_same_as_data(recorded: Path) -> None:
    database = str(recorded / "runs.db")
    done = taskgrove("why", "last-failed", "--db", database, "--json", cwd=recorded)
    found = json.loads(done.stdout)
    assert found["first"]["path"] == "bad/first"
    assert found["blocked"] == ["bad/second"]
    assert [group["paths"] for group in found["groups"]] == [["bad/first"]]
    assert [item["path"] for item in found["casualties"]] == ["bad/second"]
    assert found["next_step"].endswith(f"--db {database}")
    assert found["sentence"].endswith(found["next_step"])


def test_events_that_end_in_the_middle_of_a_line_are_explained(recorded: Path) -> None:
    data = (recorded / "events.jsonl").read_bytes()
    cut = data.index(b'"finished"')
    done = taskgrove("why", "--events", "-", cwd=recorded, input=data[:cut].decode())
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    assert "the events of bad stop before its end" in words
    assert "check whether its process is still running" in words
    assert "the last line of - is cut off; it is ignored" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "holds no event"),
        ('{"a": 1}\n{"b": 2}\n', "line 1 of"),
        ("not json\n\n", "line 1 of"),
    ],
)
def test_a_file_without_events_is_an_error_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    file = tmp_path / "x.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as ended:
        app(["why", "--events", str(file)])
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    assert words in shown.err
    assert "Traceback" not in shown.err


def test_a_run_that_is_not_there_is_an_error_in_words(recorded: Path) -> None:
    done = taskgrove("why", "nosuch", "--db", str(recorded / "runs.db"), cwd=recorded)
    assert done.returncode == 2
    assert "no run 'nosuch'" in done.stderr
