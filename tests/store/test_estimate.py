"""How long a command usually takes: a range of what was measured, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.store.history import History
from taskgrove.store.queries.estimate import Estimate, range_text
from taskgrove.store.store import Store
from tests.store.kept_runs import every_minute, keep_beams
from tests.store.recording import new_recorder, run_recorded, tree


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def keep_runs(store: Store, durations: list[float], **fields: object) -> None:
    for number, took in enumerate(durations):
        keep_beams(
            store,
            f"{fields.get('command', '')}{fields.get('count', '')}r{number:03}",
            start=every_minute(number),
            durations={str(fields.get("command", "configure")): took},
            **fields,  # type: ignore[arg-type]
        )


def test_four_runs_are_no_history(store: Store) -> None:
    keep_runs(store, [1, 2, 3, 4])
    assert History(store).estimate("configure") is None
    assert History(store).estimate("unheard of") is None


def test_the_range_is_of_runs_that_ended_well(store: Store) -> None:
    keep_runs(store, [20, 30, 22, 28, 24, 26])
    keep_beams(store, "bad", failing=["cbf-subarray-01"], durations={"configure": 900})
    keep_beams(store, "lost", state="lost", durations={"configure": 900})
    keep_beams(store, "resumed", durations={"configure": 0.1}, parent_run_id="bad")
    keep_beams(store, "found", durations={"configure": 900}, recovered_ns=1)
    keep_runs(store, [1] * 6, command="scan")
    found = History(store).estimate("configure")
    assert found is not None
    assert found.durations_s == (20, 22, 24, 26, 28, 30)
    assert (found.low_s, found.high_s) == (20, 30)
    assert found.line() == "usually 20 to 30 s (6 runs)"


def test_runs_of_the_same_size_count_where_there_are_enough(store: Store) -> None:
    keep_runs(store, [10] * 5, count=1)
    keep_runs(store, [60] * 7, count=4)
    history = History(store)
    small = history.estimate("configure", leaf_count=2)
    assert small is not None
    assert (small.same_size, small.durations_s) == (True, (10.0,) * 5)
    other = history.estimate("configure", leaf_count=99)
    assert other is not None
    assert (other.same_size, other.run_count) == (False, 12)


def test_what_remains_comes_from_the_runs_that_took_longer() -> None:
    found = Estimate("configure", tuple(float(n) for n in range(1, 21)))
    assert (found.low_s, found.high_s) == (2, 18)
    assert found.remaining_s(0) == (2, 18)
    assert found.remaining_s(10) == (1, 9)
    assert found.line(10) == "usually 2 to 18 s (20 runs), 1.0 to 9.0 s left"
    assert found.remaining_s(16) is None
    assert found.line(16) == "usually 2 to 18 s (20 runs)"
    assert found.line(19) == "usually 2 to 18 s (20 runs); longer than most of them"
    assert found.line(21) == "usually 2 to 18 s (20 runs); longer than all of them"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.21, 0.39, "0.2 to 0.4 s"),
        (20, 35, "20 to 35 s"),
        (20, 20.2, "20 s"),
        (60, 120, "1.0 to 2.0 min"),
        (600, 1500, "10 to 25 min"),
        (3600, 9000, "1.0 to 2.5 h"),
        (-1, 5, "0.0 to 5.0 s"),
    ],
)
def test_ranges_in_words(low: float, high: float, text: str) -> None:
    assert range_text(low, high) == text


def test_the_usual_duration_of_a_node_is_the_median_of_its_good_ends(store: Store) -> None:
    keep_runs(store, [20, 30, 22, 28])
    history = History(store)
    assert history.usual_durations("configure", node_count=4) == {}
    keep_runs(store, [24], count=3)
    keep_beams(store, "lost", state="lost", durations={"configure": 900})
    keep_beams(store, "resumed", durations={"configure": 0.1}, parent_run_id="bad")
    found = history.usual_durations("configure", node_count=4)
    assert found["configure"] == 24
    assert set(found) == {"configure", *(node.path for node in history.nodes("r000")[1:])}
    but = history.usual_durations("configure", node_count=4, but="r000")
    assert but == {}
    assert history.usual_durations("configure", node_count=1_000_000) == {}


def test_usual_durations_are_read_from_both_databases(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        for number in range(5):
            run_recorded(recorder, f"run-{number}", tree(2))
        run_recorded(recorder, "bad", tree(2, fails=True))
    with Store.open(record_url) as store:
        found = History(store).usual_durations("root", node_count=4)
    assert found.keys() == {"root", "root/group", "root/group/leaf-0", "root/group/leaf-1"}
    assert all(0 <= took < 100 for took in found.values())
