"""A target that follows a script and keeps a log of its invocations, which survives a kill -9.

It is as strict as a device: an attempt ends once, and what is logged is what it truly did.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause

#: The ends of an attempt, as the log names them: its status, its code, its words, its cause.
ENDS: Final[dict[str, tuple[TaskStatus, ResultCode, str, Cause | None]]] = {
    "ok": (TaskStatus.COMPLETED, ResultCode.OK, "done", None),
    "bad": (TaskStatus.COMPLETED, ResultCode.FAILED, "no lock", None),
    "broken": (TaskStatus.FAILED, ResultCode.FAILED, "boom", None),
    "refused": (
        TaskStatus.REJECTED, ResultCode.REJECTED, "queue is full", Cause(kind="queue_full"),
    ),
    "silent": (TaskStatus.FAILED, ResultCode.FAILED, "no answer", Cause(kind="silent")),
    "aborted": (TaskStatus.ABORTED, ResultCode.ABORTED, "stopped", None),
}  # fmt: skip
#: How soon work ends by itself, in seconds.
SOON_S: Final = 0.003


class Play(NamedTuple):
    """What the target does with one attempt.

    Attributes:
        end: How it ends, a key of ``ENDS``. After ``silent`` the work goes on for a while.
        lasts: ``now``, ``soon``, or ``long``: until it is released, or stopped.
        heeds: Whether it stops when it is asked to.
    """

    end: str = "ok"
    lasts: str = "now"
    heeds: bool = True


class Invocation(NamedTuple):
    """One attempt as the target saw it; instants are on the monotonic clock, nanoseconds."""

    path: str
    attempt: int
    run_id: str
    began_ns: int
    ended_ns: int | None
    end: str | None


class InvocationLog:
    """A file to which each begin and each end is appended in one write."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, what: str, path: str, attempt: int, run_id: str, end: str = "") -> None:
        line = json.dumps([what, path, attempt, run_id, time.monotonic_ns(), end])
        os.write(self._descriptor, f"{line}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self) -> list[Invocation]:
        """Return the invocations, in the order in which they began."""
        found: dict[tuple[str, int, str], Invocation] = {}
        for line in self._file.read_text().splitlines():
            what, path, attempt, run_id, at_ns, end = json.loads(line)
            key = (path, attempt, run_id)
            if what == "begin":
                assert key not in found, f"{key} was begun twice"
                found[key] = Invocation(path, attempt, run_id, at_ns, None, None)
            else:
                assert found[key].ended_ns is None, f"{key} ended twice"
                found[key] = found[key]._replace(ended_ns=at_ns, end=end)
        return list(found.values())


class ScriptedTarget:
    """A LeafRunner that follows a script; any thread may call it.

    Args:
        plays: By path: what it does with each attempt; the last play serves all further ones.
        log: Where it logs.
    """

    def __init__(self, plays: Mapping[str, Sequence[Play]], log: InvocationLog) -> None:
        self._plays = plays
        self._log = log
        self._changed = threading.Condition()
        self._open: dict[tuple[str, int], LeafContext] = {}
        self._stopped: set[tuple[str, int]] = set()
        self._long: set[tuple[str, int]] = set()
        self._timers: list[threading.Timer] = []

    def limits(self, leaf: LeafTask) -> LeafLimits:
        return LeafLimits(abort="ask", timeout="reported")

    def start(self, context: LeafContext) -> None:
        key, play = (context.path, context.attempt), self._play(context)
        with self._changed:
            if key in self._stopped:
                return
            self._log.write("begin", *key, context.run_id)
            self._open[key] = context
        if play.end == "refused":
            self._end(context, play.end)
            return
        context.started("command", f"{context.path}:{context.attempt}")
        context.update(status=TaskStatus.IN_PROGRESS)
        if play.lasts == "now":
            self._end(context, play.end)
        elif play.lasts == "soon":
            self._later(context, play.end)
        else:
            with self._changed:
                self._long.add(key)

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Tell how the work ended that another process began; it ends now if it runs still."""
        assert outside_id == f"{context.path}:{context.attempt}"
        before = next(
            item
            for item in self._log.read()
            if (item.path, item.attempt, item.run_id)
            == (context.path, context.attempt, context.run_id)
        )
        end = before.end or self._play(context).end
        if before.end is None:
            self._log.write("end", context.path, context.attempt, context.run_id, end)
        self._tell(context, end)

    def abort(self, context: LeafContext, reason: str) -> None:
        del reason
        key, play = (context.path, context.attempt), self._play(context)
        if not play.heeds:
            return
        with self._changed:
            is_open = key in self._open
            if not is_open:
                self._stopped.add(key)
        if is_open:
            self._end(context, "aborted")
        else:
            self._tell(context, "aborted")

    def release(self) -> bool:
        """Let all long work end as its script says; False: there was none."""
        with self._changed:
            contexts = [self._open[key] for key in self._long if key in self._open]
            self._long.clear()
        for context in contexts:
            self._end(context, self._play(context).end)
        return bool(contexts)

    def close(self) -> None:
        """End what is left, and wait for it."""
        while self.release():
            pass
        for timer in self._timers:
            timer.join(30)
        with self._changed:
            left = list(self._open.values())
        for context in left:
            self._end(context, self._play(context).end)

    def _later(self, context: LeafContext, end: str) -> None:
        timer = threading.Timer(SOON_S, self._end, (context, end))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _end(self, context: LeafContext, end: str) -> None:
        key = (context.path, context.attempt)
        if end == "silent":  # the executor hears of an end, and the work goes on
            self._tell(context, end)
            self._later(context, "bad")
            return
        with self._changed:
            if self._open.pop(key, None) is None:
                return
            self._log.write("end", *key, context.run_id, end)
        self._tell(context, end)

    def _tell(self, context: LeafContext, end: str) -> None:
        status, code, words, cause = ENDS[end]
        may_retry = end in ("bad", "broken", "refused")
        context.finish(status, (code, words), may_retry=may_retry, cause=cause)

    def _play(self, context: LeafContext) -> Play:
        plays = self._plays[context.path]
        return plays[min(context.attempt, len(plays)) - 1]


def overlapping(invocations: Sequence[Invocation]) -> list[tuple[Invocation, Invocation]]:
    """Return the pairs of invocations of one leaf that were at work at once."""
    found: list[tuple[Invocation, Invocation]] = []
    last: dict[str, Invocation] = {}
    for item in sorted(invocations, key=lambda item: item.began_ns):
        before = last.get(item.path)
        if before is not None and (before.ended_ns is None or before.ended_ns > item.began_ns):
            found.append((before, item))
        last[item.path] = item
    return found
