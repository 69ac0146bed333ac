"""Analyses as leaves of a tree, with real processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import taskgrove
from taskgrove import LeafTask, Task, TaskExecutionType
from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.configuration import parse_configuration
from taskgrove.analysis.leaves import attaching
from taskgrove.analysis.registry import REGISTRY
from taskgrove.analysis.running.process import identity_of
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import (
    AnalysisDetail,
    Cause,
    ChainLink,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
)
from tests.analysis.analysis_runs import runs, until
from tests.analysis.leaf_samples import registry

ANALYSIS = TaskExecutionType.ANALYSIS
PARALLEL = TaskExecutionType.PARALLEL
GUARD_S = 200.0


class Bench:
    """An executor with a runner of the sample analyses, and what its runs have told."""

    def __init__(self, **settings: Any) -> None:
        grace_s = settings.pop("tree_grace_s", 5.0)
        self.runner = AnalysisRunner(registry(), **settings)
        self.executor = MainTaskExecutor(4, {ANALYSIS: self.runner}, grace_s=grace_s)
        self.events: list[TaskEvent] = []
        self.observers: list[Callable[[TaskEvent], object]] = [self.events.append]

    def submit(self, *leaves: LeafTask, rule: Any = None, **options: Any) -> RunHandle:
        tree = Task("root", PARALLEL, subtasks=leaves, rule=rule)
        return self.executor.submit_main_task(tree, observers=self.observers, **options)

    def run(self, *leaves: LeafTask, **options: Any) -> RunHandle:
        handle = self.submit(*leaves, **options)
        assert handle.wait(GUARD_S)
        return handle

    def notes(self) -> list[str]:
        return [event.message for event in self.events if event.kind == "note"]

    def details(self, kind: type) -> list[Any]:
        return [event.detail for event in self.events if isinstance(event.detail, kind)]

    def pids(self) -> list[int]:
        started = self.details(StartedDetail)
        return [int(item.outside_id.partition(":")[0]) for item in started if item.outside_id]

    def close(self) -> None:
        self.executor.shutdown()
        self.runner.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(slots=2)
    yield made
    made.close()


def leaf(analysis: str, argin: Any = None, name: str | None = None, **options: Any) -> LeafTask:
    return LeafTask(name or analysis.lower(), None, analysis, argin, ANALYSIS, **options)


def shell(script: str, name: str = "shell", **options: Any) -> LeafTask:
    return leaf("Shell", {"c": script}, name, **options)


# ------------------------------------------------------------------------------ quorum, causes


def test_seven_of_a_hundred_frames_fail_and_the_tree_is_degraded(
    tmp_path: Path, bench: Bench
) -> None:
    script = "case $1 in 12|35|40|75|80|91|92) echo no peaks above 5 sigma >&2; exit 1;; esac"
    (tmp_path / "frames.yaml").write_text(f"Shell: {{c: '{script}'}}\n")
    (tmp_path / "map.yaml").write_text(
        """
scan:
  type: sequential
  tasks:
    integrate:
      handler: analysis
      command_name: Shell
      config: frames.yaml
      each: {parameter: p_arg2, count: 100}
      rule: {quorum: 0.9}
"""
    )
    tree = MainTaskComposer("scan", tmp_path / "map.yaml", None, None).compose()
    handle = bench.executor.submit_main_task(tree, observers=[bench.events.append])
    assert handle.wait(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert (outcome.status, outcome.health_state) == (TaskStatus.COMPLETED, "DEGRADED")
    lines = outcome.message.splitlines()
    assert "- integrate - quorum 0.9 of 100: 93 succeeded, 90 needed" in lines
    failed = sorted(line for line in lines if "exit status 1" in line)
    assert len(failed) == 7
    assert failed[0] == "- integrate-012: exit status 1: no peaks above 5 sigma"
    assert len(bench.details(AnalysisDetail)) == 100
    assert not any(runs(pid) for pid in bench.pids())


def test_no_more_processes_run_at_once_than_there_are_slots(bench: Bench) -> None:
    leaves = [shell("sleep 0.05", f"s{number}") for number in range(8)]
    handle = bench.run(*leaves)
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK
    running = most = 0
    for event in sorted(bench.events, key=lambda item: item.sequence):
        if event.path.count("/") == 1:
            running += (event.kind == "started" and event.status is not None) - (
                event.kind == "finished"
            )
            most = max(most, running)
    assert most == 2


def test_a_cause_reaches_the_root_with_the_name_of_its_leaf(bench: Bench) -> None:
    bad = leaf("CheckFrame", {"frame": 12, "bad": [12]}, "pyfai-integrate")
    outcome = bench.run(bad, leaf("CheckFrame", name="good")).outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.FAILED
    assert "pyfai-integrate: frame 12: no peaks above 5 sigma" in outcome.message.splitlines()[-1]
    progress = [e.progress for e in bench.events if e.path == "root/good" and e.progress]
    assert 50 in progress


def test_what_the_record_gets_describes_the_analysis_without_secrets(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.setenv("LOGBOOK_TOKEN", "hush")
    handle = bench.run(leaf("CheckFrame", {"frame": 3}))
    assert handle.outcome is not None
    [detail] = bench.details(AnalysisDetail)
    assert detail.analysis == "CheckFrame"
    assert detail.status == "COMPLETED"
    assert detail.summary == "frame 3: 8 peaks"
    assert '"frame":3' in detail.parameters
    assert "hush" not in str(detail)
    assert "LOGBOOK_TOKEN" in detail.environment
    assert detail.pid in bench.pids()
    order = [
        type(event.detail).__name__ for event in bench.events if event.path == "root/checkframe"
    ]
    assert order.index("StartedDetail") < order.index("AnalysisDetail")


def test_pages_are_told_and_a_missing_folder_for_them_too(tmp_path: Path, bench: Bench) -> None:
    bench.run(leaf("Draw"))
    assert any("not published: no folder" in note for note in bench.notes())
    assert bench.details(PageDetail) == []
    publishing = Bench(slots=1, publisher=tmp_path / "pages")
    publishing.run(leaf("Draw", {"frame": 4}))
    [page] = publishing.details(PageDetail)
    publishing.close()
    assert page.display_name == "scans/one"
    assert "frame 4" in Path(page.file).read_text()
    assert Path(page.file) == tmp_path / "pages/scans/one/report.html"


def test_only_some_warnings_become_notes(bench: Bench) -> None:
    handle = bench.run(leaf("Warn", {"frame": 30}))
    assert handle.outcome is not None
    assert "warn: ValueError: too many warnings" in handle.outcome.message
    notes = bench.notes()
    assert sum(note.startswith("WARNING: ") for note in notes) == 20
    assert any(note.endswith("more warnings of its log are not noted") for note in notes)


def test_the_facade_runs_analyses(tmp_path: Path) -> None:
    REGISTRY.load_module("taskgrove_demo.analyses")
    file = tmp_path / "powder.yaml"
    file.write_text(
        f"header: {{work_dir: {tmp_path}}}\n"
        "FitRings: {integrated_dir: nowhere, output_file: fit.json}\n"
    )
    task = LeafTask("fit", str(file), "FitRings", None, ANALYSIS)
    outcome = taskgrove.run(Task("root", subtasks=[task]))
    assert outcome.status is TaskStatus.FAILED
    assert "fit: AnalysisError: nowhere holds no integrated frame" in outcome.message


# ------------------------------------------------------------------------------ abort


def test_an_abort_reaches_the_process_and_what_waits_never_starts(
    tmp_path: Path, bench: Bench
) -> None:
    places = [tmp_path / f"wait-{number}" for number in range(3)]
    leaves = [leaf("Wait", {"place": str(p)}, p.name) for p in places]
    handle = bench.submit(*leaves)
    until(lambda: sum(place.exists() for place in places) == 2)
    [waiting] = [place.name for place in places if not place.exists()]
    assert handle.abort("the shutter is closed")
    assert handle.wait(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert (outcome.status, outcome.result) == (TaskStatus.ABORTED, ResultCode.ABORTED)
    assert f"{waiting} - not started: the shutter is closed" in outcome.message
    assert "the shutter is closed" in outcome.message
    assert handle.abandoned == ()
    assert len(bench.pids()) == 2
    until(lambda: not any(runs(pid) for pid in bench.pids()))
    topics = [item.topic for item in bench.details(NoteDetail)]
    assert topics.count("abort-acknowledged") == 2


def test_a_process_that_is_deaf_to_sigterm_is_killed_and_not_abandoned(tmp_path: Path) -> None:
    bench = Bench(slots=1, grace_s=0.3, tree_grace_s=GUARD_S)
    place = tmp_path / "deaf"
    handle = bench.submit(leaf("Wait", {"place": str(place), "deaf": True}))
    until(place.exists)
    handle.abort()
    assert handle.wait(GUARD_S)
    assert handle.abandoned == ()
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED
    assert not runs(bench.pids()[0])
    bench.close()


def test_closing_the_runner_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    bench = Bench(slots=1)
    place = tmp_path / "waits"
    handle = bench.submit(leaf("Wait", {"place": str(place)}), shell("true"))
    until(place.exists)
    bench.runner.close()
    assert handle.wait(GUARD_S)
    until(lambda: not any(runs(pid) for pid in bench.pids()))
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED
    with pytest.raises(UsageError, match="closed"):
        bench.runner.start(_Unused(shell("true")))
    bench.close()


class _Unused:
    """As much of a context as a closed runner asks for."""

    run_id, path, attempt = "run", "root/shell", 1

    def __init__(self, leaf_task: LeafTask) -> None:
        self.leaf = leaf_task

    def update(self, **fields: Any) -> None:
        """Nothing."""


# ------------------------------------------------------------------------------ limits


def test_a_limit_ends_the_process_and_is_the_cause(bench: Bench) -> None:
    handle = bench.run(shell("sleep 300", timeout=0.3))
    outcome = handle.outcome
    assert outcome is not None
    assert (outcome.status, outcome.result) == (TaskStatus.FAILED, ResultCode.FAILED)
    assert "timed out after 0.3 s" in outcome.message
    until(lambda: not any(runs(pid) for pid in bench.pids()))
    until(lambda: bool(bench.details(AnalysisDetail)))
    assert bench.details(AnalysisDetail)[0].status == "TIMEDOUT"


def test_the_limit_of_the_configuration_holds_where_the_leaf_has_none(bench: Bench) -> None:
    configuration = parse_configuration("header: {task_timeout: 0.3}\nShell: {c: sleep 300}\n")
    task = LeafTask("slow", configuration, "Shell", None, ANALYSIS)
    outcome = bench.run(task).outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.FAILED
    assert "slow: timed out after 0.3 s" in outcome.message


def test_a_limit_begins_with_the_process_and_not_in_the_queue(tmp_path: Path) -> None:
    bench = Bench(slots=1)
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    first = shell(f"touch '{begun}'; while ! [ -e '{go_on}' ]; do sleep 0.05; done", "first")
    handle = bench.submit(first)
    until(begun.exists)
    queued = bench.submit(shell("true", "second", timeout=3.0))
    assert not queued.wait(3.2), "it waits for the only slot"
    go_on.touch()
    assert handle.wait(GUARD_S)
    assert queued.wait(GUARD_S)
    outcome = queued.outcome
    bench.close()
    assert outcome is not None
    assert outcome.result is ResultCode.OK, outcome.message


# ------------------------------------------------------------------------------ before the start


def test_what_cannot_be_started_says_why_before_and_at_the_start(
    tmp_path: Path, bench: Bench
) -> None:
    (tmp_path / "a.yaml").write_text("CheckFrame:\n  frmae: 3\n")
    wrong_key = LeafTask("a", str(tmp_path / "a.yaml"), "CheckFrame", None, ANALYSIS)
    wrong_name = leaf("ChekFrame", name="b")
    wrong_value = leaf("CheckFrame", {"frame": "many"}, "c")
    wrong_argin = leaf("CheckFrame", [1], "d")
    no_file = LeafTask("e", str(tmp_path / "none.yaml"), "CheckFrame", None, ANALYSIS)
    found = {task.name: bench.runner.preflight(task) for task in (
        wrong_key, wrong_name, wrong_value, wrong_argin, no_file
    )}  # fmt: skip
    assert "a.yaml:2" in found["a"][0]
    assert "did you mean 'frame'?" in found["a"][0]
    assert "did you mean 'CheckFrame'?" in found["b"][0]
    assert "frame" in found["c"][0]
    assert "a mapping of its parameters" in found["d"][0]
    assert "none.yaml" in found["e"][0]
    outcome = bench.run(wrong_name).outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.FAILED
    assert "there is no analysis 'ChekFrame'" in outcome.message
    assert bench.runner.preflight(leaf("CheckFrame")) == []
    assert bench.pids() == []


def test_a_value_that_an_earlier_analysis_gives_is_taken_as_given_before_the_run(
    tmp_path: Path,
) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(
        "header: {experiment: demo, run: 1}\n"
        "CheckFrame: {frame: '{{ earlier.FindFrame.payload.best }}'}\n"
    )
    task = LeafTask("check", str(file), "CheckFrame", None, ANALYSIS)
    asked: list[tuple[str, ...]] = []

    def earlier(*question: str) -> Any:
        asked.append(question)
        return 7

    without, having = AnalysisRunner(registry()), Bench(slots=1, earlier=earlier)
    assert without.preflight(task) == []
    without.close()
    assert having.run(task).outcome.result is ResultCode.OK  # type: ignore[union-attr]
    having.close()
    assert asked[0] == ("demo", "1", "FindFrame", "payload.best")
    [detail] = having.details(AnalysisDetail)
    assert '"frame":7' in detail.parameters


@pytest.mark.parametrize("record", ["none", "late"])
def test_a_value_of_the_same_tree_needs_no_record(record: str, tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(
        "header: {experiment: demo, run: 1}\nCheckFrame: {frame: 7}\n"
        "Draw: {frame: '{{ earlier.CheckFrame.payload.frame }}'}\n"
    )

    def late(*question: str) -> Any:
        raise LookupError("it is not written yet")

    bench = Bench(slots=1, earlier=late if record == "late" else None)
    alone = LeafTask("alone", str(file), "Draw", None, ANALYSIS)
    assert bench.runner.preflight(alone) == []
    early = bench.run(alone).outcome
    assert early is not None
    assert early.message.count("no earlier result of CheckFrame") == 1
    assert "MapError" not in early.message
    leaves = [LeafTask(name, str(file), name, None, ANALYSIS) for name in ("CheckFrame", "Draw")]
    tree = Task("root", subtasks=leaves, is_root=True)
    handle = bench.executor.submit_main_task(tree, observers=bench.observers)
    assert handle.wait(GUARD_S)
    bench.close()
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK, handle.outcome
    assert '"frame":7' in bench.details(AnalysisDetail)[-1].parameters


def test_slots_are_a_whole_number_from_1() -> None:
    for slots in (0, True, 1.5):
        with pytest.raises(UsageError, match="slots"):
            AnalysisRunner(registry(), slots=slots)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ stop, retry, attach


def test_a_stopped_analysis_is_still_in_progress_and_goes_on(tmp_path: Path, bench: Bench) -> None:
    place = tmp_path / "waits"
    handle = bench.submit(leaf("Wait", {"place": str(place)}))
    until(lambda: place.exists() and bool(bench.pids()))
    os.kill(bench.pids()[0], signal.SIGSTOP)
    until(lambda: any(note.startswith("stopped") for note in bench.notes()))
    assert handle.status is TaskStatus.IN_PROGRESS
    os.kill(bench.pids()[0], signal.SIGCONT)
    until(lambda: any(note.startswith("resumed") for note in bench.notes()))
    place.unlink()
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK


def test_a_failed_analysis_is_tried_again(tmp_path: Path, bench: Bench) -> None:
    mark = tmp_path / "tried"
    script = f"test -e {mark} || {{ touch {mark}; echo no beam >&2; exit 1; }}"
    handle = bench.run(shell(script, retries=1))
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK
    assert len(bench.pids()) == 2
    assert any("no beam" in note for note in bench.notes())


def test_what_an_ended_process_gave_is_not_known(bench: Bench) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        identity = identity_of(process.pid)
    assert identity is not None
    handle = bench.run(shell("true"), prior={"root/shell": PriorWork(identity, "process")})
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.FAILED
    assert (
        f"shell: process {process.pid} had ended while nobody watched it; what it gave is not known"
        in handle.outcome.message
    )


def test_a_process_of_somebody_else_is_followed_to_its_end(bench: Bench) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        identity = identity_of(process.pid)
        assert identity is not None
        handle = bench.submit(
            shell("true", retries=1), prior={"root/shell": PriorWork(identity, "process")}
        )
        until(lambda: any("its end is waited for" in note for note in bench.notes()))
        assert not handle.wait(0.2)
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK, "it is tried again, and that succeeds"
    assert any(f"process {process.pid} has ended; what it gave is not known" in note
               for note in bench.notes())  # fmt: skip


@pytest.fixture
def deaf() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not listen to SIGTERM, started by an executor that is gone."""
    with subprocess.Popen(
        ["/bin/sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n", "by now it is deaf"
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def follow(bench: Bench, process: subprocess.Popen[bytes], **options: Any) -> RunHandle:
    identity = identity_of(process.pid)
    assert identity is not None
    prior = {"root/shell": PriorWork(identity, "process")}
    return bench.submit(shell("true"), prior=prior, **options)


def is_followed(event: TaskEvent) -> bool:
    return event.kind == "note" and "its end is waited for" in event.message


def test_an_abort_ends_a_process_that_is_followed(deaf: subprocess.Popen[bytes]) -> None:
    bench = Bench(slots=1, grace_s=0.3)
    handle = follow(bench, deaf)
    until(lambda: any(map(is_followed, bench.events)))
    handle.abort()
    assert deaf.wait(GUARD_S) == -signal.SIGKILL
    assert handle.wait(GUARD_S)
    bench.close()
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED


@pytest.mark.parametrize("moment", ["before", "at the note"])
def test_an_abort_while_a_process_is_only_beginning_to_be_followed(
    deaf: subprocess.Popen[bytes], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the moment of the abort, the process that nobody else would end is ended."""
    bench = Bench(slots=1, grace_s=0.3)
    submitted, aborted = threading.Event(), threading.Event()
    look = attaching.end_all_leftovers

    def slowly() -> None:
        if moment == "before":
            assert submitted.wait(GUARD_S)
            handle.abort()
            aborted.set()
        look()

    def at_the_note(event: TaskEvent) -> None:
        if is_followed(event) and not aborted.is_set():
            assert submitted.wait(GUARD_S)
            handle.abort()

    monkeypatch.setattr(attaching, "end_all_leftovers", slowly)
    bench.observers.append(at_the_note)
    handle = follow(bench, deaf)
    submitted.set()
    assert deaf.wait(GUARD_S) == -signal.SIGKILL
    assert handle.wait(GUARD_S)
    bench.close()
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED


def test_an_identity_that_is_none_fails_the_leaf(bench: Bench) -> None:
    handle = bench.run(shell("true"), prior={"root/shell": PriorWork("12", "process")})
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.FAILED
    assert "is no identity of a process" in handle.outcome.message


# ----------------------------------------------------------------------- the cause, as data


def cause_of(bench: Bench, name: str = "root/shell") -> Cause:
    """Return the cause that the event of a leaf's end carries."""
    [end] = [item for item in bench.events if item.kind == "finished" and item.path == name]
    assert isinstance(end.detail, FinishedDetail)
    assert end.detail.cause is not None
    return end.detail.cause


def test_the_end_of_a_program_carries_its_exit_status_its_words_and_its_last_lines(
    bench: Bench, tmp_path: Path
) -> None:
    script = r"printf 'reading\n\033[31mERROR:\033[0m no mask\nbye\n' >&2; exit 3"
    program = shell(script)
    program.target = parse_configuration(f"header: {{work_dir: {tmp_path}}}")
    outcome = bench.run(program).outcome
    assert outcome is not None
    assert "shell: exit status 3: ERROR: no mask" in outcome.message
    cause = cause_of(bench)
    assert (cause.kind, cause.return_code, cause.signal) == ("exited", 3, None)
    assert cause.said == "ERROR: no mask"
    assert cause.last_lines == ("reading", "ERROR: no mask", "bye")
    assert cause.output_file is not None
    assert Path(cause.output_file).parent == tmp_path


def test_the_end_by_a_signal_carries_its_name(bench: Bench) -> None:
    bench.run(shell("echo frame 12 >&2; kill -SEGV $$"))
    cause = cause_of(bench)
    assert (cause.kind, cause.return_code, cause.signal) == ("signalled", -11, "SIGSEGV")
    assert cause.last_lines == ("frame 12",)


def test_an_exception_of_an_analysis_is_said_to_be_one(bench: Bench) -> None:
    bench.run(leaf("Warn"))
    cause = cause_of(bench, "root/warn")
    assert cause.kind == "raised"
    assert cause.chain == (ChainLink("ValueError", "too many warnings"),)


def test_a_traceback_of_a_program_is_kept_as_a_chain(bench: Bench) -> None:
    code = "try: {}[1]\nexcept KeyError as exc: raise OSError(2) from exc"
    bench.run(shell(f"exec {shlex.quote(sys.executable)} -c '{code}'"))
    cause = cause_of(bench)
    assert [link.type for link in cause.chain] == ["OSError", "KeyError"]


def test_what_completes_has_no_cause(bench: Bench) -> None:
    bench.run(shell("echo ERROR: none; true"))
    [end] = [item for item in bench.events if item.kind == "finished" and item.path == "root/shell"]
    assert isinstance(end.detail, FinishedDetail)
    assert end.detail.cause is None


def test_the_note_of_a_retry_keeps_the_words_of_the_attempt(bench: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bench.run(shell(f"test -e {mark} || {{ touch {mark}; echo no beam >&2; exit 1; }}", retries=1))
    [note] = [item for item in bench.details(NoteDetail) if item.topic == "retry"]
    assert note.cause is not None
    assert (note.cause.kind, note.cause.said) == ("exited", "no beam")
