"""The branches of a tree that hold a leaf, and those that hold none."""

from __future__ import annotations

from taskgrove.commands.task import Task


def tasks_with_leaves(root: Task) -> set[Task]:
    """Return the tasks with a leaf at any depth; that of a clean-up counts only below itself."""
    found: set[Task] = set()
    for _, node in reversed(list(root.walk())):  # children before parents
        if isinstance(node, Task) and any(
            not isinstance(child, Task) or child in found for child in node.steps
        ):
            found.add(node)
    return found


def drop_empty_branches(root: Task) -> None:
    """Remove all below ``root`` that has no leaf, and a clean-up with nothing to clean up."""
    filled = tasks_with_leaves(root)
    for _, node in list(root.walk()):
        if isinstance(node, Task):
            kept = [it for it in node.subtasks if not isinstance(it, Task) or it in filled]
            node.subtasks = kept if node in filled else []
