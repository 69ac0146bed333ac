"""Where a user wrote what a cause says is wrong."""

from __future__ import annotations

from msgspec.structs import replace

from taskgrove.commands.task import BaseTask
from taskgrove.events import Cause, Place


def placed(cause: Cause, node: BaseTask) -> Cause:
    """Return a cause with the place of what is wrong, where it is in the map.

    Args:
        cause: The cause.
        node: The node that it belongs to.
    """
    if cause.place is not None:
        return cause
    place: Place | None = None
    if cause.kind == "no_command":
        place = node.places.command
    elif cause.kind == "no_device":
        place = node.places.target
    elif cause.kind == "wrong_argument":
        place = node.places.argin
    return cause if place is None else replace(cause, place=place)
