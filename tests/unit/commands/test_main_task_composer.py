"""The composer: map + context → task tree, rule by rule (SPEC S6)."""

from __future__ import annotations

import threading
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.composition.context import ComponentContext, leaf_name_of
from taskgrove.commands.composition.guards import MapComponent, is_same_state
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import AdminMode, ObsMode, ObsState, ResultCode
from taskgrove.errors import CommandError, MapError

PARALLEL, SEQUENTIAL = TaskExecutionType.PARALLEL, TaskExecutionType.SEQUENTIAL


class Device:
    """A component: its TANGO name, and attributes."""

    def __init__(self, name: str, **attributes: Any) -> None:
        self.name = name
        for key, value in attributes.items():
            setattr(self, key, value)


class Manager:
    """A component manager with one CBF, one PSS and four PST beams."""

    def __init__(self, beams: int = 4, **attributes: Any) -> None:
        self.components: dict[str, Any] = {
            "cbf": Device("mid-cbf/subarray/01", obsState=ObsState.IDLE),
            "pss": Device("mid-pss/subarray/01", obsState=ObsState.IDLE),
            "pst": [
                Device(f"mid-pst/beam/{i:02}", obsState=ObsState.IDLE) for i in range(1, beams + 1)
            ],
            "resource_manager": [Device("mid-csp/resources/01")],
        }
        self.obsState = ObsState.IDLE
        for key, value in attributes.items():
            setattr(self, key, value)

    def check_lock(self, argin: Any = None) -> None: ...

    def check_all(self, task_abort_event: threading.Event) -> None: ...

    async def check_soon(self) -> None: ...


def compose(
    tasks: dict[str, Any],
    manager: Any = None,
    resources: Any = None,
    *,
    name: str = "configure",
    callback: Any = None,
    **root: Any,
) -> Task:
    entry = {"type": "sequential", "tasks": tasks, **root}
    context = Manager() if manager is None else manager
    return MainTaskComposer(name, {name: entry}, context, callback, resources).compose()


def refused(*args: Any, **kwargs: Any) -> CommandError:
    with pytest.raises(CommandError) as caught:
        compose(*args, **kwargs)
    assert caught.value.result_code == ResultCode.REJECTED
    return caught.value


def names(task: BaseTask) -> list[str]:
    assert isinstance(task, Task)
    return [child.name for child in task.subtasks]


def leaf(root: Task, path: str) -> LeafTask:
    found = root.find(path)
    assert isinstance(found, LeafTask)
    return found


CONFIGURE = {"command_name": "Configure"}
EMPTY = {"type": "parallel", "tasks": {}}


# --------------------------------------------------------------------------- the tree


def test_the_whole_tree_of_a_command() -> None:
    done: list[Any] = []
    root = compose(
        {
            "internal": {"command_name": "check_all", "timeout": 5, "retries": 2},
            "subsystems": {
                "type": "parallel",
                "timeout": 60,
                "rule": "any",
                "tasks": {
                    "cbf": {**CONFIGURE, "argin": {"a": 1}, "abort_on_timeout": True},
                    "pss": CONFIGURE,
                    "pst": {**CONFIGURE, "timeout": 30, "retries": 1, "rule": {"quorum": 0.5}},
                },
            },
            "resource_manager": {"command_name": "Release"},
            "reduce": {"handler": "analysis", "command_name": "SmallData", "config": "a.yaml"},
        },
        callback=done.append,
        skip_subtasks=True,
        timeout=100,
    )
    assert [(path, node.task_type.name) for path, node in root.walk()] == [
        ("configure", "SEQUENTIAL"),
        ("configure/check_all", "INTERNAL"),
        ("configure/subsystems", "PARALLEL"),
        ("configure/subsystems/cbf-subarray-01", "DEVICE"),
        ("configure/subsystems/pss-subarray-01", "DEVICE"),
        ("configure/subsystems/configure_pst", "PARALLEL"),
        ("configure/subsystems/configure_pst/pst-beam-01", "DEVICE"),
        ("configure/subsystems/configure_pst/pst-beam-02", "DEVICE"),
        ("configure/subsystems/configure_pst/pst-beam-03", "DEVICE"),
        ("configure/subsystems/configure_pst/pst-beam-04", "DEVICE"),
        ("configure/csp-resources-01", "DEVICE"),
        ("configure/reduce", "ANALYSIS"),
    ]
    assert root.is_root
    assert root.completed_callback == done.append
    assert (root.operation, root.skip_subtasks, root.timeout) == ("configure", True, 100.0)
    subsystems = root.find("configure/subsystems")
    assert isinstance(subsystems, Task)
    assert not subsystems.is_root
    assert (subsystems.timeout, subsystems.rule and subsystems.rule.label) == (60.0, "any")
    group = root.find("configure/subsystems/configure_pst")
    assert isinstance(group, Task)
    assert (group.pst_group, group.rule and group.rule.label) == (True, "quorum 0.5")
    assert group.timeout is None
    cbf = leaf(root, "configure/subsystems/cbf-subarray-01")
    assert (cbf.command_name, cbf.argin, cbf.device_name, cbf.abort_on_timeout) == (
        "Configure", {"a": 1}, "mid-cbf/subarray/01", True,
    )  # fmt: skip
    # Limits on a group's entry hold for each of its leaves (S6.1).
    for child in group.subtasks:
        assert isinstance(child, LeafTask)
        assert (child.timeout, child.retries, child.abort_on_timeout) == (30.0, 1, False)
    internal = leaf(root, "configure/check_all")
    assert isinstance(internal.target, Manager)
    assert (internal.timeout, internal.retries) == (5.0, 2)
    reduce = leaf(root, "configure/reduce")
    assert (reduce.target, reduce.command_name) == ("a.yaml", "SmallData")
    assert root.composition_notes == []


def test_the_target_is_the_component_itself() -> None:
    manager = Manager()
    root = compose({"cbf": CONFIGURE}, manager)
    assert leaf(root, "configure/cbf-subarray-01").target is manager.components["cbf"]


def test_csp_subs_are_all_subsystems_or_what_the_context_lists() -> None:
    root = compose({"csp_subs": {"command_name": "On"}}, name="on")
    group = root.find("on/on_csp_subs")
    assert isinstance(group, Task)
    assert group.task_type is PARALLEL
    assert names(group) == [
        "cbf-subarray-01", "pss-subarray-01",
        "pst-beam-01", "pst-beam-02", "pst-beam-03", "pst-beam-04",
    ]  # fmt: skip
    manager = Manager()
    manager.components["csp_subs"] = [Device("mid-cbf/control/0"), Device("mid-pss/control/0")]
    root = compose({"csp_subs": {"command_name": "On"}}, manager, name="on")
    assert names(root.find("on/on_csp_subs")) == ["cbf-control-0", "pss-control-0"]


def test_one_composite_may_hold_several_of_a_kind() -> None:
    root = compose(
        {
            "pst": CONFIGURE,
            "again": {"handler": "pst", "command_name": "Scan"},
            "cbf": CONFIGURE,
            "second": {"handler": "cbf", "command_name": "Scan"},
            "third": {"handler": "cbf", "command_name": "End"},
            "internal": {"command_name": "check_lock"},
            "later": {"handler": "internal", "command_name": "check_lock"},
        }
    )
    assert names(root) == [
        "configure_pst", "again", "cbf-subarray-01", "second", "third", "check_lock", "later",
    ]  # fmt: skip
    assert leaf(root, "configure/third").command_name == "End"
    # The name does not end in _pst; that it is a group of beams must not depend on it.
    second = root.find("configure/again")
    assert isinstance(second, Task)
    assert second.pst_group is True


def test_a_number_that_is_taken_is_passed_over() -> None:
    manager = Manager()
    names_of_devices = ("a/b/c", "a/b/c-2", "mid-a/b/c", "low-a/b/c")
    manager.components["pst"] = [Device(name) for name in names_of_devices]
    root = compose({"pst": CONFIGURE}, manager)
    group = names(root.find("configure/configure_pst"))
    assert group == ["a-b-c", "a-b-c-2", "a-b-c-3", "a-b-c-4"]
    root = compose(
        {"cbf": CONFIGURE, "cbf-subarray-01": {"type": "parallel", "tasks": {"pss": CONFIGURE}}}
    )
    assert names(root) == ["cbf-subarray-01", "cbf-subarray-01-2"]


SPELLINGS = [
    "tango://tg:10000/low-pst/beam/01",
    "tango://TG:10000/LOW-PST/Beam/01",
    "tango://tg.site.org:10000/low-pst/beam/01#dbase=no",
    "low-pst/beam/01",
    "LOW-PST/BEAM/01",
]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANGO_HOST", "tg:10000")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("other", SPELLINGS)
def test_a_device_twice_in_one_list_is_refused_in_any_spelling(other: str) -> None:
    data = {
        "commands": {"go": {"type": "parallel", "tasks": {"pst": CONFIGURE}}},
        "components": {"pst": [SPELLINGS[0], other]},
    }
    with pytest.raises(MapError, match="listed twice"):
        load_command_map(data)
    for components in ([SPELLINGS[0], other], [Device(SPELLINGS[0]), Device(other)]):
        error = refused({"pst": CONFIGURE}, {"components": {"pst": components}})
        assert "listed twice among the components of 'pst'" in str(error)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("other", SPELLINGS)
def test_a_device_twice_at_once_is_refused_and_one_device_in_a_sequence(other: str) -> None:
    inner = {
        "a": {"handler": "pss", "command_name": "Scan"},
        "b": {"handler": "resource_manager", "command_name": "Scan"},
    }
    manager = {"components": {"pss": SPELLINGS[0], "resource_manager": other}}
    error = refused({"both": {"type": "parallel", "tasks": inner}}, manager)
    assert "configure/both runs all its steps at once" in str(error)
    root = compose(inner, manager)
    assert names(root) == ["a", "b"]
    first, second = root.subtasks
    assert isinstance(first, LeafTask)
    assert isinstance(second, LeafTask)
    assert first.device_name == second.device_name
    assert first.target is second.target


def test_all_of_csp_subs_holds_no_device_twice() -> None:
    manager = {"components": {"cbf": "a/b/c", "pss": "A/B/C"}}
    error = refused({"csp_subs": CONFIGURE}, manager)
    assert "a/b/c stands twice" in str(error)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("mid-pst/beam/01", "pst-beam-01"),
        ("low-cbf/subarray/01", "cbf-subarray-01"),
        ("x/y/z", "x-y-z"),
        ("LOW-CBF/Subarray/01", "CBF-Subarray-01"),
        ("mid-/a/b", "mid--a-b"),
        ("middle-cbf/a/b", "middle-cbf-a-b"),
        ("tango://host:10000/mid-pst/beam/01#dbase=no", "pst-beam-01"),
        ("alias", "alias"),
    ],
)
def test_a_leaf_is_named_after_its_component(device: str, name: str) -> None:
    assert leaf_name_of(device) == name


def test_a_list_under_a_single_keyword_gives_a_leaf_for_each() -> None:
    manager = Manager()
    manager.components["cbf"] = [Device("low-cbf/subarray/01"), Device("low-cbf/subarray/02")]
    assert names(compose({"cbf": CONFIGURE}, manager)) == ["cbf-subarray-01", "cbf-subarray-02"]


def test_a_plain_dict_works_in_place_of_either() -> None:
    calls: list[Any] = []
    manager = {
        "components": {"cbf": {"name": "a/b/c", "obsState": "IDLE"}, "pst": ["low-pst/beam/01"]},
        "obsState": 2,
        "check": calls.append,
    }
    root = compose(
        {
            "internal": {"command_name": "check"},
            "cbf": CONFIGURE,
            "pst": CONFIGURE,
        },
        manager,
        allowed_states={"attr_name": "obsState", "attr_value": ["IDLE"]},
    )
    assert names(root) == ["check", "a-b-c"]
    assert leaf(root, "configure/a-b-c").target.name == "a/b/c"
    leaf(root, "configure/check").resolve()("x")
    assert calls == ["x"]
    assert any("pst-beam-01 (low-pst/beam/01): left out: it has no attribute obsState" in note
               for note in root.composition_notes)  # fmt: skip


def test_the_map_may_be_a_file_or_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("go: {type: parallel, tasks: {cbf: {command_name: On}}}")
    for command_map in (path, str(path), load_command_map(path)):
        root = MainTaskComposer("go", command_map, Manager(), None).compose()
        assert (names(root), root.task_type) == (["cbf-subarray-01"], PARALLEL)
    path.write_text("go: {type: parallel, tasks: {cbd: {command_name: On}}}")
    with pytest.raises(MapError, match=r"m.yaml:1:30: go.tasks.cbd.*did you mean 'cbf'"):
        MainTaskComposer("go", path, Manager(), None).compose()


def test_nothing_is_shared_between_two_compositions() -> None:
    command_map = load_command_map(
        {"go": {"type": "parallel", "tasks": {"pst": {"command_name": "On", "argin": {"a": [1]}}}}}
    )
    first = MainTaskComposer("go", command_map, Manager(), None).compose()
    second = MainTaskComposer("go", command_map, Manager(), None).compose()
    paths = ["go/go_pst/pst-beam-01", "go/go_pst/pst-beam-02"]
    leaves = [leaf(root, path) for root in (first, second) for path in paths]
    leaves[0].argin["a"].append(2)
    assert [item.argin for item in leaves[1:]] == [{"a": [1]}] * 3


def test_deep_nesting_composes() -> None:
    levels = 97  # as deep as the text of a map may be
    tasks: dict[str, Any] = {"cbf": CONFIGURE}
    for level in range(levels):
        tasks = {f"l{level}": {"type": "sequential", "tasks": tasks}}
    root = compose(tasks)
    assert sum(1 for _ in root.walk()) == levels + 2
    assert root.tracker.total_subtasks == 1


def test_an_unknown_command_names_the_nearest() -> None:
    with pytest.raises(CommandError, match=r"no command 'confgure'.*'configure'"):
        MainTaskComposer("confgure", {"configure": EMPTY}, {}, None).compose()


@pytest.mark.parametrize(
    ("manager", "mode"),
    [
        (Manager(obs_mode=ObsMode.IMAGING), "IMAGING"),
        (Manager(obsMode="PULSAR_SEARCH"), "PULSAR_SEARCH"),
        (Manager(), None),
    ],
)
def test_operation_and_mode_are_handed_on(manager: Manager, mode: str | None) -> None:
    root = compose({"pst": CONFIGURE}, manager)
    for _, node in root.walk():
        if isinstance(node, Task):
            assert (node.operation, node.obs_mode) == ("configure", mode)


# --------------------------------------------------------------------------- guards

IDLE = {"attr_name": "obsState", "attr_value": ["IDLE", "READY"]}


def test_the_roots_guard_is_checked_before_anything_is_built() -> None:
    manager = Manager(obsState=ObsState.SCANNING, components=None)
    error = refused({"internal": {"command_name": "no_such"}}, manager, allowed_states=IDLE)
    assert error.command == "configure"
    assert str(error) == "configure is not allowed: obsState is SCANNING; allowed: IDLE, READY"
    assert error.reasons == ("obsState is SCANNING; allowed: IDLE, READY",)


def test_a_manager_without_the_attribute_is_refused() -> None:
    guard = {"attr_name": "nothing", "attr_value": [1]}
    assert "it has no attribute nothing" in str(refused({"cbf": CONFIGURE}, allowed_states=guard))

    class Broken(Manager):
        @property
        def nothing(self) -> int:
            raise RuntimeError("no proxy")

    error = refused({"cbf": CONFIGURE}, Broken(), allowed_states=guard)
    assert "reading nothing raised RuntimeError: no proxy" in str(error)


class BareError(BaseException):
    """Neither an Exception nor what ends programs."""


class Incomparable:
    def __int__(self) -> int:
        raise BareError("no number")


class Exits(Manager):
    @property
    def nothing(self) -> int:
        raise BareError("no proxy")


@pytest.mark.parametrize(
    ("manager", "reason"),
    [
        (Exits, "reading nothing raised BareError: no proxy"),
        (lambda: Manager(nothing=Incomparable()), "comparing nothing raised BareError: no number"),
    ],
)
def test_whatever_the_attribute_of_a_guard_raises_is_a_reason(manager, reason) -> None:
    guard = {"attr_name": "nothing", "attr_value": [1]}
    assert reason in str(refused({"cbf": CONFIGURE}, manager(), allowed_states=guard))


def test_the_roots_guard_holds_for_devices_that_have_no_own() -> None:
    manager = Manager()
    manager.components["pst"][1].obsState = ObsState.FAULT
    del manager.components["pst"][2].obsState
    manager.components["pss"].obsState = ObsState.FAULT
    manager.components["pss"].adminMode = AdminMode.ONLINE
    own = {"attr_name": "adminMode", "attr_value": ["ONLINE"]}
    root = compose(
        {"pst": CONFIGURE, "pss": {**CONFIGURE, "allowed_states": own}},
        manager,
        allowed_states=IDLE,
    )
    assert names(root) == ["configure_pst", "pss-subarray-01"]
    assert names(root.find("configure/configure_pst")) == ["pst-beam-01", "pst-beam-04"]
    assert root.composition_notes == [
        "configure/configure_pst/pst-beam-02 (mid-pst/beam/02): left out: obsState is FAULT;"
        " allowed: IDLE, READY",
        "configure/configure_pst/pst-beam-03 (mid-pst/beam/03): left out: it has no attribute"
        " obsState",
    ]


def test_a_composites_guard_holds_below_it() -> None:
    manager = Manager()
    manager.components["cbf"].obsState = ObsState.READY
    only_idle = {"attr_name": "obsState", "attr_value": ["IDLE"]}
    inner = {
        "type": "parallel",
        "allowed_states": only_idle,
        "tasks": {"cbf": {**CONFIGURE, "reject_missing": False}, "pss": CONFIGURE},
    }
    root = compose({"inner": inner, "cbf": CONFIGURE}, manager, allowed_states=IDLE)
    assert names(root) == ["inner", "cbf-subarray-01"]
    assert names(root.find("configure/inner")) == ["pss-subarray-01"]


def test_reject_missing_rejects_with_every_name_and_what_was_found() -> None:
    manager = Manager()
    manager.components["pst"][0].obsState = ObsState.FAULT
    manager.components["pst"][2].obsState = ObsState.EMPTY
    manager.components["cbf"] = None
    error = refused(
        {
            "pst": {**CONFIGURE, "reject_missing": True},
            "cbf": {**CONFIGURE, "reject_missing": True},
        },
        manager,
        allowed_states=IDLE,
    )
    assert error.reasons == (
        "mid-pst/beam/01: obsState is FAULT; allowed: IDLE, READY",
        "mid-pst/beam/03: obsState is EMPTY; allowed: IDLE, READY",
        "cbf: the context has no component for cbf",
    )
    assert all(reason in str(error) for reason in error.reasons)


def test_an_internal_entry_may_have_a_guard_of_its_own() -> None:
    tasks = {"internal": {"command_name": "check_lock", "allowed_states": IDLE}, "cbf": CONFIGURE}
    manager = Manager(obsState=ObsState.READY)
    assert names(compose(tasks, manager)) == ["check_lock", "cbf-subarray-01"]
    manager.obsState = ObsState.FAULT
    root = compose(tasks, manager)
    assert names(root) == ["cbf-subarray-01"]
    assert root.composition_notes == [
        "configure/check_lock: left out: obsState is FAULT; allowed: IDLE, READY"
    ]
    tasks["internal"]["reject_missing"] = True  # type: ignore[index]
    assert "check_lock: obsState is FAULT" in str(refused(tasks, manager))


class Foreign(IntEnum):
    """An enum of another package, with names in its own style."""

    Idle = 2
    NOT_FITTED = 3


class Plain(Enum):
    ON = "on"


@pytest.mark.parametrize(
    ("value", "allowed", "attribute", "same"),
    [
        (ObsState.IDLE, "IDLE", "obsState", True),
        (ObsState.IDLE, "idle", "obsState", True),
        (ObsState.IDLE, 2, "obsState", True),
        (ObsState.IDLE, "2", "obsState", True),
        (ObsState.IDLE, ObsState.IDLE, "x", True),
        (ObsState.IDLE, "READY", "obsState", False),
        (ObsState.IDLE, 3, "obsState", False),
        (2, "IDLE", "obsState", True),
        (2, "IDLE", "obs_state", True),
        (2, "IDLE", "other", False),
        (5, "IDLE", "obsState", False),
        (2, "SCANNING", "obsState", False),
        ("IDLE", 4, "obsState", False),
        (5, "SCANNING", "obsState", True),
        (99, "IDLE", "obsState", False),
        (2, "IDEL", "obsState", False),
        (2.0, 2, "other", True),
        ("IDLE", 2, "obsState", True),
        ("2", 2, "x", True),
        ("IDLE", "IDLE", "x", True),
        ("NOT-FITTED", "NOT_FITTED", "x", True),
        (Foreign.Idle, "IDLE", "x", True),
        (Foreign.NOT_FITTED, ObsState.CONFIGURING, "x", False),
        (Foreign.NOT_FITTED, 3, "x", True),
        (Plain.ON, "ON", "state", True),
        (Plain.ON, 1, "state", False),
        (SimpleNamespace(name="ON"), "ON", "state", True),
        (True, True, "x", True),
        (True, "true", "x", True),
        (True, 1, "x", False),
        (None, 0, "x", False),
        (object(), "x", "x", False),
        (float("nan"), 0, "x", False),
        (float("inf"), 0, "x", False),
    ],
)
def test_states_compare_by_name_or_number(
    value: Any, allowed: Any, attribute: str, same: bool
) -> None:
    assert is_same_state(value, allowed, attribute) is same


# --------------------------------------------------------------------------- arguments


def argins(root: Task) -> dict[str, Any]:
    return {node.name: node.argin for _, node in root.walk() if isinstance(node, LeafTask)}


def test_an_argument_comes_from_the_entry_else_by_name_else_by_keyword() -> None:
    tasks = {
        "internal": {"command_name": "check_lock"},
        "cbf": {**CONFIGURE, "argin": 0},
        "pss": CONFIGURE,
        "resource_manager": CONFIGURE,
        "analysis": {"command_name": "SmallData"},
    }
    resources = {
        "check_lock": "by method",
        "internal": "lost",
        "mid-pss/subarray/01": "by name",
        "pss": "by keyword",
        "resource_manager": [1],
        "SmallData": {"run": 7},
    }
    root = compose(tasks, resources=resources)
    assert argins(root) == {
        "check_lock": "by method", "cbf-subarray-01": 0, "pss-subarray-01": "by name",
        "csp-resources-01": [1], "small-data": {"run": 7},
    }  # fmt: skip
    assert root.composition_notes == [
        "configure: resources['internal'] not used: nothing in configure asks for it",
        "configure: resources['pss'] not used: nothing in configure asks for it",
    ]


def test_names_in_resources_are_those_of_tango_or_of_leaves() -> None:
    resources = {"MID-CBF/Subarray/01": 1, "tango://h:1/mid-pss/subarray/01#dbase=no": 2}
    root = compose({"cbf": CONFIGURE, "pss": CONFIGURE}, resources=resources)
    assert argins(root) == {"cbf-subarray-01": 1, "pss-subarray-01": 2}
    assert argins(compose({"cbf": CONFIGURE}, resources={"cbf-subarray-01": 3})) == {
        "cbf-subarray-01": 3
    }
    both = {"mid-cbf/subarray/01": 1, "cbf-subarray-01": 2}
    assert "name the same component" in str(refused({"cbf": CONFIGURE}, resources=both))


def test_an_explicit_null_means_no_argument() -> None:
    root = compose({"cbf": {**CONFIGURE, "argin": None}}, resources={"cbf": 1})
    assert argins(root) == {"cbf-subarray-01": None}
    assert root.composition_notes == [
        "configure/cbf-subarray-01: resources['cbf'] not used: the map sets argin"
    ]


@pytest.mark.parametrize(
    "beams",
    [
        {"mid-pst/beam/03": "c", "mid-pst/beam/01": "a"},
        {"pst-beam-01": "a", "PST-BEAM-03": "c"},
        {"1": "a", "03": "c"},
        {1: "a", 3: "c"},
        {1: "a", "mid-pst/beam/03": "c"},
        {"1": "a", "PST-beam-03": "c"},
    ],
)
def test_beams_that_are_not_named_are_not_selected(beams: dict[Any, Any]) -> None:
    root = compose({"pst": {**CONFIGURE, "reject_missing": True}}, resources={"pst": beams})
    assert argins(root) == {"pst-beam-01": "a", "pst-beam-03": "c"}
    assert root.composition_notes == [
        "configure/configure_pst/pst-beam-02 (mid-pst/beam/02): left out: not in the resources",
        "configure/configure_pst/pst-beam-04 (mid-pst/beam/04): left out: not in the resources",
    ]


def test_one_argument_for_all_beams() -> None:
    root = compose({"pst": CONFIGURE}, resources={"pst": {"scan_id": 7}})
    assert list(argins(root).values()) == [{"scan_id": 7}] * 4


def test_numbers_that_are_no_beams_among_other_words_are_plain_data() -> None:
    argument = {"9": 1, "scan_id": 7, "beams": 2, "beam_width": 3}
    root = compose({"pst": CONFIGURE}, resources={"pst": argument})
    assert list(argins(root).values()) == [argument] * 4


def test_braces_in_the_resources_are_data() -> None:
    root = compose({"cbf": CONFIGURE}, resources={"cbf": {"id": "{{ run }}"}})
    assert argins(root) == {"cbf-subarray-01": {"id": "{{ run }}"}}


def test_a_beam_may_have_its_own_beside_that_of_all() -> None:
    root = compose({"pst": CONFIGURE}, resources={"pst": {"id": 1}, "pst-beam-02": {"id": 2}})
    assert [value["id"] for value in argins(root).values()] == [1, 2, 1, 1]


def test_beams_are_selected_also_where_the_map_sets_the_argument() -> None:
    entry = {**CONFIGURE, "argin": "x"}
    root = compose({"pst": entry}, resources={"pst": {"1": None, "2": "lost"}})
    assert argins(root) == {"pst-beam-01": "x", "pst-beam-02": "x"}
    assert [note for note in root.composition_notes if "not used" in note] == [
        "configure/configure_pst/pst-beam-02: resources['pst'] not used: the map sets argin"
    ]


def test_a_subsystem_that_is_listed_under_csp_subs_keeps_its_own_keyword() -> None:
    manager = Manager()
    parts = manager.components
    parts["csp_subs"] = [parts["cbf"], Device("mid-lmc/control/0"), *parts["pst"]]
    root = compose({"csp_subs": CONFIGURE}, manager, resources={"pst": {"2": "b"}, "cbf": "c"})
    assert argins(root) == {"cbf-subarray-01": "c", "lmc-control-0": None, "pst-beam-02": "b"}


def test_the_beams_of_csp_subs_are_selected_too() -> None:
    root = compose({"csp_subs": CONFIGURE}, resources={"pst": {"2": "b"}, "cbf": "c"})
    assert argins(root) == {"cbf-subarray-01": "c", "pss-subarray-01": None, "pst-beam-02": "b"}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"pst": {"mid-pst/beam/01": 1, "mid-pst/beam/09": 2}}, "'mid-pst/beam/09', which is not"),
        ({"pst": {"mid-pst/baem/01": 1}}, "did you mean 'mid-pst/beam/01'?"),
        ({"pst": {"pst-beam-09": 1}}, "'pst-beam-09', which is not there"),
        ({"pst": {"1": 1, "9": 2}}, "'9', which is not there"),
        ({"pst": {"1": 1, "01": 2}}, "mid-pst/beam/01 twice"),
        ({"pst": {"pst-beam-01": 1, "scan_id": 2}}, "'scan_id', which is not there"),
        ({"pst": {"1": 1, "beam 2": 2}}, "'beam 2', which is not there; did you mean 'mid-pst/be"),
        ({"pst": {1: 1, "gain": 2}}, "'gain', which is not there"),
        ({"pst": {"mid-pst/beam/01": 1, "2": 1, "x": 2}}, "'x', which is not there"),
        ({"pst": {"beam_02": 1}}, "did you mean 'mid-pst/beam/02'?"),
        ({"pst": {"PST-Beam 2": 1}}, "did you mean 'mid-pst/beam/02'?"),
        ({"csp_subs": {"1": 1}}, "'1', which several have: mid-cbf/subarray/01, mid-pss/"),
        ({"ppst": {}}, "resources name 'ppst', which is no component or keyword; did you mean 'p"),
        ({"mid-cbf/subarray/02": 1}, "did you mean 'mid-cbf/subarray/01'?"),
        ({"chek_lock": 1}, "did you mean 'check_lock'?"),
        ({3: 1}, "a name is a text, not 3"),
        ([1], "resources are a mapping by name, not [1]"),
    ],
)
def test_resources_that_fit_nothing_are_refused(resources: Any, said: str) -> None:
    tasks = {
        "pst": CONFIGURE,
        "internal": {"command_name": "check_lock"},
        "csp_subs": CONFIGURE,
    }
    assert said in str(refused(tasks, resources=resources))


def test_an_empty_mapping_of_beams_selects_none() -> None:
    error = refused({"pst": CONFIGURE}, resources={"pst": {}})
    assert "has nothing to run" in str(error)
    assert (
        "configure/configure_pst/pst-beam-01 (mid-pst/beam/01): left out: not in the resources"
        in error.reasons
    )


def test_arguments_of_devices_are_plain_data() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value, said in [
        ({"a": [object()]}, "argin.a[0] is <object object"),
        ({1: 2}, "argin has the key 1, which is no text"),
        (float("nan"), "argin is nan, which JSON does not know"),
        (b"x", "which is no plain data"),
        (loop, "nested deeper than 64 levels"),
    ]:
        error = refused({"cbf": CONFIGURE}, resources={"cbf": value})
        assert said in str(error)
        assert error.path == "configure/cbf-subarray-01"
    root = compose({"cbf": CONFIGURE}, resources={"cbf": (1, {"s": ObsState.IDLE})})
    assert argins(root) == {"cbf-subarray-01": [1, {"s": 2}]}
    # A method of this process takes what it is given.
    thing = object()
    root = compose({"internal": {"command_name": "check_lock"}}, resources={"internal": thing})
    assert argins(root)["check_lock"] is thing


# --------------------------------------------------------------------------- internal methods


def test_a_missing_method_names_the_nearest() -> None:
    error = refused({"internal": {"command_name": "chek_lock"}})
    assert str(error) == (
        "configure/chek_lock: chek_lock is no method of the component manager (Manager)"
        " (did you mean 'check_lock'?)"
    )
    error = refused({"internal": {"command_name": "obsState"}})
    assert "obsState of the component manager (Manager) cannot be called" in str(error)


def test_a_dict_as_manager_is_called_a_dict() -> None:
    manager = {"components": {}, "check_lock": len}
    error = refused({"internal": {"command_name": "chek_lock"}}, manager)
    assert str(error) == (
        "configure/chek_lock: chek_lock is no key of the component manager (a dict)"
        " (did you mean 'check_lock'?)"
    )


def test_without_a_manager_an_internal_entry_is_refused() -> None:
    context = ComponentContext({"cbf": "a/b/c"})
    error = refused({"internal": {"command_name": "check"}, "cbf": CONFIGURE}, context)
    assert "there is no component manager to call check on" in str(error)
    assert "--manager package:Class" in str(error)
    error = refused({"cbf": CONFIGURE}, context, allowed_states=IDLE)
    assert "no component manager whose obsState could be read" in str(error)


# --------------------------------------------------------------------------- notes, clean-up


def test_what_is_missing_is_left_out_with_a_note() -> None:
    manager = {"components": {"cbf": "a/b/c", "pss": None}}
    root = compose(
        {
            "cbf": CONFIGURE,
            "pss": CONFIGURE,
            "deep": {"type": "parallel", "tasks": {"pst": CONFIGURE, "csp_subs": CONFIGURE}},
            "empty": {"type": "parallel", "tasks": {"more": {"type": "sequential", "tasks": {}}}},
            "only": {"type": "parallel", "tasks": {"pst": CONFIGURE}},
        },
        manager,
    )
    assert [path for path, _ in root.walk()] == [
        "configure",
        "configure/a-b-c",
        "configure/deep",
        "configure/deep/configure_csp_subs",
        "configure/deep/configure_csp_subs/a-b-c",
    ]
    assert sorted(root.composition_notes) == [
        "configure/deep/configure_pst: left out: the context has no component for pst",
        "configure/empty/more: left out: nothing in it to run",
        "configure/empty: left out: nothing in it to run",
        "configure/only/configure_pst: left out: the context has no component for pst",
        "configure/only: left out: nothing in it to run",
        "configure/pss: left out: the context has no component for pss",
    ]


def test_a_fully_empty_tree_is_refused() -> None:
    error = refused({"pss": CONFIGURE}, {"components": {}})
    assert str(error) == (
        "configure has nothing to run: configure/pss: left out:"
        " the context has no component for pss"
    )
    assert "configure has nothing to run" in str(refused({}))


def test_clean_task_drops_empty_branches() -> None:
    filled = Task("c", subtasks=[LeafTask("l", "a/b/c", "On")])
    root = Task("r", subtasks=[Task("a", subtasks=[Task("b")]), filled])
    composer = MainTaskComposer("r", {}, None, None)
    assert composer._clean_task(root) is root
    assert [path for path, _ in root.walk()] == ["r", "r/c", "r/c/l"]
    assert composer._clean_task(Task("r", subtasks=[Task("a", subtasks=[Task("b")])])) is None
    assert composer._clean_task(Task("r")) is None
    alone = LeafTask("l", "a/b/c", "On")
    assert composer._clean_task(alone) is alone


def test_limits_that_cannot_be_enforced_are_said_aloud() -> None:
    root = compose(
        {
            "a": {"handler": "internal", "command_name": "check_lock", "timeout": 5},
            "b": {"handler": "internal", "command_name": "check_all", "timeout": 5},
            "c": {"handler": "internal", "command_name": "check_soon", "timeout": 5},
            "inner": {
                "type": "parallel",
                "timeout": 2.5,
                "tasks": {"internal": {"command_name": "check_lock", "timeout": 7}},
            },
        }
    )
    assert root.composition_notes == [
        "configure/a: limit 5 s can only be reported, not enforced:"
        " check_lock takes no task_abort_event",
        "configure/inner/check_lock: limit 2.5 s (set on configure/inner) can only be reported,"
        " not enforced: check_lock takes no task_abort_event",
    ]


def test_a_quorum_out_of_reach_is_said_aloud() -> None:
    root = compose({"pst": {**CONFIGURE, "rule": {"quorum": 5}}})
    assert root.composition_notes == [
        "configure/configure_pst: quorum 5 can never be met: there are 4 subtasks"
    ]
    root = compose({"cbf": CONFIGURE}, rule={"quorum": 3})
    assert root.composition_notes == ["configure: quorum 3 can never be met: there is 1 subtask"]


# --------------------------------------------------------------------------- context


WITH_COMPONENTS: dict[str, Any] = {
    "go": {"type": "parallel", "tasks": {"cbf": CONFIGURE, "pst": CONFIGURE}},
    "components": {"cbf": "low-cbf/subarray/01", "pst": ["low-pst/beam/01"]},
}


@pytest.mark.parametrize(
    "context", [None, {}, {"components": None}, SimpleNamespace(), Manager(components=None)]
)
def test_a_context_without_components_takes_those_of_the_map(context: Any) -> None:
    done: list[Any] = []
    root = MainTaskComposer("go", WITH_COMPONENTS, context, done.append).compose()
    assert names(root) == ["cbf-subarray-01", "go_pst"]
    assert leaf(root, "go/go_pst/pst-beam-01").device_name == "low-pst/beam/01"
    assert root.composition_notes == []


def test_an_explicit_context_wins_over_the_maps_components() -> None:
    root = MainTaskComposer("go", WITH_COMPONENTS, {"components": {"cbf": "x/y/z"}}, None).compose()
    assert names(root) == ["x-y-z"]
    for context in ({"components": {}}, ComponentContext({})):
        with pytest.raises(CommandError, match="the context has no component for cbf"):
            MainTaskComposer("go", WITH_COMPONENTS, context, None).compose()


def test_without_asking_devices_all_stay_and_what_was_not_checked_is_noted() -> None:
    data: dict[str, Any] = {
        "go": {"type": "parallel", "allowed_states": IDLE, "tasks": {"pst": CONFIGURE}},
        "components": {"pst": ["low-pst/beam/01", "low-pst/beam/02"]},
    }
    context = ComponentContext.from_map(load_command_map(data), ask_devices=False)
    root = MainTaskComposer("go", data, context, None).compose()
    assert names(root.find("go/go_pst")) == ["pst-beam-01", "pst-beam-02"]
    said = "condition not checked: obsState; allowed: IDLE, READY"
    assert root.composition_notes == [
        f"go: {said}",
        f"go/go_pst/pst-beam-01 (low-pst/beam/01): {said}",
        f"go/go_pst/pst-beam-02 (low-pst/beam/02): {said}",
    ]
    # A manager is no device: what it says counts.
    busy = Manager(obsState=ObsState.SCANNING)
    context = ComponentContext.from_map(load_command_map(data), busy, ask_devices=False)
    with pytest.raises(CommandError, match="go is not allowed: obsState is SCANNING"):
        MainTaskComposer("go", data, context, None).compose()


def test_a_context_is_made_of_a_maps_components() -> None:
    command_map = load_command_map(
        {
            "go": {
                "type": "parallel",
                "allowed_states": {"attr_name": "obsState", "attr_value": ["IDLE"]},
                "tasks": {"pst": {"command_name": "Scan"}},
            },
            "components": {"pst": ["low-pst/beam/01", "low-pst/beam/02", "low-pst/beam/03"]},
        }
    )
    address = "tango://127.0.0.1:10001/low-pst/beam/02#dbase=no"
    asked: list[tuple[str, str]] = []

    def read(device: str, attribute: str) -> object:
        asked.append((device, attribute))
        if device.endswith("03"):
            raise ConnectionError("no answer")
        return 2

    context = ComponentContext.from_map(
        command_map, Manager(), read, addresses={"low-pst/beam/02": address}
    )
    root = MainTaskComposer("go", command_map, context, None).compose()
    assert names(root.find("go/go_pst")) == ["pst-beam-01", "pst-beam-02"]
    second = leaf(root, "go/go_pst/pst-beam-02")
    assert second.target.name == address
    assert second.device_name == "low-pst/beam/02"
    assert asked == [
        ("low-pst/beam/01", "obsState"), (address, "obsState"), ("low-pst/beam/03", "obsState"),
    ]  # fmt: skip
    assert root.composition_notes == [
        "go/go_pst/pst-beam-03 (low-pst/beam/03): left out: reading obsState raised"
        " ConnectionError: no answer"
    ]


def test_a_device_that_does_not_answer_is_left_out_or_rejects() -> None:
    data: dict[str, Any] = {
        "go": {
            "type": "parallel",
            "tasks": {
                "cbf": {"command_name": "On", "reject_missing": False},
                "pss": {"command_name": "On"},
            },
        },
        "components": {"cbf": "low-cbf/subarray/01", "pss": "low-pss/subarray/01"},
    }
    reason = "tango://127.0.0.1:1/low-cbf/subarray/01 does not answer: refused"
    absences = {"low-cbf/subarray/01": reason}
    context = ComponentContext.from_map(load_command_map(data), absences=absences)
    root = MainTaskComposer("go", data, context, None).compose()
    assert names(root) == ["pss-subarray-01"]
    assert root.composition_notes == [
        f"go/cbf-subarray-01 (low-cbf/subarray/01): left out: {reason}"
    ]
    data["go"]["tasks"]["cbf"]["reject_missing"] = True
    with pytest.raises(CommandError) as caught:
        MainTaskComposer("go", data, context, None).compose()
    assert caught.value.reasons == (f"low-cbf/subarray/01: {reason}",)


def test_a_component_that_nobody_can_read_says_so() -> None:
    with pytest.raises(AttributeError, match="no way to read attributes of a/b/c"):
        MapComponent("a/b/c").read("obsState")
    error = refused(
        {"cbf": {**CONFIGURE, "reject_missing": True}},
        {"components": {"cbf": "a/b/c"}, "obsState": 2},
        allowed_states=IDLE,
    )
    assert "no way to read attributes of a/b/c" in str(error)


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ({"cbf": object()}, "a component of 'cbf' has no name"),
        ({"cbf": {"title": "x"}}, "a component of 'cbf' has no name"),
        (["a/b/c"], "components are list, not a mapping"),
    ],
)
def test_a_context_that_is_none_is_refused(components: Any, said: str) -> None:
    assert said in str(refused({"cbf": CONFIGURE}, {"components": components}))
