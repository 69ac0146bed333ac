"""The executor's own threads: bounds, replacement, timers."""

from __future__ import annotations

import threading
import time

import pytest

from taskgrove.commands.execution.worker_pool import Timer, WorkerPool

HANG_GUARD_S = 200.0


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


def test_a_pool_that_was_idle_runs_its_jobs_side_by_side_again(pool):
    """An idle thread is promised to one job, not to all that follow."""
    pool.submit(lambda: None)
    deadline = time.monotonic() + HANG_GUARD_S
    while not pool._idle:  # its only thread waits for its next job
        assert time.monotonic() < deadline
        time.sleep(0.001)
    barrier, met = threading.Barrier(2, timeout=HANG_GUARD_S / 6), threading.Semaphore(0)
    for _ in range(2):
        pool.submit(lambda: (barrier.wait(), met.release()))
    for _ in range(2):
        assert met.acquire(timeout=HANG_GUARD_S / 6)


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


def test_actions_come_when_they_are_due_and_cancelled_ones_do_not():
    pool = WorkerPool(1, "single")  # else two that are due may overtake each other
    timer = Timer(pool, "test-timer")

    def asked(ahead_s):
        """Ask for actions; return whether all was said in time, and in which order they came."""
        order, done = [], threading.Event()
        due = time.monotonic() + ahead_s
        timer.at(due + 0.06, done.set)
        timer.at(due + 0.04, lambda: order.append("second"))
        timer.at(due, lambda: order.append("first"))
        timer.at(due + 0.02, lambda: order.append("never")).cancel()
        in_time = time.monotonic() < due
        assert done.wait(HANG_GUARD_S)
        return in_time, order

    # A busy machine may take longer to ask than until the first is due: then later.
    order = next(order for in_time, order in map(asked, (0.05, 1.0, 10.0)) if in_time)
    assert order == ["first", "second"]
    timer.close()
    timer.close()
    pool.close()
    assert pool.join(HANG_GUARD_S)


def test_an_earlier_action_that_comes_later_is_not_missed(pool):
    timer = Timer(pool, "test-timer")
    done = threading.Event()
    timer.at(time.monotonic() + HANG_GUARD_S * 10, lambda: None)
    timer.at(time.monotonic(), done.set)
    assert done.wait(HANG_GUARD_S)
    timer.close()


@pytest.mark.parametrize("busy", [0, 2])
def test_a_job_that_comes_after_the_end_is_done(busy):
    """Whether its threads had idled by then, or all of them still worked."""
    pool = WorkerPool(2, "pool")
    go_on, done, begun = threading.Event(), threading.Event(), threading.Semaphore(0)

    def works():
        begun.release()
        assert go_on.wait(HANG_GUARD_S)

    for _ in range(2):
        pool.submit(works)
        assert begun.acquire(timeout=HANG_GUARD_S)
    if busy:
        pool.close()
        pool.submit(done.set)
        go_on.set()
    else:
        go_on.set()
        deadline = time.monotonic() + HANG_GUARD_S
        while pool._idle < 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        pool.close()
        assert pool.join(HANG_GUARD_S)
        pool.submit(done.set)
    assert done.wait(HANG_GUARD_S)
    assert pool.join(HANG_GUARD_S)
