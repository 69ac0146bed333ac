"""What many runs add up to, counted by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.store.history import History
from taskgrove.store.queries.percentiles import percentile, rank_of
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.store import Store
from taskgrove.testing import Script
from tests.store.kept_runs import every_minute, keep_beams, ran, retimed

BEAM = "configure/configure_pst/pst-beam-02"


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


def test_ranks_by_hand() -> None:
    assert [rank_of(50, n) for n in (1, 2, 3, 4, 10, 11)] == [1, 1, 2, 2, 5, 6]
    assert [rank_of(90, n) for n in (1, 9, 10, 11)] == [1, 9, 9, 10]
    assert rank_of(0, 7) == 1
    assert percentile([1.0, 2.0, 10.0], 50) == 2.0


@given(st.integers(0, 100), st.integers(1, 10_000))
def test_a_rank_covers_its_share_and_no_smaller_one_does(percent: int, count: int) -> None:
    rank = rank_of(percent, count)
    assert 1 <= rank <= count
    assert rank * 100 >= percent * count
    assert rank == 1 or (rank - 1) * 100 < percent * count
    assert rank == max(1, math.ceil(percent * count / 100))


def test_counts_rates_and_percentiles(store: Store) -> None:
    for number, took in enumerate([5.0, 1.0, 3.0, 2.0, 4.0]):
        keep_beams(
            store, f"ok-{number}", start=every_minute(number), durations={"pst-beam-02": took}
        )
    keep_beams(
        store,
        "bad",
        start=every_minute(9),
        failing=["pst-beam-02"],
        durations={"pst-beam-02": 100},
    )
    retried = {"pst-beam-02": [Script.fails("busy", may_retry=True), Script()]}
    keep_beams(store, "again", start=every_minute(10), scripts=retried)
    found = History(store).stats()
    assert found.run_count == 7
    assert found.outcomes == {"ok": 6, "degraded": 1}
    (row,) = [row for row in found.nodes if row.path == BEAM]
    # The hundred seconds of the failure do not count; the six good ends are 1, 1, 2, 3, 4, 5.
    assert (row.p50_s, row.p90_s) == (2.0, 5.0)
    assert (row.ok_count, row.failed_count, row.end_count) == (6, 1, 7)
    assert row.failure_rate == pytest.approx(1 / 7)
    assert row.retry_count == 1
    worst = found.devices[0]
    assert (worst.device, worst.spoiled_run_count) == ("mid-pst/beam/02", 1)
    assert [row.spoiled_run_count for row in found.devices[1:]] == [0, 0, 0]
    (command,) = found.commands
    assert (command.command, command.run_count, command.p50_s) == ("configure", 7, 1.0)


def test_casualties_and_aborted_nodes_are_no_ends(store: Store) -> None:
    keep_beams(store, "a", failing=["cbf-subarray-01"])
    aborted = {"cbf-subarray-01": Script(status=3, result=(7, "stopped"))}
    keep_beams(store, "b", scripts=aborted)
    found = History(store).stats()
    rows = {row.path: row for row in found.nodes}
    assert rows[BEAM].skipped_count == 2
    assert rows[BEAM].end_count == 0
    assert rows[BEAM].failure_rate is None
    assert rows[BEAM].p50_s is None
    cbf = rows["configure/cbf-subarray-01"]
    assert (cbf.failed_count, cbf.aborted_count, cbf.end_count) == (1, 1, 1)
    assert [row.device for row in found.devices if row.spoiled_run_count] == ["mid-cbf/subarray/01"]


def test_only_the_runs_of_the_filter_count(store: Store) -> None:
    for number in range(4):
        keep_beams(
            store,
            f"r{number}",
            start=every_minute(number),
            failing=["pst-beam-02"] if number == 3 else [],
            command="scan" if number == 0 else "configure",
        )
    history = History(store)
    assert history.stats(RunFilter(command="scan")).run_count == 1
    assert {
        row.path.partition("/")[0] for row in history.stats(RunFilter(command="scan")).nodes
    } == {"scan"}
    newest = history.stats(RunFilter(limit=2))
    assert newest.run_count == 2
    assert newest.outcomes == {"ok": 1, "degraded": 1}
    assert {row.end_count for row in newest.nodes} == {2}
    ok = history.stats(RunFilter(outcomes=("ok",), device="mid-pst/beam/0?"))
    assert ok.run_count == 3
    assert all(row.failed_count == 0 for row in ok.nodes)


def test_a_clock_set_back_gives_no_duration(store: Store) -> None:
    keep_beams(store, "r", durations={"pst-beam-02": -3600.0})
    (row,) = [row for row in History(store).stats().nodes if row.path == BEAM]
    assert row.ok_count == 1
    assert row.p50_s is None


def test_resumed_and_recovered_runs_count_as_ends_and_give_no_times(store: Store) -> None:
    keep_beams(store, "whole", durations={"configure": 20.0, "pst-beam-02": 15.0})
    for number in range(3):
        keep_beams(store, f"resumed-{number}", durations={"configure": 0.1}, parent_run_id="whole")
        keep_beams(store, f"recovered-{number}", durations={"pst-beam-02": 900.0}, recovered_ns=1)
    found = History(store).stats()
    assert (found.commands[0].run_count, found.commands[0].p50_s) == (7, 20.0)
    assert found.commands[0].p90_s == 20.0
    (beam,) = [row for row in found.nodes if row.path == BEAM]
    assert (beam.ok_count, beam.p50_s, beam.p90_s) == (7, 15.0, 15.0)
    assert {row.p90_s for row in found.devices} == {1.0, 15.0}
    assert not History(store).diff("whole", "recovered-0").of("duration")


def test_a_run_that_goes_on_counts_where_it_has_ended(store: Store) -> None:
    from tests.store.kept_runs import beams, keep

    keep(store, retimed(ran(beams(), run_id="r"))[:-6])
    found = History(store).stats()
    assert found.outcomes == {"running": 1}
    assert found.commands[0].p50_s is None
    assert {row.end_count for row in found.nodes} == {0, 1}


def test_frames(store: Store) -> None:
    pytest.importorskip("pandas")
    keep_beams(store, "r", failing=["pst-beam-02"])
    found = History(store).stats()
    assert list(found.to_frame()["path"]) == [row.path for row in found.nodes]
    devices = found.devices.to_frame()
    assert devices["failure_rate"][0] == 1.0
    assert devices["spoiled_run_count"].sum() == 1
