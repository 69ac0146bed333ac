"""Calls to devices that do not return."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

from taskgrove.tango.client.rpc_lanes import RpcLanes, calls_are_out
from tests.cli.command_line import PATIENCE_S, environment

#: A call that a closed client left behind is out when the command line ends with 1.
LEFT_BEHIND = """
import contextlib, threading
from taskgrove.cli.interrupts import Leaving
from taskgrove.tango.client.rpc_lanes import RpcLanes

leaving, begun = Leaving(), threading.Event()
lanes = RpcLanes("a", contextlib.nullcontext)
lanes.submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
lanes.close(0)
leaving.code = 1
"""


def test_a_call_that_hangs_is_out_until_it_returns() -> None:
    begun, let_go = threading.Event(), threading.Event()
    lanes = RpcLanes("test", contextlib.nullcontext)
    lanes.submit(lambda: (begun.set(), let_go.wait(PATIENCE_S)), slow=True)
    assert begun.wait(PATIENCE_S)
    assert not lanes.close(0)
    assert calls_are_out()
    let_go.set()
    assert lanes.close(PATIENCE_S)
    assert not calls_are_out()


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
