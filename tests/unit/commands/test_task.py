"""The task tree (seed 002, SPEC S5)."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import pickle
import threading

import pytest

from taskgrove import run
from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.task import (
    BaseTask,
    LeafTask,
    Task,
    TaskExecutionType,
    device_name_of,
)
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.testing import CallbackRecorder

GUARD_S = 60.0

OK = (ResultCode.OK, "done")


def leaf(name: str = "leaf", **options) -> LeafTask:
    return LeafTask(name, "mid-pst/beam/01", "Configure", **options)


def tree() -> Task:
    return Task(
        "configure",
        is_root=True,
        subtasks=[
            leaf("check"),
            Task(
                "configure_pst",
                TaskExecutionType.PARALLEL,
                subtasks=[leaf("pst-beam-01"), leaf("pst-beam-02")],
            ),
        ],
    )


# -- signatures ------------------------------------------------------------------------------


def parameters_of(kind: type) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(kind.__init__).parameters)
    del parameters["self"]
    return parameters


COMMON = {
    "skip_subtasks": None,
    "completed_callback": None,
    "is_root": False,
    "logger": None,
}


@pytest.mark.parametrize(
    ("kind", "positional", "keyword_only"),
    [
        (
            BaseTask,
            {
                "name": inspect.Parameter.empty,
                "task_type": TaskExecutionType.SEQUENTIAL,
                **COMMON,
            },
            {},
        ),
        (
            Task,
            {
                "name": inspect.Parameter.empty,
                "task_type": TaskExecutionType.SEQUENTIAL,
                **COMMON,
            },
            {"subtasks": (), "rule": None, "timeout": None},
        ),
        (
            LeafTask,
            {
                "name": inspect.Parameter.empty,
                "target": inspect.Parameter.empty,
                "command_name": inspect.Parameter.empty,
                "argin": None,
                "task_type": TaskExecutionType.DEVICE,
                **COMMON,
            },
            {"timeout": None, "retries": 0},
        ),
    ],
)
def test_constructors_have_the_documented_parameters(kind, positional, keyword_only):
    parameters = parameters_of(kind)
    by_position = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(by_position.items()) == list(positional.items())
    for name, default in keyword_only.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == default


def test_the_execution_types():
    assert [kind.name for kind in TaskExecutionType] == [
        "SEQUENTIAL",
        "PARALLEL",
        "INTERNAL",
        "DEVICE",
        "ANALYSIS",
    ]
    assert {kind.name for kind in TaskExecutionType if kind.is_composite} == {
        "SEQUENTIAL",
        "PARALLEL",
    }


def test_a_task_holds_what_it_was_given():
    done, logger = CallbackRecorder(), logging.getLogger("x")
    first, second = leaf("a"), leaf("b")
    task = Task(
        "configure",
        TaskExecutionType.PARALLEL,
        True,
        done,
        True,
        logger,
        subtasks=(child for child in (first, second)),
        rule="quorum: 0.8",
        timeout=2.5,
    )
    assert (task.name, task.task_type, task.skip_subtasks) == (
        "configure",
        TaskExecutionType.PARALLEL,
        True,
    )
    assert (task.completed_callback, task.is_root, task.logger) == (done, True, logger)
    assert task.subtasks == [first, second]
    assert isinstance(task.rule, AggregationRule)
    assert task.rule.label == "quorum 0.8"
    assert task.timeout == 2.5
    assert first.parent is task


def test_a_leaf_holds_what_it_was_given():
    target, argin = object(), {"key": [1]}
    node = LeafTask(
        "a", target, "configure", argin, TaskExecutionType.INTERNAL, timeout=1, retries=2
    )
    assert (node.target, node.command_name, node.argin) == (target, "configure", argin)
    assert node.task_type is TaskExecutionType.INTERNAL
    assert (node.timeout, node.retries) == (1.0, 2)
    assert node.is_root is False
    assert isinstance(node, BaseTask)
    assert not isinstance(node, Task)


def test_a_task_type_may_be_given_by_its_value():
    assert Task("a", "parallel").task_type is TaskExecutionType.PARALLEL


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a/b", "/", None, 5, b"x", "new\nline", "\x1b[31m", "\x00"])
@pytest.mark.parametrize("make", [leaf, Task])
def test_a_name_is_one_printable_part_of_a_path(make, name):
    with pytest.raises(UsageError):
        make(name)


@pytest.mark.parametrize("kind", ["bogus", None, 7, TaskExecutionType, object()])
def test_an_unknown_type_is_a_usage_error(kind):
    with pytest.raises(UsageError, match="PARALLEL"):
        Task("a", kind)
    with pytest.raises(UsageError):
        leaf("a", task_type=kind)


@pytest.mark.parametrize("kind", ["internal", "device", "analysis"])
def test_a_task_is_a_composite(kind):
    with pytest.raises(ValueError, match=kind.upper()):
        Task("a", TaskExecutionType(kind))


@pytest.mark.parametrize("kind", ["sequential", "parallel"])
def test_a_leaf_is_no_composite(kind):
    with pytest.raises(ValueError, match=kind.upper()):
        leaf("a", task_type=TaskExecutionType(kind))


def test_a_leaf_is_never_root():
    with pytest.raises(ValueError, match="root"):
        leaf("a", is_root=True)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "5", object(), 1j])
@pytest.mark.parametrize("make", [leaf, Task])
def test_a_timeout_is_a_positive_number(make, timeout):
    with pytest.raises(UsageError, match="timeout"):
        make("a", timeout=timeout)


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2", None])
def test_retries_are_a_whole_number(retries):
    with pytest.raises(UsageError, match="retries"):
        leaf("a", retries=retries)


@pytest.mark.parametrize("rule", ["bogus", "quorum", "quorum: 2.5x", {"quorum": -1}, 7])
def test_an_unknown_rule_is_a_usage_error(rule):
    with pytest.raises(UsageError):
        Task("a", rule=rule)


def test_names_are_unique_among_the_children_of_one_task():
    with pytest.raises(ValueError, match="'same'"):
        Task("a", subtasks=[leaf("same"), leaf("same")])
    Task("a", subtasks=[leaf("same"), Task("b", subtasks=[leaf("same")])])


@pytest.mark.parametrize("child", [None, "leaf", object(), Task, lambda: None])
def test_children_are_nodes(child):
    with pytest.raises(UsageError, match="subtask"):
        Task("a", subtasks=[child])


def test_a_child_has_one_parent():
    child = leaf()
    Task("first", subtasks=[child])
    with pytest.raises(UsageError, match="parent"):
        Task("second", subtasks=[child])


def test_a_root_is_no_child():
    with pytest.raises(UsageError, match="root"):
        Task("a", subtasks=[Task("b", is_root=True)])


def test_a_tree_has_no_cycle():
    inner = Task("inner")
    outer = Task("outer", subtasks=[inner])
    with pytest.raises(UsageError):
        inner.add(outer)
    with pytest.raises(UsageError):
        inner.add(inner)
    assert [path for path, _ in outer.walk()] == ["outer", "outer/inner"]


def test_the_clean_up_of_a_sequence_is_its_last_child():
    task = Task(
        "observe", subtasks=[leaf("scan")], finally_tasks=[leaf("end"), leaf("park")],
        finally_timeout=30,
    )  # fmt: skip
    task.add(leaf("more"), Task("part"))
    assert [child.name for child in task.subtasks] == ["scan", "more", "part", "finally"]
    last = task.finally_task
    assert last is task.subtasks[-1]
    assert (last.is_finally, last.timeout, last.task_type.name) == (True, 30.0, "SEQUENTIAL")
    assert [child.path for child in last.subtasks] == [
        "observe/finally/end",
        "observe/finally/park",
    ]
    assert task.tracker.total_subtasks == 4
    assert Task("a", subtasks=[leaf()], finally_tasks=[leaf("b")]).finally_task.timeout == 60.0


def test_a_task_without_a_clean_up_has_none():
    assert Task("a").finally_task is None
    assert Task("a", subtasks=[Task("finally")], finally_tasks=()).finally_task is None


def test_a_clean_up_is_that_of_a_sequence_and_stays_its_last_child():
    with pytest.raises(UsageError, match="at once"):
        Task("a", TaskExecutionType.PARALLEL, finally_tasks=[leaf()])
    with pytest.raises(UsageError, match="'finally'"):
        Task("a", subtasks=[leaf("finally")], finally_tasks=[leaf()])
    with pytest.raises(UsageError, match="timeout"):
        Task("a", finally_tasks=[leaf()], finally_timeout=0)
    task = Task("a", subtasks=[leaf("b")], finally_tasks=[leaf("c")])
    with pytest.raises(UsageError, match="'finally'"):
        task.add(Task("finally"))
    task.subtasks = [*reversed(task.subtasks)]
    with pytest.raises(UsageError, match="last child"):
        task.complete()
    with pytest.raises(UsageError, match="nothing but a clean-up"):
        Task("a", finally_tasks=[leaf()]).complete()


def test_a_refused_child_leaves_everything_as_it_was():
    good, twin = leaf("same"), leaf("same")
    with pytest.raises(UsageError):
        Task("a", subtasks=[good, twin])
    assert good.parent is None
    task = Task("b", subtasks=[good])
    other = leaf("other")
    with pytest.raises(UsageError):
        task.add(other, twin)
    assert task.subtasks == [good]
    assert other.parent is None
    assert task.tracker.total_subtasks == 1


# -- the tree ----------------------------------------------------------------------------------


def test_each_node_knows_its_path():
    root = tree()
    assert [path for path, _ in root.walk()] == [
        "configure",
        "configure/check",
        "configure/configure_pst",
        "configure/configure_pst/pst-beam-01",
        "configure/configure_pst/pst-beam-02",
    ]
    assert all(node.path == path for path, node in root.walk())
    assert root.path == "configure"


def test_walking_may_begin_anywhere():
    inner = tree().subtasks[1]
    assert [path for path, _ in inner.walk()] == [
        "configure/configure_pst",
        "configure/configure_pst/pst-beam-01",
        "configure/configure_pst/pst-beam-02",
    ]


def test_nodes_are_found_by_their_path():
    root = tree()
    for path, node in root.walk():
        assert root.find(path) is node


def test_what_walking_tells_can_be_found_from_anywhere():
    inner = tree().subtasks[1]
    for path, node in inner.walk():
        assert inner.find(path) is node


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("", None),
        ("configur", "configure"),
        ("check", None),
        ("configure/chek", "check"),
        ("configure/check/deeper", None),
        ("configure//check", None),
        ("configure/configure_pst/pst-beam-03", "pst-beam-0"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_with_the_nearest_name(path, hint):
    with pytest.raises(UsageError) as info:
        tree().find(path)
    assert (info.value.hint is not None) == (hint is not None)
    assert (hint or "") in str(info.value)


def test_children_may_be_added_until_the_tree_is_complete():
    task = Task("configure")
    task.add(leaf("a"), leaf("b"))
    task.add(leaf("c"))
    assert [child.name for child in task.subtasks] == ["a", "b", "c"]
    assert task.tracker.total_subtasks == 3
    with pytest.raises(UsageError, match="complete"):
        task.add(leaf("d"))
    assert len(task.subtasks) == 3


def test_reading_a_childs_tracker_completes_the_whole_tree_above():
    root = tree()
    root.subtasks[1].subtasks[0].tracker  # noqa: B018
    with pytest.raises(UsageError, match="complete"):
        root.add(leaf("more"))


def test_nodes_show_themselves():
    root = tree()
    assert repr(root) == "<Task 'configure' SEQUENTIAL>"
    assert repr(root.subtasks[0]) == "<LeafTask 'configure/check' DEVICE>"
    assert repr(root.subtasks[1]) == "<Task 'configure/configure_pst' PARALLEL>"


def test_a_deep_tree_needs_no_recursion():
    depth = 3000
    node: BaseTask = leaf()
    for level in range(depth):
        node = Task(f"level-{level}", subtasks=[node])
    assert isinstance(node, Task)
    *_, (path, last) = node.walk()
    assert isinstance(last, LeafTask)
    assert last.path == path
    assert node.find(path) is last
    assert last.tracker.total_subtasks == 1
    last.parent.parent_callback()(task_name="leaf", status=TaskStatus.COMPLETED, result=OK)
    assert node.tracker.overall_status is TaskStatus.COMPLETED


# -- trackers ------------------------------------------------------------------------------------


def test_every_node_owns_a_tracker():
    root = tree()
    trackers = [node.tracker for _, node in root.walk()]
    assert all(isinstance(tracker, TaskTracker) for tracker in trackers)
    assert len(set(map(id, trackers))) == 5
    assert [tracker.total_subtasks for tracker in trackers] == [2, 1, 2, 1, 1]
    assert [tracker.task_name for tracker in trackers] == [node.name for _, node in root.walk()]
    assert trackers == [node.tracker for _, node in root.walk()]
    assert [tracker.is_root for tracker in trackers] == [True, False, False, False, False]


def test_a_base_task_owns_a_tracker_too():
    assert BaseTask("a").tracker.total_subtasks == 1


def test_an_empty_task_is_complete():
    task = Task("configure")
    assert task.tracker.total_subtasks == 0
    assert task.tracker.wait_for_task_completion() is True
    assert task.tracker.overall_status is TaskStatus.COMPLETED


def test_the_tracker_gets_what_the_task_was_given():
    done, logger = CallbackRecorder(), logging.getLogger("x")
    task = Task(
        "configure",
        completed_callback=done,
        is_root=True,
        logger=logger,
        subtasks=[leaf()],
        rule="any",
        operation="configure",
        obs_mode="IMAGING",
        pst_group=True,
    )
    tracker = task.tracker
    assert (tracker.completed_callback, tracker.logger) == (done, logger)
    assert (tracker.operation, tracker.obs_mode) == ("configure", "IMAGING")
    assert tracker._judgement.policy.rule is task.rule
    assert tracker._judgement.policy.pst_group is True


def test_the_parent_callback_is_the_trackers_update_task():
    task = tree()
    assert task.parent_callback() == task.tracker.update_task
    assert task.subtasks[0].parent_callback() == task.subtasks[0].tracker.update_task


def test_updates_of_the_leaves_make_the_outcome_of_the_root():
    root = tree()
    done = CallbackRecorder()
    root.set_completed_callback(done)
    check, group = root.subtasks
    root.parent_callback()(task_name="check", status=TaskStatus.COMPLETED, result=OK)
    for number, status in ((1, TaskStatus.COMPLETED), (2, TaskStatus.FAILED)):
        group.parent_callback()(
            task_name=f"pst-beam-0{number}",
            status=status,
            result=OK if status is TaskStatus.COMPLETED else (ResultCode.FAILED, "boom"),
            device_name=f"mid-pst/beam/0{number}",
        )
    assert group.tracker.overall_health == "DEGRADED"
    assert root.tracker.overall_status is TaskStatus.COMPLETED
    assert root.tracker.overall_health == "DEGRADED"
    assert root.tracker.overall_resultcode[1].splitlines() == [
        "Task configure completed in DEGRADED state",
        "Causes:",
        "- configure_pst - PST success 1/2",
        "- mid-pst/beam/02: boom",
    ]
    assert [payload["progress"] for payload in done.payloads] == [0, 50, 70, 100]
    assert check.tracker.overall_status is TaskStatus.COMPLETED


def test_causes_are_told_in_the_order_of_composition():
    task = Task("configure", subtasks=[leaf(name) for name in "abc"])
    for name in "bca":
        task.parent_callback()(task_name=name, status=TaskStatus.FAILED, result=(3, "boom"))
    assert task.tracker.overall_resultcode[1] == "Causes:\n- a - boom\n- b - boom\n- c - boom"


@pytest.mark.parametrize("before", [True, False])
def test_the_completed_callback_can_be_set_before_and_after_the_tracker_exists(before):
    first, second = CallbackRecorder(), CallbackRecorder()
    task = Task("configure", completed_callback=first, subtasks=[leaf("a")])
    if not before:
        task.tracker  # noqa: B018
    task.set_completed_callback(second)
    assert task.completed_callback is second
    assert task.tracker.completed_callback is second
    task.parent_callback()(task_name="a", status=TaskStatus.COMPLETED)
    assert (len(first), len(second)) == (0, 1)


def test_a_completed_callback_of_a_child_does_not_cut_its_tie_to_the_parent():
    done, other = CallbackRecorder(), TaskTracker("other", 1)
    for callback in (done, None, other.update_task, "its parent's"):
        root = Task("configure", subtasks=[Task("scan", subtasks=[leaf("a")])])
        child = root.subtasks[0]
        child.set_completed_callback(
            root.parent_callback() if callback == "its parent's" else callback
        )
        child.parent_callback()(task_name="a", status=TaskStatus.COMPLETED)
        assert root.tracker.overall_status is TaskStatus.COMPLETED
    assert len(done) == 1
    assert other.overall_status is TaskStatus.COMPLETED


# -- leaf trackers -----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "in the midst", "after"])
def test_a_leafs_tracker_tells_the_leafs_story_whenever_it_is_read(when):
    root = Task("configure", subtasks=[leaf("a"), leaf("b")])
    node = root.subtasks[0]
    if when == "before":
        node.tracker  # noqa: B018
    node.report(status=TaskStatus.IN_PROGRESS, progress=40, device_name="a/b/1")
    if when == "in the midst":
        assert node.tracker.progress == 40
    node.report(
        status=TaskStatus.FAILED,
        result=(3, "boom"),
        devices=["a/b/1", "a/b/2"],
        failed_devices=["a/b/2"],
    )
    tracker = node.tracker
    assert tracker.overall_status is TaskStatus.FAILED
    assert tracker.subtasks["a"].message == "a/b/1: boom"
    assert tracker.subtasks["a"].devices == ["a/b/1", "a/b/2"]
    assert tracker.wait_for_task_completion() is True
    assert root.tracker.subtasks["a"].status is TaskStatus.FAILED
    assert root.tracker.overall_status is TaskStatus.IN_PROGRESS


def test_a_leaf_without_a_parent_reports_to_itself():
    node = leaf("alone")
    node.report(status=TaskStatus.COMPLETED, result=OK)
    assert node.tracker.overall_status is TaskStatus.COMPLETED


@pytest.mark.parametrize("set_by", ["constructor", "method"])
def test_a_leafs_completed_callback_is_called(set_by):
    done = CallbackRecorder()
    node = leaf("a", completed_callback=done if set_by == "constructor" else None)
    if set_by == "method":
        node.set_completed_callback(done)
    root = Task("configure", subtasks=[node])
    node.report(status=TaskStatus.IN_PROGRESS, progress=50)
    node.report(status=TaskStatus.FAILED, result=(3, "boom"), error=("the error",))
    node.report(status=TaskStatus.COMPLETED)
    assert [payload["progress"] for payload in done.payloads] == [0, 50, 100]
    assert done.payloads[-1]["task_name"] == "a"
    assert done.payloads[-1]["status"] is TaskStatus.FAILED
    assert done.payloads[-1]["error"] == ("the error",)
    assert root.tracker.overall_status is TaskStatus.FAILED


def test_a_leafs_completed_callback_is_called_in_a_run():
    done = CallbackRecorder()
    node = LeafTask.from_callable(lambda: None, name="work", completed_callback=done)
    run(Task("configure", subtasks=[node]))
    assert done.payloads[-1]["status"] is TaskStatus.COMPLETED


# -- devices and callables -----------------------------------------------------------------------


class Named:
    name = "mid-pst/beam/01"


class Proxy:
    def name(self):
        raise AssertionError("a proxy's name() asks the device")

    def dev_name(self):
        return "mid-pst/beam/01"


class Trl:
    trl = "tango://host:10000/mid-pst/beam/01"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("mid-pst/beam/01", "mid-pst/beam/01"),
        ("tango://host:10000/mid-pst/beam/01", "mid-pst/beam/01"),
        ("tango://127.0.0.1:4567/mid-pst/beam/01#dbase=no", "mid-pst/beam/01"),
        ("host:10000/mid-pst/beam/01", "mid-pst/beam/01"),
        (Named(), "mid-pst/beam/01"),
        (Proxy(), "mid-pst/beam/01"),
        (Trl(), "mid-pst/beam/01"),
        ("", None),
        (None, None),
        (object(), None),
        (5, None),
    ],
)
def test_the_device_of_a_target(target, name):
    assert device_name_of(target) == name
    assert LeafTask("a", target, "Configure").device_name == name


def test_an_internal_leaf_has_no_device():
    assert leaf("a", task_type=TaskExecutionType.INTERNAL).device_name is None


def work(argin=None):
    return argin


async def coroutine_work():
    return None


class CallableObject:
    def __call__(self):
        return None


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (work, "work"),
        (coroutine_work, "coroutine_work"),
        (functools.partial(functools.partial(work, 1)), "work"),
        (lambda: None, "lambda"),
        (CallableObject(), "CallableObject"),
        (len, "len"),
        (CallbackRecorder().assert_no_call, "assert_no_call"),
    ],
)
def test_a_callable_is_an_internal_leaf(function, name):
    node = LeafTask.from_callable(function)
    assert node.name == name
    assert node.task_type is TaskExecutionType.INTERNAL
    assert node.resolve() is function
    assert node.argin is None


def test_a_callable_takes_its_options():
    done = CallbackRecorder()
    node = LeafTask.from_callable(work, 5, "mine", completed_callback=done, timeout=3, retries=1)
    assert (node.name, node.argin, node.timeout, node.retries) == ("mine", 5, 3.0, 1)
    assert node.completed_callback is done


@pytest.mark.parametrize("nothing", [None, 5, "work", object()])
def test_what_cannot_be_called_is_a_usage_error(nothing):
    with pytest.raises(UsageError, match="called"):
        LeafTask.from_callable(nothing)


def test_a_method_is_resolved_by_its_name():
    target = CallbackRecorder()
    node = LeafTask("a", target, "assert_no_call", task_type=TaskExecutionType.INTERNAL)
    assert node.resolve() == target.assert_no_call
    with pytest.raises(AttributeError):
        LeafTask("a", target, "nothing", task_type=TaskExecutionType.INTERNAL).resolve()
    with pytest.raises(TypeError):
        LeafTask("a", Named(), "name", task_type=TaskExecutionType.INTERNAL).resolve()


def test_run_runs_a_tree_in_one_call():
    seen = []
    outcome = run(Task("configure", subtasks=[LeafTask.from_callable(lambda: seen.append(1))]))
    assert outcome.status is TaskStatus.COMPLETED
    assert seen == [1]


# -- trees that change, and copies of trees --------------------------------------------------------


CHANGES = {
    "append": lambda kids: kids.append(leaf("late")),
    "extend": lambda kids: kids.extend([leaf("late")]),
    "insert": lambda kids: kids.insert(0, leaf("late")),
    "pop": lambda kids: kids.pop(),
    "remove": lambda kids: kids.remove(kids[0]),
    "clear": lambda kids: kids.clear(),
    "reverse": lambda kids: kids.reverse(),
    "sort": lambda kids: kids.sort(key=id),
    "set": lambda kids: kids.__setitem__(0, leaf("late")),
    "slice": lambda kids: kids.__setitem__(slice(0, 1), []),
    "delete": lambda kids: kids.__delitem__(0),
    "add": lambda kids: kids.__iadd__([leaf("late")]),
    "multiply": lambda kids: kids.__imul__(0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_children_take_no_change_once_the_tracker_exists(change):
    early = Task("root", subtasks=[leaf("a"), leaf("b")])
    CHANGES[change](early.subtasks)
    task = Task("root", subtasks=[leaf("a"), leaf("b")])
    kids = task.subtasks
    task.parent_callback()
    with pytest.raises(UsageError, match="no change"):
        CHANGES[change](kids)
    with pytest.raises(UsageError, match="no change"):
        task.subtasks = [leaf("late")]
    assert [child.name for child in task.subtasks] == ["a", "b"]


def test_a_submitted_tree_takes_no_change():
    from taskgrove.commands.main_task_executor import MainTaskExecutor

    step = LeafTask.from_callable(int, name="a")
    task = Task("root", subtasks=[Task("part", subtasks=[step])])
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(task)
        with pytest.raises(UsageError):
            task.subtasks[0].subtasks.append(leaf("late"))
        handle.wait()


def test_children_given_by_assignment_or_append_before_the_tracker_exists_are_run():
    ran = []
    task = Task("root", is_root=True)
    task.subtasks = [LeafTask.from_callable(lambda: ran.append("a"), name="a")]
    task.subtasks.append(LeafTask.from_callable(lambda: ran.append("b"), name="b"))
    assert run(task).status is TaskStatus.COMPLETED
    assert ran == ["a", "b"]


def changed_behind_the_tracker(tree):
    tree.parent_callback()
    list.append(tree.subtasks, LeafTask.from_callable(print, name="late"))
    return tree


def exchanged_behind_the_tracker(tree):
    tree.parent_callback()
    list.__setitem__(tree.subtasks, 0, LeafTask.from_callable(print, name="a"))
    return tree


def copied_branch(tree):
    return Task("other", subtasks=[copied(tree.subtasks[1])])


def copied(node):
    node = copy.copy(node)
    node.parent = None
    return node


def copied_with_its_tracker(tree):
    tree.parent_callback()
    return copy.copy(tree)


def joined_after_its_tracker_was_made(tree):
    part = Task("part", subtasks=[LeafTask.from_callable(int, name="a")])
    part.parent_callback()
    return Task("other", subtasks=[part])


def renamed_after_the_tracker_was_made(tree):
    tree.parent_callback()
    tree.subtasks[0].name = "c"
    return tree


def ended_before_it_was_submitted(tree):
    tree.parent_callback()(task_name="a", status=TaskStatus.COMPLETED)
    return tree


def part_ended_before_it_was_submitted(tree):
    tree.subtasks[1].parent_callback()(task_name="b", status=TaskStatus.ABORTED)
    return tree


SPOIL_IT_FOR_GOOD = (
    changed_behind_the_tracker, exchanged_behind_the_tracker,
    ended_before_it_was_submitted, part_ended_before_it_was_submitted,
)  # fmt: skip


def copied_leaf_with_its_tracker(tree):
    own = LeafTask.from_callable(print, name="a")
    assert own.tracker
    return copy.copy(own)


@pytest.mark.parametrize(
    "spoil",
    [*SPOIL_IT_FOR_GOOD, copy.copy, copied_branch, copied_with_its_tracker,
     copied_leaf_with_its_tracker, joined_after_its_tracker_was_made,
     renamed_after_the_tracker_was_made],
)  # fmt: skip
def test_a_tree_that_could_not_end_is_refused_and_the_first_one_runs(spoil):
    from taskgrove.commands.main_task_executor import MainTaskExecutor

    part = Task("part", subtasks=[LeafTask.from_callable(int, name="b")])
    tree = Task("root", subtasks=[LeafTask.from_callable(int, name="a"), part])
    with MainTaskExecutor() as executor:
        with pytest.raises(UsageError):
            executor.submit_main_task(spoil(tree))
        if spoil not in SPOIL_IT_FOR_GOOD:
            handle = executor.submit_main_task(tree)
            assert handle.wait(60)
            assert handle.outcome.status is TaskStatus.COMPLETED


@pytest.mark.parametrize("change", [{"name": "z"}, {"parent": None}])
def test_a_node_that_runs_takes_no_change(change):
    refused = []

    def rename():
        for node in (tree.subtasks[1], tree.subtasks[0], tree):
            try:
                setattr(node, *next(iter(change.items())))
            except UsageError as exc:
                refused.append(exc.path)

    part = Task("part", subtasks=[LeafTask.from_callable(rename, name="a")])
    tree = Task("root", subtasks=[part, LeafTask.from_callable(int, name="b")])
    assert run(tree).status is TaskStatus.COMPLETED
    # The root has no parent, and is given none.
    assert refused == ["root/b", "root/part", "root"][: 3 if "name" in change else 2]


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_a_whole_copy_of_a_tree_that_has_not_run_runs(copier):
    tree = Task("root", subtasks=[Task("part", subtasks=[LeafTask.from_callable(int, name="b")])])
    for one in (copier(tree), tree):
        assert run(one).status is TaskStatus.COMPLETED
        assert one.subtasks[0].parent is one


@pytest.mark.parametrize("kind", [Task, LeafTask])
def test_threads_that_make_a_tracker_at_once_get_the_same_one(monkeypatch, kind):
    """Each has made one; the first that was put down is the node's, for its children, too."""
    tree = Task("root", subtasks=[LeafTask.from_callable(print, name="a")])
    node = tree if kind is Task else tree.subtasks[0]
    barrier, make, found = threading.Barrier(3), kind._make_tracker, []

    def made_at_once(self):
        tracker = make(self)
        barrier.wait(GUARD_S)
        return tracker

    monkeypatch.setattr(kind, "_make_tracker", made_at_once)
    threads = [threading.Thread(target=lambda: found.append(node.tracker)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD_S)
    assert len(found) == 3
    assert set(map(id, found)) == {id(node.tracker)}


def test_a_copy_that_was_made_before_the_tracker_has_one_of_its_own():
    node = Task("root", subtasks=[])
    copied = copy.copy(node)
    assert node.tracker is not copied.tracker
    assert copied.tracker.owner() is copied
