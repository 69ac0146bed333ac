"""What is asked of a node's facts by every part of an explanation. Pure."""

from __future__ import annotations

from typing import NamedTuple

from taskgrove.story.run_node import RunNode
from taskgrove.view.reasons.kinds import Cause


class Failed(NamedTuple):
    """A leaf that ended badly by itself."""

    node: RunNode
    cause: Cause


def device_of(node: RunNode) -> str | None:
    """Return the device of a leaf, or None for what runs on none."""
    if node.devices:
        return node.devices[0]
    composed = node.composed
    return composed.target if composed is not None and composed.execution == "DEVICE" else None


def is_below(path: str, above: str) -> bool:
    """Return whether a node is another one, or below it."""
    return path == above or path.startswith(f"{above}/")
