"""Options of analyses, for every verb that runs some."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.earlier import EXPERIMENT_LABEL, RUN_LABEL, EarlierRecord
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import TaskgroveError

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner
    from taskgrove.analysis.leaves.following import Listener
    from taskgrove.analysis.registry import AnalysisRegistry


#: From SIGTERM to SIGKILL, in seconds, by default.
GRACE_S: Final = 3.0
#: How much sooner a process is killed than its leaf would be abandoned, in seconds.
GRACE_MARGIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """How analyses are run.

    Attributes:
        modules: Modules that bring analyses, as the operator typed them.
        pages: The folder of pages, or None: none are published.
        work_dir: In place of the configurations' ``work_dir``, or None.
        processes: How many run at once; None: as many as there are processors.
        database: The record in which earlier results are looked for; None: the usual one.
        read_record: Whether earlier results are looked for at all.
        listener: Hears everything that analyses tell.
    """

    modules: tuple[str, ...] = ()
    pages: str | None = None
    work_dir: str | None = None
    processes: int | None = None
    database: str | None = None
    read_record: bool = True
    listener: Listener | None = None

    @classmethod
    def given(
        cls,
        modules: list[str] | None,
        pages: str | None,
        work_dir: str | None,
        processes: int | None = None,
        **others: Any,
    ) -> AnalysisOptions:
        """Return the options of the command line; folders become absolute."""
        return cls(tuple(modules or ()), _absolute(pages), _absolute(work_dir), processes, **others)

    def for_record(self) -> dict[str, Any]:
        """Return the options that the record keeps, so that the run can be composed again."""
        return {
            "analyses": list(self.modules),
            "pages": self.pages,
            "work_dir": self.work_dir,
            "processes": self.processes,
        }


def make_runner(options: AnalysisOptions, grace_s: float) -> AnalysisRunner:
    """Return a runner of analyses; the caller closes it.

    Args:
        options: How they are run.
        grace_s: How long an aborted analysis may take to end, in seconds; its process is killed
            before that, so that it is ended and not abandoned.

    Raises:
        AnalysisError: A module that brings analyses cannot be used.
        MissingExtraError: The extra ``analysis`` is not installed.
    """
    from taskgrove.analysis.analysis_runner import AnalysisRunner  # noqa: PLC0415 - slow

    return AnalysisRunner(
        load_registry(options.modules),
        slots=options.processes,
        earlier=EarlierRecord(options.database) if options.read_record else None,
        publisher=options.pages,
        work_dir=options.work_dir,
        grace_s=min(GRACE_S, 0.6 * grace_s),
        abort_grace_s=max(0.6 * grace_s, grace_s - GRACE_MARGIN_S),
        listener=options.listener,
    )


def load_registry(modules: tuple[str, ...]) -> AnalysisRegistry:
    """Return all analyses that can be run: of installed packages, and of the modules named.

    Raises:
        AnalysisError: A module cannot be imported, or brings no analysis.
    """
    from taskgrove.analysis.analysis_runner import default_registry  # noqa: PLC0415 - slow

    registry = default_registry()
    if modules:
        here = os.getcwd()  # the operator's own modules stand where they work
        if here not in sys.path:
            sys.path.insert(0, here)
    for name in modules:
        registry.load_module(name)
    return registry


def analysis_leaves(task: Task) -> list[LeafTask]:
    """Return the leaves of a tree that are analyses."""
    return [
        node
        for _, node in task.walk()
        if isinstance(node, LeafTask) and node.task_type is TaskExecutionType.ANALYSIS
    ]


def labels_of(task: Task) -> Mapping[str, str]:
    """Return the experiment and its run that a tree's configurations name, if they agree.

    By these labels a later configuration finds the results of this run.
    """
    from taskgrove.analysis.configuration import load_configuration  # noqa: PLC0415 - slow

    found: dict[str, set[str]] = {EXPERIMENT_LABEL: set(), RUN_LABEL: set()}
    for file in {leaf.target for leaf in analysis_leaves(task) if isinstance(leaf.target, str)}:
        try:
            header = load_configuration(file).header
        except TaskgroveError:
            continue  # the check before the run reports the problem
        found[EXPERIMENT_LABEL].add(header.experiment)
        found[RUN_LABEL].add(str(header.run))
    return {
        name: words.pop() for name, words in found.items() if len(words) == 1 and "" not in words
    }


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().absolute())
