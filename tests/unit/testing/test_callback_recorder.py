"""CallbackRecorder keeps payloads and waits for them."""

from __future__ import annotations

import threading

import pytest

from taskgrove.testing import CallbackRecorder


def test_it_uses_up_calls_in_order() -> None:
    recorder = CallbackRecorder()
    recorder(progress=10)
    recorder(progress=20, task_name="a")
    assert recorder.assert_call(progress=10) == {"progress": 10}
    assert recorder.assert_call(progress=20) == {"progress": 20, "task_name": "a"}
    assert recorder.payloads == ({"progress": 10}, {"progress": 20, "task_name": "a"})
    assert len(recorder) == 2
    recorder.assert_no_call(within_s=0)


def test_a_lookahead_passes_over_calls_and_leaves_them() -> None:
    recorder = CallbackRecorder()
    for progress in (0, 10, 100):
        recorder(progress=progress)
    recorder.assert_call(progress=100, lookahead=3)
    recorder.assert_call(progress=0)
    recorder.assert_call(progress=10)


def test_another_call_in_its_place_fails_at_once_and_is_shown() -> None:
    recorder = CallbackRecorder()
    recorder(progress=10)
    with pytest.raises(AssertionError, match=r"(?s)no call with progress=20.*\{'progress': 10\}"):
        recorder.assert_call(progress=20, timeout_s=3600)


def test_an_absent_argument_does_not_equal_none() -> None:
    recorder = CallbackRecorder()
    recorder(progress=10)
    with pytest.raises(AssertionError, match="status=None"):
        recorder.assert_call(status=None)


def test_it_waits_for_a_call_of_another_thread() -> None:
    recorder = CallbackRecorder()
    thread = threading.Timer(0.05, recorder, kwargs={"status": 5})
    thread.start()
    assert recorder.assert_call(status=5) == {"status": 5}
    thread.join()


def test_a_call_that_never_comes_fails() -> None:
    with pytest.raises(AssertionError, match=r"0 other calls came within 0\.01 s"):
        CallbackRecorder().assert_call(status=5, timeout_s=0.01)


def test_a_call_that_nobody_expected_fails() -> None:
    recorder = CallbackRecorder()
    recorder(progress=10)
    with pytest.raises(AssertionError, match="an unexpected call"):
        recorder.assert_no_call()


def test_it_can_raise_after_recording() -> None:
    recorder = CallbackRecorder(raises=ZeroDivisionError("boom"))
    with pytest.raises(ZeroDivisionError, match="boom"):
        recorder(status=5)
    recorder.assert_call(status=5)


def test_like_a_real_callback_it_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        CallbackRecorder()(5)  # type: ignore[call-arg]
