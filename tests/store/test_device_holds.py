"""Devices that one run at a time works on: the record says which run holds one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.store import Recorder, Store
from taskgrove.store.held_devices import held_devices, release_device
from taskgrove.store.history import History
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from taskgrove.web.run_feed import why_of
from tests.recovery.cut_runs import cut
from tests.store.recording import eventually

DEVICE = TaskExecutionType.DEVICE
GUARD_S = 60.0
HANGS = Script(hangs=True)
DEAF = Script(hangs=True, heeds_abort=False)


def tree(name: str, *devices: str, wait: float | None = None, **keys: Any) -> Task:
    """Return a tree with a step on each device; x/y/a and x/y/b are exclusive."""
    terms: dict[str, Any] = {"exclusive": True} | ({} if wait is None else {"wait": wait})
    components = {it: {"device": f"x/y/{it}", **terms} for it in "ab"} | {"free": "x/y/free"}
    tasks = {f"do_{it}": {"device": it, "command_name": "Go", **keys} for it in devices}
    commands = {name: {"type": "sequential", "tasks": tasks}}
    loaded = load_command_map({"commands": commands, "components": components})
    return MainTaskComposer(name, loaded, ComponentContext.from_map(loaded), None).compose()


class Site:
    """Runs that record into one store, each with a recorder and devices of its own."""

    def __init__(self, store: Store, stack: ExitStack) -> None:
        self.store = store
        self._stack = stack

    def start(self, run_id: str, task: Task, script: Script = HANGS, **options: Any) -> Started:
        fake, log = FakeDeviceRunner(default=script), EventLog()
        recorder = self._stack.enter_context(Recorder(self.store))
        grace_s = options.pop("grace_s", 5.0)
        executor = MainTaskExecutor(2, {DEVICE: fake}, grace_s=grace_s)
        self._stack.callback(executor.shutdown)
        handle = executor.submit_main_task(
            task, run_id=run_id, recorder=recorder, observers=[log], **options
        )
        started = Started(handle, fake, log)
        self._stack.callback(started.stop)
        return started


class Started:
    """A run that was started."""

    def __init__(self, handle: RunHandle, fake: FakeDeviceRunner, log: EventLog) -> None:
        self.handle, self.fake, self.log = handle, fake, log

    def waits(self, state: str = "runs") -> dict[str, str]:
        event = self.log.wait_for(
            topic="waits", where=lambda it: it.detail.data["state"] == state, timeout_s=GUARD_S
        )
        return dict(event.detail.data)  # type: ignore[union-attr]

    def stop(self) -> None:
        self.handle.abort("the test is over")
        assert self.handle.wait(GUARD_S)


@pytest.fixture
def site(record_url: str) -> Iterator[Site]:
    with Store.open(record_url) as store, ExitStack() as stack:
        yield Site(store, stack)


def test_a_second_run_waits_until_the_first_is_over(site: Site) -> None:
    first = site.start("first", tree("scan", "a"))
    first.fake.wait_for_call("do_a")
    second = site.start("second", tree("move", "a", "free"), Script())
    data = second.waits()
    assert (data["device"], data["run"], data["command"]) == ("x/y/a", "first", "scan")
    assert not second.fake.calls
    [held] = held_devices(site.store)
    assert (held.device, held.run_id, held.state) == ("x/y/a", "first", "runs")

    def explained() -> bool:
        told = why_of(History(site.store).whole("second"), site.store.location).sentence
        return "move waits for run first (scan), which holds x/y/a since" in told

    eventually(explained)
    first.fake.release("do_a")
    assert second.handle.wait(GUARD_S)
    assert second.handle.ok
    second.log.assert_gapless()
    assert held_devices(site.store) == []


def test_runs_on_other_devices_do_not_wait(site: Site) -> None:
    site.start("first", tree("scan", "a"))
    other = site.start("other", tree("move", "b", "free"), Script())
    assert other.handle.wait(GUARD_S)
    reads = {"expect": {"attribute": "State", "value": "ON"}, "command_name": None}
    looks = site.start("looks", tree("look", "a", **reads), Script())
    assert looks.handle.wait(GUARD_S)
    assert "waits" not in {getattr(it.detail, "topic", "") for it in other.log.events}


def test_a_run_takes_all_its_devices_or_none(site: Site) -> None:
    first = site.start("first", tree("scan", "b"))
    first.fake.wait_for_call("do_b")
    both = site.start("both", tree("both", "a", "b"), Script())
    both.waits()
    third = site.start("third", tree("move", "a"), Script())
    assert third.handle.wait(GUARD_S)  # `both` does not hold x/y/a while it waits for x/y/b
    first.fake.release("do_b")
    assert both.handle.wait(GUARD_S)
    assert both.handle.ok


@pytest.mark.parametrize("wait", [0, 0.3])
def test_a_run_that_has_waited_long_enough_is_rejected(site: Site, wait: float) -> None:
    site.start("first", tree("scan", "a")).fake.wait_for_call("do_a")
    late = site.start("late", tree("move", "free", "a", wait=wait), Script())
    assert late.handle.wait(GUARD_S)
    outcome = late.handle.outcome
    assert outcome is not None
    assert (outcome.status, outcome.result) == (TaskStatus.REJECTED, ResultCode.REJECTED)
    assert "run first (scan), which holds x/y/a" in outcome.message
    assert not late.fake.calls
    late.log.assert_gapless()
    for path in ("move/do_free", "move/do_a", "move"):
        late.log.assert_one_end(path)


def test_another_spelling_of_a_device_keeps_its_limit_and_the_reason(site: Site) -> None:
    def spelt(device: str) -> Task:
        keys = {"device": f"tango:{device}#dbase=no", "exclusive": True, "wait": 0}
        steps = {"type": "sequential", "tasks": {"do_a": {"device": "a", "command_name": "Go"}}}
        loaded = load_command_map({"commands": {"scan": steps}, "components": {"a": keys}})
        return MainTaskComposer("scan", loaded, ComponentContext.from_map(loaded), None).compose()

    first = site.start("first", spelt("//127.0.0.1:45678/x/y/a"))
    first.fake.wait_for_call("do_a")
    late = site.start("late", spelt("//localhost:45678/X/Y/A"), Script())
    assert late.handle.wait(GUARD_S)
    outcome = late.handle.outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.REJECTED
    assert "run first (scan), which holds X/Y/A" in outcome.message
    [held] = held_devices(site.store)
    assert held.held_words.startswith("x/y/a: held since ")
    assert held.held_words.endswith(" by run first (scan)")


def test_a_run_that_waits_can_be_aborted(site: Site) -> None:
    site.start("first", tree("scan", "a")).fake.wait_for_call("do_a")
    second = site.start("second", tree("move", "a"), Script())
    second.waits()
    answer = second.handle.pause()
    assert answer.fate == "refused"
    assert [it.reason for it in answer.objections] == ["not_begun"]
    second.handle.abort("enough")
    assert second.handle.wait(GUARD_S)
    assert second.handle.outcome.status is TaskStatus.ABORTED
    assert not second.fake.calls
    second.log.assert_gapless()


def test_a_held_and_a_paused_run_keep_their_devices(site: Site) -> None:
    first = site.start("first", tree("scan", "a", "free"), Script.fails("no lock"), hold=True)
    first.log.wait_for(topic="held", timeout_s=GUARD_S)
    second = site.start("second", tree("move", "a"), Script())
    second.waits()
    first.handle.pause()
    first.handle.fail("scan/do_a")
    first.log.wait_for(topic="parked", timeout_s=GUARD_S)
    assert not second.handle.wait(1.0)
    first.handle.abort("over")
    assert second.handle.wait(GUARD_S)
    assert second.handle.ok


def test_a_device_stays_held_while_work_may_go_on_there(site: Site) -> None:
    first = site.start("first", tree("scan", "a", timeout=0.05), DEAF, grace_s=0.1)
    assert first.handle.wait(GUARD_S)
    second = site.start("second", tree("move", "a"), Script())
    data = second.waits("left")
    assert data["run"] == "first"
    with pytest.raises(UsageError, match="reason"):
        release_device(site.store, "x/y/a", why=" ")
    with pytest.raises(UsageError, match="no run holds x/y/b"):
        release_device(site.store, "x/y/b", why="it is idle")
    release_device(site.store, "X/Y/A", why="it is idle", who="ann")
    assert second.handle.wait(GUARD_S)
    assert second.handle.ok
    with History(site.store) as history:
        [verdict] = history.verdicts("first")
    assert (verdict.who, verdict.why) == ("ann", "x/y/a released: it is idle")


def test_a_device_of_a_run_at_work_is_not_released(site: Site) -> None:
    site.start("first", tree("scan", "a")).fake.wait_for_call("do_a")
    with pytest.raises(UsageError, match="run first is at work"):
        release_device(site.store, "x/y/a", why="I want it")


@pytest.mark.parametrize("had_ended", [True, False])
def test_a_killed_run_keeps_its_devices_until_it_is_recovered(site: Site, had_ended: bool) -> None:
    done = site.start("first", tree("scan", "a", "free"), Script())
    assert done.handle.wait(GUARD_S)
    # As if its process had been killed after, or before, the step on the device.
    paths = {"scan/do_a"} if had_ended else set()
    kept = [it.sequence for it in done.log.events if it.kind == "composed" or it.path in paths]
    cut(site.store, "first", after=max(kept))
    find_lost(site.store)
    second = site.start("second", tree("move", "a"), Script())
    assert second.waits("lost")["run"] == "first"
    recover(site.store, "first", runners={DEVICE: FakeDeviceRunner()})
    if not had_ended:  # nobody knows whether the command reached the device
        second.waits("left")
        release_device(site.store, "x/y/a", why="it is idle")
    assert second.handle.wait(GUARD_S)
    assert second.handle.ok


def test_exclusive_devices_need_a_record() -> None:
    with (
        MainTaskExecutor(1, {DEVICE: FakeDeviceRunner()}) as executor,
        pytest.raises(UsageError, match="nothing records which run does"),
    ):
        executor.submit_main_task(tree("scan", "a"))


def test_of_many_runs_at_once_one_is_at_work(site: Site, tmp_path: Path) -> None:
    at_work, most, lock = [0], [0], threading.Lock()

    class Counting(FakeDeviceRunner):
        def start(self, context: Any) -> None:
            with lock:
                at_work[0] += 1
                most[0] = max(most[0], at_work[0])
            threading.Event().wait(0.01)
            with lock:
                at_work[0] -= 1
            super().start(context)

    runs = []
    for number in range(6):
        recorder = site._stack.enter_context(Recorder(site.store))
        executor = MainTaskExecutor(2, {DEVICE: Counting()})
        site._stack.callback(executor.shutdown)
        task = tree(f"scan{number}", *"ab"[: 1 + number % 2])
        runs.append(executor.submit_main_task(task, run_id=f"run-{number}", recorder=recorder))
    assert all(run.wait(GUARD_S) and run.ok for run in runs)
    assert most == [1]
