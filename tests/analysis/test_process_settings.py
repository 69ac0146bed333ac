"""How a process is started and watched: said by a leaf, an entry of the registry, or a runner."""

from __future__ import annotations

import os
import shlex
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, Task, TaskExecutionType
from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.hooks import Hooks
from taskgrove.analysis.parameters.base import TemplateConfig
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.process_settings import ProcessSettings
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.commands.command_map.launcher import launcher_words
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.errors import AnalysisError, UsageError
from taskgrove.events import AnalysisDetail, TaskEvent
from tests.analysis import leaf_samples
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Runs, until
from tests.analysis.leaf_samples import registry
from tests.analysis.sample_tasks import SampleParameters, Script

ANALYSIS = TaskExecutionType.ANALYSIS


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """A launcher that tells its arguments, and starts what stands after the first of them."""
    path = tmp_path / "wrap it"
    path.write_text('#!/bin/sh\necho "wrapped by $1" >&2\nshift\nexec "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def leaf(analysis: str, argin: Any = None, **options: Any) -> LeafTask:
    return LeafTask(analysis.lower(), None, analysis, argin, ANALYSIS, **options)


# -- what can be said ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mpirun -n 4", ("mpirun", "-n", "4")),
        ("'/opt/my mpi/mpirun'  -x A=b\\ c", ("/opt/my mpi/mpirun", "-x", "A=b c")),
        (["mpirun", "-n", "$4 |"], ("mpirun", "-n", "$4 |")),
        ("", ()),
        ([], ()),
    ],
)
def test_the_words_of_a_launcher(text: Any, words: tuple[str, ...]) -> None:
    assert launcher_words(text) == words
    assert ProcessSettings(launcher=text).launcher == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mpirun -n '4", "no closing quotation"),
        ("mpirun -n $RANKS", r"no shell reads the launcher: '\$RANKS'"),
        ("mpirun -n `nproc`", "no shell reads"),
        ("mpirun -n 2 | tee log", "no shell reads"),
        ("cd data && mpirun", "no shell reads"),
        ("-n 4", "begins with a program, not with '-n'"),
        ("'' -n", "begins with a program"),
        ("a\0b", "no zero byte"),
        (4, "is a text, not 4"),
        (["mpirun", 4], "is a text"),
    ],
)
def test_what_is_no_launcher(text: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        launcher_words(text)


def test_what_comes_first_holds() -> None:
    first = ProcessSettings(launcher=(), grace_s=0)
    second = ProcessSettings(launcher=("mpirun",), heartbeat_s=3, grace_s=9, source="a")
    assert first.over(second) == ProcessSettings((), 3, 0, "a")
    assert ProcessSettings().over(second) == second


def test_a_setting_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no setting 'lancher'.*did you mean 'launcher'"):
        ProcessSettings.of({"lancher": "mpirun"})
    with pytest.raises(UsageError, match="heartbeat_s is 0; it is more than 0 seconds"):
        ProcessSettings.of({"heartbeat_s": 0})


# -- by the author of a package -----------------------------------------------------------------


def test_an_entry_brings_launcher_limits_tasklets_and_hooks(analyses: Runs, wrapper: Path) -> None:
    order: list[str] = []

    def prepare(context: TaskletContext) -> None:
        order.append("entry before")
        context.environment["PREPARED"] = "yes"

    def check(context: TaskletContext) -> None:
        order.append("entry after")
        context.set_summary("checked")

    entry = AnalysisEntry(
        "script", Script, launcher=f"'{wrapper}' author", grace_s=7, before=[prepare],
        after=[check], hooks={"started": lambda event: order.append("entry hook")},
    )  # fmt: skip
    executor = AnalysisExecutor(
        entry, Script(c="echo $PREPARED; echo $0 | grep -q sh"), supervisor=analyses.supervisor,
        before=[lambda context: order.append("executor before")],
        after=[lambda context: order.append("executor after")],
    )  # fmt: skip
    handle = executor.start()
    described = handle.result(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert handle.status is TaskStatus.COMPLETED, outcome.cause
    assert described.task_result.summary == "checked"
    assert outcome.output[0].tail == "yes\n"
    assert outcome.output[1].tail == "wrapped by author\n"
    tasklets = [name for name in order if name != "entry hook"]  # which runs beside them
    assert tasklets == ["entry before", "executor before", "entry after", "executor after"]
    assert "entry hook" in order
    assert outcome.detail.argv[:2] == (str(wrapper), "author")
    assert outcome.detail.grace_s == 7


def test_an_operator_says_otherwise_than_an_entry(analyses: Runs, wrapper: Path) -> None:
    entry = AnalysisEntry("script", Script, launcher=(str(wrapper), "author"), grace_s=7)
    for launcher, said in (((), ""), ((str(wrapper), "operator"), "wrapped by operator\n")):
        executor = AnalysisExecutor(
            entry, Script(), launcher=launcher, grace_s=2, supervisor=analyses.supervisor
        )
        handle = executor.start()
        assert handle.wait(GUARD_S)
        assert handle.outcome is not None
        assert handle.outcome.output[1].tail == said
        assert handle.outcome.detail.grace_s == 2


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"launcher": "mpirun 'x"}, "'Sample': the launcher"),
        ({"grace_s": -1}, "'Sample': grace_s is -1"),
        ({"heartbeat_s": 0}, "'Sample': heartbeat_s is 0"),
        ({"before": ["package:function"]}, "tasklet 'package:function' of 'Sample' cannot be"),
        ({"hooks": {"startd": print}}, "did you mean 'started'"),
        ({"task": None, "executable": "/bin/true", "heartbeat_s": 3}, "it has no heartbeat"),
    ],
)
def test_entries_that_cannot_be(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(AnalysisError, match=why):
        AnalysisEntry("Sample", SampleParameters, **({"task": "package.module:Task"} | fields))


def test_entries_with_equal_hooks_are_equal() -> None:
    def made(hooks: Any) -> AnalysisEntry:
        return AnalysisEntry("Sample", SampleParameters, task="p.m:T", hooks=hooks)

    assert made({"done": print}) == made(Hooks({"done": print}))
    assert made({"done": print}) != made({"failed": print})
    assert hash(made({"done": print})) == hash(made(Hooks({"done": print})))


# -- by a leaf ----------------------------------------------------------------------------------


def test_a_leaf_says_how_its_process_is_started_and_the_record_keeps_it(
    wrapper: Path, tmp_path: Path
) -> None:
    script = tmp_path / "setup.sh"
    script.write_text("export SITE=beamline\n")
    events: list[TaskEvent] = []
    settings = {"launcher": shlex.join([str(wrapper), "leaf"]), "grace_s": 4, "source": str(script)}
    one = leaf("Shell", {"c": "test $SITE = beamline"}, settings=settings, timeout=50)
    with AnalysisRunner(registry()) as runner, MainTaskExecutor(2, {ANALYSIS: runner}) as executor:
        assert runner.preflight(one) == []
        handle = executor.submit_main_task(Task("root", subtasks=[one]), observers=[events.append])
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.status.name == "COMPLETED", handle.outcome.message
    [detail] = [e.detail for e in events if isinstance(e.detail, AnalysisDetail)]
    assert detail.argv[:2] == (str(wrapper), "leaf")
    said = (detail.timeout_s, detail.grace_s, detail.heartbeat_s, detail.source)
    assert said == (50, 4, None, str(script))


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        ("reindexdb", "give its path, or add its folder to the PATH"),
        ("crystfel-index", "did you mean 'crystfel-index'?"),
    ],
)
def test_only_a_name_that_is_much_alike_is_offered(
    analyses: Runs, tmp_path: Path, there: str, hint: str
) -> None:
    """There are thousands of programs on a PATH; one of them is always somewhat alike."""
    (tmp_path / there).touch()
    handle = analyses.start_program("crystfel_index", environment={"PATH": str(tmp_path)})
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    said = "there is no program 'crystfel_index' on the PATH of the analysis"
    assert handle.outcome.cause == f"{said} ({hint})"


@pytest.mark.parametrize(
    ("analysis", "settings", "why"),
    [
        ("Shell", {"launcher": "mpirn -n 2"}, "there is no launcher 'mpirn' on the PATH"),
        ("Shell", {"launcher": "{0}/wrap_it x"}, "did you mean '{0}/wrap it'?"),
        ("Shell", {"launcher": "/etc/passwd"}, "'/etc/passwd' is not executable"),
        ("Shell", {"source": "{0}/setpu.sh"}, "did you mean '{0}/setup.sh'?"),
        ("Shell", {"source": "{0}/no/x.sh"}, "there is no folder '{0}/no'"),
        ("Shell", {"heartbeat_s": 3}, "Shell is a program: it has no heartbeat"),
        ("Shell", {"grace_s": -3}, "grace_s is -3"),
        ("Shell", {"graec_s": 3}, "did you mean 'grace_s'?"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    analysis: str, settings: dict[str, Any], why: str, tmp_path: Path, wrapper: Path
) -> None:
    (tmp_path / "setup.sh").touch()
    settings = {
        key: value.format(tmp_path) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    with AnalysisRunner(registry()) as runner:
        [said] = runner.preflight(leaf(analysis, {"c": "true"}, settings=settings))
    assert why.format(tmp_path) in said


def test_a_launcher_that_a_sourced_file_brings_is_looked_for_at_the_start(
    wrapper: Path, tmp_path: Path
) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(f"PATH='{tmp_path}':$PATH\n")
    settings = {"launcher": "'wrap it' x", "source": str(script)}
    good = leaf("Shell", {"c": "true"}, settings=settings)
    with AnalysisRunner(registry()) as runner, MainTaskExecutor(2, {ANALYSIS: runner}) as executor:
        assert runner.preflight(good) == []
        handle = executor.submit_main_task(Task("root", subtasks=[good]))
        assert handle.wait(GUARD_S)
        assert handle.outcome is not None
        assert handle.outcome.status.name == "COMPLETED", handle.outcome.message
        bad = leaf("Shell", {"c": "true"}, settings={**settings, "launcher": "wrap_it x"})
        handle = executor.submit_main_task(Task("root", subtasks=[bad]))
        assert handle.wait(GUARD_S)
        assert handle.outcome is not None
        assert (
            "there is no launcher 'wrap_it' on the PATH of the analysis (did you mean 'wrap it'?)"
            in (handle.outcome.message)
        )


def test_the_header_s_file_is_sourced_unless_another_is_given(tmp_path: Path) -> None:
    header = AnalysisHeader(environment_file="/etc/hostname")
    entry = AnalysisEntry("script", Script)
    assert (
        AnalysisExecutor(entry, Script(), header=header).spec.environment.source == "/etc/hostname"
    )
    other = AnalysisExecutor(entry, Script(), header=header, source="/etc/passwd")
    assert other.spec.environment.source == "/etc/passwd"


def test_a_silent_leaf_is_ended_by_its_heartbeat_limit() -> None:
    found = registry()
    found.register(
        AnalysisEntry(
            "Holds", SampleParameters, task=tasks.HoldsTheInterpreter, heartbeat_s=0.4, grace_s=0
        )
    )
    with AnalysisRunner(found) as runner, MainTaskExecutor(2, {ANALYSIS: runner}) as executor:
        handle = executor.submit_main_task(Task("root", subtasks=[leaf("Holds")]))
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert "holds: unresponsive: no heartbeat for 0.4 s" in handle.outcome.message


# -- grace --------------------------------------------------------------------------------------


def test_an_abort_gives_no_more_grace_than_the_run_has(tmp_path: Path) -> None:
    """Else the leaf would be abandoned, with its process still there."""
    place = tmp_path / "deaf"
    patient = leaf("Wait", {"place": str(place), "deaf": True}, settings={"grace_s": 500})
    with (
        AnalysisRunner(registry(), abort_grace_s=0.2) as runner,
        MainTaskExecutor(2, {ANALYSIS: runner}, grace_s=GUARD_S) as executor,
    ):
        handle = executor.submit_main_task(Task("root", subtasks=[patient]))
        until(place.exists)
        handle.abort()
        assert handle.wait(GUARD_S)
        assert handle.abandoned == ()


def test_closing_hurries_what_has_long_to_end(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Ignores, grace_s=500)
    handle.cancel("first")
    handle.cancel("second", within_s=400)
    handle.cancel("third", within_s=0.1)
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.cause.startswith("first")
    assert handle.outcome.return_code == -signal.SIGKILL


def test_a_limit_gives_the_grace_of_the_leaf(tmp_path: Path) -> None:
    """What the limit ends may clean up for longer than an abort would let it."""
    ready, done = tmp_path / "ready", tmp_path / "done"
    script = f"trap 'sleep 1; touch {done}; exit' TERM; touch {ready}; while :; do sleep 0.05; done"
    with (
        AnalysisRunner(registry(), grace_s=0.1) as runner,
        MainTaskExecutor(2, {ANALYSIS: runner}) as executor,
    ):
        for limit_s in (0.5, 5.0, 20.0):  # a busy machine may take longer to begin than the limit
            slow = leaf("Shell", {"c": script}, settings={"grace_s": 60}, timeout=limit_s)
            handle = executor.submit_main_task(Task("root", subtasks=[slow]))
            assert handle.wait(GUARD_S)
            if ready.exists():
                break
        until(done.exists)


# -- by the author: environment and templates ----------------------------------------------------


def _told(entry: AnalysisEntry, tmp_path: Path, **settings: Any) -> str:
    """Return what a program says of its environment."""
    parameters = leaf_samples.ShellParameters(c="echo $SITE,$COLOUR,$SIZE")
    executor = AnalysisExecutor(entry, parameters, work_dir=tmp_path, **settings)
    handle = executor.start()
    assert handle.wait(GUARD_S)
    [file] = tmp_path.glob("*.out")
    text = file.read_text().strip()
    file.unlink()
    return text


def test_an_entry_brings_its_environment(tmp_path: Path) -> None:
    for name in ("entry", "header", "leaf"):
        (tmp_path / f"{name}.sh").write_text(f"export SITE={name}\n")
    entry = AnalysisEntry(
        "Shell",
        leaf_samples.ShellParameters,
        source=str(tmp_path / "entry.sh"),
        environment={"COLOUR": "blue", "SIZE": 4},  # type: ignore[dict-item]
    )
    header = AnalysisHeader(
        environment={"COLOUR": "red"}, environment_file=str(tmp_path / "header.sh")
    )
    script = tmp_path / "leaf.sh"
    assert _told(entry, tmp_path) == "entry,blue,4"
    assert _told(entry, tmp_path, header=header) == "entry,red,4"
    assert _told(entry, tmp_path, header=header, source=script) == "leaf,red,4"
    assert _told(entry, tmp_path, environment={"SIZE": "5"}) == "entry,blue,5"
    whole = AnalysisEnvironment({"COLOUR": "green"}, source=script)
    assert _told(entry, tmp_path, environment=whole) == "leaf,green,"


def test_an_environment_of_an_entry_that_cannot_be() -> None:
    with pytest.raises(AnalysisError, match="A=B"):
        AnalysisEntry("x", SampleParameters, executable="/bin/ls", environment={"A=B": "1"})


def test_a_package_brings_the_folder_of_its_templates(tmp_path: Path) -> None:
    package, work = tmp_path / "package", tmp_path / "work"
    package.mkdir()
    (package / "a.cfg").write_text("gain {{ gain }}\n")

    class Templated(leaf_samples.ShellParameters):
        c: str = "cat out.cfg"
        gain: float = 1.5
        lute_template_cfg: TemplateConfig = TemplateConfig(
            template_name="a.cfg", output_path="out.cfg"
        )

    entry = AnalysisEntry("T", Templated, template_dir=package)
    handle = AnalysisExecutor(entry, Templated(), work_dir=work).start()
    assert handle.wait(GUARD_S)
    assert (work / "out.cfg").read_text() == "gain 1.5\n"


# -- standard input ------------------------------------------------------------------------------


def test_a_program_reads_a_file_as_its_standard_input(tmp_path: Path) -> None:
    (tmp_path / "orders").write_text("first\n")
    (tmp_path / "others").write_text("second\n")
    entry = AnalysisEntry("cat", leaf_samples.ShellParameters, stdin="orders")
    parameters = leaf_samples.ShellParameters(c="cat")
    for given, text in ((None, "first"), (tmp_path / "others", "second")):
        handle = AnalysisExecutor(entry, parameters, work_dir=tmp_path, stdin=given).start()
        assert handle.wait(GUARD_S)
        [file] = tmp_path.glob("*.out")
        assert file.read_text().strip() == text
        file.unlink()


def test_a_standard_input_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    entry = AnalysisEntry("cat", leaf_samples.ShellParameters)
    parameters = leaf_samples.ShellParameters(c="cat")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("missing", "No such file"),
        (".", "no regular file"),
        ("pipe", "no regular"),
    ):
        executor = AnalysisExecutor(entry, parameters, work_dir=tmp_path, stdin=name)
        result = executor.start().result(GUARD_S).task_result
        assert result.task_status is TaskStatus.FAILED
        assert "for standard input cannot be read" in str(result.summary)
        assert why in str(result.summary)
