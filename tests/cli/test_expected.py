"""While a command runs, its past runs tell how long it usually takes; without them nothing does."""

from __future__ import annotations

import re
from pathlib import Path

from taskgrove.store.store import Store
from tests.cli.command_line import taskgrove
from tests.store.kept_runs import every_minute, keep_beams

RUN = ("run", "map.yaml", "good", "--manager", "site_manager:Manager", "--db", "runs.db")


def test_a_run_says_how_long_it_usually_takes(place: Path) -> None:
    with Store.open(place / "runs.db") as store:
        for number in range(4):
            keep_beams(
                store,
                f"r{number}",
                command="good",
                start=every_minute(number),
                durations={"good": 20.0 + number},
            )
    done = taskgrove(*RUN, cwd=place)  # the fifth
    assert done.returncode == 0, done.stderr
    assert "usually" not in done.stdout
    done = taskgrove(*RUN, cwd=place)
    assert done.returncode == 0, done.stderr
    first, second = (line.split(maxsplit=2)[2] for line in done.stdout.splitlines()[:2])
    assert first == "good: started"
    # The shortest of the five is the one of a moment ago, which a busy machine may have delayed.
    assert re.fullmatch(r"usually \d+ to 23 s \(5 runs\)", second), second


def test_events_as_json_lines_stay_events(place: Path) -> None:
    with Store.open(place / "runs.db") as store:
        for number in range(6):
            keep_beams(store, f"r{number}", command="good", start=every_minute(number))
    done = taskgrove(*RUN, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "usually" not in done.stdout + done.stderr
