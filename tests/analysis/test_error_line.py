"""Which line of a program's output says why it failed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis.running.error_line import KEPT_LINES, last_words, plain_lines
from taskgrove.events import ChainLink

RULE: Final = "-" * 74
OPEN_MPI: Final = f"""\
{RULE}
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
{RULE}
{RULE}
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[23320,1],1]
  Exit code:    3
{RULE}
"""
PRRTE: Final = f"""\
{RULE}
prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated. The first process to do so was:

   Process name: [prterun-node1-4242@1,1]
   Exit code:    3
{RULE}
"""
MPI_ABORT: Final = f"""\
{RULE}
MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
with errorcode 1.

NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.
You may or may not see output from other processes, depending on
exactly when Open MPI kills them.
{RULE}
[node1:4242] 3 more processes have sent help message help-mpi-api.txt / mpi-abort
[node1:4242] Set MCA parameter "orte_base_help_aggregate" to 0 to see all help / error messages
"""
IMPROPER: Final = f"""\
{RULE}
mpirun has exited due to process rank 1 with PID 12 on
node node1 exiting improperly. There are three reasons this could occur:

1. this process did not call "init" before exiting, but others in
the job did. This can cause a job to hang indefinitely while it waits.

This may have caused other processes in the application to be
terminated by signals sent by mpirun (as reported here).
{RULE}
"""
HYDRA: Final = """\

===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 4242 RUNNING AT node1
=   EXIT CODE: 3
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
[proxy:0:0@node1] HYD_pmcd_pmip_control_cmd_cb (pm/pmiserv/pmip_cb.c:480): assert (!closed) failed
[mpiexec@node1] HYDT_bscu_wait_for_completion: one of the processes terminated badly; aborting
"""
SRUN: Final = """\
srun: error: node1: task 1: Exited with exit code 3
srun: Terminating StepId=4242.0
slurmstepd: error: *** STEP 4242.0 ON node1 CANCELLED AT 2026-11-30T06:00:00 ***
srun: Job step aborted: Waiting up to 32 seconds for job step to finish.
srun: error: node1: tasks 0,2-3: Exited with exit code 143
"""
OOM: Final = "srun: error: node1: task 0: Out Of Memory"
LIMIT: Final = (
    "slurmstepd: error: *** JOB 42 ON node1 CANCELLED AT 2026-11-30T06:00:00 DUE TO TIME LIMIT ***"
)
LAUNCHERS: Final = [OPEN_MPI, PRRTE, MPI_ABORT, IMPROPER, HYDRA, SRUN]
HARMLESS: Final = [
    "Waiting for the last patterns to be processed...", "reading 300 frames", "0 errors, 3 frames",
    "INFO no errors were found", "2026-11-30 06:00:00,123 - reader - WARNING - cannot read a mask",
    "[INFO] failed frames: 0", "warning: unused option", "mean error 0.02 mm", "done", "",
    "   ", "Bye.", "error bars are drawn", "ignoring errors",
]  # fmt: skip
ERRORS: Final = [
    "ERROR: cannot open /data/geom.geom: No such file or directory",
    "Error: mask bad.h5 is missing", "cannot open geometry.geom", "FATAL no beam on detector",
    "crystfel: failed to load geometry", "ls: /x: No such file or directory",
    "2026-11-30 06:00:00,123 - reader - ERROR - file a.h5 is truncated",
    "Fortran runtime error: Cannot open file 'geom.dat'", "bash: indexamajig: command not found",
    "Assertion `n > 0' failed.", "E1130 06:00:00.1 4242 x.cc:1] bad state", "fatal: no space",
    "thread 'main' panicked at src/main.rs:4:5", "java.lang.IllegalStateException: not ready",
]  # fmt: skip


def line_of(*tails: str) -> str:
    return last_words(*tails).line


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("words", [*ERRORS, "no peaks above 5 sigma", "sector 7 gave up"])
def test_the_words_of_a_rank_come_before_those_of_its_launcher(words: str, launcher: str) -> None:
    assert line_of(f"{words}\n{launcher}") == words
    assert line_of(f"reading\n{words}\n\n{launcher}{launcher}") == words
    half = launcher.splitlines()[:4]
    assert line_of("\n".join([*half, words, *launcher.splitlines()[4:]])) == words or (
        "improperly" in launcher or "APPLICATION" in launcher or "MPI_ABORT" in launcher
    )


@pytest.mark.parametrize("noise", LAUNCHERS)
def test_a_launcher_that_speaks_alone_has_no_cause_in_its_block(noise: str) -> None:
    assert line_of(noise, "the last of stdout") == "the last of stdout"


@given(
    st.lists(st.sampled_from(HARMLESS), max_size=6),
    st.sampled_from(ERRORS),
    st.lists(st.sampled_from(HARMLESS), max_size=6),
    st.sampled_from(["", *LAUNCHERS]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_line_that_reports_an_error_is_found_among_harmless_ones(
    before: list[str], error: str, after: list[str], launcher: str, end: str
) -> None:
    text = end.join([*before, error, *after, launcher.replace("\n", end)])
    assert line_of(text) == error
    assert line_of("", text) == error


COLOURS: Final = [
    "\x1b[31m", "\x1b[0m", "\x1b[1;38;5;196m", "\x1b[K", "\x1b[22m", "\x1b(B", "\x9b33m",
    "\x1b]0;a title\x07", "\x1b]8;;http://x/y\x1b\\", "\x1b]8;;\x07", "\x1b[?25h", "\x1b7",
]  # fmt: skip


@given(st.lists(st.sampled_from([*COLOURS, *["Error:", "mask", "bad.h5", "is", "missing"]])))
def test_no_piece_of_a_control_sequence_is_left(parts: list[str]) -> None:
    wanted = " ".join(part for part in parts if part not in COLOURS)
    text = "".join(part if part in COLOURS else f"{part} " for part in parts)
    assert plain_lines(text) == [wanted.rstrip()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "\x1b[31mError:\x1b[0m mask \x1b[1mbad.h5\x1b[22m is missing\n",
            ["Error: mask bad.h5 is missing"],
        ),
        ("10%\r20%\rError: x\r\n", ["10%", "20%", "Error: x"]),
        ("bad\x1b[5Cfile", ["bad file"]),
        ("10%\x1b[2Kready\x1b[1A\x1b[Gagain", ["10%ready", " again"]),
        ("N\x08NA\x08AM\x08ME", ["NAME"]),
        ("a\x1b]0;no end\nb", ["a", "b"]),
        ("a\x00b\x07", ["a b"]),
        ("end\x1b", ["end"]),
        ("end\x1b[3", ["end"]),
    ],
)  # fmt: skip
def test_lines_are_read_as_a_terminal_shows_them(text: str, wanted: list[str]) -> None:
    assert [line for line in plain_lines(text) if line] == wanted


@given(st.text(st.sampled_from("aE:r \n\r\t\x1b[]m;0\x07\x08\\-=#\x9b"), max_size=200))
def test_any_text_has_plain_words(text: str) -> None:
    words = last_words(text)
    for line in (words.line, *words.last_lines):
        assert line.isprintable()
    assert len(words.last_lines) <= KEPT_LINES


CHAINED: Final = """
try:
    try:
        {}["detector_distance"]
    except KeyError as exc:
        raise RuntimeError("integration of frame 12 failed") from exc
except RuntimeError:
    HOW
"""
SYNTAX: Final = "x = = 1"


def python(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    ("script", "line", "chain"),
    [
        pytest.param(
            CHAINED.replace("HOW", "raise"),
            "RuntimeError: integration of frame 12 failed, because KeyError: 'detector_distance'",
            ["RuntimeError", "KeyError"], id="from",
        ),
        pytest.param(
            CHAINED.replace("HOW", "raise ValueError('no frame')"), "ValueError: no frame",
            ["ValueError", "RuntimeError", "KeyError"], id="during",
        ),
        pytest.param("assert False", "AssertionError", ["AssertionError"], id="no-text"),
        pytest.param(
            "import json; json.loads('{')",
            "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes:"
            " line 1 column 2 (char 1)", ["json.decoder.JSONDecodeError"], id="deep",
        ),
        pytest.param(
            "raise ExceptionGroup('all', [ValueError('a'), OSError('motor sx did not move')])",
            "ExceptionGroup: ValueError: a; OSError: motor sx did not move", None, id="group",
        ),
        pytest.param(
            "raise ValueError('these are wrong:\\n  a: no number\\n  b: no text')",
            "ValueError: these are wrong:; a: no number; b: no text", ["ValueError"], id="lines",
        ),
        pytest.param("import sys; sys.exit('no geometry')", "no geometry", [], id="exit"),
        pytest.param(SYNTAX, "SyntaxError: invalid syntax", [], id="syntax"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("after", ["", "closing 3 files\n", OPEN_MPI, SRUN])
def test_the_exception_of_a_traceback_is_the_cause(
    script: str, line: str, chain: list[str] | None, after: str
) -> None:
    said = python(script)
    found = last_words(said + after)
    if "sys.exit" not in script or "files" not in after:
        assert found.line == line
    if chain is not None:
        assert [link.type for link in found.chain] == chain
    tagged = "".join(f"[1,0]<stderr>:{text}" for text in (said + after).splitlines(True))
    if "sys.exit" not in script or "files" not in after:
        assert last_words(tagged).line == line


def test_the_links_of_a_chain_have_their_texts() -> None:
    assert last_words(python(CHAINED.replace("HOW", "raise"))).chain == (
        ChainLink("RuntimeError", "integration of frame 12 failed"),
        ChainLink("KeyError", "'detector_distance'"),
    )


def test_a_traceback_that_was_cut_off_does_no_harm() -> None:
    text = "loading\nTraceback (most recent call last):\n  File 'x', line 1, in f\n    f()\n"
    assert line_of(text) == "loading"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("frame 12\nSegmentation fault (core dumped)\n", "Segmentation fault (core dumped)"),
        ("ERROR: no mask\njob.sh: line 3: 42 Killed   ./crunch\n", "ERROR: no mask"),
        (f"{OOM}\n{SRUN}", OOM),
        ("terminate called after throwing an instance of 'std::runtime_error'\n"
         "  what():  cannot open geom.h5\nAborted (core dumped)\n", "what(): cannot open geom.h5"),
        ("At line 3 of file x.f90\nFortran runtime error: Bad value\n\n"
         "Error termination. Backtrace:\n#0  0x7f in f\n#1  0x7f in g\n",
         "Fortran runtime error: Bad value"),
        ("ERROR: cannot read a.h5\nmake: *** [all] Error 2\nexited with status 2\nAborting.\n",
         "ERROR: cannot read a.h5"),
        (f"{LIMIT}\n{SRUN}", LIMIT),
        ("[node1:42] *** Process received signal ***\n[node1:42] Signal: Segmentation fault (11)\n"
         "[node1:42] [ 0] /lib/libc.so.6(+0x42520)[0x7f]\n[node1:42] *** End of error message ***\n"
         + OPEN_MPI, "[node1:42] Signal: Segmentation fault (11)"),
        ("ERROR: these are missing:\n  a.h5\n  b.h5\nwaiting\n",
         "ERROR: these are missing:; a.h5; b.h5"),
        (f"{RULE}\nmpirun was unable to find the specified executable file, and therefore\n"
         "did not launch the job.\n\nNOTE: A common cause\n\nNode:       vm\n"
         f"Executable: nosuch\n{RULE}\n",
         "mpirun was unable to find the specified executable file, and therefore did not launch the"
         " job.; Node: vm; Executable: nosuch"),
        (f"{RULE}\nThere are not enough slots available in the system to satisfy the 200\n"
         f"slots that were requested by the application:\n\n  true\n{RULE}\n",
         "There are not enough slots available in the system to satisfy the 200 slots that were"
         " requested by the application:"),
        ("[1,1]<stderr>:ValueError[1,1]<stderr>:: [1,1]<stderr>:no peaks[1,1]<stderr>:\n",
         "ValueError: no peaks"),
        (f"{RULE}\nmpirun has detected an attempt to run as root.\n\nRunning as root is\n"
         f"discouraged.\n\nWe reiterate our advice.\n{RULE}\n",
         "mpirun has detected an attempt to run as root."),
        ("ERROR: no geometry\nTotal errors: 1\nstopped with 1 error\n", "ERROR: no geometry"),
        ("Program received signal SIGSEGV: Segmentation fault.\n\nBacktrace for this error:\n"
         "#0  0x7f in f\n", "Program received signal SIGSEGV: Segmentation fault."),
        ("-----\n", ""), ("a\nb  \n\n", "b"), ("  \n", ""), ("\x1b[31mred\x00\x00", "red"),
    ],
)  # fmt: skip
def test_what_other_logs_say(text: str, wanted: str) -> None:
    assert line_of(text) == wanted


def test_an_error_on_stdout_comes_before_a_harmless_line_on_stderr() -> None:
    assert line_of("closing files\n", "ERROR: no beam\nbye\n") == "ERROR: no beam"
    assert line_of("no peaks above 5 sigma\n", "removed a frame that was not found\n") == (
        "no peaks above 5 sigma"
    )
    assert line_of("cannot open a\n", "cannot open b\n") == "cannot open a"


def test_the_last_lines_are_kept_as_plain_text_and_bounded() -> None:
    text = "".join(f"\x1b[32mline {number}\x1b[0m\n\n" for number in range(100)) + "x" * 9000
    found = last_words(text, "other")
    assert found.last_lines[:2] == ("line 81", "line 82")
    assert [len(line) for line in found.last_lines[-1:]] == [500]
    assert last_words("", "only stdout\n").last_lines == ("only stdout",)
    assert len(last_words("x" * 600).line) == 500


def test_a_long_log_is_read_quickly() -> None:
    for piece in ("a: ", "- ", "[1,0] ", "error ", "\x1b", "\x1b[", "=", "(", ".", "E: x\n"):
        assert re.match(r"", line_of(piece * (65536 // len(piece)))) is not None
