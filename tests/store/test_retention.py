"""Old runs go, with all that is theirs; what is not over, and what was to be kept, stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from taskgrove.errors import StoreError, UsageError
from taskgrove.store import tables
from taskgrove.store.history import History
from taskgrove.store.retention import prune
from taskgrove.store.store import Store
from taskgrove.testing import ManualClock
from tests.examples import share_of_examples
from tests.store.by_sqlalchemy import tables_of
from tests.store.kept_runs import START, keep_beams, ns, ran, retimed
from tests.store.kept_runs import beams as beams_tree
from tests.store.kept_runs import keep as keep_run

NOW = START + timedelta(days=100)
OF_A_RUN = ("nodes", "events", "leases", "analyses", "pages", "verdicts")


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=ns(NOW))


def keep_days(store: Store, days: int) -> None:
    for day in range(days):
        keep_beams(store, f"day-{day}", start=START + timedelta(days=day), count=1)


def ids(store: Store) -> list[str]:
    return sorted(run.run_id for run in History(store).runs())


def counts(store: Store) -> dict[str, int]:
    with tables_of(store) as connection:
        return {
            name: connection.execute(
                select(func.count()).select_from(tables.metadata.tables[name])
            ).scalar_one()
            for name in OF_A_RUN
        }


def test_what_is_older_goes_with_all_that_is_its(store: Store, clock: ManualClock) -> None:
    keep_beams(store, "new", start=NOW - timedelta(days=1), count=1)
    alone = counts(store)
    keep_days(store, 5)
    events = counts(store)["events"] - alone["events"]
    done = prune(store, older_than=timedelta(days=90), clock=clock)
    assert [run.run_id for run in done.runs] == [f"day-{day}" for day in range(5)]
    assert (done.kept_count, done.event_count, done.dry_run) == (1, events, False)
    assert ids(store) == ["new"]
    assert counts(store) == alone


def test_a_dry_run_removes_nothing(store: Store, clock: ManualClock) -> None:
    keep_days(store, 3)
    before = counts(store)
    done = prune(store, keep_last=1, dry_run=True, clock=clock)
    assert [run.run_id for run in done.runs] == ["day-0", "day-1"]
    assert done.kept_count == 1
    assert counts(store) == before


def test_both_limits_must_hold(store: Store, clock: ManualClock) -> None:
    keep_days(store, 5)  # 100 to 96 days old
    prune(store, older_than=timedelta(days=98), keep_last=4, clock=clock)
    assert ids(store) == ["day-1", "day-2", "day-3", "day-4"]
    prune(store, older_than=timedelta(days=98), keep_last=0, clock=clock)
    assert ids(store) == ["day-2", "day-3", "day-4"]


def test_a_run_that_is_not_over_stays(store: Store, clock: ManualClock) -> None:
    keep_run(store, retimed(ran(beams_tree(1), run_id="running"))[:5])
    keep_beams(store, "lost", state="lost", count=1)
    prune(store, older_than=timedelta(days=1), clock=clock)
    assert ids(store) == ["running"]


def test_limits_that_cannot_be_used(store: Store) -> None:
    with pytest.raises(UsageError, match="which runs may go"):
        prune(store)
    with pytest.raises(UsageError, match="from 0"):
        prune(store, keep_last=-1)


def test_a_file_gives_its_room_back(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store:
        keep_days(store, 30)
        prune(store, keep_last=1, clock=clock)
        with tables_of(store) as connection:
            assert connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() == 0
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        keep_beams(store, "later", start=NOW)
        assert ids(store) == ["day-29", "later"]


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path, clock: ManualClock) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        keep_days(store, 2)
    with Store.open(tmp_path / "runs.db", read_only=True) as store:
        assert len(prune(store, keep_last=1, dry_run=True, clock=clock).runs) == 1
        with pytest.raises(StoreError):
            prune(store, keep_last=1, clock=clock)


@settings(max_examples=share_of_examples(2))
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(0, 9)),
    st.integers(0, 7),
)
def test_what_stays_is_what_a_model_says(
    tmp_path_factory: pytest.TempPathFactory, ages: list[int], limit: int | None, keep: int
) -> None:
    clock = ManualClock(wall_ns=ns(NOW))
    with Store.open(tmp_path_factory.mktemp("prune") / "runs.db") as store:
        for number, age in enumerate(ages):
            start = NOW - timedelta(days=age, minutes=1)
            keep_beams(store, f"run-{number}", start=start, count=1)
        span = None if limit is None else timedelta(days=limit)
        prune(store, older_than=span, keep_last=keep, clock=clock)
        order = sorted(range(len(ages)), key=lambda n: (-ages[n], n), reverse=True)
        newest = set(order[:keep])
        stay = {
            n for n, age in enumerate(ages) if n in newest or (limit is not None and age < limit)
        }
        assert ids(store) == sorted(f"run-{number}" for number in stay)
