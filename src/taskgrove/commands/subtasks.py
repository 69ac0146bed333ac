"""The children of a Task: a list that takes no change once the Task's tracker counts on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgrove.commands.base_task import BaseTask
from taskgrove.errors import UsageError


class Subtasks(list[BaseTask]):
    """A list of children.

    Attributes:
        owner: The Task whose tracker exists; None: the list may be changed.
    """

    __slots__ = ("owner",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.owner: BaseTask | None = None

    def check(self) -> None:
        """Raise UsageError when the list takes no change any more."""
        if self.owner is not None:
            path = self.owner.path
            raise UsageError(
                f"{path} is complete: its tracker exists, and its subtasks take no change",
                path=path,
                hint="complete the tree before its tracker or parent_callback() is read",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return Subtasks, (list(self),)  # a copy has no tracker


def _checked(name: str) -> Callable[..., Any]:
    change = getattr(list, name)

    def checked(self: Subtasks, *args: Any, **options: Any) -> Any:
        self.check()
        return change(self, *args, **options)

    checked.__name__ = name
    return checked


for _name in (
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    "__delitem__", "__iadd__", "__imul__", "__setitem__",
):  # fmt: skip
    setattr(Subtasks, _name, _checked(_name))
