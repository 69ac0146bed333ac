"""Hooks, tasklets and callbacks: foreign code that can harm no analysis."""

from __future__ import annotations

import threading
import time

import pytest

from taskgrove.analysis.hooks import Hooks
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running import analysis_events
from taskgrove.analysis.running import handle as running_handle
from taskgrove.analysis.running.analysis_events import AnalysisEvent
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.errors import UsageError
from taskgrove.events.foreign_values import readable
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs
from tests.analysis.sample_tasks import SampleParameters
from tests.unit.foreign_values import FOREIGN
from tests.unit.hostile_values import RefusalError


def test_each_hook_hears_its_moment(analyses: Runs) -> None:
    seen: list[str] = []
    hooks = {name: lambda event: seen.append(event.kind) for name in ("started", "result")}
    handle = analyses.run(tasks.Count, hooks={**hooks, "done": [lambda e: seen.append("last")]})
    assert handle.status is TaskStatus.COMPLETED
    assert seen == ["started", "result", "last"]


def test_hooks_belong_to_one_executor(analyses: Runs) -> None:
    """Fact F8: hooks stand on a class; the next executor overwrites them."""
    seen: list[str] = []
    first = analyses.executor(tasks.Trivial, hooks={"done": lambda e: seen.append("first")})
    second = analyses.executor(tasks.Trivial, hooks={"done": lambda e: seen.append("second")})
    assert first.start().wait(GUARD_S)
    assert second.start().wait(GUARD_S)
    assert seen == ["first", "second"]


def test_an_unknown_hook_is_refused_with_a_near_miss() -> None:
    """Fact F8: an unknown name is ignored."""
    with pytest.raises(UsageError, match="did you mean 'started'"):
        Hooks({"start": print})
    with pytest.raises(UsageError, match="there are: started, progress"):
        Hooks().add("zzz", print)
    with pytest.raises(UsageError, match="cannot be called"):
        Hooks().add("done", "print")  # type: ignore[arg-type]


def test_a_hook_that_raises_harms_nothing(analyses: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """Facts (d), W4: an exception in a hook, and the process hangs until it is killed."""

    def refuse(event: AnalysisEvent) -> None:
        raise ConnectionRefusedError("the page is dead")

    heard = Heard()
    hooks = {name: [refuse, heard] for name in ("started", "progress", "log", "result", "done")}
    handle = analyses.run(tasks.Count, hooks=hooks)
    assert handle.status is TaskStatus.COMPLETED
    assert heard.kinds[-1] == "done"
    assert "the page is dead" in caplog.text


def test_a_hook_that_hangs_delays_nothing(analyses: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fact W4: a slow page stretched 2 s to 33.9 s."""
    monkeypatch.setattr(running_handle, "HEARD_WITHIN_S", 0.05)
    monkeypatch.setattr(analysis_events, "HEARD_WITHIN_S", 0.05)
    go_on = threading.Event()
    hung = analyses.start(tasks.Count, hooks={"started": lambda event: go_on.wait(30)})
    other = analyses.run(tasks.Count)
    assert hung.wait(GUARD_S)
    assert hung.status is other.status is TaskStatus.COMPLETED
    go_on.set()
    assert hung.delivery.wait_heard(GUARD_S)


def test_a_slow_callback_slows_the_analysis_and_loses_nothing(
    analyses: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_events, "MANY", 64)
    import taskgrove.analysis.running.intake as intake

    monkeypatch.setattr(intake, "MANY", 64)
    most, seen = 0, []
    handle = None

    def hear(event: AnalysisEvent) -> None:
        nonlocal most
        if handle is not None:
            most = max(most, handle.delivery.pending)
        seen.append(event.text)
        if len(seen) % 500 == 0:
            time.sleep(0.01)

    count = 30_000
    handle = analyses.start(tasks.Chatty, SampleParameters(n=count), hooks={"progress": hear})
    assert handle.wait(GUARD_S)
    assert handle.delivery.wait_heard(GUARD_S)
    assert seen == [str(number) for number in range(count)]
    assert most < count // 2, "the analysis has waited"


def test_a_cancelled_analysis_does_not_wait_for_slow_callbacks(
    analyses: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    import taskgrove.analysis.running.intake as intake

    monkeypatch.setattr(intake, "MANY", 8)
    go_on = threading.Event()
    hooks = {"progress": lambda event: go_on.wait(20)}
    handle = analyses.start(tasks.Chatty, SampleParameters(n=10_000_000), hooks=hooks)
    while handle.delivery.pending <= 8:
        time.sleep(0.01)
    handle.cancel("enough")
    assert handle._over.wait(GUARD_S)
    go_on.set()
    assert handle.status is TaskStatus.CANCELLED
    assert handle.delivery.wait_heard(GUARD_S)


def test_who_subscribes_late_hears_the_past(analyses: Runs) -> None:
    handle = analyses.run(tasks.Count)
    heard = Heard()
    handle.on_event(heard)
    assert handle.delivery.wait_heard(GUARD_S)
    assert heard.kinds == ["started", "progress", "progress", "progress", "log", "result", "done"]


def test_a_callback_may_wait_and_act(analyses: Runs) -> None:
    seen: list[bool] = []
    handle = analyses.ready(tasks.Waits)

    def act(event: AnalysisEvent) -> None:
        if event.kind == "started":
            handle.cancel("by a callback")
            seen.append(handle.wait(GUARD_S))

    handle.on_event(act)
    assert handle.wait(GUARD_S)
    assert seen == [True]
    assert handle.status is TaskStatus.CANCELLED


def test_a_before_tasklet_prepares(analyses: Runs) -> None:
    def prepare(context: TaskletContext) -> None:
        context.environment["PREPARED"] = f"for {context.parameters.c}"

    handle = analyses.script("echo $PREPARED", before=[prepare])
    assert handle.outcome is not None
    assert handle.outcome.output[0].tail == "for echo $PREPARED\n"
    assert handle.outcome.described.task_env["PREPARED"] == "for echo $PREPARED"


def test_a_before_tasklet_that_raises_fails_the_analysis(analyses: Runs) -> None:
    """Fact F15: its exception is only logged, its result is None."""

    def prepare(context: TaskletContext) -> None:
        raise FileNotFoundError("no calibration for run 12")

    handle = analyses.run(tasks.Trivial, before=[prepare])
    assert handle.status is TaskStatus.FAILED
    assert handle.pid is None
    assert handle.outcome is not None
    assert handle.outcome.cause == (
        "tasklet prepare before: FileNotFoundError: no calibration for run 12"
    )


def test_after_tasklets_may_set_payload_and_summary(analyses: Runs) -> None:
    def add(context: TaskletContext) -> None:
        assert context.result is not None
        context.set_payload({**context.result.payload, "more": context.parameters.n})
        context.set_summary("with more")

    described = analyses.start(tasks.Count, after=[add]).result(GUARD_S)
    assert described.task_result.payload == {"n": 3, "mode": "FAST", "more": 3}
    assert described.task_result.summary == "with more"


def test_an_after_tasklet_that_raises_fails_the_analysis_and_keeps_its_payload(
    analyses: Runs,
) -> None:
    def check(context: TaskletContext) -> None:
        raise ValueError("implausible")

    handle = analyses.run(tasks.Count, after=[check])
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert handle.outcome.cause == "tasklet check after: ValueError: implausible"
    assert handle.outcome.result.payload["n"] == 3


@pytest.mark.parametrize("kind", ["numpy float", "hostile", "itself", "large array", "set", "none"])
def test_an_after_tasklet_may_set_anything(analyses: Runs, kind: str) -> None:
    def add(context: TaskletContext) -> None:
        assert context.result is not None
        context.result.payload = FOREIGN[kind]()
        context.result.summary = FOREIGN[kind]()
        context.result.impl_schemas = FOREIGN[kind]()

    handle = analyses.run(tasks.Count, after=[add])
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert handle.outcome.detail.summary == readable(FOREIGN[kind]())
    if kind == "hostile":
        assert "the payload is not in the record" in handle.outcome.notes[0]


def test_a_tasklet_whose_error_cannot_be_told_fails_the_analysis(analyses: Runs) -> None:
    def check(context: TaskletContext) -> None:
        raise RefusalError

    handle = analyses.run(tasks.Count, after=[check])
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert handle.outcome.cause.startswith("tasklet check after: ")


@pytest.mark.parametrize(("n", "words"), [(3, "hit rate: 5.5"), (4, "an object of type object")])
def test_a_summary_of_any_values_is_told_in_words(analyses: Runs, n: int, words: str) -> None:
    handle = analyses.run(tasks.SumsUp, SampleParameters(n=n))
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    summary = handle.outcome.detail.summary
    assert words in summary
    assert "a very large integer" in summary
    assert "hit rate: 5.5" in summary


def test_after_tasklets_do_not_run_for_a_failure(analyses: Runs) -> None:
    called: list[object] = []
    assert analyses.run(tasks.Raises, after=[called.append]).status is TaskStatus.FAILED
    assert called == []
