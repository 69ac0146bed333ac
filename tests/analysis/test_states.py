"""Every state of an analysis, reached by a real process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.tasklets import TaskletContext
from taskgrove.errors import WaitTimeoutError
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs, runs, until
from tests.analysis.sample_tasks import SampleParameters


def test_pending_until_the_process_is_started(analyses: Runs) -> None:
    seen: list[TaskStatus] = []
    handle = None

    def look(context: TaskletContext) -> None:
        until(lambda: handle is not None)
        assert handle is not None
        seen.append(handle.status)
        assert handle.pid is None

    handle = analyses.start(tasks.Trivial, before=[look])
    assert handle.wait(GUARD_S)
    assert seen == [TaskStatus.PENDING]
    assert handle.status is TaskStatus.COMPLETED


def test_pending_can_be_called_off(analyses: Runs) -> None:
    handle = None

    def call_off(context: TaskletContext) -> None:
        until(lambda: handle is not None)
        assert handle is not None
        handle.cancel("not wanted any more")

    handle = analyses.start(tasks.Trivial, before=[call_off])
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.cause == "not wanted any more"
    assert handle.pid is None


def test_running_and_completed(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start(tasks.Count, SampleParameters(n=4, mode=tasks.Mode.EXACT))
    assert handle.status in {TaskStatus.RUNNING, TaskStatus.COMPLETED}
    handle.on_event(heard)
    described = handle.result(GUARD_S)
    assert handle.status is TaskStatus.COMPLETED
    assert described.task_result.payload == {"n": 4, "mode": "EXACT"}
    assert described.task_result.task_status is TaskStatus.COMPLETED
    assert described.task_result.task_name == "Count"
    assert heard.kinds == ["started", *["progress"] * 4, "log", "result", "done"]
    assert [e.progress for e in heard.events if e.kind == "progress"] == [25, 50, 75, 100]
    assert heard.texts("log") == ["counted to 4"]
    assert heard.events[-1].outcome is handle.outcome
    assert handle.progress == 100


def test_failed_with_the_words_of_the_exception(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start(tasks.Raises)
    handle.on_event(heard)
    described = handle.result(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.FAILED
    assert outcome.cause == "ValueError: frame 12: no peaks above 5 sigma"
    assert described.task_result.summary == outcome.cause
    assert outcome.return_code == 1
    (traceback,) = heard.texts("log")
    assert "Traceback" in traceback
    assert "sample_tasks.py" in traceback
    assert heard.kinds[-2:] == ["failed", "done"]


def test_failed_because_its_own_result_says_so(analyses: Runs) -> None:
    handle = analyses.run(tasks.SaysFailed)
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert handle.outcome.cause.startswith("too noisy to be of use")
    assert handle.outcome.result.payload == [1, 2]


def test_stopped_and_resumed(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.ready(tasks.Waits)
    handle.on_event(heard)
    handle.stop()
    heard.wait_for("stopped")
    assert handle.status is TaskStatus.STOPPED
    handle.resume()
    heard.wait_for("resumed")
    assert handle.status is TaskStatus.RUNNING
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED


def test_stopped_by_somebody_else_is_seen(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.ready(tasks.Waits, poll_interval=0.02)
    handle.on_event(heard)
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGSTOP)
    heard.wait_for("stopped")
    assert handle.status is TaskStatus.STOPPED
    os.kill(handle.pid, signal.SIGCONT)
    heard.wait_for("resumed")
    assert handle.status is TaskStatus.RUNNING
    handle.cancel()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert [kind for kind in heard.kinds if kind in {"stopped", "resumed"}] == [
        "stopped", "resumed"
    ]  # fmt: skip


def test_a_stopped_one_can_be_cancelled(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.ready(tasks.Waits)
    handle.on_event(heard)
    handle.stop()
    heard.wait_for("stopped")
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED


def test_a_stopped_one_that_is_cancelled_cleans_up(analyses: Runs, tmp_path: Path) -> None:
    heard = Heard()
    handle = analyses.ready(tasks.Waits, SampleParameters(folder=tmp_path), grace_s=30.0)
    handle.on_event(heard)
    handle.stop()
    heard.wait_for("stopped")
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.return_code == 128 + signal.SIGTERM  # not killed after the grace
    assert (tmp_path / "cleaned").read_text() == "yes"


def test_sigterm_that_another_thread_took_is_heard(analyses: Runs) -> None:
    """The main thread alone can act on it, and would sleep on in its system call."""
    handle = analyses.run(tasks.LeavesSigtermToAnother)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.return_code == 128 + signal.SIGTERM


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_the_limit_stands_still_while_we_have_stopped_it(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start_script("exec sleep 60", timeout_s=2.0)
    handle.stop()  # before anything else: nothing here may take as long as the limit
    limit_at = time.monotonic() + 2.1
    handle.on_event(heard)
    heard.wait_for("stopped")
    until(lambda: time.monotonic() > limit_at)
    assert handle.status is TaskStatus.STOPPED
    handle.resume()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT


def test_the_limit_holds_for_one_that_somebody_else_has_stopped(analyses: Runs) -> None:
    handle = analyses.start_script("exec sleep 60", timeout_s=1.0, grace_s=0.5)
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGSTOP)
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT


def test_cancelled_and_cleaned_up(analyses: Runs, tmp_path: Path) -> None:
    heard = Heard()
    handle = analyses.ready(tasks.Waits, SampleParameters(folder=tmp_path))
    handle.on_event(heard)
    handle.cancel("operator: wrong run")
    described = handle.result(GUARD_S)
    assert described.task_result.task_status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.cause == "operator: wrong run"
    assert handle.outcome.return_code == 143
    assert (tmp_path / "cleaned").read_text() == "yes"
    assert heard.kinds[-2:] == ["cancelled", "done"]


def test_cancelled_program_that_ignores_sigterm(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Ignores, grace_s=0.3)
    pid = handle.pid
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.return_code == -signal.SIGKILL
    assert pid is not None
    assert not runs(pid)


@pytest.mark.parametrize("kind", ["python", "binary"])
def test_timedout_is_enforced_alike(analyses: Runs, kind: str) -> None:
    """Fact S11/W3: a limit that first-party tasks do not notice, recorded COMPLETED."""
    if kind == "python":
        handle = analyses.start(tasks.Waits, timeout_s=1.0, grace_s=2.0)
    else:
        handle = analyses.start_script("exec sleep 60", timeout_s=0.3, grace_s=2.0)
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT
    assert handle.outcome is not None
    limit = "1" if kind == "python" else "0.3"
    assert handle.outcome.cause == f"timed out after {limit} s"


def test_timedout_although_it_ignores_sigterm(analyses: Runs) -> None:
    """Fact S11: a script that ignores the signal runs on."""
    script = "trap '' TERM ALRM; echo deaf; while :; do sleep 0.1; done"
    for limit_s in (0.3, 3.0, 20.0):  # a busy machine may take longer to begin than the limit
        handle = analyses.start_script(script, timeout_s=limit_s, grace_s=0.3)
        assert handle.wait(GUARD_S)
        assert handle.status is TaskStatus.TIMEDOUT
        assert handle.outcome is not None
        if handle.outcome.output[0].tail:
            break
    assert handle.outcome.return_code == -signal.SIGKILL


def test_timedout_after_its_result_came(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start(tasks.HangsAfterResult, grace_s=0.3)
    handle.on_event(heard)
    heard.wait_for("log", "hangs")
    handle.cancel("timed out after 2 s", at_limit=True)
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT
    assert handle.outcome is not None
    assert handle.outcome.cause == "timed out after 2 s; its result had come before and is kept"
    assert handle.outcome.result.payload == {"good": True}


def test_the_limit_of_the_header_holds(analyses: Runs) -> None:
    executor = analyses.executor(tasks.Waits, header=AnalysisHeader(task_timeout=1))
    handle = executor.start()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT


def test_unresponsive_is_said_and_ended(analyses: Runs) -> None:
    """Fact S12: killed, and recorded as FAILED."""
    heard = Heard()
    handle = analyses.start(
        tasks.HoldsTheInterpreter, heartbeat_timeout_s=2.0, grace_s=0.3, poll_interval=0.05
    )
    handle.on_event(heard)
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.TIMEDOUT
    assert handle.outcome is not None
    assert handle.outcome.cause == "unresponsive: no heartbeat for 2 s"
    said = heard.wait_for("log", "unresponsive")
    assert said.source == "executor"
    assert "its process is alive" in said.text


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_quiet_is_not_dead(analyses: Runs) -> None:
    """Fact S12: a healthy but quiet program is killed."""
    # Its start may take as long as it is silent afterwards, on a machine that is busy.
    quiet = analyses.start(tasks.Sleeps, SampleParameters(n=50), heartbeat_timeout_s=4.0)
    program = analyses.start_script("sleep 1.5", heartbeat_timeout_s=0.5)
    assert program.wait(GUARD_S)
    assert quiet.wait(GUARD_S)
    assert program.status is TaskStatus.COMPLETED
    assert quiet.status is TaskStatus.COMPLETED


def test_the_status_is_final_once(analyses: Runs) -> None:
    handle = analyses.run(tasks.Trivial)
    outcome = handle.outcome
    handle.cancel("too late")
    handle.stop()
    handle.resume()
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is outcome


def test_waiting_has_a_limit(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Waits)
    assert not handle.wait(0.01)
    with pytest.raises(WaitTimeoutError, match="Waits is RUNNING after"):
        handle.result(0.01)
    handle.cancel()
    assert handle.wait(GUARD_S)
