"""Internal leaves: how methods are called, and what their returns mean."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog

HANG_GUARD_S = 200.0


class ComponentManager:
    """Methods as component managers of the field have them."""

    def __init__(self, answer=None):
        self.answer = answer
        self.got = []
        self.threads = []

    def returns(self):
        return self.answer

    def takes(self, argin):
        self.got.append(argin)

    def submits(self, argin, task_callback=None, task_abort_event=None):
        def work():
            task_callback(status=TaskStatus.IN_PROGRESS)
            task_callback(progress=40)
            task_callback(status=TaskStatus.COMPLETED, result=(ResultCode.OK, f"did {argin}"))

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()
        return TaskStatus.QUEUED, "Task queued"

    def submits_and_fails(self, task_callback):
        task_callback(exception=ValueError("no power"))
        return TaskStatus.QUEUED, "Task queued"

    def refuses(self, task_callback):
        return TaskStatus.REJECTED, "Queue is full"

    def promises_without_callback(self):
        return TaskStatus.QUEUED, "Task queued"


def outcome_of(leaf):
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(Task("root", is_root=True, subtasks=[leaf]))
        assert handle.wait(HANG_GUARD_S)
        record = handle.task.tracker.subtasks[leaf.name]
        return record.status, record.result_code, record.message


def method(manager, name, argin=None):
    return LeafTask(name, manager, name, argin, TaskExecutionType.INTERNAL)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, (TaskStatus.COMPLETED, ResultCode.OK, "")),
        (True, (TaskStatus.COMPLETED, ResultCode.OK, "")),
        (False, (TaskStatus.COMPLETED, ResultCode.FAILED, "")),
        ("Completed", (TaskStatus.COMPLETED, ResultCode.OK, "Completed")),
        ((ResultCode.OK, "fine"), (TaskStatus.COMPLETED, ResultCode.OK, "fine")),
        ((ResultCode.FAILED, "bad"), (TaskStatus.COMPLETED, ResultCode.FAILED, "bad")),
        ([[3], ["bad"]], (TaskStatus.COMPLETED, ResultCode.FAILED, "bad")),
        ('[3, "bad"]', (TaskStatus.COMPLETED, ResultCode.FAILED, "bad")),
        (ResultCode.NOT_ALLOWED, (TaskStatus.COMPLETED, ResultCode.NOT_ALLOWED, "")),
    ],
)
def test_what_a_method_returns_is_its_result(answer, expected):
    assert outcome_of(method(ComponentManager(answer), "returns")) == expected


def test_argin_is_given_only_when_there_is_one():
    manager = ComponentManager()
    assert outcome_of(method(manager, "takes", {"beam": 3}))[0] is TaskStatus.COMPLETED
    status, _, message = outcome_of(method(manager, "takes"))
    assert manager.got == [{"beam": 3}]
    assert status is TaskStatus.FAILED
    assert message.startswith("TypeError: ")


@pytest.mark.parametrize(
    ("argin", "inside", "kind"),
    [(None, False, "wrong_argument"), ({"beam": 3}, True, "raised"), (None, True, "raised")],
)
def test_an_argument_that_does_not_fit_is_no_fault_of_the_method(argin, inside, kind):
    def takes(argin):
        return argin()

    def calls():
        return takes()

    leaf = LeafTask.from_callable(calls if inside and argin is None else takes, argin)
    log = EventLog()
    with MainTaskExecutor(1) as executor:
        handle = executor.submit_main_task(
            Task("root", is_root=True, subtasks=[leaf]), observers=[log]
        )
        assert handle.wait(HANG_GUARD_S)
    cause = log.assert_one_end(f"root/{leaf.name}", TaskStatus.FAILED).detail.cause
    assert cause.kind == kind
    assert cause.chain[0].type == "TypeError"
    assert cause.expected == ("(argin)" if kind == "wrong_argument" else None)


def test_a_method_may_acknowledge_and_finish_through_its_callback():
    manager = ComponentManager()
    assert outcome_of(method(manager, "submits", 7)) == (
        TaskStatus.COMPLETED,
        ResultCode.OK,
        "did 7",
    )
    for thread in manager.threads:
        thread.join()


def test_an_exception_through_the_callback_is_the_cause():
    assert outcome_of(method(ComponentManager(), "submits_and_fails")) == (
        TaskStatus.FAILED,
        ResultCode.FAILED,
        "ValueError: no power",
    )


def test_a_refusal_is_rejected_with_its_reason():
    assert outcome_of(method(ComponentManager(), "refuses")) == (
        TaskStatus.REJECTED,
        ResultCode.REJECTED,
        "Queue is full",
    )


def test_a_promise_that_nobody_can_keep_is_failed_at_once():
    status, _, message = outcome_of(method(ComponentManager(), "promises_without_callback"))
    assert status is TaskStatus.FAILED
    assert "takes no task_callback" in message


def test_a_missing_method_is_the_cause():
    status, _, message = outcome_of(method(ComponentManager(), "lock_on"))
    assert status is TaskStatus.FAILED
    assert "'ComponentManager' object has no attribute 'lock_on'" in message


async def _coroutine(argin):
    await asyncio.sleep(0)
    return ResultCode.OK, f"awaited {argin}"


class _AsyncCall:
    async def __call__(self):
        return ResultCode.OK, "called"


@pytest.mark.parametrize(
    ("function", "argin", "message"),
    [
        (_coroutine, 5, "awaited 5"),
        (functools.partial(_coroutine, 6), None, "awaited 6"),
        (_AsyncCall(), None, "called"),
        (lambda: _coroutine(8), None, "awaited 8"),
    ],
)
def test_coroutines_run_on_the_loop(function, argin, message):
    leaf = LeafTask.from_callable(function, argin, name="a")
    assert outcome_of(leaf) == (TaskStatus.COMPLETED, ResultCode.OK, message)


def test_coroutines_run_side_by_side_on_a_pool_of_one():
    async def main():
        waiting.append(1)
        while len(waiting) < 3:  # noqa: ASYNC110 - each only yields to the others
            await asyncio.sleep(0)

    waiting = []
    leaves = [LeafTask.from_callable(main, name=f"c{index}") for index in range(3)]
    with MainTaskExecutor(max_workers=1) as executor:
        tree = Task("root", TaskExecutionType.PARALLEL, is_root=True, subtasks=leaves)
        handle = executor.submit_main_task(tree)
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.result is ResultCode.OK


def test_an_abort_cancels_a_coroutine():
    began = threading.Event()

    async def sleeper():
        began.set()
        await asyncio.sleep(HANG_GUARD_S)

    with MainTaskExecutor() as executor:
        tree = Task("root", subtasks=[LeafTask.from_callable(sleeper)], is_root=True)
        handle = executor.submit_main_task(tree)
        assert began.wait(HANG_GUARD_S)
        handle.abort()
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.status is TaskStatus.ABORTED
    assert handle.abandoned == ()


def test_a_plain_function_may_return_its_value():
    for value in (3, 3.7, {"peaks": 12}, (1.5, 2.5), (3, 4), [1, 2], [1, 2, 3], object(), "3"):
        leaf = LeafTask.from_callable(lambda value=value: value, name="count")
        assert outcome_of(leaf)[:2] == (TaskStatus.COMPLETED, ResultCode.OK), value


def test_a_method_that_was_asked_to_stop_and_says_nothing_was_aborted():
    began = threading.Event()

    def heeds(task_abort_event):
        began.set()
        task_abort_event.wait(HANG_GUARD_S)

    with MainTaskExecutor() as executor:
        tree = Task("root", subtasks=[LeafTask.from_callable(heeds)], is_root=True)
        handle = executor.submit_main_task(tree)
        assert began.wait(HANG_GUARD_S)
        handle.abort()
        assert handle.wait(HANG_GUARD_S)
    assert "returned after it was asked to stop" in handle.outcome.message


def _plain():
    """Take nothing."""


def _heeding(task_abort_event):
    """Look at the event."""


@functools.wraps(_heeding)
def _wrapped(*args, **kwargs):
    return _heeding(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "abort", "timeout"),
    [
        (_plain, "none", "reported"),
        (_heeding, "ask", "enforced"),
        (_wrapped, "ask", "enforced"),
        (functools.partial(_heeding), "ask", "enforced"),
        (_coroutine, "kill", "enforced"),
        (len, "none", "reported"),
    ],
)
def test_limits_say_what_can_be_enforced(function, abort, timeout):
    limits = InternalRunner().limits(LeafTask.from_callable(function, name="x"))
    assert (limits.abort, limits.timeout) == (abort, timeout)


def test_an_exception_whose_text_raises_is_still_told():
    class HostileError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    def boom():
        raise HostileError

    status, _, message = outcome_of(LeafTask.from_callable(boom))
    assert status is TaskStatus.FAILED
    assert message == "HostileError: <its text raised RuntimeError>"


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()])
def test_a_coroutine_that_would_end_the_program_is_an_outcome(exc):
    async def boom():
        raise exc

    async def fine():
        return ResultCode.OK, "fine"

    with MainTaskExecutor() as executor:
        for function, status in ((boom, TaskStatus.FAILED), (fine, TaskStatus.COMPLETED)):
            tree = Task("root", subtasks=[LeafTask.from_callable(function)])
            handle = executor.submit_main_task(tree)
            assert handle.wait(HANG_GUARD_S)
            assert handle.outcome.status is status


@pytest.mark.parametrize("answer", [(ResultCode.QUEUED, "id"), (1, "Task queued")])
def test_a_code_may_acknowledge_too(answer):
    told = []

    def submits(task_callback):
        told.append(task_callback)
        return answer

    with MainTaskExecutor() as executor:
        tree = Task("root", subtasks=[LeafTask.from_callable(submits)])
        handle = executor.submit_main_task(tree)
        assert not handle.wait(0.05)
        told[0](status=TaskStatus.COMPLETED, result=(ResultCode.FAILED, "no lock"))
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.status is TaskStatus.FAILED


def test_a_plain_text_is_a_message_and_a_printed_pair_a_result():
    for value, expected in (
        ("FAILED to find peaks", (ResultCode.OK, "FAILED to find peaks")),
        ('[3, "no peaks"]', (ResultCode.FAILED, "no peaks")),
    ):
        leaf = LeafTask.from_callable(lambda value=value: value, name="find")
        assert outcome_of(leaf)[1:] == expected
