"""The nodes of a run that a request of an operator speaks of, and where they are.

Threads: any thread may call any method.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from taskgrove.commands.execution.steering_reply import SteeringReply
from taskgrove.commands.execution.waiting_steps import WaitingStep
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.story.path_globs import is_pattern, near_miss, path_of_command, path_regex

if TYPE_CHECKING:
    from taskgrove.commands.execution.live_run import Run


class SteeringScope:
    """The nodes of a run, by their paths.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def nodes(self, path: str, reply: SteeringReply) -> list[tuple[str, BaseTask]]:
        """Return the nodes at a path, or those that a pattern matches, none below another one.

        Where there is none, the reply gets the objection.
        """
        root = self._run.root
        try:
            found = select_nodes(root, path)
        except UsageError as exc:
            reply.object("no_such_node", path, said=str(exc))
            return []
        if not found:
            paths = [node_path for node_path, _ in root.walk()]
            reply.object("no_such_node", path, nearest=near_miss(path, paths))
        return found

    def open_steps(self, nodes: Iterable[tuple[str, BaseTask]]) -> list[WaitingStep]:
        """Return the steps at or below nodes on which a decision is open."""
        tops = {path for path, _ in nodes}
        return [step for step in self._run.schedule.waiting.open() if _is_in(step.path, tops)]

    def status_of(self, node: BaseTask) -> TaskStatus | None:
        """Return the status of a node; None: it has not reported yet."""
        if isinstance(node, Task):
            return node.tracker.overall_status
        parent = node.parent
        record = None if parent is None else parent.tracker.subtasks.get(node.name)
        return None if record is None else record.status

    def has_begun(self, path: str, node: BaseTask) -> bool:
        """Return whether a node has begun, or has ended."""
        status = self.status_of(node)
        if status is not None and status.is_final:
            return True
        if isinstance(node, Task) and status not in (None, TaskStatus.STAGING, TaskStatus.QUEUED):
            return True
        return self._run.schedule.gate.has_begun(path)


def select_nodes(root: Task, path: str) -> list[tuple[str, BaseTask]]:
    """Return the nodes at a path, or those that a pattern matches, none below another one.

    Raises:
        UsageError: It is no pattern of paths.
    """
    try:
        return [(path, root.find(path))]
    except UsageError:
        pass
    commands = (
        (where, node.command_name) for where, node in root.walk() if isinstance(node, LeafTask)
    )
    meant = path_of_command(path, commands)
    if meant is not None:
        return [(meant, root.find(meant))]
    found: list[tuple[str, BaseTask]] = []
    if is_pattern(path):
        regex = path_regex(path)
        above: str | None = None
        for node_path, node in root.walk():
            if above is not None and node_path.startswith(above):
                continue
            if regex.fullmatch(node_path):
                found.append((node_path, node))
                above = f"{node_path}/"
    return found


def is_clean_up(node: BaseTask) -> bool:
    """Return whether a node belongs to a clean-up."""
    above: BaseTask | None = node
    while above is not None:
        if isinstance(above, Task) and above.is_finally:
            return True
        above = above.parent
    return False


def _is_in(path: str, tops: set[str]) -> bool:
    while path:
        if path in tops:
            return True
        path = path.rpartition("/")[0]
    return False


def step_in_need(node: BaseTask) -> str | None:
    """Return the path of a step that refers to the result of a node, or of a part of it, or None.

    A step that refers to a composite is content with the results of those that succeed in it.
    """
    path = node.path
    nodes = node.walk() if isinstance(node, Task) else [(path, node)]
    for _, leaf in nodes:
        kept = leaf.kept_result if isinstance(leaf, LeafTask) else None
        for needing, named in () if kept is None else kept.needed_by.items():
            if f"{named}/".startswith(f"{path}/") and not needing.startswith(f"{path}/"):
                return needing
    return None
