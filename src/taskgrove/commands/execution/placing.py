"""Additions of the executor to a cause: the device, the reason of an abort, the place."""

from __future__ import annotations

from msgspec.structs import replace

from taskgrove.commands.task import BaseTask, LeafTask
from taskgrove.events import Cause, Place


def placed(cause: Cause, node: BaseTask) -> Cause:
    """Return a cause with the place in the map of the fault that it tells.

    Args:
        cause: The cause.
        node: The node that it belongs to.
    """
    if cause.place is not None:
        return cause
    place: Place | None = None
    if cause.kind in ("no_command", "no_attribute"):
        place = node.places.command
    elif cause.kind == "no_device":
        place = node.places.target
    elif cause.kind in ("wrong_argument", "unresolved"):
        place = node.places.argin
    return cause if place is None else replace(cause, place=place)


def whole_cause(cause: Cause, leaf: LeafTask, reason: str | None) -> Cause:
    """Return a cause with the facts that are known of its leaf.

    Args:
        cause: The cause.
        leaf: The leaf that ended so.
        reason: Why the leaf was asked to stop; None: it was not.
    """
    if reason is not None and cause.kind in ("aborted", "not_started"):
        cause = replace(cause, said=reason)
    if cause.device is None and leaf.device_name is not None:
        cause = replace(cause, device=leaf.device_name)
    return placed(cause, leaf)
