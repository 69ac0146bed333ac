"""Two maps, one exclusive device, and runners that are killed: never two at work on it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

pytest.importorskip("tango")

from taskgrove.recovery.finding_lost import find_lost
from taskgrove.store import Store
from taskgrove.store.held_devices import held_devices, release_device
from taskgrove.store.history import History
from taskgrove.tango.simulator import (
    SimulatedFleet,
    invocations_of,
    overlapping,
)
from tests.cli.command_line import (
    PATIENCE_S,
    Started,
    environment,
    start,
    taskgrove,
)

pytestmark = [pytest.mark.tango]

DEVICE = "low-cbf/subarray/01"
STEP = {"device": "cbf", "command_name": "Scan", "argin": {"id": 1}}
#: Commands of one device: a run of either map works on it alone.
MAPS = {
    "observe": {"one": STEP, "two": STEP},
    "check": {"look": STEP},
}


def write_maps(place: Path, address: str) -> None:
    components = {"cbf": {"device": address, "exclusive": True}}
    for name, tasks in MAPS.items():
        command_map = {name: {"type": "sequential", "tasks": tasks}, "components": components}
        (place / f"{name}.json").write_text(json.dumps(command_map))


def wait_until_idle(log: Path) -> None:
    """Wait, as a person does who looks at the device, until nothing runs there."""
    deadline = time.monotonic() + PATIENCE_S
    while any(it.end_ns is None and it.status != "REJECTED" for it in invocations_of(log)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def settle(runners: list[Started], url: str, place: Path, log: Path) -> None:
    """Recover and release as an operator does, until every run is over."""
    deadline = time.monotonic() + PATIENCE_S
    while any(runner.poll() is None for runner in runners):
        assert time.monotonic() < deadline, [runner.poll() for runner in runners]
        with Store.open(url) as store:
            find_lost(store)
            for holder in held_devices(store):
                if holder.state == "lost":
                    done = taskgrove("recover", holder.run_id, "--db", url, cwd=place)
                    assert done.returncode != 2, done
                elif holder.state == "left":
                    wait_until_idle(log)
                    release_device(store, holder.device, why="it is idle")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("record", "rounds"),
    [
        ("sqlite", 3),
        pytest.param("postgresql", 6, marks=[pytest.mark.thorough, pytest.mark.postgres]),
    ],
)
def test_never_two_runs_are_at_work_on_an_exclusive_device(
    record: str, rounds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = request.getfixturevalue("postgres_server") if record == "postgresql" else None
    url = str(tmp_path / "runs.db") if server is None else server.new_database()
    log = tmp_path / "log.jsonl"
    env = environment(TASKGROVE_DB=url)
    with SimulatedFleet([DEVICE], settings={"duration_s": 0.2}, log=log) as fleet:
        write_maps(tmp_path, fleet.trl(DEVICE))
        for number in range(rounds):
            runners = [
                start("run", f"{name}.json", name, "--no-live", cwd=tmp_path, env=env)
                for name in (*MAPS, "check")
            ]
            victim = runners[chance.randrange(len(runners))] if number % 3 != 2 else None
            if victim is not None:
                time.sleep(chance.uniform(0.5, 2.5))
                victim.kill()
            settle(runners, url, tmp_path, log)
            for runner in runners:
                runner.communicate(timeout=PATIENCE_S)
        with Store.open(url) as store:
            for run in find_lost(store):
                taskgrove("recover", run.run_id, "--db", url, cwd=tmp_path)
    invocations = invocations_of(log)
    assert overlapping(invocations) == []
    assert len(invocations) >= rounds  # a run that was killed early has sent nothing
    with History.open(url) as history:
        assert not [run for run in history.runs() if run.state == "running"]
    if server is not None:
        server.drop_database(url)
