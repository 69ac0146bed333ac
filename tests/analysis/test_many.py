"""Many analyses at once, in batch allocations, under launchers; and the supervisor itself."""

from __future__ import annotations

import itertools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from taskgrove.analysis.batch import allocation_of, sigterm_calls
from taskgrove.analysis.channel.channel_messages import Hello, Result, encode_message
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.supervisor import AnalysisSupervisor, default_supervisor
from taskgrove.errors import UsageError
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs, descriptors, runs, until
from tests.analysis.sample_tasks import NoParameters, SampleParameters

ROOT = Path(__file__).parents[2]


def test_a_hundred_in_parallel_leave_nothing(analyses: Runs) -> None:
    """The fixture sees that no descriptor, thread or ledger is left; here: no process."""
    analyses.run(tasks.Trivial, NoParameters())
    before = descriptors()
    known = {child.pid for child in psutil.Process().children(recursive=True)}
    threads = threading.active_count()
    handles = [analyses.start_script(f"exit {number % 2}") for number in range(100)]
    assert threading.active_count() <= threads + 8
    assert all(handle.wait(GUARD_S) for handle in handles)
    done = [handle.status is TaskStatus.COMPLETED for handle in handles]
    assert done == [number % 2 == 0 for number in range(100)]
    until(lambda: descriptors() <= before)
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    assert children <= known | {analyses.supervisor.guardian_pid}


@pytest.mark.parametrize(
    "count",
    [6, pytest.param(100, marks=pytest.mark.thorough)],  # the same, of more
)
def test_many_first_party_analyses_in_parallel(analyses: Runs, count: int) -> None:
    handles = [analyses.start(tasks.Count, SampleParameters(n=n)) for n in range(count)]
    assert all(handle.wait(200) for handle in handles)
    assert [h.outcome.result.payload["n"] for h in handles if h.outcome] == list(range(count))


# -- MPI ----------------------------------------------------------------------------------------

FAKE_MPIRUN = """#!/bin/sh
# Starts ranks as mpirun does: none inherits a descriptor, each has its number.
shift; count=$1; shift
pids=
rank=0
while [ $rank -lt $count ]; do
    (exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
     OMPI_COMM_WORLD_RANK=$rank exec "$@") & pids="$pids $!"
    rank=$((rank + 1))
done
status=0
for pid in $pids; do wait $pid || status=$?; done
exit $status
"""


@pytest.fixture(params=["fake", "openmpi"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    if request.param == "fake":
        path = tmp_path / "mpirun"
        path.write_text(FAKE_MPIRUN)
        path.chmod(0o755)
        return (str(path), "-n", "2")
    if shutil.which("mpirun") is None:
        pytest.skip("needs mpirun (Debian: openmpi-bin)")
    return ("mpirun", "--oversubscribe", *(["--allow-run-as-root"] * (os.getuid() == 0)), "-n", "2")


def test_rank_0_reports(analyses: Runs, launcher: tuple[str, ...]) -> None:
    heard = Heard()
    handle = analyses.start(tasks.Ranks, launcher=launcher)
    handle.on_event(heard)
    described = handle.result(GUARD_S)
    assert handle.outcome is not None
    assert handle.status is TaskStatus.COMPLETED, (handle.outcome.cause, handle.outcome.output)
    assert described.task_result.payload == {"rank": 0}
    assert heard.texts("progress") == ["rank 0"]
    said = [e.text for e in heard.events if e.source == "analysis"]
    assert sorted(said) == ["here", "rank 1: here"]
    names = [line.split(":")[0] for line in described.communicator_desc]
    assert names == ["UnixSocket", "Output"]


def test_another_rank_fails(analyses: Runs, launcher: tuple[str, ...]) -> None:
    handle = analyses.run(tasks.Ranks, SampleParameters(text="fail 1"), launcher=launcher)
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert handle.outcome.cause.startswith("rank 1: RuntimeError: lost a panel")


def test_ranks_are_cancelled(analyses: Runs, launcher: tuple[str, ...]) -> None:
    handle = analyses.ready(tasks.Waits, launcher=launcher, grace_s=3.0)
    assert handle.pid is not None
    started = psutil.Process(handle.pid)
    until(lambda: len(started.children(recursive=True)) >= 2)  # the other one may come later
    below = [child.pid for child in started.children(recursive=True)]
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    until(lambda: not any(map(runs, below)))


# By way of a shell, because the path of an interpreter may hold a space.
STRANGERS = """#!/bin/sh
'''exec' '{python}' -S "$0" "$@"
' '''
# A launcher: before the ranks, strangers come to the socket.
import os, socket, sys
name = os.environ["TASKGROVE_CHANNEL"].partition(":")[2]
for said in (b"cos", b"TGF", {hello}, {result}):
    end = socket.socket(socket.AF_UNIX)
    end.connect(chr(0) + name)
    try:
        end.sendall(said)
        end.shutdown(socket.SHUT_WR)
        end.recv(1)
    except OSError:
        pass
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_strangers_at_the_socket_are_sent_away(analyses: Runs, tmp_path: Path) -> None:
    """Fact W1 (ii): whoever connects gets code executed."""
    hello = b"".join(map(bytes, encode_message(Hello("a guess", 0))))
    result = b"".join(map(bytes, encode_message(Result("COMPLETED", "", 666, None, None))))
    launcher = tmp_path / "launcher"
    launcher.write_text(STRANGERS.format(python=sys.executable, hello=hello, result=result))
    launcher.chmod(0o755)
    handle = analyses.run(tasks.Ranks, launcher=(str(launcher),))
    assert handle.outcome is not None
    assert handle.outcome.result.payload == {"rank": 0}, handle.outcome
    assert handle.status is TaskStatus.COMPLETED


def test_a_launcher_that_is_missing(analyses: Runs) -> None:
    handle = analyses.run(tasks.Ranks, launcher=("no-such-mpirun", "-n", "2"))
    assert handle.outcome is not None
    assert "there is no launcher 'no-such-mpirun'" in handle.outcome.cause


# -- batch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["task", "program"])
@pytest.mark.parametrize("at_limit", [False, True])
def test_the_scheduler_s_sigterm_to_the_child(analyses: Runs, kind: str, at_limit: bool) -> None:
    end = int(time.time()) + (20 if at_limit else 36_000)
    environment = {"SLURM_JOB_ID": "4711", "SLURM_JOB_END_TIME": str(end)}
    if kind == "task":
        handle = analyses.ready(tasks.Waits, environment=environment)
    else:
        handle = analyses.start_script("exec sleep 60", environment=environment)
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGTERM)
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    if at_limit:
        assert handle.status is TaskStatus.TIMEDOUT
        assert handle.outcome.cause == (
            "SIGTERM from outside: Slurm job 4711 was at its time limit"
        )
    else:
        assert handle.status is TaskStatus.CANCELLED
        assert handle.outcome.cause == "SIGTERM from outside, in Slurm job 4711"


def test_the_scheduler_s_sigterm_to_us(analyses: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 20))
    handle = analyses.ready(tasks.Waits)
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_calls(lambda reason, at_limit: handle.cancel(reason, at_limit=at_limit)):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert handle.wait(GUARD_S)
    assert signal.getsignal(signal.SIGTERM) is before
    assert handle.status is TaskStatus.TIMEDOUT
    assert handle.outcome is not None
    assert handle.outcome.cause == ("SIGTERM from outside, in Slurm job 4711 at its time limit")


def test_allocations() -> None:
    assert allocation_of({}) is None
    found = allocation_of({"PBS_JOBID": "5.server"})
    assert found is not None
    assert (found.name, found.is_at_limit) == ("PBS job 5.server", False)


def test_only_the_main_thread_hears_signals() -> None:
    caught: list[UsageError] = []

    def listen() -> None:
        try:
            with sigterm_calls(lambda reason, at_limit: None):
                pass
        except UsageError as exc:
            caught.append(exc)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert len(caught) == 1


# -- the supervisor -----------------------------------------------------------------------------


def test_the_supervisor_ends_by_itself_and_begins_anew(tmp_path: Path) -> None:
    supervisor = AnalysisSupervisor(linger_s=0.05, ledger_folder=tmp_path)
    analyses = Runs(supervisor)
    threads = set(threading.enumerate())
    for _ in range(2):
        assert analyses.script("true").status is TaskStatus.COMPLETED
        until(lambda: supervisor.guardian_pid is None)
        until(lambda: set(threading.enumerate()) <= threads)
        assert list(tmp_path.iterdir()) == []


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    supervisor = AnalysisSupervisor(ledger_folder=tmp_path)
    analyses = Runs(supervisor)
    handles = [analyses.start_script("exec sleep 60") for _ in range(5)]
    assert supervisor.close(GUARD_S, reason="the session ends")
    for handle in handles:
        assert handle.status is TaskStatus.CANCELLED
        assert handle.outcome is not None
        assert handle.outcome.cause == "the session ends"
    assert supervisor.close()


def test_an_error_inside_the_thread_does_not_end_it(
    analyses: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    loop = analyses.supervisor.lease()
    loop.post(lambda: 1 / 0)
    assert analyses.script("true").status is TaskStatus.COMPLETED
    assert "continues after an unexpected error" in caplog.text
    loop.release()


def test_what_was_left_alone_in_the_same_turn_is_not_called(analyses: Runs) -> None:
    """The end of a process and of its output are found together; the first one closes all."""
    loop = analyses.supervisor.lease()
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []
    done = threading.Event()

    def on_ready(descriptor: int) -> None:
        called.append(descriptor)
        for read_end, _ in pipes:
            loop.unwatch(read_end)
        loop.at(0.0, done.set)

    def watch() -> None:
        for read_end, write_end in pipes:
            os.write(write_end, b"x")
            loop.watch(read_end, selectors.EVENT_READ, partial(on_ready, read_end))

    loop.post(watch)
    assert done.wait(GUARD_S)
    loop.release()
    for descriptor in itertools.chain.from_iterable(pipes):
        os.close(descriptor)
    assert len(called) == 1


def test_the_default_supervisor_is_shared_and_a_fork_begins_anew() -> None:
    assert default_supervisor() is default_supervisor()
    program = (
        "import os\n"
        "from taskgrove.analysis.running.supervisor import default_supervisor\n"
        "first = default_supervisor()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os._exit(3 if default_supervisor() is not first else 4)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    assert done.stdout == "3\n"


def test_the_child_imports_only_what_it_must(analyses: Runs) -> None:
    handle = analyses.run(tasks.ImportsNothing)
    assert handle.outcome is not None
    heavy = {"numpy", "multiprocessing", "asyncio", "jinja2", "yaml"}
    heavy |= {f"taskgrove.analysis.{name}" for name in ("executor", "supervisor", "pages")}
    assert heavy & set(handle.outcome.result.payload) == set()


def test_the_child_is_not_started_by_hand() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskgrove.analysis.child", "x:Y"],
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 70
    assert "there is no channel to an executor" in done.stderr
    assert "Traceback" not in done.stderr
