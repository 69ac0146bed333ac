"""Faults, each with real processes: a clear end and cause, and nothing left behind (issue 3).

The facts that a test names are those of the peer that it must not share.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskgrove.analysis.channel.channel_messages import Log, Result, encode_message
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.plain.plain_words import MOST_BUFFERS
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running import launch as launching
from taskgrove.analysis.running import process, supervision
from taskgrove.analysis.running.handle import AnalysisHandle
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs, runs, until
from tests.analysis.sample_tasks import SampleParameters


def failed(handle: AnalysisHandle, *words: str) -> None:
    assert handle.wait(GUARD_S)
    outcome = handle.outcome
    assert outcome is not None
    assert outcome.status is TaskStatus.FAILED
    assert outcome.result.task_status is TaskStatus.FAILED
    for word in words:
        assert word in outcome.cause
    if handle.pid is not None:
        assert not runs(handle.pid)


# -- what cannot be started ---------------------------------------------------------------------


def test_missing_executable(analyses: Runs) -> None:
    failed(analyses.start_program("/no/such/program"), "there is no program '/no/such/program'")
    failed(analyses.start_program("no-such-program"), "on the PATH of the analysis")


def test_not_executable(analyses: Runs, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    failed(analyses.start_program(str(program)), "is not executable", "chmod +x")
    failed(analyses.start_program(str(tmp_path)), "is not executable")


def test_wrong_interpreter(analyses: Runs, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/such/python3\n")
    program.chmod(0o755)
    failed(analyses.start_program(str(program)), "the interpreter of", "/no/such/python3")


def test_no_program_at_all(analyses: Runs, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01\x02\x03 no program")
    program.chmod(0o755)
    failed(analyses.start_program(str(program)), "is no program of this system")


def test_folder_that_cannot_be_made(analyses: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    handle = analyses.start(tasks.Trivial, work_dir=tmp_path / "file" / "below")
    failed(handle, "the working folder", "cannot be made")


def test_task_that_cannot_be_imported(analyses: Runs) -> None:
    entry = AnalysisEntry("gone", SampleParameters, task="tests.analysis.sample_tasks:Gone")
    executor = AnalysisExecutor(entry, SampleParameters(), supervisor=analyses.supervisor)
    failed(executor.start(), "AttributeError", "Gone")


def test_a_command_line_with_spaces_stays_whole(analyses: Runs, tmp_path: Path) -> None:
    """Facts F1, F5: commands are split at spaces."""
    folder = tmp_path / "a folder"
    handle = analyses.script("printf '%s' 'one  argument' > 'the file'", work_dir=folder)
    assert handle.status is TaskStatus.COMPLETED
    assert (folder / "the file").read_text() == "one  argument"


# -- how it ends by itself ----------------------------------------------------------------------


def test_exit_zero_without_a_result(analyses: Runs) -> None:
    """Fact S13: exit 0 before the start is taken for completed."""
    failed(analyses.start(tasks.EndsWithoutResult), "ended without a result (exit status 0)")
    failed(analyses.start(tasks.ExitsBySystemExit), "ended without a result (exit status 0)")


def test_other_exit_status_without_a_result(analyses: Runs) -> None:
    failed(analyses.start(tasks.EndsWithoutResult, SampleParameters(text="3")), "exit status 3")


def test_exit_one_after_a_good_result(analyses: Runs) -> None:
    handle = analyses.start(tasks.ExitsOneAfterResult)
    failed(handle, "exit status 1; its result had come before and is kept")
    assert handle.outcome is not None
    assert handle.outcome.result.payload == {"good": True}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed(analyses: Runs, number: int) -> None:
    handle = analyses.start(tasks.KillsItself, SampleParameters(text=str(int(number))))
    failed(handle, f"killed by {signal.Signals(number).name}")
    assert handle.outcome is not None
    assert handle.outcome.return_code == -number


def test_killed_while_it_is_stopped(analyses: Runs) -> None:
    """Fact (d), W3: recorded COMPLETED, valid, exit 0."""
    heard = Heard()
    handle = analyses.ready(tasks.Waits)
    handle.on_event(heard)
    handle.stop()
    heard.wait_for("stopped")
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGKILL)
    failed(handle, "killed by SIGKILL")


def test_somebody_else_ends_it_politely(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Waits)
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGTERM)
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert (handle.status, handle.outcome.cause) == (
        TaskStatus.CANCELLED,
        "SIGTERM from outside",
    )


def test_the_last_words_of_a_program_are_its_cause(analyses: Runs) -> None:
    handle = analyses.script("echo fine; echo 'no such detector: jungfrau' >&2; exit 4")
    failed(handle, "exit status 4: no such detector: jungfrau")


def test_an_exit_status_that_somebody_else_took_is_not_assumed(analyses: Runs) -> None:
    """Fact (d): `poll` then assumes 0."""
    handle = analyses.start_script("exec sleep 60")
    assert handle.pid is not None
    os.kill(handle.pid, signal.SIGSTOP)  # so that it is reaped here and nowhere else
    pidfd = os.pidfd_open(handle.pid)
    os.kill(handle.pid, signal.SIGKILL)
    # Both sides race for it; the point is that a lost race is told, not guessed.
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        expected = "its exit status is not known"
    except ChildProcessError:
        expected = "killed by SIGKILL"
    os.close(pidfd)
    failed(handle, expected)


# -- what it leaves behind ----------------------------------------------------------------------


def test_processes_that_it_leaves_are_ended_and_named(analyses: Runs) -> None:
    """A child in its group and a detached one, both holding its output open (fact S11)."""
    handle = analyses.run(tasks.LeavesProcesses)
    assert handle.status is TaskStatus.COMPLETED
    outcome = handle.outcome
    assert outcome is not None
    left = outcome.result.payload
    assert len(left) == 2
    assert not any(map(runs, left))
    (note,) = outcome.notes
    assert note == (
        "processes that it left behind were ended: "
        + ", ".join(f"sleep ({pid})" for pid in sorted(left))
    )


def test_daemon_that_holds_every_descriptor_of_the_analysis(analyses: Runs) -> None:
    """A fork of the Python process itself holds the channel and the pipe of its guard, too."""
    handle = analyses.run(tasks.ForksDaemon)
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    daemon = handle.outcome.result.payload
    assert not runs(daemon)
    assert f"({daemon})" in handle.outcome.notes[0]


@pytest.mark.parametrize("text", ["", "raised in the fork"])
def test_a_fork_has_no_say_in_the_result(analyses: Runs, text: str) -> None:
    handle = analyses.run(tasks.ForkComesBack, SampleParameters(text=text))
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert handle.outcome.result.payload == "of the analysis"
    assert text in handle.outcome.output[1].tail


#: Forks twice, has a session of its own and no descriptor, and runs on as another program.
DAEMON = """
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.close(0); os.close(1); os.close(2); os.closerange(3, 64)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.execve("/bin/sleep", ["/bin/sleep", "60"], dict(os.environ) if sys.argv[2] == "kept" else {})
"""


def daemon(folder: Path, environment: str) -> str:
    """Return a script that starts a daemon, and goes on when that has left everything behind.

    It begins when it bears the executor's mark: a program that left everything within the first
    milliseconds, on a busy machine, is not found, as :mod:`leftovers` says.
    """
    (folder / "daemon.py").write_text(DAEMON)
    started = folder / "pid"
    unmarked, _ = resource.getrlimit(10)  # RLIMIT_LOCKS
    limit = "unlimited" if unmarked == resource.RLIM_INFINITY else unmarked
    return (
        f"while grep -q 'file locks *{limit} ' /proc/$$/limits; do sleep .01; done;"
        f"'{sys.executable}' -S {folder}/daemon.py {started} {environment};"
        f" while ! [ -s {started} ]; do sleep .05; done;"
        f" while ! grep -q sleep /proc/$(cat {started})/cmdline; do sleep .05; done;"
    )


@pytest.mark.parametrize("environment", ["kept", "wiped"])
def test_daemon_that_sheds_what_it_inherited(
    analyses: Runs, tmp_path: Path, environment: str
) -> None:
    handle = analyses.script(daemon(tmp_path, environment))
    assert handle.status is TaskStatus.COMPLETED
    pid = int((tmp_path / "pid").read_text())
    assert not runs(pid)
    assert handle.outcome is not None
    assert handle.outcome.notes == (f"processes that it left behind were ended: sleep ({pid})",)


def test_daemon_without_environment_is_ended_with_what_is_cancelled(
    analyses: Runs, tmp_path: Path
) -> None:
    handle = analyses.start_script(daemon(tmp_path, "wiped") + " echo ready; sleep 60")
    heard = Heard()
    handle.on_event(heard)
    heard.wait_for("log", "ready")
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert not runs(int((tmp_path / "pid").read_text()))


def test_what_was_started_before_the_mark_came_is_marked_too(
    analyses: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a program may run before its executor does."""

    def late(mark: str, leader: int) -> None:
        until((tmp_path / "early").exists)
        process.mark_members(mark, leader)

    monkeypatch.setattr(launching, "mark_members", late)
    script = "(echo > early; while ! [ -e go ]; do sleep .05; done;" + daemon(tmp_path, "wiped")
    handle = analyses.start_script(script + ") & wait", work_dir=tmp_path)
    (tmp_path / "go").touch()
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.COMPLETED
    assert not runs(int((tmp_path / "pid").read_text()))


def test_daemon_of_another_analysis_is_left_alone(analyses: Runs, tmp_path: Path) -> None:
    """Each analysis ends its own processes: not those of others, nor those of this process."""
    handle = analyses.start_script(daemon(tmp_path, "wiped") + " echo ready; sleep 60")
    heard = Heard()
    handle.on_event(heard)
    heard.wait_for("log", "ready")
    with subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True) as ours:
        before = resource.prlimit(os.getpid(), 10)
        assert analyses.script("true").status is TaskStatus.COMPLETED
        assert resource.prlimit(os.getpid(), 10) == before
        assert runs(int((tmp_path / "pid").read_text()))
        handle.cancel()
        assert handle.wait(GUARD_S)
        assert runs(ours.pid)
        ours.kill()


def test_left_process_that_ignores_sigterm(
    analyses: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STRAY_GRACE_S", 0.2)
    script = "(trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done) & "
    script += "while ! [ -s pid ]; do :; done"
    handle = analyses.script(script, work_dir=tmp_path)
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert "sh (" in handle.outcome.notes[0]


def test_cancelling_ends_the_whole_group_and_what_left_it(analyses: Runs, tmp_path: Path) -> None:
    script = "sleep 60 & echo $! > a; setsid sleep 60 & echo $! > b; echo; wait"
    heard = Heard()
    handle = analyses.start_script(script, work_dir=tmp_path)
    handle.on_event(heard)
    heard.wait_for("log")
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    left = [int((tmp_path / name).read_text()) for name in "ab"]
    assert not any(map(runs, left))


# -- the channel --------------------------------------------------------------------------------

RESULT = b"".join(map(bytes, encode_message(Result("COMPLETED", "", 1, None, None))))
HALF = b"".join(map(bytes, encode_message(Log(20, "never whole"))))[:-4]
TWO_GB = b"TGF\x01\x03\x00" + (0).to_bytes(2, "little") + (2_000_000_000).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"garbage", "its channel broke: no frame begins with b'garbage'"),
        (b"cos\nsystem\n(S'touch pwned'\ntR.", "its channel broke: no frame"),
        (os.urandom(4096), "its channel broke"),
        (TWO_GB, "its channel broke: a frame claims 2000000000 bytes of header"),
        (RESULT + RESULT, "its channel broke: a second result came"),
        (RESULT[:4] + b"\xfa" + RESULT[5:], "of kind 250"),
    ],
    ids=["text", "pickle", "random", "2 GB", "two results", "unknown kind"],
)
def test_garbage_on_the_channel_costs_the_result(
    analyses: Runs, tmp_path: Path, sent: bytes, words: str
) -> None:
    """Facts W1, S13: what is printed is executed, or ends the executor."""
    parameters = SampleParameters(text=sent.hex(), n=2)
    handle = analyses.start(tasks.WritesToChannel, parameters, work_dir=tmp_path, grace_s=1.0)
    failed(handle, words)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (0, "ended in the midst of a message (exit status 0)"),
        (1, "killed by SIGKILL, which was not ours (out of memory?) in the midst of a message"),
    ],
)
def test_half_a_frame(analyses: Runs, how: int, words: str) -> None:
    """It dies in the midst of a frame, by itself or by SIGKILL."""
    handle = analyses.start(tasks.WritesToChannel, SampleParameters(text=HALF.hex(), n=how))
    failed(handle, words)


def test_the_executor_lives_on_after_all_of_that(analyses: Runs) -> None:
    bad = [
        analyses.start(tasks.WritesToChannel, SampleParameters(text="00ff", n=2), grace_s=0.5)
        for _ in range(3)
    ]
    good = analyses.run(tasks.Count)
    assert good.status is TaskStatus.COMPLETED
    for handle in bad:
        failed(handle, "its channel broke")


def test_a_payload_that_cannot_be_sent(analyses: Runs) -> None:
    """Fact W8: an ordinary dict is no supported payload; others vanish silently."""
    failed(
        analyses.start(tasks.Payload, SampleParameters(text="lock")),
        "AnalysisError: the value['it'] cannot be sent",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deep", "nested deeper than 100 levels"),
        ("turned in itself", "refers to itself"),
        ("huge list", "the result is too large to be sent"),
    ],
)
def test_a_payload_of_a_shape_that_cannot_be_sent(analyses: Runs, text: str, words: str) -> None:
    failed(analyses.start(tasks.Payload, SampleParameters(text=text)), "AnalysisError: ", words)


def test_a_payload_of_more_arrays_than_a_frame_has_buffers(analyses: Runs) -> None:
    handle = analyses.start(tasks.Payload, SampleParameters(text="many arrays"))
    payload = handle.result(GUARD_S).task_result.payload
    assert [int(array[99]) for array in payload] == list(range(MOST_BUFFERS + 10))


# -- output -------------------------------------------------------------------------------------


def test_flood_on_stderr(analyses: Runs, tmp_path: Path) -> None:
    """300 MB with a limit of 1 MB: read, counted, said; the program never waits long."""
    command = "head -c 300000000 /dev/zero >&2; echo >&2; echo last words >&2; exit 3"
    handle = analyses.script(command, work_dir=tmp_path, output_limit_bytes=1_000_000)
    failed(handle, "exit status 3", "last words")
    assert handle.outcome is not None
    stderr = handle.outcome.output[1]
    assert stderr.size_bytes == 300_000_012
    assert stderr.kept_bytes == 1_000_000
    assert stderr.file is not None
    assert stderr.file.stat().st_size < 1_000_200
    assert stderr.file.read_bytes().endswith(
        b"[taskgrove: 299000012 bytes more were not kept: the limit of 1000000 bytes was reached]\n"
    )
    assert handle.outcome.notes == ("stderr: the limit of 1000000 bytes was reached",)


def test_what_looks_like_a_message_on_stdout_is_output(analyses: Runs) -> None:
    """Fact W1 (i): a pickle on stdout ran in the executor."""
    handle = analyses.script("printf 'cos\\nsystem\\n(S\"true\"\\ntR.'")
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert handle.outcome.output[0].tail.startswith("cos\nsystem")


def test_every_line_of_a_burst_is_kept(analyses: Runs, tmp_path: Path) -> None:
    """Fact (b): 20 000 short lines at once, about 1 700 lost."""
    handle = analyses.script("seq 1 20000", work_dir=tmp_path)
    assert handle.outcome is not None
    assert handle.outcome.output_file is not None
    lines = handle.outcome.output_file.read_text().split()
    assert lines == [str(number) for number in range(1, 20001)]


# -- folders ------------------------------------------------------------------------------------


def mounted(folder: Path, options: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")


@pytest.fixture
def small_folder(tmp_path: Path) -> object:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted(folder, "size=1m")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_folder_of_a_first_party_analysis(analyses: Runs, small_folder: Path) -> None:
    handle = analyses.start(tasks.FillsFolder, work_dir=small_folder)
    failed(handle, "OSError: [Errno 28] No space left on device")


def test_full_folder_takes_the_output_and_not_the_run(analyses: Runs, small_folder: Path) -> None:
    handle = analyses.script("head -c 3000000 /dev/zero; echo said", work_dir=small_folder)
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    stdout = handle.outcome.output[0]
    assert stdout.size_bytes == 3_000_005
    assert 0 < stdout.kept_bytes <= 1 << 20
    assert stdout.tail.endswith("said\n")
    assert "No space left on device" in handle.outcome.notes[0]


def test_read_only_folder(analyses: Runs, small_folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_folder)], check=True)
    handle = analyses.script("echo said", work_dir=small_folder)
    assert handle.status is TaskStatus.COMPLETED
    assert handle.outcome is not None
    assert handle.outcome.output_file is None
    assert "Read-only file system" in handle.outcome.notes[0]
    below = analyses.script("echo said", work_dir=small_folder / "below")
    failed(below, "the working folder", "Read-only file system")


def test_descriptors_run_out(analyses: Runs) -> None:
    analyses.run(tasks.Trivial)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 3, hard))
    try:
        handle = analyses.start(tasks.Trivial)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    failed(handle, "cannot be started", "Too many open files")
    assert analyses.run(tasks.Trivial).status is TaskStatus.COMPLETED


# -- the caller's process stays as it is ----------------------------------------------------------


def test_nothing_of_the_host_process_is_changed(analyses: Runs) -> None:
    """Fact W10: affinity pinned, logging set up, warnings redirected, sockets in os.environ."""
    import logging
    import warnings

    before = (
        os.sched_getaffinity(0),
        dict(os.environ),
        list(logging.getLogger().handlers),
        logging.getLogger().level,
        warnings.showwarning,
        os.getcwd(),
        {number: signal.getsignal(number) for number in signal.valid_signals()},
    )
    for handle in [analyses.start(tasks.Count), analyses.start_script("true")]:
        assert handle.wait(GUARD_S)
    after = (
        os.sched_getaffinity(0),
        dict(os.environ),
        list(logging.getLogger().handlers),
        logging.getLogger().level,
        warnings.showwarning,
        os.getcwd(),
        {number: signal.getsignal(number) for number in signal.valid_signals()},
    )
    assert before == after


def test_executors_in_two_threads_do_not_meet(analyses: Runs) -> None:
    """Fact W10: two executors in two threads share one socket name."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        numbers = list(range(1, 9))
        handles = list(
            pool.map(lambda n: analyses.run(tasks.Chatty, SampleParameters(n=n)), numbers)
        )
    assert [handle.outcome.result.payload for handle in handles if handle.outcome] == numbers


def test_a_script_may_be_gone_before_it_is_watched(analyses: Runs) -> None:
    for _ in range(20):
        assert analyses.script("true").status is TaskStatus.COMPLETED
