"""The benchmarks run: what they measure is shown by ``make bench``, never asserted."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import device, steering, tracker
from benchmarks.__main__ import PARTS
from benchmarks.measure import Row, paired

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_rows(part: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{part}").rows)


def test_an_unknown_part_is_told_and_nothing_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "imports", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 2
    assert "'nonsense'" in done.stderr
    assert all(part in done.stderr for part in PARTS)
    assert done.stdout == ""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_measurements_of_the_tracker_run(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "UPDATES", 60)
    base, own, ratio = paired(tracker._floor(10, threads), tracker._progress(10, threads), 1)
    assert base > 0
    assert own > 0
    assert ratio == own / base


def test_the_measurements_of_the_tracker_that_are_taken_once_run() -> None:
    assert tracker._naive(10) > 0
    assert tracker._completion(10) > 0
    assert tracker._bytes_per_subtask(100) > 0


def test_the_measurements_of_steering_run(tmp_path: Path) -> None:
    took, share = steering.measured(str(tmp_path / "runs.db"), tmp_path, 2, 0.1)
    assert len(took) == 2
    assert min(took) > 0
    assert share >= 0


def test_the_device_part_says_that_pytango_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(device.rows()) == []
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "skipped: PyTango is not installed" in said


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_clients_are_compared_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "IDLE_S", 0.0)
    drift = iter([1.0, 1.0, 4.0, 4.0, 9.0, 9.0])  # the machine gets slower from round to round

    def client(overhead_s: float) -> Iterator[list[float]]:
        while True:
            overhead = overhead_s * next(drift)
            yield [device.DURATION_S + overhead * part for part in (0.5, 1.0, 3.0)]

    slow, quick = client(0.02), client(0.01)
    bare, ours = device.compare([lambda: next(quick), lambda: next(slow)], 3)
    assert bare.ratio == pytest.approx(1.0)
    assert bare.middle == pytest.approx(0.04)
    assert ours.ratio == pytest.approx(2.0)
    assert ours.longest == pytest.approx(0.24)


def test_a_row_says_when_its_aim_is_missed() -> None:
    assert "aim: at most 3, missed" in Row("a", 1.0, "µs", 3.1, "the floor", 3).line()
    assert "missed" not in Row("a", 1.0, "µs", 2.9, "the floor", 3).line()
    assert "aim: at most 700, missed" in Row("a", 701.0, "bytes", aim=700).line()
