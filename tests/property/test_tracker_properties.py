"""What holds for a tracker whatever comes, in whatever order (SPEC S4)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut
from taskgrove.testing import EventLog

FINAL = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ABORTED, TaskStatus.REJECTED)
LEFT_OUT = LeftOut("task-2", None, "operator", "left out by ann")
WAITING = (TaskStatus.STAGING, TaskStatus.QUEUED)

names = st.sampled_from([f"task-{number}" for number in range(6)])
devices = st.sampled_from(
    ["low-cbf/subarray/01", "mid-pst/beam/01", "mid-pst/beam/02", "mid-pss/beam/01", "x/y/z"]
)
statuses = st.none() | st.sampled_from(TaskStatus)
progress_reports = st.none() | st.integers(-20, 130)
results = st.none() | st.tuples(st.sampled_from(ResultCode), st.sampled_from(["", "boom", "fine"]))


# -- stories -----------------------------------------------------------------------------------


@st.composite
def stories(draw) -> list[dict]:
    """All updates of some subtasks, each of which comes to its end."""
    updates = []
    for number in range(draw(st.integers(1, 5))):
        name, device = f"task-{number}", draw(devices)
        mine: dict = {"task_name": name, "device_name": device}
        for status in (TaskStatus.STAGING, TaskStatus.QUEUED, TaskStatus.IN_PROGRESS):
            if draw(st.booleans()):
                updates.append({**mine, "status": status})
        for value in draw(st.lists(st.integers(0, 100), max_size=4)):
            updates.append({**mine, "progress": value})
        end = {
            **mine,
            "status": draw(st.sampled_from(FINAL)),
            "result": (draw(st.sampled_from(ResultCode)), draw(st.sampled_from(["", "boom"]))),
        }
        if draw(st.booleans()):
            end["failed_devices"] = [device]
        if draw(st.booleans()):
            end["health_state"] = draw(st.sampled_from(["DEGRADED", "FAILED"]))
        if draw(st.booleans()):
            end["skipped" if draw(st.booleans()) else "severe"] = True
        # Who hears the end only must be told that work was refused after it had begun.
        worked = any(
            update.get("status") is TaskStatus.IN_PROGRESS or update.get("progress")
            for update in updates
            if update["task_name"] == name
        )
        if worked and end["status"] is TaskStatus.REJECTED:
            end["begun"] = True
        updates.append(end)
    return updates


@dataclass
class Heard:
    """Everything that a tracker said."""

    payloads: list[dict] = field(default_factory=list)

    def __call__(self, **payload) -> None:
        self.payloads.append(payload)

    def check(self, *, complete: bool) -> None:
        progress = [payload["progress"] for payload in self.payloads]
        ends = [payload for payload in self.payloads if payload["status"].is_final]
        assert len(ends) == (1 if complete else 0)
        if complete:
            assert self.payloads[-1] is ends[0]
            progress.pop()
        assert progress == sorted(set(progress)), "progress never goes back, nor repeats itself"
        assert all(value % 10 == 0 and 0 <= value < 100 for value in progress)
        assert not progress or progress[0] == 0


def played(updates: list[dict], total: int, *, observed: bool = False) -> tuple[TaskTracker, Heard]:
    heard, log = Heard(), EventLog()
    tracker = TaskTracker("configure", total, heard, is_root=True)
    tracker.expect(f"task-{number}" for number in range(total))
    if observed:
        tracker.subscribe(log)
    for update in updates:
        tracker.update_task(**copy.deepcopy(update))
    heard.check(complete=True)
    if observed:
        log.assert_gapless()
        log.assert_one_end("configure")
    return tracker, heard


@given(stories(), st.data())
def test_order_duplicates_and_lateness_do_not_change_the_outcome(updates, data):
    total = len({update["task_name"] for update in updates})
    tracker, heard = played(updates, total)
    more = updates + data.draw(st.lists(st.sampled_from(updates), max_size=10))
    shuffled = data.draw(st.permutations(more))
    again, heard_again = played(shuffled, total, observed=data.draw(st.booleans()))
    assert again.outcome() == tracker.outcome()
    assert again.outcome().decision == tracker.outcome().decision
    assert heard_again.payloads[-1] == heard.payloads[-1]
    assert again.completed_subtasks == tracker.completed_subtasks == total
    assert again.progress == tracker.progress == 100


@given(stories(), st.data())
def test_nesting_tells_the_same_whatever_the_order(updates, data):
    def nested(order: list[dict]) -> TaskTracker:
        root = TaskTracker("root", 2, is_root=True)
        root.expect(["first", "second"])
        children = [TaskTracker(name, total, root.update_task) for name, total in halves.items()]
        for child in children:
            child.expect(sorted({u["task_name"] for u in updates}))
        for update in order:
            half = int(update["task_name"].removeprefix("task-")) % 2
            children[half].update_task(**copy.deepcopy(update))
        return root

    together = sorted({update["task_name"] for update in updates})
    odd = sum(int(name.removeprefix("task-")) % 2 for name in together)
    halves = {"first": len(together) - odd, "second": odd}
    if not odd:  # an empty child is complete from the start, and its parent is told by others
        halves = {"first": len(together), "second": 1}
        updates = [*updates, {"task_name": "task-1", "status": TaskStatus.COMPLETED}]
    root = nested(updates)
    assert root.is_complete
    shuffled = data.draw(st.permutations(updates + updates[:3]))
    assert nested(shuffled).outcome() == root.outcome()


@given(stories())
def test_an_end_is_all_that_counts(updates):
    total = len({update["task_name"] for update in updates})
    ends = [update for update in updates if update.get("status") in FINAL]
    tracker, heard = played(updates, total)
    brief, heard_brief = played(ends, total)
    assert brief.outcome() == tracker.outcome()
    assert heard_brief.payloads[-1] == heard.payloads[-1]


# -- counters and helpers ------------------------------------------------------------------------


def assert_counters_are_what_the_records_say(tracker: TaskTracker) -> None:
    """The kept counters, against the helpers that recompute from the records (S4.3)."""
    kept = (tracker.completed_subtasks, tracker._course.progress_sum, tracker.progress)
    state = tracker._course.state
    tracker._recompute_completion()
    tracker._recompute_progress()
    assert (tracker.completed_subtasks, tracker._course.progress_sum, tracker.progress) == kept
    assert tracker._is_done_locked() == tracker.is_complete
    before = tracker.outcome()
    tracker._aggregate()
    assert tracker._course.state is state
    assert tracker.outcome() == before
    for name, record in tracker.subtasks.items():
        assert tracker._is_task_already_completed(name) == (record.status in FINAL)
    assert tracker.get_status() is tracker.overall_status
    assert tracker.get_result() is tracker.overall_result
    assert tracker.overall_resultcode == (tracker.overall_result, tracker._chain_message())


updates_of_any_kind = st.fixed_dictionaries(
    {"task_name": names, "status": statuses, "progress": progress_reports, "result": results},
    optional={
        "device_name": devices,
        "devices": st.lists(devices, max_size=3),
        "failed_devices": st.lists(devices, max_size=3),
        "operation": st.sampled_from(["scan", "configure"]),
        "obs_mode": st.sampled_from(["IMAGING", "VLBI"]),
        "health_state": st.sampled_from(["DEGRADED", "FAILED", "OK", 2, None]),
        "severe": st.booleans(),
        "skipped": st.booleans(),
        "accepted": st.booleans(),
        "accepted_by": st.sampled_from([(), ("ann",), ("bob",)]),
        "left_out": st.sampled_from([(), (LEFT_OUT,), (LEFT_OUT, LEFT_OUT)]),
        "error": st.tuples(st.integers()),
    },
)


@given(
    st.lists(updates_of_any_kind, max_size=40),
    st.integers(0, 6),
    st.sampled_from([None, "task-5"]),
)
def test_counters_agree_with_the_helpers_after_every_update(updates, total, finally_name):
    heard = Heard()
    tracker = TaskTracker("configure", total, heard, finally_name=finally_name)
    last = tracker.progress
    for update in updates:
        tracker.update_task(**update)
        assert_counters_are_what_the_records_say(tracker)
        assert last <= tracker.progress <= 100, "progress never goes back"
        last = tracker.progress
    heard.check(complete=tracker.is_complete and total > 0)


garbage = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.lists(st.integers() | st.text(), max_size=3)
    | st.dictionaries(st.text(), st.integers(), max_size=2)
    | st.sampled_from(TaskStatus)
    | st.sampled_from(ResultCode)
    | st.builds(object)
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"task_name": names | garbage},
            optional=dict.fromkeys(
                [
                    "status",
                    "progress",
                    "result",
                    "error",
                    "device_name",
                    "devices",
                    "failed_devices",
                    "operation",
                    "obs_mode",
                    "source",
                    "health_state",
                    "severe",
                    "skipped",
                    "attempt",
                    "accepted",
                    "accepted_by",
                    "left_out",
                    "request",
                ],
                garbage,
            ),
        ),
        max_size=15,
    ),
    st.booleans(),
)
def test_update_task_never_raises(updates, observed):
    heard, log = Heard(), EventLog()
    tracker = TaskTracker("configure", 3, heard)
    if observed:
        tracker.subscribe(log)
    last = 0
    for update in updates:
        tracker.update_task(**update)
        assert last <= tracker.progress <= 100
        last = tracker.progress
    for name in ("last-1", "last-2", "last-3"):
        tracker.update_task(task_name=name, status=TaskStatus.COMPLETED)
    assert tracker.wait_for_task_completion() is True
    heard.check(complete=True)
    log.assert_gapless() if observed else None


# -- one tracker against a naive model -----------------------------------------------------------


@dataclass
class NaiveSubtask:
    """What the seed says of one subtask, in the simplest words."""

    status: TaskStatus | None = None
    progress: int = 0
    code: ResultCode | None = None
    text: str = ""


class TrackerMachine(RuleBasedStateMachine):
    """One tracker against a model that recomputes everything at each step."""

    @initialize(total=st.integers(1, 5), observed=st.booleans())
    def begin(self, total, observed):
        self.heard, self.log = Heard(), EventLog()
        self.tracker = TaskTracker("configure", total, self.heard)
        if observed:
            self.tracker.subscribe(self.log)
        self.observed = observed
        self.total = total
        self.model: dict[str, NaiveSubtask] = {}
        self.steps: list[int] = []
        self.has_begun = False
        self.names_are_told = False

    @rule(name=names, status=statuses, progress=progress_reports, result=results)
    def update(self, name, status, progress, result):
        self.tracker.update_task(task_name=name, status=status, progress=progress, result=result)
        self._model_update(name, status, progress, result)

    @rule(name=names, status=st.sampled_from(FINAL), result=results)
    def end(self, name, status, result):
        self.tracker.update_task(task_name=name, status=status, result=result)
        self._model_update(name, status, None, result)

    @rule(name=names, progress=st.integers(0, 100))
    def make_progress(self, name, progress):
        self.tracker.update_task(task_name=name, progress=progress, status=TaskStatus.IN_PROGRESS)
        self._model_update(name, TaskStatus.IN_PROGRESS, progress, None)

    @rule(names=st.lists(names))
    def expect(self, names):
        self.tracker.expect(names)
        for name in names:
            self.model.setdefault(name, NaiveSubtask())
            self.names_are_told = True

    def _model_update(self, name, status, progress, result):
        was_complete = self.is_complete
        if self.names_are_told and name not in self.model:
            return
        sub = self.model.setdefault(name, NaiveSubtask())
        if was_complete or sub.status in FINAL:
            return
        if status in WAITING and sub.status is not None:
            moves_back = sub.status is TaskStatus.IN_PROGRESS or (sub.status, status) == (
                TaskStatus.QUEUED,
                TaskStatus.STAGING,
            )
            if moves_back:
                return
        if progress is not None:
            sub.progress = max(sub.progress, min(100, max(0, progress)))
        if status is not None:
            sub.status = status
        elif progress is not None and progress > 0 and sub.status in (None, *WAITING):
            sub.status = TaskStatus.IN_PROGRESS
        if result is not None:
            sub.code, sub.text = result
        elif sub.code is None and sub.status is TaskStatus.COMPLETED:
            sub.code = ResultCode.OK
        # It stays begun, also when a subtask that was lost is queued again.
        self.has_begun = self.has_begun or sub.status not in (None, *WAITING)
        self._model_deliver()

    def _model_deliver(self):
        if self.is_complete:
            self.steps.append(100)
            return
        if not self.has_begun:
            return
        if not self.steps:
            self.steps.append(0)
        step = self.progress // 10 * 10
        if step > self.steps[-1] and step < 100:
            self.steps.append(step)

    @property
    def completed(self) -> int:
        return sum(sub.status in FINAL for sub in self.model.values())

    @property
    def is_complete(self) -> bool:
        return self.completed >= self.total

    @property
    def progress(self) -> int:
        done = sum(100 if sub.status in FINAL else sub.progress for sub in self.model.values())
        return min(100, done // self.total)

    @invariant()
    def agrees_with_the_model(self):
        if not hasattr(self, "model"):
            return
        tracker = self.tracker
        assert tracker.completed_subtasks == self.completed
        assert tracker.progress == self.progress
        assert tracker.is_complete == self.is_complete
        assert list(tracker.subtasks) == list(self.model)
        for name, sub in self.model.items():
            record = tracker.subtasks[name]
            assert record.status is sub.status
            assert (record.result_code, record.message) == (sub.code, sub.text)
            assert tracker.progress_of(name) == sub.progress
        assert [payload["progress"] for payload in self.heard.payloads] == self.steps
        if not self.is_complete:
            begun = self.has_begun
            assert tracker.overall_status is (
                TaskStatus.IN_PROGRESS if begun else TaskStatus.QUEUED
            )
        else:
            final = [sub for sub in tracker.subtasks.values() if sub.status in FINAL]
            assert tracker.outcome() == tracker._judgement.policy.aggregate(final)

    @invariant()
    def counters_agree(self):
        if hasattr(self, "model"):
            assert_counters_are_what_the_records_say(self.tracker)

    def teardown(self):
        if not hasattr(self, "model"):
            return
        self.heard.check(complete=self.is_complete)
        if self.observed:
            self.log.assert_gapless()
            if self.is_complete:
                self.log.assert_one_end("configure")


TestTrackerMachine = TrackerMachine.TestCase
TestTrackerMachine.settings = settings(stateful_step_count=40)


@pytest.mark.parametrize("status", list(TaskStatus))
def test_the_model_knows_every_status(status):
    assert (status in FINAL) == status.is_final
