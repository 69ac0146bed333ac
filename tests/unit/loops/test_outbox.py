"""Ordered delivery by one thread at a time."""

from __future__ import annotations

import threading

import pytest

from taskgrove.loops.outbox import Outbox
from taskgrove.loops.pool import Pool

HANG_GUARD_S = 60.0


@pytest.fixture
def pool():
    pool = Pool(4, "test-pool")
    yield pool
    pool.close()
    assert pool.join(HANG_GUARD_S)


def test_items_of_many_threads_are_delivered_one_at_a_time_and_in_order(pool):
    heard, inside = [], threading.Lock()

    def deliver(item):
        assert inside.acquire(blocking=False)
        heard.append(item)
        inside.release()

    outbox = Outbox(pool.submit, deliver)
    threads = [
        threading.Thread(target=lambda n=n: [outbox.put((n, i)) for i in range(500)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_GUARD_S)
    assert outbox.wait_idle(HANG_GUARD_S)
    assert len(heard) == 1500
    for n in range(3):
        assert [i for m, i in heard if m == n] == list(range(500))


def test_items_put_together_stay_together_and_what_raises_costs_none(pool, caplog):
    heard = []

    def deliver(item):
        heard.append(item)
        if item == "bad":
            raise SystemExit("no")

    outbox = Outbox(pool.submit, deliver)
    outbox.put("first", "bad", "last")
    assert outbox.wait_idle(HANG_GUARD_S)
    assert heard == ["first", "bad", "last"]
    assert "the delivery of 'bad' raised" in caplog.text


def test_what_is_put_by_the_delivery_comes_later_and_it_does_not_wait_for_itself(pool):
    heard, waited = [], []

    def deliver(item):
        heard.append(item)
        if item == 1:
            outbox.put(3)
            waited.append(outbox.wait_idle(HANG_GUARD_S))

    outbox = Outbox(pool.submit, deliver)
    outbox.put(1, 2)
    assert outbox.wait_idle(HANG_GUARD_S)
    assert (heard, waited) == ([1, 2, 3], [False])


def test_delivery_holds_no_lock():
    """Another thread may put while an item is delivered, and one that hangs is not waited for."""
    begun, go_on, heard = threading.Event(), threading.Event(), []

    def deliver(item):
        heard.append(item)
        begun.set()
        go_on.wait(HANG_GUARD_S)

    pool = Pool(1, "test-pool")
    outbox = Outbox(pool.submit, deliver)
    outbox.put(1)
    assert begun.wait(HANG_GUARD_S)
    outbox.put(2)
    assert len(outbox) == 1
    assert not outbox.wait_idle(0.0)
    assert not outbox.is_idle
    go_on.set()
    assert outbox.wait_idle(HANG_GUARD_S)
    pool.close()
    assert pool.join(HANG_GUARD_S)
    assert heard == [1, 2]
