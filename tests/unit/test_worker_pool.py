"""The executor's own threads: bounds, replacement, timers."""

from __future__ import annotations

import threading
import time

import pytest

from taskgrove.commands.execution.worker_pool import Timer, WorkerPool

HANG_GUARD_S = 30.0


@pytest.fixture
def pool():
    pool = WorkerPool(2, "test-pool")
    yield pool
    pool.close()
    assert pool.join(HANG_GUARD_S)


def test_jobs_that_wait_for_each_other_run_within_the_bound(pool):
    barrier = threading.Barrier(2, timeout=HANG_GUARD_S)
    done = threading.Semaphore(0)
    for _ in range(200):
        for _ in range(2):
            pool.submit(lambda: (barrier.wait(), done.release()))
        for _ in range(2):
            assert done.acquire(timeout=HANG_GUARD_S)


def test_never_more_threads_than_the_bound(pool):
    lock = threading.Lock()
    running = [0, 0]
    done = threading.Semaphore(0)

    def job():
        with lock:
            running[0] += 1
            running[1] = max(running)
        time.sleep(0)
        with lock:
            running[0] -= 1
        done.release()

    for _ in range(500):
        pool.submit(job)
    for _ in range(500):
        assert done.acquire(timeout=HANG_GUARD_S)
    assert running[1] <= 2


def test_a_job_that_raises_costs_no_thread(pool, caplog):
    done = threading.Event()

    def boom():
        raise ValueError("bad job")

    for _ in range(5):
        pool.submit(boom)
    pool.submit(done.set)
    assert done.wait(HANG_GUARD_S)
    assert "bad job" in caplog.text


def test_a_replaced_worker_leaves_its_slot():
    pool = WorkerPool(1, "single")
    gate, entered, done = threading.Event(), threading.Event(), threading.Event()
    workers = []

    def hang():
        workers.append(pool.current_worker)
        entered.set()
        gate.wait(HANG_GUARD_S)

    pool.submit(hang)
    assert entered.wait(HANG_GUARD_S)
    pool.submit(done.set)
    assert not done.wait(0.02)
    pool.replace(workers[0])
    pool.replace(workers[0])
    assert done.wait(HANG_GUARD_S)
    gate.set()
    workers[0].thread.join(HANG_GUARD_S)
    pool.close()
    assert pool.join(HANG_GUARD_S)
    assert pool.current_worker is None


def test_actions_come_when_they_are_due_and_cancelled_ones_do_not(pool):
    timer = Timer(pool, "test-timer")
    order = []
    done = threading.Event()
    now = time.monotonic()
    timer.at(now + 0.10, done.set)
    timer.at(now + 0.06, lambda: order.append("second"))
    timer.at(now + 0.02, lambda: order.append("first"))
    timer.at(now + 0.04, lambda: order.append("never")).cancel()
    assert done.wait(HANG_GUARD_S)
    assert order == ["first", "second"]
    timer.close()
    timer.close()


def test_an_earlier_action_that_comes_later_is_not_missed(pool):
    timer = Timer(pool, "test-timer")
    done = threading.Event()
    timer.at(time.monotonic() + HANG_GUARD_S * 10, lambda: None)
    timer.at(time.monotonic(), done.set)
    assert done.wait(HANG_GUARD_S)
    timer.close()
