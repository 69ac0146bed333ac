"""Whether a leaf is held when it fails: by its own setting, or that of a task above it."""

from __future__ import annotations

from taskgrove.commands.task import BaseTask, Task


def holds(leaf: BaseTask, *, default: bool = False) -> bool:
    """Return whether a leaf is held when it fails; those of a clean-up never are.

    Args:
        leaf: The leaf.
        default: Where neither the leaf nor any task above it has a setting.
    """
    nearest: bool | None = None
    node: BaseTask | None = leaf
    while node is not None:
        if isinstance(node, Task) and node.is_finally:
            return False
        if nearest is None and node.hold is not None:
            nearest = node.hold == "on_failure"
        node = node.parent
    return default if nearest is None else nearest


def hold_timeout_of(leaf: BaseTask) -> float | None:
    """Return how long a leaf is held before its failure stands, in seconds; None: for ever."""
    node: BaseTask | None = leaf
    while node is not None:
        if node.hold_timeout is not None:
            return node.hold_timeout
        node = node.parent
    return None
