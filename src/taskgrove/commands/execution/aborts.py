"""The abort of a leaf: a ladder of asked, acknowledged, and ended or abandoned.

A leaf that has not begun ends ABORTED at once. Work that runs is asked to stop; each rung is a
note on the leaf, with its time. Work that has not ended when the grace period is over is
abandoned: the leaf ends ABORTED, and a thread that hangs in a call is replaced. The column ABORT
of ``leaf_machine.MOVES`` lists the move in each state.

An Abort that comes while a command is being called (``CALLING`` to ``ABORTING_IN_CALL``) is sent
at once, during the call. The runner of devices sends Abort again when the call has returned,
because the device may not have known the command before.

Threads: everything here runs on control threads.
"""

from __future__ import annotations

import functools
import logging
import time

from taskgrove.commands.execution.leaf_machine import LeafRequest, LeafState
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, exception_line
from taskgrove.foreign_code import LOGGING

_LOGGER = logging.getLogger(__name__)


def abort_leaf(leaf_run: LeafRun) -> None:
    """Stop an attempt because its run is aborted."""
    before = leaf_run.move(LeafRequest.ABORT)
    if before is None:
        return
    run = leaf_run.run
    reason = leaf_run.stop_reason or "aborted"
    if before is LeafState.WAITING:
        cause = Cause(kind="not_started", said=reason)
        text = f"{unstarted(leaf_run)}: {reason}"
        leaf_run.end(TaskStatus.ABORTED, ResultCode.ABORTED, text, cause)
        return
    leaf_run.ask_to_stop()
    leaf_run.note("abort-asked", f"asked to stop: {reason}", reason=reason)
    grace_over = functools.partial(_abandon, leaf_run)
    run.engine.at(time.monotonic() + run.engine.grace_s, grace_over)
    if before >= LeafState.CALLING:  # else the work is not followed yet: LeafRun does it then
        call_abort(leaf_run)


def unstarted(leaf_run: LeafRun) -> str:
    """Return the words for a leaf that an abort keeps from starting."""
    return "not run" if leaf_run.composite.in_finally else "not started"


def call_abort(leaf_run: LeafRun, reason: str | None = None) -> None:
    """Have the runner ask the work to stop; None: for the reason of the run."""
    try:
        leaf_run.runner.abort(leaf_run, reason or leaf_run.stop_reason or "aborted")
    except BaseException as exc:
        text = f"its abort could not be sent: {exception_line(exc)}"
        leaf_run.note("abort-unheard", text, fate="not sent")
        with LOGGING:
            run_id = leaf_run.run_id
            _LOGGER.exception("run %s: the abort of %s raised", run_id, leaf_run.path)


def give_up(leaf_run: LeafRun, text: str, in_call: bool) -> None:
    """Tell that work goes on without its leaf, and replace the thread that hangs in its call."""
    engine = leaf_run.run.engine
    leaf_run.note("abandoned", text, grace_s=f"{engine.grace_s:g}")
    leaf_run.run.abandon(leaf_run)
    if in_call and leaf_run.worker is not None:
        engine.pool.replace(leaf_run.worker)


def _abandon(leaf_run: LeafRun) -> None:
    """End a leaf that did not end within the grace period."""
    before = leaf_run.move(LeafRequest.CUT_OFF)
    if before is None:
        return
    grace_s = leaf_run.run.engine.grace_s
    text = f"abandoned: it did not end within {grace_s:g} s of being asked to stop"
    give_up(leaf_run, text, before is LeafState.ABORTING_IN_CALL)
    reason = leaf_run.stop_reason or ""
    cause = Cause(kind="abandoned", said=reason, limit_s=grace_s)
    leaf_run.end(TaskStatus.ABORTED, ResultCode.ABORTED, text, cause)
