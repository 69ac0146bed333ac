"""Where a timeout is enforced: a leaf whose limit expires ends FAILED.

Whether the work itself ends is up to its runner. The end is published once the work has heard
that it is to stop, or after the grace period. Else the end of the run, which may
follow at once, could close the connection that the request needs.

Threads: everything here runs on control threads, except :func:`watch` and
:func:`begin_own_limit`, which any thread may call.
"""

from __future__ import annotations

import functools
import time
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.execution.aborts import call_abort, give_up
from taskgrove.commands.execution.leaf_machine import LeafRequest, LeafState
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.limit import Limit
from taskgrove.commands.leaf_runner import limits_of
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.events.cause import AbortFate, CauseKind

#: The fate of an Abort that a limit asked for, by the sign that came.
_FATES: Final[dict[str, AbortFate]] = {
    "abort-acknowledged": "acknowledged",
    "not sent": "not sent",
    "not acknowledged": "not acknowledged",
    "grace": "not acknowledged",
}
_FATE_WORDS: Final[dict[AbortFate | None, str]] = {
    "not sent": "; Abort could not be sent",
    "not acknowledged": "; Abort was sent, not acknowledged",
}


def watch(leaf_run: LeafRun) -> None:
    """Have an attempt stopped when its limit expires, if it has one."""
    if leaf_run.limit is not None:
        expire = functools.partial(_expire, leaf_run)
        leaf_run.timer = leaf_run.run.engine.at(leaf_run.limit.at, expire)


def begin_own_limit(leaf_run: LeafRun) -> None:
    """Begin the leaf's own limit, if it expires before the one from above.

    The limit of work that runs outside is watched from here on, also a limit from above.
    """
    length_s = leaf_run.leaf.timeout
    own = None if length_s is None else Limit.from_now(length_s, leaf_run.path, leaf_run.began_ns)
    if own is not None and (leaf_run.limit is None or own.at < leaf_run.limit.at):
        leaf_run.drop_timer()
        leaf_run.limit = own
    if leaf_run.timer is None:
        watch(leaf_run)


def limit_cause(leaf_run: LeafRun, kind: CauseKind, abort: AbortFate | None = None) -> Cause:
    """Return the cause that an expired limit is."""
    limit, silence = leaf_run.limit, leaf_run.silence
    assert limit is not None
    # Work that was ended because of its limit has told the output that it had written until then.
    late = leaf_run.late_cause or Cause(kind=kind)
    return Cause(
        kind=kind,
        limit_s=limit.length_s,
        limit_owner=limit.owner,
        last_answer_ns=None if silence is None else silence.last_answer_ns,
        outside_id=leaf_run.told_id,
        device=leaf_run.leaf.device_name,
        abort=abort,
        output_file=late.output_file,
        last_lines=late.last_lines,
        program=late.program,
        return_code=late.return_code,
        signal=late.signal,
        expected=late.expected,
        reading=late.reading,
    )


def _expire(leaf_run: LeafRun) -> None:
    before = leaf_run.move(LeafRequest.EXPIRE)
    if before is None:
        return
    limit = leaf_run.limit
    assert limit is not None
    began = before >= LeafState.CALLING
    text = (
        f"timed out after {limit.length_s:g} s (limit set by {limit.owner})"
        if began
        else f"not started: the limit of {limit.length_s:g} s set by {limit.owner} expired"
    )
    leaf_run.note("timeout", text, limit_s=f"{limit.length_s:g}", owner=limit.owner)
    leaf_run.run.remember(TimeoutError(f"{leaf_run.path}: {text}"))
    if began:
        _stop(leaf_run, text)
    else:
        _end(leaf_run, text, "not_started")


def _stop(leaf_run: LeafRun, text: str) -> None:
    """Ask expired work to stop, and wait for a sign of it."""
    leaf, engine = leaf_run.leaf, leaf_run.run.engine
    enforced = limits_of(leaf_run.runner, leaf).timeout == "enforced"
    signs = {"ended", "grace"}
    if leaf.abort_on_timeout:
        signs |= _FATES.keys()
        if leaf_run.outside_id is None:  # else Abort is sent once more when the work is followed
            signs.add("not needed")
    elif not enforced:
        signs.add("returned")

    def settle(sign: str, before: LeafState) -> None:
        # Not on the thread that gives the sign: callbacks and further leaves follow.
        leaf_run.submit(functools.partial(_settle, leaf_run, text, sign, before))

    leaf_run.settle_on(frozenset(signs), settle)
    grace_over = functools.partial(leaf_run.sign, "grace")
    engine.at(time.monotonic() + engine.grace_s, grace_over)
    leaf_run.ask_to_stop()
    if enforced or leaf.abort_on_timeout:
        call_abort(leaf_run, "its limit expired")
    elif leaf_run.state is LeafState.EXPIRED:
        leaf_run.sign("returned")


def _settle(leaf_run: LeafRun, text: str, sign: str, before: LeafState) -> None:
    """Publish the end after expired work has given a sign, or none within the grace period."""
    asked = leaf_run.leaf.abort_on_timeout
    in_call = before is LeafState.EXPIRED_IN_CALL
    if sign == "grace" and (in_call or not asked):
        replaced = "; its slot was replaced" if in_call else ""
        grace_s = leaf_run.run.engine.grace_s
        give_up(leaf_run, f"it goes on {grace_s:g} s after its limit expired{replaced}", in_call)
    fate = _FATES.get(sign) if asked else None
    text += _FATE_WORDS.get(fate, "") + reading_words(leaf_run.late_cause)
    _end(leaf_run, text, "timed_out", fate)


def reading_words(cause: Cause | None) -> str:
    """Return the last value that a step waited with, and its age, as the end of a sentence."""
    if cause is None or cause.expected is None:
        return ""
    reading = cause.reading
    if reading is None:
        why = f" ({cause.chain[-1].text})" if cause.chain else ""
        return f": the attribute was never read{why}; expected: {cause.expected}"
    age_s = max(0, SYSTEM_CLOCK.wall_ns() - reading.read_ns) / 1e9
    told = f"{reading.attribute} was {reading.value} {age_s:.1f} s ago"
    return f": {told}; expected: {cause.expected}"


def _end(leaf_run: LeafRun, text: str, kind: CauseKind, fate: AbortFate | None = None) -> None:
    cause = limit_cause(leaf_run, kind, fate)
    leaf_run.end(TaskStatus.FAILED, ResultCode.FAILED, text, cause)
