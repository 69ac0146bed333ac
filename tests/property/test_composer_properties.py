"""What holds for every composed tree (SPEC S6.3 to S6.6)."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.command_map import (
    AnalysisEntry,
    CallEntry,
    CommandMap,
    CompositeEntry,
    Entry,
    GroupEntry,
    load_command_map,
)
from taskgrove.commands.command_map.map_base import AllowedStates
from taskgrove.commands.command_map.map_models import (
    KEYWORDS,
    DeviceEntry,
    DeviceStepEntry,
    HandlerEntry,
)
from taskgrove.commands.composition.context import ManagerView, leaf_name_of
from taskgrove.commands.composition.guards import guard_objection
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ObsState
from taskgrove.errors import CommandError
from tests.property.map_strategies import COMPONENTS, METHODS, maps

#: In place of the names of leaves that are one for each value.
EACH = "each"

states = st.sampled_from([ObsState.IDLE, ObsState.READY, ObsState.FAULT, None])


@st.composite
def managers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a context: some components are there, in some state."""
    components: dict[str, Any] = {}
    for keyword, devices in COMPONENTS.items():
        if draw(st.booleans()):
            components[keyword] = [{"name": name, "obsState": draw(states)} for name in devices]
    manager: dict[str, Any] = {"components": components, "obsState": draw(states)}
    return manager | {name: (lambda argin=None: None) for name in METHODS}


class Expected(NamedTuple):
    """The leaves that there must be, told apart from the composer.

    A leaf is (its base name, its command); what is left out is counted by candidate, and
    ``is_filled`` says whether a leaf is made, also one that rejects the command.
    """

    leaves: list[tuple[str, str]]
    left_out: int
    is_filled: bool


def expected(
    view: ManagerView, command_map: CommandMap, entry: CompositeEntry, guard: AllowedStates | None
) -> Expected:
    total = Expected([], 0, False)
    for name, child in entry.tasks.items():
        total = both(total, expected_of(view, command_map, name, child, guard))
    if entry.finally_tasks and total.is_filled:
        for name, child in entry.finally_tasks.items():
            total = both(total, expected_of(view, command_map, name, child, guard))
    return total


def both(one: Expected, two: Expected) -> Expected:
    return Expected(
        one.leaves + two.leaves, one.left_out + two.left_out, one.is_filled or two.is_filled
    )


def expected_of(
    view: ManagerView,
    command_map: CommandMap,
    name: str,
    entry: Entry,
    guard: AllowedStates | None,
) -> Expected:
    own = "" if name in KEYWORDS else name
    if isinstance(entry, CallEntry):
        if "allowed_states" in entry.model_fields_set:
            guard = None
        return expected(view, command_map, command_map.command(entry.call), guard)
    if isinstance(entry, CompositeEntry):
        return expected(view, command_map, entry, entry.allowed_states or guard)
    leaves: list[tuple[str, str]] = []
    left_out = 0
    if isinstance(entry, (DeviceEntry, DeviceStepEntry)):
        if isinstance(entry, DeviceStepEntry):
            candidates, operand = view.named(entry.devices), entry.operand
            is_group = entry.makes_group
        else:
            candidates, operand = view.components(entry.handler), entry.command_name
            is_group = isinstance(entry, GroupEntry)
        for item in candidates:
            if guard_objection(item.target, entry.allowed_states or guard) is None:
                is_named = own and len(candidates) == 1 and not is_group
                leaves.append((own if is_named else leaf_name_of(item.name), operand))
            else:
                left_out += 1
        is_filled = bool(leaves) or (entry.reject_missing and left_out > 0)
        return Expected(leaves, left_out + (not candidates), is_filled)
    if view.own_guard(entry.allowed_states)[0] is not None:
        return Expected([], 1, False)
    if isinstance(entry, AnalysisEntry):
        return Expected(analysis_leaves(entry, own), 0, True)
    return Expected([(own or entry.command_name, entry.command_name)], 0, True)


def analysis_leaves(entry: AnalysisEntry, own: str) -> list[tuple[str, str]]:
    """Return the leaves of an analysis; those of one with ``each`` have a base name in common."""
    if entry.each is None:
        return [(own or entry.command_name.lower(), entry.command_name)]
    count = len(entry.each.all_values())
    return [(EACH, entry.command_name)] * count


def composed(
    command: str, data: Any, manager: dict[str, Any], resources: Any = None
) -> Task | CommandError:
    try:
        return MainTaskComposer(command, data, manager, None, resources).compose()
    except CommandError as error:
        return error


def base_name(leaf: LeafTask, bases: set[str]) -> str:
    name = leaf.name
    if leaf.task_type is TaskExecutionType.ANALYSIS and "frame" in (leaf.argin or {}):
        assert leaf.parent is not None
        assert name.startswith(f"{leaf.parent.name}-")
        return EACH
    if name in bases:
        return name
    base, dash, number = name.rpartition("-")
    assert dash
    assert int(number) >= 2
    return base


def demand(entry: dict[str, Any], reject_missing: bool) -> None:
    """Say of every entry whether a missing target rejects the command."""
    for child in [*entry["tasks"].values(), *entry.get("finally", {}).values()]:
        if "tasks" in child:
            demand(child, reject_missing)
        elif "call" not in child:
            child["reject_missing"] = reject_missing


@given(maps(), managers())
def test_nothing_is_left_out_without_a_note_and_names_are_unique(
    data: dict[str, Any], manager: dict[str, Any]
) -> None:
    for plain in data["commands"].values():
        demand(plain, False)
    command_map = load_command_map(data)
    for command, entry in command_map.commands.items():
        wanted, left_out, _ = expected(ManagerView(manager), command_map, entry, None)
        root = composed(command, data, manager)
        if isinstance(root, CommandError):
            assert not wanted, root
            assert len([line for line in root.reasons if "nothing in it" not in line]) == left_out
            continue
        nodes = list(root.walk())
        bases = {name for name, _ in wanted}
        leaves = [node for _, node in nodes if isinstance(node, LeafTask)]
        assert sorted((base_name(leaf, bases), leaf.command_name) for leaf in leaves) == sorted(
            wanted
        )
        notes = [line for line in root.composition_notes if ": left out: " in line]
        assert len([line for line in notes if "nothing in it" not in line]) == left_out
        told = [item for _, node in nodes if isinstance(node, Task) for item in node.left_out]
        branches = {item.path.rpartition("/")[0] for item in told if item.branch}
        assert len([item for item in told if item.path not in branches]) == left_out
        assert len({path for path, _ in nodes}) == len(nodes)
        for _, node in nodes:
            if isinstance(node, Task):
                assert node.steps
                assert len({child.name for child in node.subtasks}) == len(node.subtasks)
        assert root.tracker.total_subtasks == len(root.subtasks)


@given(maps(), managers())
def test_a_missing_target_rejects_where_the_map_says_so(
    data: dict[str, Any], manager: dict[str, Any]
) -> None:
    for entry in data["commands"].values():
        demand(entry, True)
    command_map = load_command_map(data)
    for command, typed in command_map.commands.items():
        wanted, left_out, _ = expected(ManagerView(manager), command_map, typed, None)
        root = composed(command, data, manager)
        if isinstance(root, CommandError):
            if left_out:
                assert len(root.reasons) == left_out
            else:
                assert not wanted
        else:
            assert left_out == 0
            assert len([node for _, node in root.walk() if isinstance(node, LeafTask)]) == len(
                wanted
            )


@given(maps(), managers(), st.sets(st.integers(1, 4)))
def test_only_named_beams_are_selected(
    data: dict[str, Any], manager: dict[str, Any], beams: set[int]
) -> None:
    manager["components"]["pst"] = [{"name": name, "obsState": 2} for name in COMPONENTS["pst"]]
    resources = {"pst": {f"low-pst/beam/{beam:02}": {"beam": beam} for beam in beams}}
    for command in data["commands"]:
        root = composed(command, data, manager, resources)
        if isinstance(root, CommandError):
            continue
        for _, node in root.walk():
            device = node.device_name if isinstance(node, LeafTask) else None
            if device is not None and device.startswith("low-pst"):
                assert int(device[-2:]) in beams


def test_entries_are_of_the_classes_that_the_properties_tell_apart() -> None:
    assert issubclass(GroupEntry, DeviceEntry)
    assert issubclass(DeviceEntry, HandlerEntry)
