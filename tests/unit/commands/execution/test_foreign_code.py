"""Every door to code that is not ours, opened by what raises: each run ends, once, all the same."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import FINAL_STATUSES, ResultCode, TaskStatus
from taskgrove.events import EventBus
from taskgrove.loops.pool import Pool
from taskgrove.testing import EventLog

HANG_GUARD_S = 60.0
INTERNAL = TaskExecutionType.INTERNAL


class BareError(BaseException):
    """Neither an Exception nor one of those that Python knows."""


class MuteError(Exception):
    """One whose text cannot be had either."""

    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


KINDS = [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError,
         BareError, MuteError]  # fmt: skip


def boom(kind: type[BaseException]) -> Any:
    def raises(*_: Any, **__: Any) -> Any:
        raise kind("no")

    return raises


def leaf(name: str, fn: Any = lambda: None, **options: Any) -> LeafTask:
    return LeafTask.from_callable(fn, name=name, **options)


def hostile(kind: type[BaseException], *names: str) -> type:
    """Return a class whose methods of these names raise."""
    return type("Hostile", (), dict.fromkeys(names, boom(kind)) | {"__hash__": object.__hash__})


class Runner:
    """A runner of which one method, or all, raise."""

    def __init__(self, kind: type[BaseException], *doors: str) -> None:
        self.kind, self.doors = kind, doors

    def _door(self, name: str) -> None:
        if name in self.doors:
            raise self.kind("no")

    def limits(self, leaf: LeafTask) -> LeafLimits:
        self._door("limits")
        return LeafLimits("ask", "enforced")

    def start(self, context: Any) -> None:
        self._door("start")
        if "abort" not in self.doors:
            context.finish(TaskStatus.COMPLETED)

    def abort(self, context: Any, reason: str) -> None:
        self._door("abort")

    def attach(self, context: Any, outside_id: str) -> None:
        self._door("attach")


@dataclass(frozen=True, slots=True)
class HostileRule(AggregationRule):
    """A rule of a user that raises."""

    kind: type[BaseException]

    @property
    def label(self) -> str:
        return "hostile"

    def decide(self, tally: Any, context: Any) -> Any:
        raise self.kind("no")


@dataclass
class Case:
    """One tree, and what stands around it."""

    children: list[Any]
    observers: list[Any] = field(default_factory=list)
    runners: dict[Any, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def target_with(kind: type[BaseException], **parts: Any) -> Any:
    return type("Target", (), parts)()


def look_up(kind: type[BaseException]) -> Case:
    target = target_with(kind, On=property(boom(kind)))
    return Case([LeafTask("a", target, "On", None, INTERNAL, timeout=30)])


def signature(kind: type[BaseException]) -> Case:
    method = target_with(kind, __call__=lambda self: None, __signature__=property(boom(kind)))
    return Case([LeafTask("a", target_with(kind, On=method), "On", None, INTERNAL, timeout=30)])


def wrapped(kind: type[BaseException]) -> Case:
    names = ("__wrapped__", "__code__", "__name__")
    parts = dict.fromkeys(names, property(boom(kind)))
    method = target_with(kind, __call__=lambda self: None, **parts)
    target = target_with(kind, On=method)
    return Case([LeafTask("a", target, "On", None, INTERNAL), LeafTask.from_callable(method)])


def coroutine_of(kind: type) -> Any:
    async def gives() -> Any:
        return kind()

    return gives


def value_of(*names: str) -> Any:
    return lambda kind: Case([leaf("a", hostile(kind, *names))])


def through_callback(kind: type[BaseException]) -> Case:
    class Status:
        __int__ = __index__ = __eq__ = __str__ = __repr__ = boom(kind)
        __hash__ = object.__hash__

    def told(task_callback: Any) -> None:
        task_callback(progress=Status(), result=Status(), status=TaskStatus.IN_PROGRESS)
        task_callback(task_name="b", may_retry=True, status=Status(), devices=Status(),
                      health_state=Status(), severe=Status(), attempt=Status())  # fmt: skip
        task_callback(task_name="b", status=TaskStatus.COMPLETED, result=Status(),
                      exception=Status(), cause=Status(), error=Status())  # fmt: skip

    return Case([leaf("a", told), leaf("b")])


def sub_task(kind: type[BaseException]) -> Case:
    async def raises() -> None:
        raise kind("no")

    async def waits() -> None:
        await asyncio.gather(asyncio.create_task(raises()), return_exceptions=True)

    async def fine() -> None:
        await asyncio.sleep(0)

    return Case([leaf("a", waits), leaf("b", fine)])


def stops_the_loop(kind: type[BaseException]) -> Case:
    async def stops() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        raise kind("no")

    async def fine() -> None:
        await asyncio.sleep(0)

    return Case([leaf("a", stops), leaf("b", fine)])


def runner(*doors: str, timeout: float | None = 30) -> Any:
    def case(kind: type[BaseException]) -> Case:
        leaves = [LeafTask("a", "x/y/z", "On", timeout=timeout), leaf("b")]
        return Case(leaves, runners={TaskExecutionType.DEVICE: Runner(kind, *doors)})

    return case


DOORS: dict[str, Any] = {
    "method": lambda kind: Case([leaf("a", boom(kind)), leaf("b")]),
    "look-up": look_up,
    "signature": signature,
    "wrapped": wrapped,
    "text of a value": value_of("__str__", "__repr__", "__eq__", "__bool__"),
    "class of a value": lambda kind: Case(
        [leaf("a", type("V", (), {"__class__": property(boom(kind))}))]
    ),
    "class of a coroutine's value": lambda kind: Case(
        [leaf("a", coroutine_of(type("V", (), {"__class__": property(boom(kind))})))]
    ),
    "index of a value": value_of("__index__", "__int__", "__iter__", "__len__", "tolist"),
    "promise": lambda kind: Case(
        [leaf("a", type("Status", (), {"done": property(boom(kind)), "wait": None}))]
    ),
    "task callback": through_callback,
    "observer": lambda kind: Case([leaf("a")], observers=[boom(kind)]),
    "observer without a name": lambda kind: Case(
        [leaf("a")], observers=[hostile(kind, "__call__", "__repr__")()]
    ),
    "completion callback": lambda kind: Case(
        [leaf("a", completed_callback=boom(kind)), leaf("b")],
        options={"completed_callback": boom(kind)},
    ),
    "rule": lambda kind: Case([leaf("a")], options={"rule": HostileRule(kind)}),
    "runner's limits": runner("limits"),
    "runner's start": runner("limits", "start"),
    "runner's abort": runner("limits", "abort", timeout=0.05),
    "task of a coroutine": sub_task,
    "stopped loop": stops_the_loop,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("door", DOORS)
def test_whatever_raises_each_node_ends_once_and_shutdown_returns(door, kind):
    case = DOORS[door](kind)
    log, ended = EventLog(), threading.Event()
    executor = MainTaskExecutor(4, case.runners, grace_s=0.1)
    tree = Task("root", is_root=True, subtasks=case.children, **case.options)
    handle = executor.submit_main_task(tree, observers=[*case.observers, log])
    assert handle.wait(HANG_GUARD_S), "the run did not end"
    closing = threading.Thread(target=lambda: (executor.shutdown(), ended.set()), daemon=True)
    closing.start()
    assert ended.wait(HANG_GUARD_S), "shutdown did not return"
    assert handle.outcome.status in FINAL_STATUSES
    finished = [event.path for event in log.select(kind="finished")]
    assert sorted(finished) == sorted(path for path, _ in tree.walk())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_above_that_exits_keeps_no_end_from_the_own_tracker_of_a_leaf(kind):
    step = leaf("a")
    tree = Task("root", is_root=True, subtasks=[step], completed_callback=boom(kind))
    own = step.tracker
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(tree)
        assert handle.wait(HANG_GUARD_S)
    assert own.is_released
    assert own.overall_status is TaskStatus.COMPLETED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_error_of_a_look_up_is_the_cause(kind):
    executor = MainTaskExecutor(grace_s=0.1)
    with executor:
        handle = executor.submit_main_task(
            Task("root", is_root=True, subtasks=look_up(kind).children)
        )
        assert handle.wait(HANG_GUARD_S)
    text = "<its text raised SystemExit>" if kind is MuteError else "no"
    assert handle.outcome.status is TaskStatus.FAILED
    assert handle.outcome.message.endswith(f"a - {kind.__name__}: {text}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_observer_that_raises_is_detached_and_told_of_and_the_others_hear_all(kind):
    log, bus = EventLog(), EventBus("run")
    subscription = bus.subscribe(boom(kind))
    bus.subscribe(log)
    bus.emit("root", "note")
    bus.emit("root", "note")
    assert subscription.detached_reason is not None
    told = [event.detail.topic for event in log.events if event.detail is not None]
    assert told == ["observer"]
    assert len(log) == 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_record_hears_all_though_it_raises(kind):
    heard = []

    def record(event):
        heard.append(event)
        raise kind("no")

    bus = EventBus("run")
    bus.subscribe(record, essential=True)
    bus.emit("root", "note")
    bus.emit("root", "note")
    assert len(heard) == 2


# -- loggers -----------------------------------------------------------------------------------


class Logger(logging.Logger):
    """A logger that raises whatever it is asked."""

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__("hostile", logging.DEBUG)
        self.kind = kind

    def isEnabledFor(self, level: int) -> bool:
        raise self.kind("no")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("fault", ["callback", "policy", "late", "status", "source", "inside"])
def test_a_logger_that_raises_keeps_no_update_from_its_effect(fault, kind):
    def callback(**payload):
        if fault == "callback":
            raise ValueError("no")

    rule = HostileRule(ValueError) if fault == "policy" else None
    tracker = TaskTracker("configure", 1, callback, Logger(kind), rule=rule)
    if fault == "status":
        tracker.update_task(task_name="a", status="nonsense")
    if fault == "inside":
        tracker.update_task(task_name=["no name"])
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, source="an event")
    if fault == "late":
        tracker.update_task(task_name="a", status=TaskStatus.FAILED)
    assert tracker.is_released
    wrong = fault in ("policy", "inside")
    assert tracker.overall_status is (TaskStatus.FAILED if wrong else TaskStatus.COMPLETED)


def test_a_run_ends_where_every_logger_raises(monkeypatch):
    def raises(*_, **__):
        raise SystemExit(3)

    monkeypatch.setattr(logging.Logger, "isEnabledFor", raises)
    case = through_callback(SystemExit)
    log = EventLog()
    with MainTaskExecutor(grace_s=0.1) as executor:
        tree = Task("root", is_root=True, subtasks=case.children, completed_callback=raises)
        handle = executor.submit_main_task(tree, observers=[raises, log])
        assert handle.wait(HANG_GUARD_S)
    assert [event.path for event in log.select(kind="finished")][-1] == "root"


# -- beginnings and ends of runs -----------------------------------------------------------------


class Recorder:
    """A recorder that raises at the end of a run."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def begin_run(self, run_id: str, about: Any, *, resumed: bool = False) -> Any:
        return lambda event: None

    def end_run(self, run_id: str, outcome: Any, kept: Any) -> None:
        raise self.kind("no")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_recorder_that_raises_at_the_end_keeps_the_outcome_from_nobody(kind):
    with MainTaskExecutor() as executor:
        tree = Task("root", is_root=True, subtasks=[leaf("a")])
        handle = executor.submit_main_task(tree, recorder=Recorder(kind))
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.status is TaskStatus.COMPLETED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_run_that_cannot_begin_ends_failed(kind, monkeypatch):
    monkeypatch.setattr("taskgrove.commands.execution.live_run.emit_composed", boom(kind))
    with MainTaskExecutor() as executor:
        tree = Task("root", is_root=True, subtasks=[leaf("a")])
        handle = executor.submit_main_task(tree, observers=[EventLog()])
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.status is TaskStatus.FAILED
    assert kind.__name__ in handle.outcome.message


def test_what_is_due_when_no_thread_can_be_started_does_not_take_the_timer_along(monkeypatch):
    """The machine has no thread for the first step: it fails in words, and the run ends."""
    submit = Pool.submit

    def without_threads(pool, job):
        if "worker" in pool._name:
            raise RuntimeError("can't start new thread")
        submit(pool, job)

    monkeypatch.setattr(Pool, "submit", without_threads)
    with MainTaskExecutor() as executor:
        tree = Task("root", is_root=True, subtasks=[leaf("a"), leaf("b")])
        handle = executor.submit_main_task(tree)
        assert handle.wait(HANG_GUARD_S)
    assert "a - not started: RuntimeError: can't start new thread" in handle.outcome.message


def test_a_run_for_which_there_is_no_thread_at_all_is_refused_and_shutdown_returns(monkeypatch):
    def no_threads(pool, job):
        raise RuntimeError("can't start new thread")

    executor = MainTaskExecutor()
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "submit", no_threads)
        with pytest.raises(RuntimeError, match="new thread"):
            executor.submit_main_task(Task("root", is_root=True, subtasks=[leaf("a")]))
    executor.shutdown()


def test_an_interrupt_within_an_update_ends_the_task_and_comes_out():
    class Name(str):
        __slots__ = ()

        def __hash__(self):
            raise KeyboardInterrupt

    tracker = TaskTracker("configure", 1)
    with pytest.raises(KeyboardInterrupt):
        tracker.update_task(task_name=Name("a"))
    assert tracker.is_released
    assert tracker.outcome().result is ResultCode.FAILED
