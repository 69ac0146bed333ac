"""``taskgrove analyse``: run one analysis as a supervised process, and describe it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli import options as opt
from taskgrove.cli.analyses import (
    GRACE_MARGIN_S,
    GRACE_S,
    AnalysisOptions,
    analysis_leaves,
    analysis_runner,
    load_registry,
    say_warnings,
)
from taskgrove.cli.analysis_surface import AnalysisFeed, AnalysisLines
from taskgrove.cli.analysis_words import (
    described_json,
    say_described,
    say_list,
    say_parameters,
)
from taskgrove.cli.earlier import EXPERIMENT_LABEL, RUN_LABEL, EarlierRecord
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.explained import ValuesExplained
from taskgrove.cli.follow import AbortWords, EventQueue
from taskgrove.cli.notifying import notify_with
from taskgrove.cli.recording import Recording, recording
from taskgrove.cli.showing import Shown, say_outcome, show_to_its_end
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map.launcher import launcher_words
from taskgrove.commands.composition.names import analysis_leaf_name
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import Prior
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import UsageError, nearest
from taskgrove.view.snapshot import RunView

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner
    from taskgrove.analysis.configuration import Configuration, Resolved
    from taskgrove.analysis.registry import AnalysisRegistry

_WORDS: Final = AbortWords(
    "the analysis",
    "its processes are ended by their guardian",
    "Press Ctrl-C again to quit immediately.",
)


@dataclass(frozen=True, slots=True)
class AnalysisJob:
    """A checked request to run one analysis.

    Attributes:
        name: The analysis.
        configuration: Where its parameters come from.
        resolved: Its parameters, as they are before anything starts.
        given: Parameters from the command line.
        timeout_s: Its limit, in seconds, or None for the configuration's.
        settings: How its process is started and watched, as far as the command line says it.
        grace_s: From SIGTERM to SIGKILL, in seconds.
        typed: The values of ``given``, as they were typed.
    """

    name: str
    configuration: Configuration
    resolved: Resolved
    given: dict[str, Any]
    timeout_s: float | None
    settings: dict[str, Any]
    grace_s: float
    typed: dict[str, str]

    def tree(self) -> Task:
        """Return the tree: a root with one leaf."""
        name = analysis_leaf_name(self.name)
        leaf = LeafTask(
            name,
            self.configuration,
            self.name,
            self.given or None,
            TaskExecutionType.ANALYSIS,
            timeout=self.timeout_s,
            settings=self.settings,
        )
        return Task(name, subtasks=[leaf], is_root=True)

    def about(self, options: AnalysisOptions) -> RunAbout:
        """Return the facts that the record keeps: enough to run it again."""
        header = self.configuration.header
        labels = {EXPERIMENT_LABEL: header.experiment, RUN_LABEL: str(header.run)}
        source = {
            "kind": "analysis",
            "file": _absolute_file(self.configuration.file),
            "folder": os.getcwd(),
            "text": self.configuration.text,
            "task": self.name,
            "set": self.typed,
            "timeout_s": self.timeout_s,
            "settings": self.settings,
            "analyses": options.for_record(),
        }
        shown_rule().remember(source)
        return RunAbout(
            command=self.name,
            source=source,
            argv=tuple(sys.argv),
            labels={name: word for name, word in labels.items() if word},
        )


@verb
def analyse(
    config: opt.ConfigFile = None,
    task: opt.AnalysisName = None,
    given: opt.Parameters = None,
    analyses: opt.AnalysisModules = None,
    pages: opt.Pages = None,
    work_dir: opt.WorkDir = None,
    timeout: opt.Timeout = None,
    launcher: opt.Launcher = None,
    heartbeat: opt.Heartbeat = None,
    grace: opt.AnalysisGrace = None,
    source: opt.SourcedScript = None,
    python: opt.PythonOfAnalysis = None,
    stdin: opt.StandardInput = None,
    json: opt.JsonDescription = False,
    no_live: opt.NoLive = False,
    listed: opt.ListAnalyses = False,
    help_task: opt.HelpTask = None,
    explain: opt.Explain = False,
    db: opt.Database = None,
    no_record: opt.NoRecord = False,
    logbook: opt.LogbookAddress = None,
    notify: opt.Notify = None,
) -> int:
    """Run an analysis as a supervised process, show its log live, and describe its result.

    Ctrl-C (or SIGTERM) cancels it; a second one ends at once. The exit code tells the outcome.
    """
    notify_with(notify)
    terminal = Terminal(json=json, live=not no_live)
    registry = load_registry(tuple(analyses or ()))
    if listed:
        say_list(terminal, registry)
        return ExitCode.OK
    if help_task is not None:
        from taskgrove.analysis.parameters.describe import describe_parameters  # noqa: PLC0415

        entry = registry.get(help_task)
        described = describe_parameters(entry.parameters, executable=entry.executable)
        say_parameters(terminal, entry, described)
        return ExitCode.OK
    options = AnalysisOptions.given(
        analyses,
        pages,
        work_dir,
        1,
        database=db,
        read_record=not no_record,
        logbook=logbook,
    )
    said = {
        "launcher": None if launcher is None else launcher_words(launcher),
        "heartbeat_s": heartbeat,
        "grace_s": grace,
        "source": _absolute_file(source),
        "stdin": _absolute_file(stdin),
        "python": _absolute_file(python) if python is not None and "/" in python else python,
    }
    settings = {name: value for name, value in said.items() if value is not None}
    job = checked_job(registry, config, task, given or [], timeout, settings, options)
    say_warnings(terminal, [job.configuration])
    if explain:
        told = ValuesExplained(
            registry.get(job.name), job.configuration, job.resolved, settings, timeout
        )
        told.write(terminal) if json else told.say(terminal)
        return ExitCode.OK
    with recording(terminal, db, no_record=no_record) as record:
        return run_job(terminal, job, options, record, json=json)


def checked_job(
    registry: AnalysisRegistry,
    config: str | None,
    task: str | None,
    given: list[str],
    timeout_s: float | None,
    settings: dict[str, Any],
    options: AnalysisOptions,
    *,
    text: str | None = None,
) -> AnalysisJob:
    """Check a request and return it.

    Args:
        registry: The analyses that there are.
        config: The configuration's file.
        task: The analysis.
        given: The values of ``--set``.
        timeout_s: The value of ``--timeout``, in seconds.
        settings: See :class:`AnalysisJob`.
        options: How analyses are run.
        text: The configuration, where it is not read from its file.

    Raises:
        UsageError: Something is missing, or cannot be read.
        AnalysisError: There is no such analysis, or its parameters are not valid.
    """
    from taskgrove.analysis.configuration import (  # noqa: PLC0415 - slow
        load_configuration,
        parse_configuration,
    )
    from taskgrove.analysis.configuring.typed_text import typed_value  # noqa: PLC0415

    if config is None or task is None:
        raise UsageError(
            "a configuration and an analysis are needed",
            hint="taskgrove analyse CONFIG TASK; '--list' lists all analyses",
        )
    entry = registry.get(task)
    earlier = EarlierRecord(options.database) if options.read_record else None
    header = None if options.work_dir is None else {"work_dir": options.work_dir}
    if text is None:
        configuration = load_configuration(config, earlier=earlier, header=header)
    else:
        configuration = parse_configuration(text, file=config, earlier=earlier, header=header)
    typed = dict(_assignment(item) for item in given)
    _check_names(typed, entry.parameters)
    values = {key: typed_value(entry.parameters, key, word) for key, word in typed.items()}
    resolved = configuration.resolved(entry, values)
    own = settings.get("grace_s", entry.grace_s)
    grace_s = GRACE_S if own is None else own
    return AnalysisJob(task, configuration, resolved, values, timeout_s, settings, grace_s, typed)


def _absolute_file(name: str | None) -> str | None:
    return None if name is None else str(Path(name).expanduser().absolute())


def _check_names(values: Mapping[str, str], model: Any) -> None:
    if model.model_config.get("extra") == "allow":
        return
    known = {name for key, field in model.model_fields.items() for name in (key, field.alias)}
    for key in values:
        if key not in known:
            names = sorted(name for name in known if name)
            close = nearest(key, names)
            raise UsageError(
                f"--set {key}: there is no such parameter",
                hint=f"did you mean {close!r}?" if close else f"there are: {', '.join(names)}",
            )


def _assignment(text: str) -> tuple[str, str]:
    """Return the key and the word of ``KEY=VALUE``."""
    key, sign, word = text.partition("=")
    key = key.strip()
    if not sign or not key:
        raise UsageError(f"--set takes KEY=VALUE, not {text!r}")
    return key, word


def run_job(
    terminal: Terminal,
    job: AnalysisJob,
    options: AnalysisOptions,
    record: Recording,
    *,
    json: bool,
    resumed: tuple[RunAbout, Mapping[str, Prior]] | None = None,
) -> int:
    """Run an analysis, show it to its end, and describe its result; return the exit code.

    Args:
        terminal: Where the words go.
        job: The analysis.
        options: How analyses are run.
        record: Keeps the record of it, or none.
        json: Whether standard output carries the description.
        resumed: Where an earlier run is resumed: what the record keeps of this one, and what is
            taken over.
    """
    about, prior = resumed or (job.about(options), {})
    feed, events, view = AnalysisFeed(), EventQueue(), RunView()
    tree, grace_s = job.tree(), job.grace_s + GRACE_MARGIN_S
    with analysis_runner(replace(options, processes=1, listener=feed), grace_s) as runner:
        for leaf in analysis_leaves(tree):
            runner.check(leaf)
        runners = {TaskExecutionType.ANALYSIS: runner}
        run_id, observers = record.next_run(events)
        with MainTaskExecutor(1, runners, grace_s=grace_s) as executor:
            shown = show_to_its_end(
                record,
                run_id,
                events,
                view,
                lambda: executor.submit_main_task(
                    tree,
                    observers=observers,
                    run_id=run_id,
                    recorder=record.recorder,
                    about=about,
                    prior=prior,
                ),
                lambda _: AnalysisLines(terminal, job.name, feed),
                grace_s=grace_s,
                source=about.source,
                followed=lambda handle: _Ended(handle, runner),
                words=_WORDS,
            )
        # Told before the logbook is waited for.
        return _say_end(terminal, record, feed, shown, json=json)


def _say_end(
    terminal: Terminal, record: Recording, feed: AnalysisFeed, shown: Shown, *, json: bool
) -> int:
    if feed.outcome is None:  # it never began: the run's own words are all there is
        return say_outcome(terminal, record, shown)
    if json:
        terminal.write(described_json(feed.outcome))
    else:
        say_described(terminal, feed.outcome)
        if shown.words.next_step:
            terminal.say(f"Next: {shown.words.next_step}")
    record.say_how_to_see(terminal, shown.run_id, well=shown.words.outcome == "completed")
    return shown.exit_code


class _Ended:
    """A run that ends as its batch job does: at the job's time limit it is TIMEDOUT.

    Args:
        handle: The run.
        runner: Runs its analysis.
    """

    def __init__(self, handle: RunHandle, runner: AnalysisRunner) -> None:
        self._handle = handle
        self._runner = runner

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the run."""
        return self._handle.wait(timeout_s)

    def abort(
        self,
        reason: str | None = None,
        *,
        stop_finally: bool = False,  # noqa: ARG002 - an analysis has no clean-up
    ) -> bool:
        """Cancel the analysis; the reason names the batch job that this process belongs to."""
        from taskgrove.analysis.batch import allocation_of  # noqa: PLC0415 - slow

        allocation = allocation_of(os.environ)
        if allocation is not None and reason is not None and "SIGTERM" in reason:
            reason = f"SIGTERM from outside, in {allocation.name}"
            if allocation.is_at_limit:
                self._runner.end_all(f"{reason} at its time limit", at_limit=True)
                return True
        return self._handle.abort(reason)
