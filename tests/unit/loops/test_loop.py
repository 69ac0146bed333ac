"""Loops: order, timers, errors, the end."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time

import pytest

from taskgrove.loops import loop as loop_module
from taskgrove.loops.loop import Loop, SelectorLoop

HANG_GUARD_S = 60.0


@pytest.fixture(params=[Loop, SelectorLoop])
def loop(request):
    loop = request.param("test-loop")
    yield loop
    assert loop.stop(HANG_GUARD_S)
    if isinstance(loop, SelectorLoop):
        loop.close_descriptors()


def reach(loop):
    """Wait until the loop has done all that was posted before."""
    reached = threading.Event()
    loop.post(reached.set)
    assert reached.wait(HANG_GUARD_S)


def test_what_is_posted_is_called_in_order_on_one_thread(loop):
    calls = []
    for number in range(100):
        loop.post(lambda *args: calls.append((args, loop.is_own_thread)), number, "more")
    reach(loop)
    assert calls == [((number, "more"), True) for number in range(100)]
    assert not loop.is_own_thread


def test_a_thread_is_started_by_the_first_thing_that_is_asked(loop):
    assert not loop.is_alive
    reach(loop)
    assert loop.is_alive


def test_a_loop_that_was_never_asked_anything_stops(loop):
    assert loop.stop(0.0)
    loop.post(pytest.fail, "a stopped loop starts no thread")
    loop.at(0.0, pytest.fail)
    assert not loop.is_alive


def test_timers_come_when_they_are_due_and_cancelled_ones_do_not(loop):
    def asked(ahead_s):
        """Ask for actions; return whether all was said in time, and in which order they came."""
        order, done = [], threading.Event()
        due = time.monotonic() + ahead_s
        loop.at(due + 0.06, done.set)
        loop.at(due + 0.04, lambda: order.append("second"))
        loop.at(due, lambda: order.append("first"))
        loop.at(due + 0.02, lambda: order.append("never")).cancel()
        in_time = time.monotonic() < due
        assert done.wait(HANG_GUARD_S)
        return in_time, order

    # A busy machine may take longer to ask than until the first is due: then later.
    order = next(order for in_time, order in map(asked, (0.05, 1.0, 10.0)) if in_time)
    assert order == ["first", "second"]


def test_an_earlier_timer_that_comes_later_is_not_missed(loop):
    done = threading.Event()
    loop.at(time.monotonic() + HANG_GUARD_S * 10, pytest.fail)
    reach(loop)
    loop.after(0.0, done.set)
    assert done.wait(HANG_GUARD_S)


def test_timers_set_on_the_own_thread_are_called(loop):
    done = threading.Event()
    loop.post(lambda: loop.after(0.01, lambda: loop.post(done.set)))
    assert done.wait(HANG_GUARD_S)


def test_what_raises_costs_neither_what_is_posted_nor_what_is_due(loop, caplog):
    done = threading.Semaphore(0)

    def fails():
        raise SystemExit("bad call")

    loop.post(fails)
    loop.post(done.release)
    loop.at(0.0, fails)
    loop.at(0.0, done.release)
    for _ in range(2):
        assert done.acquire(timeout=HANG_GUARD_S)
    assert "thread test-loop continues after an unexpected error" in caplog.text


def test_cancelled_timers_are_removed_and_the_next_one_is_still_due(loop, monkeypatch):
    monkeypatch.setattr(loop_module, "_MANY_TIMERS", 10)
    loop._many_timers = 10
    far = time.monotonic() + HANG_GUARD_S * 10
    for _ in range(1000):
        loop.at(far, pytest.fail).cancel()
    assert len(loop._timers) <= 12
    done = threading.Event()
    loop.at(0.0, done.set)
    assert done.wait(HANG_GUARD_S)
    loop.at(far, pytest.fail)
    reach(loop)  # nothing that is not due was called


def test_stop_lets_the_inbox_end_and_forgets_timers(loop):
    calls = []
    loop.at(time.monotonic() + HANG_GUARD_S * 10, pytest.fail)
    for number in range(10):
        loop.post(calls.append, number)
    assert loop.stop(HANG_GUARD_S)
    assert calls == list(range(10))
    assert loop.stop(0.0)


def test_the_own_thread_does_not_wait_for_its_own_end(loop):
    answers = []
    loop.post(lambda: answers.append(loop.stop(HANG_GUARD_S)))
    reach_end = time.monotonic() + HANG_GUARD_S
    while loop.is_alive or not answers:
        assert time.monotonic() < reach_end
        time.sleep(0.001)
    assert answers == [False]


def test_a_loop_whose_call_hangs_says_so():
    loop, hangs, go_on = Loop("test-loop"), threading.Event(), threading.Event()
    loop.post(hangs.set)
    loop.post(go_on.wait, HANG_GUARD_S)
    assert hangs.wait(HANG_GUARD_S)
    assert not loop.stop(0.0)
    go_on.set()
    assert loop.stop(HANG_GUARD_S)


def test_a_loop_without_a_thread_gets_one_when_the_machine_has_one(loop, monkeypatch):
    def no_thread(name, function):
        raise RuntimeError("can't start new thread")

    done = threading.Semaphore(0)
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "spawn", no_thread)
        with pytest.raises(RuntimeError):
            loop.at(0.0, done.release)
    loop.at(time.monotonic() + 0.01, done.release)
    for _ in range(2):
        assert done.acquire(timeout=HANG_GUARD_S)


def test_the_thread_lives_inside_its_context():
    steps = []

    @contextlib.contextmanager
    def context():
        steps.append("enter")
        yield
        steps.append("leave")

    loop = Loop("test-loop", context)
    loop.post(steps.append, "call")
    assert loop.stop(HANG_GUARD_S)
    assert steps == ["enter", "call", "leave"]


def test_descriptors_are_watched_until_they_are_left_alone():
    loop = SelectorLoop("test-loop")
    first, second = os.pipe(), os.pipe()
    calls, called = [], threading.Event()

    def ready(name, other):
        calls.append(name)
        loop.unwatch(first[0])
        loop.unwatch(second[0])
        called.set()

    def watch_both():
        loop.watch(first[0], selectors.EVENT_READ, lambda: ready("first", second))
        loop.watch(second[0], selectors.EVENT_READ, lambda: ready("second", first))
        os.write(first[1], b"x")
        os.write(second[1], b"x")

    loop.post(watch_both)
    assert called.wait(HANG_GUARD_S)
    reach(loop)
    assert len(calls) == 1  # the other one, ready at the same time, was left alone
    assert loop.stop(HANG_GUARD_S)
    loop.close_descriptors()
    loop.post(int)  # nobody is there to be woken
    for descriptor in (*first, *second):
        os.close(descriptor)
