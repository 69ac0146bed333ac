"""Calls to devices that do not return."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from queue import SimpleQueue

from taskgrove.tango.client.dispatcher import SLOW_THREADS, Dispatcher, calls_are_out
from taskgrove.tango.client.failure import Failure
from tests.cli.command_line import PATIENCE_S, environment

#: A call that a closed client left behind is out when the command line ends with 1.
LEFT_BEHIND = """
import contextlib, threading
from taskgrove.cli.interrupts import Leaving
from taskgrove.tango.client.dispatcher import Dispatcher

leaving, begun = Leaving(), threading.Event()
dispatcher = Dispatcher("a", contextlib.nullcontext)
dispatcher.submit(lambda: (begun.set(), threading.Event().wait()), print)
begun.wait()
dispatcher.stop(1)
dispatcher.close_lanes((), 0)
leaving.code = 1
"""


def test_a_call_that_hangs_is_out_until_it_returns() -> None:
    begun, let_go = threading.Event(), threading.Event()
    dispatcher = Dispatcher("test", contextlib.nullcontext)
    dispatcher.submit(lambda: (begun.set(), let_go.wait(PATIENCE_S)), print, slow=True)
    assert begun.wait(PATIENCE_S)
    dispatcher.stop(PATIENCE_S)
    assert not dispatcher.close_lanes((), 0)
    assert calls_are_out()
    let_go.set()
    assert dispatcher.close_lanes((), PATIENCE_S)
    assert not calls_are_out()


def test_a_device_that_hangs_does_not_delay_the_others_and_answers_come_to_the_dispatcher() -> None:
    let_go, heard = threading.Event(), SimpleQueue[object]()
    dispatcher = Dispatcher("test", contextlib.nullcontext)

    def fails() -> None:
        raise ValueError("bad answer")

    def done(value: object, failure: Failure | None) -> None:
        heard.put((value, failure and failure.text, dispatcher.is_own_thread))

    for _ in range(2 * SLOW_THREADS):
        dispatcher.submit(lambda: let_go.wait(PATIENCE_S), lambda *_: None, slow=True)
    dispatcher.submit(lambda: "answer", done)
    assert heard.get(timeout=PATIENCE_S) == ("answer", None, True)
    dispatcher.submit(fails, done)
    value, text, own = heard.get(timeout=PATIENCE_S)  # type: ignore[misc]
    assert (value, own) == (None, True)
    assert "bad answer" in str(text)
    let_go.set()
    dispatcher.stop(PATIENCE_S)
    assert dispatcher.close_lanes([(lambda: heard.put("last"), False)], PATIENCE_S)
    assert heard.get(timeout=PATIENCE_S) == "last"


def test_the_exit_code_stands_although_a_call_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
