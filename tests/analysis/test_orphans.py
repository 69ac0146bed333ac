"""The executor's process itself is killed: no analysis lives on (fact (d), weakness W7).

Which of the three means ends what:

- the guardian ends every analysis, whole groups and detached processes included;
- should the guardian be killed too, a first-party analysis ends itself, because its channel
  closes;
- and a third-party program is found and ended by the next run, by the ledger.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running import guardian, leftovers
from taskgrove.analysis.running.leftovers import (
    Owner,
    boot_id,
    end_leftovers,
    start_time,
)
from taskgrove.analysis.running.supervisor import AnalysisSupervisor
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Runs, runs, until

ROOT = Path(__file__).parents[2]
HOST = """
import os
import select
import sys
import time
from pathlib import Path
from taskgrove.analysis.running.supervisor import AnalysisSupervisor
from tests.analysis.analysis_runs import Runs, Heard, GUARD_S
from tests.analysis import sample_tasks as tasks
from tests.analysis.sample_tasks import SampleParameters

folder, kind = Path(sys.argv[1]), sys.argv[2]
analyses = Runs(AnalysisSupervisor(linger_s=60, ledger_folder=folder / "ledgers"))
if kind == "task":
    handle = analyses.ready(tasks.Waits, SampleParameters(folder=folder), work_dir=folder)
elif kind == "stubborn":
    handle = analyses.ready(tasks.Ignores)
elif kind == "end":
    handle = analyses.ready(tasks.Waits, SampleParameters(folder=folder), work_dir=folder)
    print(handle.pid, analyses.supervisor.guardian_pid, flush=True)
    raise SystemExit
elif kind == "fork":
    handle = analyses.ready(tasks.Waits, SampleParameters(folder=folder), work_dir=folder)
    forked = os.fork()
    if not forked:
        os.closerange(0, 3)
        time.sleep(600)
    (folder / "a").write_text(str(forked))
else:
    wiped = "env -i setsid /bin/sh -c 'echo $$ > c; exec sleep 600 >/dev/null 2>&1' &"
    marked = "while grep -q 'file locks *unlimited' /proc/$$/limits; do :; done;"
    script = f"{marked} sleep 600 & echo $! > a; setsid sleep 600 & echo $! > b; ({wiped});"
    script += "while ! [ -s c ]; do sleep .05; done; echo; wait"
    handle = analyses.start_script(script, work_dir=folder)
    heard = Heard()
    handle.on_event(heard)
    heard.wait_for("log")
print(handle.pid, analyses.supervisor.guardian_pid, flush=True)
while not select.select([0], [], [], 0.1)[0]:
    pass  # a signal is heard between two waits; it is never lost
"""


class Host:
    """A process with an executor in it, and the pids that it told."""

    def __init__(self, folder: Path, kind: str) -> None:
        (folder / "ledgers").mkdir()
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(folder), kind],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.analysis, self.guardian = map(int, self.process.stdout.readline().split())
        self.pids = [self.analysis]
        self.pids += [int((folder / n).read_text()) for n in "abc" if (folder / n).exists()]

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.process.wait(GUARD_S)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    started: list[Host] = []
    yield started
    for host in started:
        host.process.kill()
        host.close()
        for pid in [*host.pids, host.guardian]:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["task", "stubborn", "program"])
def test_the_guardian_ends_what_a_killed_executor_has_started(
    hosts: list[Host], tmp_path: Path, kind: str
) -> None:
    host = Host(tmp_path, kind)
    hosts.append(host)
    assert all(map(runs, host.pids))
    host.kill()
    until(lambda: not any(map(runs, host.pids)))
    until(lambda: not runs(host.guardian))
    assert list((tmp_path / "ledgers").iterdir()) == []
    if kind == "task":
        assert (tmp_path / "cleaned").read_text() == "yes"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_executor_that_is_asked_to_end_ends_with_all_of_its_own(
    hosts: list[Host], tmp_path: Path, number: int
) -> None:
    """Fact (d): after SIGINT the process does not exit, and its task runs on."""
    host = Host(tmp_path, "program")
    hosts.append(host)
    host.process.send_signal(number)
    host.close()
    assert host.process.returncode == -number
    until(lambda: not any(map(runs, host.pids)))
    until(lambda: not runs(host.guardian))
    assert list((tmp_path / "ledgers").iterdir()) == []


def test_without_its_guardian_a_first_party_analysis_ends_itself(
    hosts: list[Host], tmp_path: Path
) -> None:
    host = Host(tmp_path, "task")
    hosts.append(host)
    os.kill(host.guardian, signal.SIGKILL)
    host.kill()
    until(lambda: not runs(host.analysis))
    assert (tmp_path / "cleaned").read_text() == "yes"


def test_without_its_guardian_a_program_is_ended_by_the_next_run(
    hosts: list[Host], tmp_path: Path
) -> None:
    host = Host(tmp_path, "program")
    hosts.append(host)
    os.kill(host.guardian, signal.SIGKILL)
    host.kill()
    assert all(map(runs, host.pids))
    next_run = AnalysisSupervisor(ledger_folder=tmp_path / "ledgers")
    analyses = Runs(next_run)
    assert analyses.run(tasks.Trivial).status is TaskStatus.COMPLETED
    until(lambda: not any(map(runs, host.pids)))
    assert next_run.close(20)
    assert list((tmp_path / "ledgers").iterdir()) == []


def test_an_interpreter_that_ends_ends_its_analyses(hosts: list[Host], tmp_path: Path) -> None:
    """Fact (d): the executor does not exit, its task runs on."""
    host = Host(tmp_path, "end")
    hosts.append(host)
    host.close()
    assert host.process.returncode == 0
    until(lambda: not runs(host.analysis))
    until(lambda: not runs(host.guardian))


def test_a_guardian_that_is_killed_harms_nobody(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Waits)
    guardian = analyses.supervisor.guardian_pid
    assert guardian is not None
    os.kill(guardian, signal.SIGKILL)
    handle.cancel()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED


def own_ledger(folder: Path, **changes: object) -> Path:
    start = start_time(os.getpid())
    assert start is not None
    owner = Owner(boot_id(), os.uname().nodename, os.getpid(), start, "0123456789ab")
    path = folder / "one.ledger"
    path.write_text(owner._replace(**changes).line())  # type: ignore[arg-type]
    return path


def test_nobody_ends_what_belongs_to_an_executor_that_lives(tmp_path: Path) -> None:
    environment = {**os.environ, leftovers.MARK_VARIABLE: "0123456789ab.1"}
    sleep = ["/bin/sleep", "60"]
    with subprocess.Popen(sleep, env=environment, start_new_session=True) as sleeper:
        path = own_ledger(tmp_path)
        assert end_leftovers(str(path)) == []
        assert path.exists()
        assert runs(sleeper.pid)
        sleeper.kill()


def test_a_pid_that_now_belongs_to_somebody_else_is_no_owner(tmp_path: Path) -> None:
    path = own_ledger(tmp_path, start=1)  # the process of that number is a later one
    assert end_leftovers(str(path)) == []
    assert not path.exists()


def test_the_guardian_of_an_executor_that_forked_is_not_held_up(
    hosts: list[Host], tmp_path: Path
) -> None:
    host = Host(tmp_path, "fork")
    hosts.append(host)
    host.kill()
    until(lambda: not runs(host.analysis))
    until(lambda: not runs(host.guardian))
    assert runs(host.pids[1])


def test_a_ledger_of_another_boot_is_forgotten(tmp_path: Path) -> None:
    path = own_ledger(tmp_path, boot_id="another")
    assert end_leftovers(str(path)) == []
    assert not path.exists()
    path = own_ledger(tmp_path, boot_id="another", host="elsewhere")
    assert end_leftovers(str(path)) == []
    assert path.exists(), "a folder may be shared by hosts"


@pytest.mark.parametrize("text", ["", "rubbish", "taskgrove-ledger-1 a b c d e\n"])
def test_what_is_no_ledger_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.ledger"
    path.write_text(text)
    assert end_leftovers(str(path)) == []
    assert path.read_text() == text


def test_the_folder_of_ledgers_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = guardian.ledger_folder()
    assert folder == tmp_path / "taskgrove"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="is not a private folder"):
        guardian.ledger_folder()
    folder.rmdir()
    (tmp_path / "taskgrove").symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        guardian.ledger_folder()


def test_analyses_run_without_a_ledger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = AnalysisSupervisor(ledger_folder=tmp_path / "missing")
    assert Runs(supervisor).run(tasks.Trivial).status is TaskStatus.COMPLETED
    assert supervisor.close(10)
    assert "no guardian" in caplog.text


def name_of(pid: int) -> str:
    """Return the name of a process that may be gone since."""
    try:
        return psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return ""


def test_the_mark_is_inherited_and_found() -> None:
    mark = f"feed{os.getpid()}.1"
    environment = {**os.environ, leftovers.MARK_VARIABLE: mark}
    with subprocess.Popen(
        ["/bin/sh", "-c", "setsid sleep 60 & wait"], env=environment, start_new_session=True
    ) as shell:
        until(lambda: "sleep" in map(name_of, leftovers.marked_processes(mark)))
        found = leftovers.marked_processes(mark)
        assert all(psutil.Process(pid).environ()[leftovers.MARK_VARIABLE] == mark for pid in found)
        assert leftovers.marked_processes(f"{mark}2") == []

        def is_gone() -> bool:
            left = leftovers.marked_processes(mark)
            for pid in left:  # setsid may have forked since we looked
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        until(is_gone)
        shell.wait()


def test_a_batch_job_that_inherited_the_mark_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"fade{os.getpid()}"
    environment = {**os.environ, leftovers.MARK_VARIABLE: f"{mark}.1"}
    sleep = ["/bin/sleep", "60"]
    groups: dict[int | str, bytes] = {"self": b"0::/ours\n"}
    monkeypatch.setattr(leftovers, "cgroup_of", lambda pid: groups.get(pid, b"0::/ours\n"))
    gone = subprocess.Popen(["/bin/true"])
    owner = Owner(boot_id(), os.uname().nodename, gone.pid, start_time(gone.pid) or 1, mark)
    gone.wait()
    path = tmp_path / "ledger"
    path.write_text(owner.line())
    with (
        subprocess.Popen(sleep, env=environment, start_new_session=True) as part,
        subprocess.Popen(sleep, env=environment, start_new_session=True) as job,
    ):
        try:
            until(lambda: len(leftovers.marked_processes(mark)) == 2)
            groups[job.pid] = b"0::/slurm/job_7\n"
            assert leftovers.marked_processes(mark) == [part.pid]
            assert end_leftovers(str(path)) == [part.pid]
            assert part.wait(GUARD_S) == -signal.SIGTERM
            assert job.poll() is None
        finally:
            part.kill()
            job.kill()
