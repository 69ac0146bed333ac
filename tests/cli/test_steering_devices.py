"""Two terminals and simulated devices: what the devices did agrees with the answers."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import tango
import yaml

from taskgrove.tango.simulator import Invocation, invocations_of, overlapping
from tests.cli.command_line import PATIENCE_S, Started, read_until, start, taskgrove

pytestmark = pytest.mark.tango

MAP = """
components: {cbf: low-cbf/subarray/01}
simulator: {duration_s: 0.1, steps: 2}
cleaned:
  type: sequential
  tasks:
    configure: {handler: cbf, command_name: Configure, argin: {band: low}}
    scan: {handler: cbf, command_name: Scan, argin: {id: 1}, hold: on_failure}
  finally:
    end: {handler: cbf, command_name: End}
plain:
  type: sequential
  tasks:
    configure: {handler: cbf, command_name: Configure, argin: {band: low}}
    scan: {handler: cbf, command_name: Scan, argin: {id: 1}}
    end: {handler: cbf, command_name: End}
"""
#: Requests by way of a server are proved by the first test; these are its other courses.
RARELY_BY_A_SERVER = pytest.mark.parametrize(
    "record_url",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.thorough])],
    indirect=True,
)
FAILS_ONCE = {"kind": "fail", "at": 0, "times": 1, "message": "no lock"}
HANGS_THEN = [FAILS_ONCE, {"kind": "hang"}]


@pytest.fixture(scope="module")
def telescope(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the folder of a simulated device, whose process runs: its map and its log."""
    place = tmp_path_factory.mktemp("telescope")
    (place / "plain.yaml").write_text(MAP)
    with start(
        "simulate", "plain.yaml", "--write-map", "map.yaml", "--log", "log.jsonl", cwd=place
    ) as process:
        try:
            read_until(process.stdout, "SimSetFault")
            yield place
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)


class Terminals:
    """A run in one terminal, and what is typed in others.

    Args:
        place: Where they are.
        record_url: The record.
        telescope: The folder of the simulated device.
        faults: How its scans go wrong.
    """

    def __init__(self, place: Path, record_url: str, telescope: Path, faults: Any) -> None:
        self._place, self._record, self._telescope = place, record_url, telescope
        address = yaml.safe_load((telescope / "map.yaml").read_text())["components"]["cbf"][0]
        proxy = tango.DeviceProxy(address)
        proxy.command_inout("SimClearFaults")
        proxy.command_inout("SimSetFault", json.dumps({"Scan": faults}))
        self._before = len(invocations_of(telescope / "log.jsonl"))

    @contextmanager
    def run(self, command: str) -> Iterator[Started]:
        """Run a command until its scan is held: the map says so, or the command line."""
        hold = ["--hold"] if command == "plain" else []
        notify = f"sh -c 'cat >> {shlex.quote(str(self._place))}/notices.jsonl'"
        with start(
            "run", str(self._telescope / "map.yaml"), command, "--db", self._record,
            "--notify", notify, *hold, cwd=self._place,
        ) as process:  # fmt: skip
            self._held = self._notice()
            yield process

    def _notice(self) -> dict[str, Any]:
        file = self._place / "notices.jsonl"
        deadline = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.read_text().endswith("\n")):
            assert time.monotonic() < deadline, "nobody was told of the held step"
            time.sleep(0.02)
        document: dict[str, Any] = json.loads(file.read_text().splitlines()[0])
        assert document["kind"] == "held"
        assert document["held"][0]["cause"] == "no lock"
        return document

    def told(self, verb: str) -> list[str]:
        """Return the words of the command line that the operator was told of."""
        (line,) = (line for line in self._held["commands"] if line.split()[1] == verb)
        return shlex.split(line)[1:]

    def type(self, *words: str) -> CompletedProcess[str]:
        return taskgrove(*words, cwd=self._place)

    def ask_run(self, verb: str) -> CompletedProcess[str]:
        return self.type(verb, self._held["run"], "--db", self._record)

    def invocations(self) -> list[Invocation]:
        return invocations_of(self._telescope / "log.jsonl")[self._before :]

    def counted(self) -> dict[str, int]:
        return dict(Counter(item.command for item in self.invocations()))


@pytest.mark.parametrize("command", ["plain", pytest.param("cleaned", marks=pytest.mark.thorough)])
def test_a_step_that_failed_once_is_tried_again_and_all_is_well(
    command: str, tmp_path: Path, record_url: str, telescope: Path
) -> None:
    terminals = Terminals(tmp_path, record_url, telescope, FAILS_ONCE)
    with terminals.run(command) as process:
        assert terminals.counted() == {"Configure": 1, "Scan": 1}
        done = terminals.type(*terminals.told("retry"))
        assert done.returncode == 0, done
        words, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, (words, errors)
    assert f"{command} completed: " in words
    assert [item.command for item in terminals.invocations()] == [
        "Configure", "Scan", "Scan", "End",
    ]  # fmt: skip
    assert [item.result_code for item in terminals.invocations()] == ["OK", "FAILED", "OK", "OK"]
    assert overlapping(terminals.invocations()) == []


@RARELY_BY_A_SERVER
def test_an_abort_of_a_held_run_cleans_up_once(
    tmp_path: Path, record_url: str, telescope: Path
) -> None:
    terminals = Terminals(tmp_path, record_url, telescope, FAILS_ONCE)
    with terminals.run("cleaned") as process:
        asked_ns = time.time_ns()
        done = terminals.ask_run("abort")
        assert done.returncode == 0, done
        words, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 5, (words, errors)
    assert "cleaned was aborted" in words
    assert terminals.counted() == {"Configure": 1, "Scan": 1, "End": 1}
    (end,) = (item for item in terminals.invocations() if item.command == "End")
    assert end.begin_ns is not None
    assert end.begin_ns > asked_ns
    assert end.status == "COMPLETED"
    assert overlapping(terminals.invocations()) == []


@RARELY_BY_A_SERVER
def test_of_two_retries_at_once_one_is_done_and_one_refused(
    tmp_path: Path, record_url: str, telescope: Path
) -> None:
    terminals = Terminals(tmp_path, record_url, telescope, HANGS_THEN)
    with terminals.run("cleaned") as process:
        with ThreadPoolExecutor(2) as both:
            answers = list(both.map(lambda _: terminals.type(*terminals.told("retry")), range(2)))
        assert sorted(answer.returncode for answer in answers) == [0, 1], answers
        assert ["refused" in answer.stdout + answer.stderr for answer in answers].count(True) == 1
        assert terminals.counted() == {"Configure": 1, "Scan": 2}
        assert overlapping(terminals.invocations()) == []
        assert terminals.ask_run("abort").returncode == 0
        words, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 5, (words, errors)
    assert terminals.counted() == {"Configure": 1, "Scan": 2, "Abort": 1, "End": 1}
