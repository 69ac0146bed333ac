"""Composing commands of a map and executing their leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.analyses import AnalysisOptions, analysis_leaves, analysis_runner
from taskgrove.cli.devices import DeviceReader, Reach, ask_each
from taskgrove.commands.command_map import CommandMap
from taskgrove.commands.command_map.map_fields import is_pattern
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.composition.refused import RefusedError
from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.leaf_runner import LeafRunner, Refusal
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import CommandError
from taskgrove.events import Observer
from taskgrove.view.phrases import listed

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner
    from taskgrove.tango.device_runner import DeviceRunner

_ARGUMENTS: Final = (
    '--argin FILE gives arguments, by component name or keyword: {"cbf": {…}, "pst": {…}}'
)


class MapSession:
    """Composes commands of one map and runs them; a context manager.

    Threads: it belongs to one thread.

    Args:
        command_map: The map.
        manager: The component manager, or None.
        reader: Reads devices for guards; None: they cannot be read.
        offline: Conditions on devices are not checked, and it is noted; for a dry run.
        addresses: Where devices are, by their short TANGO name, where that is not enough.
        max_workers: As the executor's.
        grace_s: As the executor's, in seconds.
        analyses: How analyses are run.
        own_names: As the composer's.
    """

    def __init__(
        self,
        command_map: CommandMap,
        manager: Any = None,
        *,
        reader: DeviceReader | None = None,
        offline: bool = False,
        addresses: Mapping[str, str] | None = None,
        max_workers: int = 16,
        grace_s: float = 5.0,
        analyses: AnalysisOptions | None = None,
        own_names: bool = True,
    ) -> None:
        self._own_names = own_names
        self.command_map = command_map
        self.grace_s = grace_s
        self._manager = manager
        self._reader = reader
        self._offline = offline
        self._addresses = dict(addresses or {})
        self._max_workers = max_workers
        self._stack = ExitStack()
        self._runners: dict[TaskExecutionType, LeafRunner] = {}
        self._devices: DeviceRunner | None = None
        self._analyses = analyses or AnalysisOptions()
        self._analysis_runner: AnalysisRunner | None = None
        #: The next step for a device that did not answer.
        self.hint: str | None = None

    def compose(
        self, command: str, resources: Any = None, resources_file: str | None = None
    ) -> Task:
        """Return the tree of a command.

        Args:
            command: The command.
            resources: Its arguments.
            resources_file: The file that they were read from, or None.

        Raises:
            CommandError: The command is refused; nothing was started.
        """
        reader = self._reader
        context = ComponentContext.from_map(
            self.command_map,
            self._manager,
            None if reader is None else reader.read,
            addresses=self._addresses,
            absences={} if reader is None or self._offline else self._absences(command, reader),
            ask_devices=not self._offline,
            find_devices=None if reader is None else reader.find,
        )
        try:
            return MainTaskComposer(
                command,
                self.command_map,
                context,
                None,
                resources,
                resources_file=resources_file,
                own_names=self._own_names,
                earlier=self._earlier,
            ).compose()
        except CommandError as exc:
            if exc.by_faults and not isinstance(exc, RefusedError):  # whose causes say it
                exc.hint = exc.hint or self.hint
            raise

    def _earlier(self, analysis: str, key: str) -> Any:
        """Return a value of the latest run in which an analysis completed (``{{ earlier… }}``)."""
        if not self._analyses.read_record:
            raise LookupError("the record is not read")
        from taskgrove.cli.earlier import EarlierRecord  # noqa: PLC0415 - seldom

        return EarlierRecord(self._analyses.database)("", "", analysis, key)

    def _absences(self, command: str, reader: DeviceReader) -> dict[str, Objection]:
        """Return why devices that the command could use do not answer, by name."""
        self.command_map.command(command)  # an unknown command asks no device
        names = [name for name in self.command_map.devices if not is_pattern(name)]
        tried = [self._addresses.get(name, name) for name in names]
        silent = {
            name: reach
            for name, reach in zip(names, reader.ping_all(tried), strict=True)
            if not reach.answers
        }
        self.hint = next((reach.hint for reach in silent.values() if reach.hint), None)
        return {name: _absence(reach) for name, reach in silent.items()}

    def preflight(self, task: Task, *, known: Collection[str] = ()) -> None:
        """Check every leaf on a device, and every analysis, before anything is started.

        Args:
            task: The tree.
            known: Paths of leaves that are not started, because their end is known.

        Raises:
            CommandError: An argument is not what its command takes, a device has no such
                command, or does not answer; or an analysis is not known, or its parameters are
                not valid; nothing was started.
        """
        refusals = self.refusals(task, known=known)
        if refusals:
            raise RefusedError(
                f"{task.name} is rejected before anything was started",
                task=task,
                refused=refusals,
                command=task.name,
                reasons=_reasons(refusals),
                path=task.path,
                hint=_ARGUMENTS
                if any(_lacks_argument(task, item) for item in refusals)
                else self._modules_hint(task),
            )

    def refusals(self, task: Task, *, known: Collection[str] = ()) -> list[Refusal]:
        """Return why leaves could not start; the arguments are those of :meth:`preflight`."""
        return [*self._device_refusals(task, known), *self._analysis_refusals(task, known)]

    def _modules_hint(self, task: Task) -> str | None:
        """Return how to bring analyses, where one of the tree is not known."""
        names = {leaf.command_name for leaf in analysis_leaves(task)}
        if all(name in self._runner_of_analyses().registry for name in names):
            return None
        return "--analyses PACKAGE.MODULE brings the analyses of a module; again for more"

    def _device_refusals(self, task: Task, known: Collection[str]) -> list[Refusal]:
        leaves = [leaf for leaf in device_leaves(task) if leaf.path not in known]
        if not leaves or self._offline:
            return []
        runner = self._device_runner()
        answers = ask_each(runner.preflight, leaves)
        return [
            Refusal(reason, reason.cause, leaf.path)
            for leaf, found in zip(leaves, answers, strict=True)
            for reason in found
        ]

    def aborts_of(self, task: Task) -> Mapping[str, bool]:
        """Return whether the device of each leaf has a command that aborts, by the leaf's path.

        Offline no device is asked, and nothing is returned.
        """
        leaves = list(device_leaves(task))
        if not leaves or self._offline:
            return {}
        runner = self._device_runner()
        answers = ask_each(runner.can_abort, leaves)
        return dict(zip([leaf.path for leaf in leaves], answers, strict=True))

    def _analysis_refusals(self, task: Task, known: Collection[str]) -> list[Refusal]:
        refusals: dict[str, Refusal] = {}  # the same problem of a hundred leaves is told once
        for leaf in analysis_leaves(task):
            if leaf.path in known:
                continue
            for reason in self._runner_of_analyses().preflight(leaf):
                refusals.setdefault(reason, Refusal(reason, reason.cause, leaf.path))
        return list(refusals.values())

    def submit(self, task: Task, observers: Iterable[Observer] = (), **options: Any) -> RunHandle:
        """Start a composed tree; the arguments are those of ``submit_main_task``."""
        executor = self._stack.enter_context(
            MainTaskExecutor(self._max_workers, self.runners_for(task), grace_s=self.grace_s)
        )
        return executor.submit_main_task(task, observers=observers, **options)

    def runners_for(self, task: Task) -> Mapping[TaskExecutionType, LeafRunner]:
        """Return the runners of the leaves of a tree, made when they are first needed.

        Raises:
            MissingExtraError: It has device leaves, and PyTango is not installed; or analyses,
                and the extra ``analysis`` is not.
            AnalysisError: A module that brings analyses cannot be used.
        """
        kinds = {leaf.task_type for leaf in _leaves(task)}
        if TaskExecutionType.DEVICE in kinds:
            self._runners[TaskExecutionType.DEVICE] = self._device_runner()
        if TaskExecutionType.ANALYSIS in kinds:
            self._runners[TaskExecutionType.ANALYSIS] = self._runner_of_analyses()
        if TaskExecutionType.INTERNAL in kinds and TaskExecutionType.INTERNAL not in self._runners:
            internal = InternalRunner()
            self._stack.callback(internal.close)
            self._runners[TaskExecutionType.INTERNAL] = internal
        return self._runners

    def _device_runner(self) -> DeviceRunner:
        if self._devices is None:
            from taskgrove.tango.device_runner import DeviceRunner  # noqa: PLC0415 - an extra

            self._devices = DeviceRunner()
            self._stack.callback(self._devices.close)
        return self._devices

    def _runner_of_analyses(self) -> AnalysisRunner:
        if self._analysis_runner is None:
            made = analysis_runner(self._analyses, self.grace_s)
            self._analysis_runner = self._stack.enter_context(made)
        return self._analysis_runner

    def __enter__(self) -> MapSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # With the error: an executor that is left by one aborts what it runs.
        self._stack.__exit__(kind, error, trace)


def _reasons(refusals: Iterable[Refusal]) -> list[str]:
    """Return each refusal with its leaves: one dead device may stand in the way of many."""
    paths: dict[str, list[str]] = {}
    for item in refusals:
        paths.setdefault(str(item), []).append(item.path)
    return [f"{listed(leaves)}: {reason}" for reason, leaves in paths.items()]


def _lacks_argument(task: Task, refusal: Refusal) -> bool:
    """Return whether a command needs an argument and has none."""
    leaf = task.find(refusal.path)
    wrong = refusal.cause.kind == "wrong_argument"
    return wrong and isinstance(leaf, LeafTask) and leaf.argin is None


def _absence(reach: Reach) -> Objection:
    # A device is shown by its short name; an address tells how it was tried.
    where = f"{reach.device}: " if "://" in reach.device else ""
    reason = "unknown device" if reach.unknown else "no answer"
    return Objection("fault", reason, f"{where}{reach.problem}", reach.cause)


def device_leaves(task: Task) -> Iterator[LeafTask]:
    """Yield the leaves of a tree that are commands of devices."""
    return (leaf for leaf in _leaves(task) if leaf.task_type is TaskExecutionType.DEVICE)


def _leaves(task: Task) -> Iterator[LeafTask]:
    return (node for _, node in task.walk() if isinstance(node, LeafTask))
