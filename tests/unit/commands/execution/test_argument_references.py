"""Arguments that refer to the document of a command and to results of earlier steps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import CommandError
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from taskgrove.view.snapshot import RunView
from tests.unit.commands.execution.live_steering import live, why_not

DEVICE = TaskExecutionType.DEVICE
GUARD_S = 60.0
COMPONENTS = {
    "cbf": ["low-cbf/subarray/01"],
    "pss": ["low-pss/subarray/01"],
    "pst": [f"low-pst/beam/{n:02}" for n in (1, 2, 3)],
}
MERGED = {"$merge": ["{{ argin.common }}", "{{ argin.pst.beam[beam_id]? }}"]}
DOCUMENT = {
    "common": {"id": "c1"},
    "lowcbf": {"stations": [1]},
    "pst": {"beam": [{"beam_id": 3, "x": 7}, {"beam_id": 1, "x": 5}]},
}


def composed(tasks: dict[str, Any], document: Any = None, **options: Any) -> Task:
    command = {"type": "sequential", "skip_subtasks": True, "tasks": tasks}
    command |= options.pop("command", {})
    command_map = load_command_map({"commands": {"configure": command}, "components": COMPONENTS})
    context = ComponentContext.from_map(command_map, options.pop("manager", None))
    return MainTaskComposer("configure", command_map, context, None, document, **options).compose()


def refused(*args: Any, **options: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        composed(*args, **options)
    return caught.value


def step(argin: Any = None, handler: str = "cbf", **keys: Any) -> dict[str, Any]:
    given = {} if argin is None else {"argin": argin}
    return {"handler": handler, "command_name": "Configure", **given, **keys}


def gives(value: Any) -> Script:
    return Script(result=(ResultCode.OK, json.dumps(value)))


class Ran:
    """A run of a tree on devices that follow a script."""

    def __init__(self, task: Task, scripts: Any = None, runner: Any = None) -> None:
        self.fake = runner or FakeDeviceRunner(scripts)
        self.log = EventLog()
        with MainTaskExecutor(4, {DEVICE: self.fake}) as executor:
            handle = executor.submit_main_task(task, observers=[self.log])
            assert handle.wait(GUARD_S)
        self.log.assert_gapless()
        self.view = RunView().apply_all(self.log.events)
        self.outcome = handle.outcome

    def argin(self, name: str) -> Any:
        return next(it.argin for it in self.fake.calls if it.action == "start" and it.name == name)

    def started(self) -> list[str]:
        return [call.name for call in self.fake.calls if call.action == "start"]


def test_each_beam_gets_its_item_and_one_that_is_not_named_is_left_out() -> None:
    root = composed({"pst": step(MERGED, "pst")}, DOCUMENT)
    leaves = {leaf.name: leaf.argin for leaf in root.subtasks[0].subtasks}
    assert leaves == {
        "pst-beam-01": {"id": "c1", "beam_id": 1, "x": 5},
        "pst-beam-03": {"id": "c1", "beam_id": 3, "x": 7},
    }
    assert [(it.name, it.kind) for it in root.subtasks[0].left_out] == [
        ("pst-beam-02", "selection")
    ]


def test_a_subsystem_that_the_document_does_not_name_is_left_out() -> None:
    tasks = {"cbf": step("{{ argin.lowcbf? }}"), "pss": step("{{ argin.pss? }}", "pss")}
    root = composed(tasks, DOCUMENT)
    assert [child.name for child in root.subtasks] == ["cbf-subarray-01"]
    error = refused(tasks, {"common": {}})
    assert "nothing to run" in str(error)


def test_the_document_is_data_and_names_no_component() -> None:
    document = {"common": {"a": "{{ argin.secret }} {{{{"}, "pst": 3, "no_such": 1}
    root = composed({"a": step("{{ argin.common }}"), "b": step()}, document)
    a, b = root.subtasks
    assert (a.argin, b.argin) == (document["common"], None)


def test_a_missing_part_is_refused_with_the_remedy() -> None:
    error = refused({"cbf": step("{{ argin.lowcbff }}")}, DOCUMENT)
    assert "argin has no 'lowcbff'" in str(error)
    assert error.hint == "did you mean 'lowcbf'?"
    error = refused({"pss": step("{{ argin.pss }}", "pss")}, {"z": 1})
    assert "{{ argin.KEY? }}" in str(error.hint)
    error = refused({"cbf": step("{{ argin.lowcbf? }}")})
    assert "no document is given" in str(error)
    assert "--argin" in str(error.hint)


def test_an_earlier_run_gives_its_value() -> None:
    asked = []

    def earlier(analysis: str, key: str) -> Any:
        asked.append((analysis, key))
        if analysis == "Gone":
            raise LookupError("the record holds no completed Gone")
        return {"x": 3.5}

    root = composed({"cbf": step("{{ earlier.Fit.payload.rings.0 }}")}, earlier=earlier)
    assert root.subtasks[0].argin == {"x": 3.5}
    assert asked == [("Fit", "payload.rings.0")]
    error = refused({"cbf": step("{{ earlier.Gone.payload }}")}, earlier=earlier)
    assert "no completed Gone" in str(error)
    assert "no record" in str(refused({"cbf": step("{{ earlier.Fit.payload }}")}))


def test_a_group_gives_the_results_of_those_that_succeeded() -> None:
    tasks = {
        "pst": step(handler="pst", rule="any"),
        "cbf": step(
            {"all": "{{ results.configure_pst }}", "x": "{{ results.configure_pst.x[0] }}"}
        ),
        "pss": step("{{ results['configure_pst']['pst-beam-03'].x[0] }}", "pss"),
    }
    scripts = {f"pst-beam-0{n}": gives({"x": [n, 9]}) for n in (1, 3)}
    scripts["pst-beam-02"] = Script.fails("no lock")
    ran = Ran(composed(tasks, command={"skip_subtasks": False}), scripts)
    assert ran.argin("cbf-subarray-01") == {
        "all": {"pst-beam-01": {"x": [1, 9]}, "pst-beam-03": {"x": [3, 9]}},
        "x": {"pst-beam-01": 1, "pst-beam-03": 3},
    }
    assert ran.argin("pss-subarray-01") == 3
    node = ran.view.nodes["configure/cbf-subarray-01"]
    assert node.composed is not None
    assert node.composed.argin["all"] == "{{ results.configure_pst }}"
    assert node.argin == ran.argin("cbf-subarray-01")
    finished = ran.view.nodes["configure/configure_pst/pst-beam-01"].finished
    assert finished is not None
    assert finished.result_value == {"x": [1, 9]}


@pytest.mark.parametrize(
    ("result", "fields", "value"),
    [
        ((ResultCode.OK, "done"), {}, "done"),
        ((ResultCode.OK, "{done"), {}, "{done"),
        ((ResultCode.OK, ""), {"result_value": [1, 2]}, [1, 2]),
        ((ResultCode.OK, '["{{ argin.x }}"]'), {}, ["{{ argin.x }}"]),
        ((ResultCode.OK, json.dumps({"long": "x" * 50_000})), {}, {"long": "x" * 50_000}),
    ],
)
def test_the_result_of_a_leaf_is_its_data_or_its_message(
    result: Any, fields: Any, value: Any
) -> None:
    root = composed({"first": step(), "second": step("{{ results.first }}")})
    ran = Ran(root, {"first": Script(result=result, fields=fields)})
    assert ran.argin("second") == value


@pytest.mark.parametrize(
    ("script", "said", "because"),
    [
        (Script.fails("no lock"), "did not succeed", "configure/first"),
        (gives({"y": 1}), "first has no 'x'; it has: y", None),
        (gives(3), "first is a text", None),
        (gives({"z": "x" * (1 << 20)}), "more than 1,048,576 characters", "configure/first"),
    ],
)
def test_a_step_whose_argument_is_not_known_is_rejected_and_not_sent(
    script: Script, said: str, because: str | None
) -> None:
    tasks = {"first": step(), "second": step("{{ results.first.x }}", retries=2)}
    ran = Ran(composed(tasks, command={"skip_subtasks": False}), {"first": script})
    assert ran.started() == ["first"]
    node = ran.view.nodes["configure/second"]
    assert node.status is TaskStatus.REJECTED
    assert node.finished is not None
    cause = node.finished.cause
    assert cause is not None
    assert (cause.kind, cause.because_of) == ("unresolved", because)
    assert said in cause.said
    assert not node.finished.begun


def test_a_further_attempt_gives_the_newest_result() -> None:
    tasks = {"first": step(retries=1), "second": step("{{ results.first.n }}")}
    scripts = {"first": [Script.fails("busy", may_retry=True), gives({"n": 2})]}
    assert Ran(composed(tasks), scripts).argin("second") == 2


def test_a_method_gives_a_result() -> None:
    class Manager:
        def prepare(self) -> tuple[ResultCode, str]:
            return ResultCode.OK, '{"port": 7}'

    prepare = {"handler": "internal", "command_name": "prepare"}
    tasks = {"first": prepare, "second": step("{{ results.first.port }}")}
    assert Ran(composed(tasks, manager=Manager())).argin("second") == 7


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({"a": step("{{ results.b }}"), "b": step()}, "configure/b has not ended when configure/a"),
        ({"a": step("{{ results.a }}")}, "configure/a has not ended when configure/a starts"),
        ({"ab": step(), "b": step("{{ results.aab }}")}, "the tree has no step 'aab'"),
        (
            {
                "p": {
                    "type": "parallel",
                    "tasks": {"a": step(), "b": step("{{ results.a }}", "pss")},
                }
            },
            "configure/p/a has not ended when configure/p/b starts",
        ),
        (
            {"p": {"type": "sequential", "tasks": {"a": step("{{ results.configure }}")}}},
            "configure has not ended",
        ),
        (
            {
                "p": {"type": "sequential", "tasks": {"a": step()}},
                "q": {"type": "sequential", "tasks": {"a": step()}},
                "b": step("{{ results.a }}"),
            },
            "2 steps are named 'a': configure/p/a, configure/q/a",
        ),
    ],
)
def test_only_a_step_that_has_ended_may_be_named(tasks: Any, said: str) -> None:
    assert said in str(refused(tasks))


def test_a_step_that_is_left_out_is_told_as_such() -> None:
    tasks = {
        "a": step({"$merge": ["{{ argin.common }}", "{{ argin.m? }}"]}),
        "b": step("{{ results.a.port }}"),
    }
    error = refused(tasks, DOCUMENT)
    assert "configure/a is left out: not in the document" in str(error)
    assert error.hint is None


def test_the_nearest_step_of_a_name_counts_and_a_path_names_any() -> None:
    tasks = {
        "a": step(),
        "p": {
            "type": "sequential",
            "tasks": {
                "a": step(),
                "b": step(["{{ results.a }}", "{{ results['configure/a'] }}"]),
            },
        },
    }
    scripts = {"configure/a": gives([1]), "configure/p/a": gives([2])}
    assert Ran(composed(tasks), scripts).argin("b") == [[2], [1]]


def test_the_values_of_other_steps_take_references() -> None:
    tasks = {
        "first": step(),
        "set": {"device": "cbf", "write": {"attribute": "gain", "value": "{{ results.first.g }}"}},
        "wait": {
            "device": "cbf",
            "wait": {"attribute": "gain", "any_of": ["{{ argin.x }}", "{{ results.first.g }}"]},
        },
        "see": {"device": "cbf", "expect": {"attribute": "gain", "value": "{{ argin.x }}"}},
    }
    ran = Ran(composed(tasks, {"x": 2.5}), {"first": gives({"g": 1.5})})
    assert ran.argin("set") == 1.5
    assert ran.argin("wait") == {"attribute": "gain", "any_of": [2.5, 1.5]}
    assert ran.argin("see") == {"attribute": "gain", "value": 2.5}


def test_a_clean_up_may_name_the_steps_before() -> None:
    command = {"finally": {"end": step("{{ results.a }}")}}
    root = composed({"a": step()}, command=command)
    assert Ran(root, {"a": gives({"id": 4})}).argin("end") == {"id": 4}


def test_a_leaf_that_nobody_refers_to_keeps_nothing() -> None:
    root = composed({"a": step(), "b": step("{{ results.a }}")})
    ran = Ran(root, {"a": gives([1]), "b": gives([2])})
    a, b = root.subtasks
    assert isinstance(a, LeafTask)
    assert isinstance(b, LeafTask)
    assert a.kept_result is not None
    assert b.kept_result is None
    finished = ran.view.nodes["configure/b"].finished
    assert finished is not None
    assert finished.result_value is None


def test_a_group_that_the_document_leaves_out_gives_no_results() -> None:
    tasks = {"pst": step(MERGED, "pst"), "cbf": step({"x": "{{ results.configure_pst.x }}"})}
    ran = Ran(composed(tasks, {"common": {}, "pst": {"beam": []}}))
    assert ran.started() == ["cbf-subarray-01"]
    assert ran.argin("cbf-subarray-01") == {"x": {}}


def test_a_step_whose_result_is_needed_is_not_skipped() -> None:
    tasks = {
        "wait": step(),
        "first": step(),
        "pst": step(handler="pst"),
        "second": step(["{{ results.first }}", "{{ results.configure_pst }}"]),
        "last": step(),
    }
    held = {"first": Script.fails("no lock"), "wait": Script(hangs=True)}
    with live(composed(tasks, command={"hold": "on_failure"}), held) as run:
        run.fake.wait_for_call("wait")
        for path in ("configure/first", "configure/configure_pst"):
            answer = run.handle.skip(path)
            assert why_not(answer) == ("refused", ["needed_later"])
            assert answer.objections[0].because_of == "configure/second"
        # A group gives the results of those that succeed: one of them may be missing.
        assert run.handle.skip("configure/configure_pst/pst-beam-02").fate == "done"
        assert run.handle.skip("configure/last").fate == "done"
        run.fake.release("wait")
        run.note("held", "configure/first")
        assert why_not(run.handle.skip("configure/first")) == ("refused", ["needed_later"])
        run.handle.fail("configure/first")
        run.ends()
