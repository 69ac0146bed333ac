"""Options of analyses, for every verb that runs some."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.earlier import EXPERIMENT_LABEL, RUN_LABEL, EarlierRecord
from taskgrove.cli.logbook_posting import address_for_record, checked_address, posting
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import TaskgroveError
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner
    from taskgrove.analysis.configuration import Configuration
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
        logbook: The address of the logbook that analyses post to, or None.
    """

    modules: tuple[str, ...] = ()
    pages: str | None = None
    work_dir: str | None = None
    processes: int | None = None
    database: str | None = None
    read_record: bool = True
    listener: Listener | None = None
    logbook: str | None = None

    @classmethod
    def given(
        cls,
        modules: list[str] | None,
        pages: str | None,
        work_dir: str | None,
        processes: int | None = None,
        *,
        logbook: str | None = None,
        **others: Any,
    ) -> AnalysisOptions:
        """Return the options of the command line; folders become absolute.

        Raises:
            UsageError: The address of the logbook holds a secret.
        """
        return cls(
            tuple(modules or ()),
            _absolute(pages),
            _absolute(work_dir),
            processes,
            logbook=checked_address(logbook),
            **others,
        )

    def for_record(self) -> dict[str, Any]:
        """Return the options that the record keeps, so that the run can be composed again."""
        return {
            "analyses": list(self.modules),
            "pages": self.pages,
            "work_dir": self.work_dir,
            "processes": self.processes,
            "logbook": address_for_record(self.logbook),
        }


@contextmanager
def analysis_runner(options: AnalysisOptions, grace_s: float) -> Iterator[AnalysisRunner]:
    """Have a runner of analyses; at the end it ends what still runs, then the logbook is closed.

    Args:
        options: How they are run.
        grace_s: How long an aborted analysis may take to end, in seconds; its process is killed
            before that, so that it is ended and not abandoned.

    Raises:
        AnalysisError: A module that brings analyses cannot be used.
        MissingExtraError: The extra ``analysis`` is not installed.
        UsageError: The logbook has no such address, or its token cannot be used.
    """
    from taskgrove.analysis.analysis_runner import AnalysisRunner  # noqa: PLC0415 - slow

    registry = load_registry(options.modules)
    with (
        posting(options.logbook) as posts,
        AnalysisRunner(
            registry,
            slots=options.processes,
            earlier=EarlierRecord(options.database) if options.read_record else None,
            publisher=options.pages,
            logbook=None if posts is None else posts.logbook,
            work_dir=options.work_dir,
            grace_s=min(GRACE_S, 0.6 * grace_s),
            abort_grace_s=max(0.6 * grace_s, grace_s - GRACE_MARGIN_S),
            listener=options.listener,
        ) as runner,
    ):
        if posts is not None:
            posts.note = runner.posts.note_trouble
        yield runner


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


def configurations_of(task: Task) -> list[Configuration]:
    """Return the configurations that a tree names, as far as they can be read."""
    from taskgrove.analysis.configuration import load_configuration  # noqa: PLC0415 - slow

    found = []
    targets = {leaf.target for leaf in analysis_leaves(task)}
    for file in sorted(target for target in targets if isinstance(target, str)):
        with suppress(TaskgroveError):  # the check before the run reports the problem
            found.append(load_configuration(file))
    return found


def say_warnings(terminal: Terminal, configurations: Iterable[Configuration]) -> None:
    """Say what is probably a mistake in configurations."""
    for configuration in configurations:
        for warning in configuration.warnings:
            terminal.say(safe_text(f"warning: {warning}"), "yellow")


def labels_of(configurations: Iterable[Configuration]) -> Mapping[str, str]:
    """Return the experiment and its run that configurations name, if they agree.

    By these labels a later configuration finds the results of this run.
    """
    found: dict[str, set[str]] = {EXPERIMENT_LABEL: set(), RUN_LABEL: set()}
    for header in (configuration.header for configuration in configurations):
        found[EXPERIMENT_LABEL].add(header.experiment)
        found[RUN_LABEL].add(str(header.run))
    return {
        name: words.pop() for name, words in found.items() if len(words) == 1 and "" not in words
    }


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().absolute())
