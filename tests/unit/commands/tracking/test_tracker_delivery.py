"""Callbacks, their order and payloads, waiting, closing (seed 000, SPEC S4.1, S4.2, S4.7)."""

from __future__ import annotations

import functools
import logging
import threading
import time

import pytest

from taskgrove.commands.aggregation import CauseLine, SubtaskResult
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import SelfWaitError, TaskgroveError
from taskgrove.testing import CallbackRecorder, EventLog

HANG_GUARD_S = 200.0
OK = (ResultCode.OK, "done")


def begin(tracker: TaskTracker, name: str = "a", progress: int | None = None) -> None:
    tracker.update_task(task_name=name, status=TaskStatus.IN_PROGRESS, progress=progress)


def end(tracker: TaskTracker, name: str = "a", result=OK, **fields) -> None:
    tracker.update_task(task_name=name, status=TaskStatus.COMPLETED, result=result, **fields)


def in_thread(function) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(HANG_GUARD_S)
        assert not thread.is_alive(), "a thread hangs"


def is_released(tracker: TaskTracker) -> bool:
    expired = threading.Event()
    expired.set()
    return tracker.wait_for_task_completion(expired)


# -- what is delivered (S4.2) ----------------------------------------------------------------


def test_the_story_of_one_task_in_payloads():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 2, done)
    tracker.update_task(task_name="a", status=TaskStatus.QUEUED)
    assert len(done) == 0
    begin(tracker)
    begin(tracker, "b")
    assert done.payloads == (
        {
            "task_name": "configure",
            "status": TaskStatus.IN_PROGRESS,
            "progress": 0,
            "result": (ResultCode.STARTED, ""),
        },
    )
    for value in range(101):
        begin(tracker, "a", value)
    assert [payload["progress"] for payload in done.payloads] == [0, 10, 20, 30, 40, 50]
    end(tracker, "a")
    begin(tracker, "b", 99)
    end(tracker, "b")
    # 60, 70 and 80 were never the quantized progress: it went from 50 to 99.
    assert [payload["progress"] for payload in done.payloads] == [0, 10, 20, 30, 40, 50, 90, 100]
    assert done.payloads[-1] == {
        "task_name": "configure",
        "status": TaskStatus.COMPLETED,
        "progress": 100,
        "result": (ResultCode.OK, ""),
    }
    assert all(payload["status"] is TaskStatus.IN_PROGRESS for payload in done.payloads[:-1])


def test_progress_is_quantized_down_and_one_hundred_is_left_to_the_completion():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    for value in (9, 19, 29, 100):
        begin(tracker, "a", value)
    assert [payload["progress"] for payload in done.payloads] == [0, 10, 20]


def test_the_step_can_be_chosen():
    class Fine(TaskTracker):
        PROGRESS_STEP = 25

    done = CallbackRecorder()
    tracker = Fine("configure", 1, done)
    for value in range(101):
        begin(tracker, "a", value)
    assert [payload["progress"] for payload in done.payloads] == [0, 25, 50, 75]


@pytest.mark.parametrize("first", [5, 55])
def test_the_first_payload_is_that_of_the_start(first):
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.update_task(task_name="a", progress=first)
    assert [payload["progress"] for payload in done.payloads] == [0, 50][: 1 + (first > 9)]


def test_a_single_update_that_ends_all_gives_the_completion_only():
    done = CallbackRecorder()
    end(TaskTracker("configure", 1, done))
    assert [payload["progress"] for payload in done.payloads] == [100]


def test_an_end_among_many_is_progress():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 3, done)
    for name in "abc":
        end(tracker, name)
    assert [payload["progress"] for payload in done.payloads] == [0, 30, 60, 100]


def test_no_progress_updates_leaves_only_the_completion():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 2, done, progress_updates=False)
    begin(tracker, "a", 50)
    end(tracker, "a")
    assert len(done) == 0
    end(tracker, "b")
    assert [payload["progress"] for payload in done.payloads] == [100]


def test_no_progress_updates_holds_when_observers_hear_of_progress():
    done, log = CallbackRecorder(), EventLog()
    parent = TaskTracker("configure", 1)
    with_callback = TaskTracker("scan", 1, done, progress_updates=False)
    with_parent = TaskTracker("scan", 1, parent=parent, progress_updates=False)
    for tracker in (with_callback, with_parent):
        tracker.subscribe(log)
        begin(tracker, "a", 50)
    assert len(done) == 0
    assert parent.overall_status is TaskStatus.QUEUED
    assert sorted(event.progress for event in log.of("scan")) == [0, 0, 50, 50]
    for tracker in (with_callback, with_parent):
        end(tracker)
    assert len(done) == 1
    assert parent.overall_status is TaskStatus.COMPLETED


def test_no_progress_updates_holds_for_a_parent_given_as_callback_too():
    parent = TaskTracker("configure", 1)
    child = TaskTracker("scan", 1, parent.update_task, progress_updates=False)
    begin(child, "a", 50)
    assert parent.progress == 0
    assert parent.overall_status is TaskStatus.QUEUED
    end(child, "a")
    assert parent.overall_status is TaskStatus.COMPLETED


def test_the_completion_tells_what_is_known():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 3, done)
    tracker.update_task(
        task_name="a",
        status=TaskStatus.FAILED,
        result=(ResultCode.FAILED, "boom"),
        device_name="mid-pst/beam/02",
        error=("first error", "second error"),
    )
    end(tracker, "b", devices=["mid-pst/beam/03", "mid-pss/beam/01"])
    end(tracker, "c", device_name="mid-pst/beam/01", error="third error")
    payload = done.payloads[-1]
    assert payload == {
        "task_name": "configure",
        "status": TaskStatus.COMPLETED,
        "progress": 100,
        "result": (ResultCode.FAILED, "Causes:\n- mid-pst/beam/02: boom"),
        "devices": ["mid-pss/beam/01", "mid-pst/beam/01", "mid-pst/beam/02", "mid-pst/beam/03"],
        "failed_devices": ["mid-pst/beam/02"],
        "health_state": "DEGRADED",
        "error": ("first error", "second error", "third error"),
    }


def test_what_is_not_known_is_not_in_the_payload():
    done = CallbackRecorder()
    end(TaskTracker("configure", 1, done))
    assert set(done.payloads[-1]) == {"task_name", "status", "progress", "result"}


def test_a_severe_verdict_is_handed_up():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.update_task(task_name="internal", status=TaskStatus.FAILED, result=(3, "boom"))
    assert done.payloads[-1]["severe"] is True
    assert done.payloads[-1]["health_state"] == "FAILED"


@pytest.fixture(params=["update_task", "a function around it"])
def parent_and_callback(request):
    parent = TaskTracker("configure", 2, is_root=True)
    if request.param == "update_task":
        return parent, parent.update_task

    def around(**payload):
        parent.update_task(**payload)

    return parent, around


def refuse(tracker: TaskTracker, name: str = "a", **fields) -> None:
    tracker.update_task(
        task_name=name, status=TaskStatus.REJECTED, result=(ResultCode.REJECTED, "no"), **fields
    )


def test_a_group_that_was_refused_whole_has_begun_nothing(parent_and_callback):
    parent, callback = parent_and_callback
    group = TaskTracker("group", 2, callback)
    refuse(group, "a")
    assert parent.subtasks["group"].status is TaskStatus.IN_PROGRESS
    refuse(group, "b", skipped=True)
    refuse(parent, "c")
    assert parent.outcome().status is TaskStatus.REJECTED
    assert parent.outcome().health_state is None


def test_a_group_that_began_before_it_was_rejected_tells_so(parent_and_callback):
    parent, callback = parent_and_callback
    group = TaskTracker("group", 2, callback)
    refuse(group, "cbf", device_name="low-cbf/subarray/01")
    end(group, "b")
    assert group.outcome().status is TaskStatus.REJECTED  # as the correlator was
    assert parent.subtasks["group"].begun
    parent.update_task(
        task_name="group", failed_devices=["x/y/z"], status=TaskStatus.REJECTED
    )  # late: it changes nothing
    refuse(parent, "c")
    payload = parent._build_completion_payload(parent._judgement.context)
    assert payload["status"] is TaskStatus.REJECTED
    assert payload["begun"] is True


@pytest.mark.parametrize(
    "work", [{"status": TaskStatus.IN_PROGRESS}, {"progress": 10}], ids=["status", "progress"]
)
def test_what_is_refused_after_it_began_is_a_failure(work):
    tracker = TaskTracker("configure", 1, is_root=True)
    tracker.update_task(task_name="a", **work)
    refuse(tracker)
    assert tracker.outcome().status is TaskStatus.FAILED


@pytest.mark.parametrize(
    ("status", "told"), [(TaskStatus.REJECTED, {"begun": False}), (TaskStatus.COMPLETED, {})]
)
def test_the_first_payload_tells_where_the_first_end_was_a_refusal(status, told):
    done = CallbackRecorder()
    TaskTracker("configure", 2, done).update_task(task_name="a", status=status, result=(5, "no"))
    first = done.payloads[0]
    assert {name: first[name] for name in ("begun",) if name in first} == told


def test_what_began_and_the_leaves_of_causes_are_adopted_and_upserted():
    causes = (CauseLine("x/y/z: full", 2, ("a", "b")),)
    known = SubtaskResult("group", TaskStatus.REJECTED, begun=True, causes=causes)
    tracker = TaskTracker("configure", 2)
    tracker.adopt(known)
    context = tracker._extract_context({"begun": True, "causes": causes})
    tracker._upsert_subtask("other", TaskStatus.REJECTED, None, context)
    for name in ("group", "other"):
        record = tracker.subtasks[name]
        assert (record.begun, record.causes) == (True, causes)


def test_what_waited_only_has_not_begun():
    tracker = TaskTracker("configure", 1, is_root=True)
    tracker.update_task(task_name="a", status=TaskStatus.QUEUED, progress=0)
    refuse(tracker)
    assert tracker.outcome().status is TaskStatus.REJECTED


def test_errors_are_bounded():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    for number in range(500):
        tracker.update_task(task_name="a", error=(number,))
    end(tracker)
    assert done.payloads[-1]["error"] == tuple(range(100))
    assert tracker.errors == tuple(range(100))


@pytest.mark.parametrize("parent_is", ["update_task", "a function around it", "a partial"])
def test_payloads_are_what_a_parents_update_task_takes(parent_is):
    top = CallbackRecorder()
    parent = TaskTracker("configure", 2, top, is_root=True)

    def around(**payload):
        parent.update_task(**payload)

    callback = {
        "update_task": parent.update_task,
        "a function around it": around,
        "a partial": functools.partial(parent.update_task),
    }[parent_is]
    first = TaskTracker("configure_pst", 2, callback)
    second = TaskTracker("configure_cbf", 1, callback)
    begin(first, "beam-1", 80)
    assert parent.subtasks["configure_pst"].status is TaskStatus.IN_PROGRESS
    assert parent.progress == 20
    end(first, "beam-1", device_name="mid-pst/beam/01")
    first.update_task(
        task_name="beam-2",
        status=TaskStatus.FAILED,
        result=(3, "boom"),
        device_name="mid-pst/beam/02",
    )
    end(second, "cbf", device_name="mid-cbf/subarray/01")
    assert [payload["progress"] for payload in top.payloads] == [0, 20, 50, 100]
    assert top.payloads[-1]["status"] is TaskStatus.COMPLETED
    assert top.payloads[-1]["health_state"] == "DEGRADED"
    assert top.payloads[-1]["failed_devices"] == ["mid-pst/beam/02"]
    assert top.payloads[-1]["devices"] == [
        "mid-cbf/subarray/01",
        "mid-pst/beam/01",
        "mid-pst/beam/02",
    ]
    assert top.payloads[-1]["result"] == (
        ResultCode.FAILED,
        "Task configure completed in DEGRADED state\nCauses:\n"
        "- configure_pst - PST success 1/2\n- mid-pst/beam/02: boom",
    )


def test_a_callback_may_be_set_later_and_taken_away():
    first, second = CallbackRecorder(), CallbackRecorder()
    tracker = TaskTracker("configure", 1)
    begin(tracker, "a", 15)
    tracker.completed_callback = first
    assert tracker.completed_callback is first
    begin(tracker, "a", 35)
    tracker.completed_callback = second
    begin(tracker, "a", 55)
    tracker.completed_callback = None
    end(tracker)
    assert [payload["progress"] for payload in first.payloads] == [30]
    assert [payload["progress"] for payload in second.payloads] == [50]


def test_a_parent_given_as_callback_can_be_taken_away_again():
    first, second = TaskTracker("first", 1), TaskTracker("second", 1)
    child = TaskTracker("scan", 1, first.update_task)
    child.completed_callback = second.update_task
    child.completed_callback = None
    end(child)
    assert (first.subtasks, second.subtasks) == ({}, {})


def test_a_callback_that_is_another_trackers_does_not_cut_the_tie_to_the_parent():
    parent, other = TaskTracker("configure", 1), TaskTracker("other", 1)
    child = TaskTracker("scan", 1, other.update_task, parent=parent)
    end(child)
    assert parent.overall_status is TaskStatus.COMPLETED
    assert other.overall_status is TaskStatus.COMPLETED


def test_a_subclass_that_looks_at_updates_sees_those_of_its_children():
    seen = []

    class Watchful(TaskTracker):
        def update_task(self, **fields):
            seen.append(fields["task_name"])
            super().update_task(**fields)

    parent = Watchful("configure", 1)
    end(TaskTracker("scan", 1, parent.update_task))
    assert seen == ["scan"]
    assert parent.overall_status is TaskStatus.COMPLETED


def test_a_callback_hears_of_a_failure_with_the_documented_keywords_alone():
    heard = []

    def callback(
        task_name, status, progress, result,
        devices=None, failed_devices=None, health_state=None, error=None,
    ):  # fmt: skip
        heard.append((task_name, status, progress, result[0], health_state))

    end(TaskTracker("configure", 1, callback), result=(ResultCode.FAILED, "no lock"))
    assert heard == [("configure", TaskStatus.FAILED, 100, ResultCode.FAILED, "FAILED")]


def test_a_callback_that_names_more_than_the_documented_keywords_gets_it():
    heard = []

    def callback(*, task_name, status, progress, result, health_state=None, severe=False):
        heard.append(severe)

    end(TaskTracker("configure", 1, callback), result=(ResultCode.FAILED, "no lock"))
    assert heard == [True]


# -- order and threads (S4.1) ----------------------------------------------------------------


def test_a_single_thread_has_seen_its_callbacks_when_update_task_returns():
    seen = []
    tracker = TaskTracker("configure", 1, lambda **payload: seen.append(threading.get_ident()))
    begin(tracker)
    assert seen == [threading.get_ident()]
    end(tracker)
    assert seen == [threading.get_ident()] * 2
    assert tracker.wait_for_task_completion() is True


def test_callbacks_run_outside_the_lock():
    blocked, release = threading.Event(), threading.Event()

    def callback(**payload):
        if payload["progress"] == 0:
            blocked.set()
            assert release.wait(HANG_GUARD_S)

    tracker = TaskTracker("configure", 2, callback)
    updating = in_thread(lambda: begin(tracker))
    assert blocked.wait(HANG_GUARD_S)
    # While the callback hangs, others update, read and wait.
    others = in_thread(lambda: (begin(tracker, "b", 70), tracker.set_context("scan")))
    join(others)
    assert tracker.progress == 35
    assert tracker.overall_status is TaskStatus.IN_PROGRESS
    release.set()
    join(updating)


def test_the_thread_that_is_delivering_delivers_for_the_others_in_order():
    blocked, release = threading.Event(), threading.Event()
    seen = []

    def callback(**payload):
        seen.append((payload["progress"], threading.current_thread()))
        if payload["progress"] == 0:
            blocked.set()
            assert release.wait(HANG_GUARD_S)

    tracker = TaskTracker("configure", 2, callback)
    first = in_thread(lambda: begin(tracker))
    assert blocked.wait(HANG_GUARD_S)
    join(in_thread(lambda: begin(tracker, "b", 50)))
    join(in_thread(lambda: (end(tracker, "a"), end(tracker, "b"))))
    assert [progress for progress, _ in seen] == [0]
    assert not tracker.is_released
    release.set()
    join(first)
    assert [progress for progress, _ in seen] == [0, 20, 70, 100]
    assert {thread for _, thread in seen} == {first}
    assert tracker.wait_for_task_completion() is True


def test_a_callback_may_call_back_into_the_tracker():
    seen = []

    def callback(**payload):
        seen.append(payload["progress"])
        assert tracker.get_status() in (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED)
        if payload["progress"] == 0:
            begin(tracker, "b", 60)
            assert seen == [0], "one at a time"
            tracker.set_context("scan")
        elif payload["progress"] == 30:
            end(tracker, "a")
            end(tracker, "b")
        elif payload["progress"] == 100:
            end(tracker, "b", (3, "late"))

    tracker = TaskTracker("configure", 2, callback)
    begin(tracker, "a")
    assert seen == [0, 30, 80, 100]
    assert tracker.overall_result is ResultCode.OK


def test_a_callback_that_waits_for_its_own_tracker_is_told_so():
    caught = []

    def callback(**payload):
        with pytest.raises(SelfWaitError) as info:
            tracker.wait_for_task_completion()
        caught.append(info.value)

    tracker = TaskTracker("configure", 1, callback)
    begin(tracker)
    end(tracker)
    assert len(caught) == 2
    assert all(isinstance(error, RuntimeError) for error in caught)
    assert all(isinstance(error, TaskgroveError) for error in caught)
    assert "configure" in str(caught[0])
    assert tracker.wait_for_task_completion() is True


def test_a_callback_that_lets_the_error_of_its_wait_out_harms_nothing(caplog):
    tracker = TaskTracker("configure", 1, lambda **_: tracker.wait_for_task_completion())
    begin(tracker)
    end(tracker)
    assert tracker.wait_for_task_completion() is True
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert caplog.text.count("SelfWaitError") >= 2


def test_a_callback_may_wait_for_its_own_tracker_with_a_timeout_event():
    expired = threading.Event()
    expired.set()
    seen = []
    tracker = TaskTracker(
        "configure", 1, lambda **_: seen.append(tracker.wait_for_task_completion(expired))
    )
    begin(tracker)
    end(tracker)
    assert seen == [False, False]


def test_a_parents_callback_that_waits_for_a_child_under_way_is_told_so():
    caught = []

    def callback(**payload):
        try:
            child.wait_for_task_completion()
        except SelfWaitError as error:
            caught.append(error)

    parent = TaskTracker("configure", 1, callback)
    child = TaskTracker("scan", 1, parent.update_task)
    begin(child)
    assert len(caught) == 1
    end(child)
    assert len(caught) == 1, "a child that is complete can be waited for"


def test_another_thread_may_wait_while_a_callback_runs():
    results = []
    waiting = []

    def callback(**payload):
        if payload["progress"] == 0:
            waiting.append(in_thread(lambda: results.append(tracker.wait_for_task_completion())))

    tracker = TaskTracker("configure", 1, callback)
    begin(tracker)
    end(tracker)
    join(*waiting)
    assert results == [True]


@pytest.mark.parametrize("raises", [False, True])
def test_the_event_is_set_after_the_completion_callback(raises):
    seen = []

    def callback(**payload):
        expired = threading.Event()
        expired.set()
        seen.append(tracker.wait_for_task_completion(expired))
        if raises:
            raise ValueError("bad callback")

    tracker = TaskTracker("configure", 1, callback)
    end(tracker)
    assert seen == [False]
    assert tracker.wait_for_task_completion() is True


def test_a_raising_callback_is_logged_and_changes_nothing(caplog):
    done = CallbackRecorder(raises=ValueError("bad callback"))
    tracker = TaskTracker("configure", 2, done)
    begin(tracker, "a", 40)
    end(tracker, "a")
    end(tracker, "b")
    assert [payload["progress"] for payload in done.payloads] == [0, 20, 50, 100]
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert tracker.overall_result is ResultCode.OK
    assert caplog.text.count("ValueError: bad callback") == 4
    assert "configure" in caplog.text


def test_a_callback_that_takes_other_arguments_is_logged_and_changes_nothing(caplog):
    tracker = TaskTracker("configure", 1, lambda status: None)
    end(tracker)
    assert tracker.wait_for_task_completion() is True
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert "TypeError" in caplog.text


def test_the_logger_that_was_given_is_used(caplog):
    logger = logging.getLogger("of.the.user")
    tracker = TaskTracker("configure", 1, CallbackRecorder(raises=ValueError("bad")), logger)
    end(tracker)
    assert {record.name for record in caplog.records} == {"of.the.user"}


# -- interrupts --------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_completion_callback_comes_out_and_waiters_are_released(interrupt):
    tracker = TaskTracker("configure", 1, CallbackRecorder(raises=interrupt()))
    with pytest.raises(interrupt):
        end(tracker)
    assert tracker.wait_for_task_completion() is True
    assert tracker.overall_status is TaskStatus.COMPLETED


def test_an_interrupt_in_a_progress_callback_stops_nothing():
    seen = []

    def callback(**payload):
        seen.append(payload["progress"])
        if payload["progress"] == 0:
            raise KeyboardInterrupt

    tracker = TaskTracker("configure", 1, callback)
    with pytest.raises(KeyboardInterrupt):
        begin(tracker)
    begin(tracker, "a", 55)
    end(tracker)
    assert seen == [0, 50, 100]
    assert tracker.wait_for_task_completion() is True


def test_an_interrupt_does_not_lose_what_other_threads_left_to_deliver():
    done = CallbackRecorder()

    def callback(**payload):
        done(**payload)
        if payload["progress"] == 0:
            join(in_thread(lambda: end(tracker)))  # the completion is now in this thread's hands
            raise KeyboardInterrupt

    tracker = TaskTracker("configure", 1, callback)
    with pytest.raises(KeyboardInterrupt):
        begin(tracker)
    assert [payload["progress"] for payload in done.payloads] == [0, 100]
    assert is_released(tracker)


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exit_of_a_callback_is_no_interrupt_on_another_thread(exit_, caplog):
    tracker = TaskTracker("configure", 1, CallbackRecorder(raises=exit_()))
    raised = []

    def update():
        try:
            end(tracker)
        except BaseException as error:
            raised.append(error)

    join(in_thread(update))
    assert raised == []
    assert is_released(tracker)
    assert "its callback raised" in caplog.text


def test_an_interrupt_in_a_childs_callback_does_not_leave_the_parent_waiting():
    parent = TaskTracker("configure", 1)
    child = TaskTracker("scan", 1, CallbackRecorder(raises=KeyboardInterrupt()), parent=parent)
    with pytest.raises(KeyboardInterrupt):
        end(child)
    assert is_released(child)
    assert is_released(parent)
    assert parent.overall_status is TaskStatus.COMPLETED


# -- waiting (S4.7) ------------------------------------------------------------------------------


def test_waiting_ends_with_the_completion():
    tracker = TaskTracker("configure", 1)
    results = []
    threads = [
        in_thread(lambda: results.append(tracker.wait_for_task_completion())),
        in_thread(lambda: results.append(tracker.wait_for_task_completion(threading.Event()))),
    ]
    end(tracker)
    join(*threads)
    assert results == [True, True]


def test_waiting_ends_with_the_timeout_event():
    tracker = TaskTracker("configure", 1)
    expired = threading.Event()
    results = []
    thread = in_thread(lambda: results.append(tracker.wait_for_task_completion(expired)))
    expired.set()
    join(thread)
    assert results == [False]


def test_a_completion_that_is_there_beats_a_timeout_that_is_there():
    tracker = TaskTracker("configure", 1)
    end(tracker)
    expired = threading.Event()
    expired.set()
    assert tracker.wait_for_task_completion(expired) is True


def test_a_completion_that_comes_with_the_timeout_beats_it():
    tracker = TaskTracker("configure", 1)

    class Expires(threading.Event):
        def is_set(self):
            end(tracker)  # after the wait for it has given up
            return True

    assert tracker.wait_for_task_completion(Expires()) is True


def test_the_timeout_event_has_the_documented_name():
    tracker = TaskTracker("configure", 0)
    assert tracker.wait_for_task_completion(timeout_event=None) is True
    assert tracker.wait_for_task_completion(timeout_event=threading.Event()) is True


@pytest.mark.parametrize("ended_by", ["completion", "timeout"])
def test_a_waiter_wakes_and_does_not_spin(ended_by):
    tracker = TaskTracker("configure", 1)
    expired = threading.Event()
    measured = {}

    def wait():
        began = time.thread_time()
        tracker.wait_for_task_completion(expired)
        measured["cpu_s"] = time.thread_time() - began

    thread = in_thread(wait)
    threading.Event().wait(0.5)
    assert thread.is_alive()
    end(tracker) if ended_by == "completion" else expired.set()
    join(thread)
    assert measured["cpu_s"] < 0.25, "half a second of waiting costs next to nothing"


def test_signal_task_completion_releases_the_waiters():
    tracker = TaskTracker("configure", 1)
    results = []
    thread = in_thread(lambda: results.append(tracker.wait_for_task_completion()))
    tracker.signal_task_completion()
    join(thread)
    assert results == [True]
    assert tracker.overall_status is TaskStatus.QUEUED, "released is not complete"


# -- closing -----------------------------------------------------------------------------------


def test_a_closing_hook_runs_once_after_the_waiters_were_released():
    order = []
    tracker = TaskTracker("configure", 1, lambda **payload: order.append(payload["progress"]))
    tracker.when_closed(lambda: order.append(tracker.wait_for_task_completion()))
    begin(tracker)
    end(tracker)
    end(tracker)
    assert order == [0, 100, True]
    tracker.when_closed(lambda: order.append("at once"))
    assert order[-1] == "at once"


def test_a_raising_hook_keeps_no_other_from_running(caplog):
    done = CallbackRecorder(raises=ValueError("bad hook"))
    tracker = TaskTracker("configure", 1)
    tracker.when_closed(done)
    tracker.when_closed(done)
    end(tracker)
    assert len(done) == 2
    assert "bad hook" in caplog.text


def test_a_verdict_from_outside_ends_the_task_once():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 2, done)
    begin(tracker)
    tracker.conclude(TaskStatus.REJECTED, ResultCode.REJECTED, "skipped: a failed", skipped=True)
    tracker.conclude(TaskStatus.FAILED, ResultCode.FAILED, "again")
    end(tracker, "a")
    end(tracker, "b")
    assert tracker.overall_status is TaskStatus.REJECTED
    assert [payload["progress"] for payload in done.payloads] == [0, 100]
    assert done.payloads[-1]["result"] == (ResultCode.REJECTED, "skipped: a failed")
    assert done.payloads[-1]["skipped"] is True


def test_an_error_of_the_owner_ends_the_task_failed():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.fail(OSError("no more threads"))
    tracker.fail(OSError("again"))
    assert done.payloads[-1]["status"] is TaskStatus.FAILED
    assert len(done) == 1
    assert "OSError: no more threads" in tracker.overall_resultcode[1]
    assert tracker.wait_for_task_completion() is True


# -- deep trees ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 5, 300, 2000])
def test_nested_trackers(depth):
    top = CallbackRecorder()
    trackers = [TaskTracker("level-0", 1, top)]
    for level in range(1, depth):
        trackers.append(TaskTracker(f"level-{level}", 1, trackers[-1].update_task))
    begin(trackers[-1], "leaf", 55)
    assert [tracker.progress for tracker in trackers] == [50] * (depth - 1) + [55]
    trackers[-1].update_task(
        task_name="leaf",
        status=TaskStatus.FAILED,
        result=(3, "boom"),
        device_name="mid-cbf/subarray/01",
        error=("the error",),
    )
    assert all(tracker.overall_status is TaskStatus.FAILED for tracker in trackers)
    assert all(tracker.wait_for_task_completion() for tracker in trackers)
    assert [payload["progress"] for payload in top.payloads] == [0, 50, 100]
    payload = top.payloads[-1]
    assert payload["result"] == (ResultCode.FAILED, "Causes:\n- mid-cbf/subarray/01: boom")
    assert payload["failed_devices"] == ["mid-cbf/subarray/01"]
    assert payload["error"] == ("the error",)


def test_trackers_nested_by_functions_of_the_user():
    top = CallbackRecorder()
    tracker = TaskTracker("level-0", 1, top)
    for level in range(1, 50):
        parent = tracker
        tracker = TaskTracker(
            f"level-{level}", 1, lambda up=parent, **payload: up.update_task(**payload)
        )
    end(tracker, "leaf")
    assert [payload["progress"] for payload in top.payloads] == [100]
