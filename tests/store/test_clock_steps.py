"""A clock that is set while a run lives spoils no duration."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgrove import LeafTask, Task
from taskgrove.clock import SystemClock
from taskgrove.store.history import History
from tests.store.recording import new_recorder, run_recorded

HOUR_NS = 3_600 * 10**9


def stepping(monkeypatch: pytest.MonkeyPatch, by_ns: list[int]) -> None:
    """Have the clock of the machine stand where ``by_ns`` says, from now on."""
    real = SystemClock.wall_ns
    monkeypatch.setattr(SystemClock, "wall_ns", lambda self: real(self) + sum(by_ns))


@pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS])
def test_a_step_of_the_clock_spoils_no_duration(
    record_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_ns: int
) -> None:
    steps: list[int] = []
    stepping(monkeypatch, steps)

    def tree(name: str, *, sets_clock: bool) -> Task:
        def work() -> None:
            if sets_clock:
                steps.append(step_ns)

        leaves = [LeafTask.from_callable(work, name="work")]
        return Task("root", subtasks=[*leaves, LeafTask.from_callable(lambda: None, name="after")])

    with new_recorder(record_url, tmp_path) as recorder:
        for number in range(6):
            run_recorded(recorder, f"run-{number}", tree("root", sets_clock=number == 5))
    with History.open(record_url) as history:
        events = {(e.path, e.kind): e for e in history.events("run-5")}
        for node in history.nodes("run-5"):
            if node.path == "root":
                continue
            began, ended = (events[node.path, kind] for kind in ("started", "finished"))
            assert node.started_ns is not None
            assert node.ended_ns is not None
            took_ns = (ended.monotonic_s - began.monotonic_s) * 1e9
            assert node.ended_ns - node.started_ns == pytest.approx(took_ns, abs=2)
        first, last = events["root", "composed"], events["root", "finished"]
        assert last.wall_ns - first.wall_ns == pytest.approx(
            (last.monotonic_s - first.monotonic_s) * 1e9, abs=2
        )
        run = history.run("run-5")
        assert run.ended_ns == last.wall_ns
        # The row is made after the run has read the clock, and before anything ends.
        assert run.duration_s is not None
        assert 0 < run.duration_s <= last.monotonic_s - first.monotonic_s + 1
        (command,) = history.stats().commands
        assert command.p90_s is not None
        assert command.p90_s < 3_000
        assert history.diff("run-4", "run-5").of("duration") == []
        estimate = history.estimate("root", leaf_count=2)
        assert estimate is not None
        assert estimate.durations_s[-1] < 3_000
