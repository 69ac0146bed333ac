"""Watching the record for all browsers: outages, faults, runs that are lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove.errors import StoreError
from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.web.record_watch import RecordWatch
from tests.store.recording import PATIENCE_S, eventually, new_recorder, run_recorded
from tests.web.conftest import Site
from tests.web.page_process import stream


class Told:
    """Counts how often somebody was told; can be waited for."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self) -> None:
        self.event.set()

    def wait(self) -> None:
        assert self.event.wait(PATIENCE_S)
        self.event.clear()


@pytest.fixture
def history(record: Path) -> Iterator[History]:
    with Store.open(record) as store:
        yield History(store)


def breaking(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    real = RecordWatch._look

    def look(self: RecordWatch, *, has_news: bool) -> None:
        if error is not None:
            raise error
        real(self, has_news=has_news)

    monkeypatch.setattr(RecordWatch, "_look", look)


@pytest.mark.parametrize("error", [StoreError("the record is away"), ValueError("a fault")])
def test_a_record_that_cannot_be_read_is_looked_at_again(
    history: History, tmp_path: Path, error: Exception
) -> None:
    watch = RecordWatch(history)
    told = Told()
    onlooker = watch.subscribe(None, told)
    try:
        eventually(lambda: watch.read_ns > 0)
        with pytest.MonkeyPatch.context() as patch:
            breaking(patch, error)
            with new_recorder(history.store.location, tmp_path / "more") as recorder:
                run_recorded(recorder, "meanwhile")
            eventually(lambda: watch._changes is None)
            version, read_ns = watch.version, watch.read_ns
        eventually(lambda: watch.version > version)
        eventually(lambda: watch.read_ns > read_ns)
    finally:
        onlooker.close()
        watch.close()


def test_a_browser_hears_since_when_the_record_cannot_be_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beats(messages: Iterator[tuple[str, str, Any]]) -> Iterator[dict[str, int]]:
        return (data for kind, _, data in messages if kind == "beat")

    with stream(site.server.port, "/api/stream", site.cookie) as messages:
        seen = beats(messages)
        first = next(beat for beat in seen if beat["read_ms"])
        with monkeypatch.context() as patch:
            breaking(patch, StoreError("the record is away"))
            late = next(beat for beat in seen if beat["now_ms"] - beat["read_ms"] > 1500)
            assert late["now_ms"] > first["now_ms"]
        again = next(beat for beat in seen if beat["now_ms"] - beat["read_ms"] < 1000)
        assert again["read_ms"] > late["read_ms"]


def test_lost_runs_are_looked_for_while_somebody_looks(history: History) -> None:
    looked = Told()
    watch = RecordWatch(history, looked)
    assert not looked.event.is_set()
    onlooker = watch.subscribe("good", Told())
    try:
        looked.wait()
    finally:
        onlooker.close()
        watch.close()


def test_nothing_is_read_once_nobody_looks(history: History) -> None:
    watch = RecordWatch(history)
    told = Told()
    onlooker = watch.subscribe("good", told)
    told.wait()
    eventually(lambda: onlooker.feed is not None)
    onlooker.close()
    eventually(lambda: not watch._is_ticking and watch._changes is None)
    assert watch._feeds == {}
    assert watch.count == 0
    again = watch.subscribe("good", told)
    eventually(lambda: again.feed is not None)
    watch.close()
    assert watch.is_closed


def test_a_run_that_is_removed_is_gone(history: History) -> None:
    from taskgrove.store.retention import prune

    watch = RecordWatch(history)
    told = Told()
    onlooker = watch.subscribe("good", told)
    try:
        eventually(lambda: onlooker.feed is not None)
        prune(history.store, keep_last=0)
        eventually(lambda: onlooker.feed is not None and onlooker.feed.is_gone)
    finally:
        onlooker.close()
        watch.close()
