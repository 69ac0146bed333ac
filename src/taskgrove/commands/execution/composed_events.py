"""The first events of a run: each node as it was composed, parents before children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskgrove.commands.execution.hold_settings import hold_timeout_of, holds
from taskgrove.commands.leaf_runner import LeafRunner, limits_of
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.events import ComposedDetail, EventBus, ExecutionKind, NoteDetail
from taskgrove.events.foreign_values import plain_data


def limit_note(leaf: LeafTask, runners: Mapping[TaskExecutionType, LeafRunner]) -> str | None:
    """Return the note on a leaf's limit that cannot be enforced, or None."""
    runner = runners.get(leaf.task_type)
    if leaf.timeout is None or runner is None:
        return None
    limits = limits_of(runner, leaf)
    if limits.timeout == "enforced":
        return None
    why = f": {limits.note}" if limits.note else ""
    return f"the limit of {leaf.timeout:g} s is reported, not enforced{why}"


def _execution(node: BaseTask) -> ExecutionKind:
    return node.task_type.name  # type: ignore[return-value] # the names of the enum are the kinds


def address_of(leaf: LeafTask) -> str | None:
    """Return how a device is reached where its name alone is not enough: recovery needs it."""
    if leaf.device_name is None:
        return None
    target = leaf.target
    try:
        told = [target, getattr(target, "trl", None), getattr(target, "name", None)]
        address = next((str(name) for name in told if isinstance(name, str) and name), None)
    except BaseException:  # noqa: BLE001 - the runner of the leaf meets and reports it
        return None
    return address if address != leaf.device_name else None


def _argin(leaf: LeafTask) -> Any:
    """Return the argument of a leaf as plain data; an analysis tells its parameters itself."""
    if leaf.argin is None or leaf.task_type is TaskExecutionType.ANALYSIS:
        return None
    return plain_data(leaf.argin)


def composed_detail(
    node: BaseTask, notes: tuple[str, ...] = (), *, holds_by_default: bool = False
) -> ComposedDetail:
    """Return the facts that the record keeps of a composed node.

    Args:
        node: The node.
        notes: Notes on it.
        holds_by_default: Whether a leaf is held where no setting of the tree says so.
    """
    places = node.places
    if isinstance(node, LeafTask):
        target = node.device_name
        if target is None:
            target = node.target if isinstance(node.target, str) else type(node.target).__name__
        is_held = holds(node, default=holds_by_default)
        return ComposedDetail(
            execution=_execution(node),
            timeout_s=node.timeout,
            retries=node.retries,
            target=target,
            command_name=node.command_name,
            notes=notes,
            address=address_of(node),
            place=places.own,
            timeout_place=None if node.timeout is None else places.timeout,
            argin_place=places.argin,
            description=node.description,
            hold=is_held,
            hold_timeout_s=hold_timeout_of(node) if is_held else None,
            retry_delay_s=node.retry_delay,
            retry_backoff=node.retry_backoff,
            step=node.step,
            argin=_argin(node),
        )
    assert isinstance(node, Task)
    return ComposedDetail(
        execution=_execution(node),
        children=tuple(child.name for child in node.subtasks),
        rule=None if node.rule is None else node.rule.label,
        timeout_s=node.timeout,
        root=node.is_root,
        operation=node.operation,
        obs_mode=node.obs_mode,
        pst_group=node.pst_group,
        skip_subtasks=bool(node.skip_subtasks),
        notes=(*node.composition_notes, *notes),
        left_out=node.left_out,
        place=places.own,
        timeout_place=None if node.timeout is None else places.timeout,
        description=node.description,
        call=node.call,
        is_finally=node.is_finally,
    )


def emit_composed(
    root: Task,
    bus: EventBus,
    runners: Mapping[TaskExecutionType, LeafRunner],
    *,
    holds_by_default: bool = False,
) -> None:
    """Publish the whole tree, then the limits that cannot be enforced."""
    limits: list[tuple[str, str]] = []
    for path, node in root.walk():
        notes: tuple[str, ...] = ()
        if isinstance(node, LeafTask):
            text = limit_note(node, runners)
            if text is not None:
                notes = (text,)
                limits.append((path, text))
        devices: tuple[str, ...] = ()
        if isinstance(node, LeafTask) and node.device_name is not None:
            devices = (node.device_name,)
        detail = composed_detail(node, notes, holds_by_default=holds_by_default)
        bus.emit(path, "composed", devices=devices, detail=detail)
    for path, text in limits:
        bus.emit(path, "note", message=text, detail=NoteDetail(topic="limit"))
