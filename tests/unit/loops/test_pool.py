"""Pools of threads: bounds, replacement, one call for each of many."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from taskgrove.loops.pool import Pool, call_for_each

HANG_GUARD_S = 200.0


@pytest.fixture
def pool():
    pool = Pool(2, "test-pool")
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
    pool = Pool(1, "single")
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


@pytest.mark.parametrize("busy", [0, 2])
def test_a_job_that_comes_after_the_end_is_done(busy):
    """Whether its threads had idled by then, or all of them still worked."""
    pool = Pool(2, "pool")
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


def test_the_answers_of_calls_at_once_come_in_order():
    barrier = threading.Barrier(3, timeout=HANG_GUARD_S)

    def answer(number):
        barrier.wait()
        time.sleep(0.01 * (3 - number))
        return 10 * number

    found = call_for_each(answer, [0, 1, 2], at_once=3, name="test-calls")
    assert found == [0, 10, 20]
    assert call_for_each(answer, [], at_once=3, name="test-calls") == []


def test_the_first_error_of_calls_at_once_is_raised_when_all_have_ended():
    ended = []

    def fails(number):
        ended.append(number)
        raise ValueError(f"bad {number}")

    with pytest.raises(ValueError, match="bad 1"):
        call_for_each(fails, [1, 2, 3], at_once=2, name="test-calls")
    assert sorted(ended) == [1, 2, 3]


def test_each_thread_of_a_pool_lives_inside_the_context():
    steps = []

    @contextlib.contextmanager
    def context():
        steps.append("enter")
        yield
        steps.append("leave")

    pool = Pool(1, "test-pool", context)
    pool.submit(lambda: steps.append("job"))
    pool.close()
    assert pool.join(HANG_GUARD_S)
    assert steps == ["enter", "job", "leave"]
