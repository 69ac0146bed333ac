"""Devices that exist only in a script: a leaf runner for tests without a control system.

Threads: every method may be called by any thread. ``_changed`` guards the records of
calls and of commands that hang; no context is called while it is held.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.testing.event_log import WAIT_LIMIT_S

FakeAction: TypeAlias = Literal["start", "attach", "abort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The behaviour of a device that does not exist, for one command.

    It begins, reports its progress, waits where it hangs, then ends. An empty script succeeds;
    one that ends REJECTED, without progress before, never begins.

    Attributes:
        progress: Percentages to report, in this order.
        hangs: Whether it then waits until it is released or aborted.
        status: The status that it ends with.
        result: The result that it ends with, in any form that ``parse_result``
            reads; None gives none.
        fields: Further fields of the last update: ``devices``, ``failed_devices``, ...
        may_retry: Whether the end says that the command may be tried again.
        raises: Raised by the runner instead of starting the command.
        heeds_abort: Whether an abort ends it; one that does not stays until released.
    """

    progress: Sequence[int] = ()
    hangs: bool = False
    status: TaskStatus = TaskStatus.COMPLETED
    result: Any = (ResultCode.OK, "done")
    fields: Mapping[str, Any] = field(default_factory=dict)
    may_retry: bool = False
    raises: Exception | None = None
    heeds_abort: bool = True

    @classmethod
    def fails(cls, message: str, *, abnormal: bool = False, may_retry: bool = False) -> Script:
        """Return a script that fails.

        Args:
            message: The cause.
            abnormal: True: the command did not run to its end (status FAILED); False: it
                did, with the code FAILED.
            may_retry: Whether the end says that the command may be tried again.
        """
        status = TaskStatus.FAILED if abnormal else TaskStatus.COMPLETED
        return cls(status=status, result=(ResultCode.FAILED, message), may_retry=may_retry)

    @classmethod
    def rejects(cls, message: str) -> Script:
        """Return a script that refuses the command, with ``message`` as its cause."""
        return cls(status=TaskStatus.REJECTED, result=(ResultCode.REJECTED, message))


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One call that the executor made.

    Attributes:
        action: The request.
        path: Path of the leaf.
        name: Name of the leaf.
        device_name: The device that the leaf acts on, or None.
        command_name: The command.
        argin: Its argument.
        attempt: Number of the attempt, from 1.
        reason: Why, for an abort; the outside id, for an attach.
    """

    action: FakeAction
    path: str
    name: str
    device_name: str | None
    command_name: str
    argin: Any
    attempt: int
    reason: str = ""


_SUCCEEDS: Final = Script()


class FakeDeviceRunner:
    """A LeafRunner whose devices follow a script.

    ::

        fake = FakeDeviceRunner({"pst-beam-02": Script.fails("no lock"), "c": Script(hangs=True)})
        with MainTaskExecutor(runners={TaskExecutionType.DEVICE: fake}) as executor:
            handle = executor.submit_main_task(task)
            fake.wait_for_call("c")
            fake.release("c")

    Everything happens on the thread that calls: commands that do not hang end before
    ``start`` returns, a command that hangs ends on the thread that releases it.

    Args:
        scripts: By a leaf's path or name; a sequence has one script for each attempt,
            of which the last one also serves all further attempts.
        default: The script of every leaf that is not named.
        limits: The limits that the runner returns for every leaf.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script | Sequence[Script]] | None = None,
        *,
        default: Script = _SUCCEEDS,
        limits: LeafLimits | None = None,
    ) -> None:
        self._scripts = {
            key: (value,) if isinstance(value, Script) else tuple(value)
            for key, value in (scripts or {}).items()
        }
        for key, attempts in self._scripts.items():
            if not attempts:
                raise UsageError(f"the script of {key!r} is empty: it needs at least one attempt")
        self._default = default
        self._limits = limits or LeafLimits(abort="ask", timeout="reported")
        self._changed = threading.Condition()
        self._calls: list[FakeCall] = []
        self._hanging: dict[str, tuple[LeafContext, Script]] = {}

    @property
    def calls(self) -> tuple[FakeCall, ...]:
        """Every call so far, in order."""
        with self._changed:
            return tuple(self._calls)

    @property
    def hanging(self) -> tuple[str, ...]:
        """Paths of the commands that wait to be released, in the order they came."""
        with self._changed:
            return tuple(self._hanging)

    def limits(self, leaf: LeafTask) -> LeafLimits:  # noqa: ARG002 - the same for all
        """Return the limits that the runner was made with."""
        return self._limits

    def start(self, context: LeafContext) -> None:
        """Play the leaf's script."""
        self._record("start", context)
        script = self._script(context)
        if script.raises is not None:
            raise script.raises
        context.started("command", f"fake-{context.run_id}-{context.path}-{context.attempt}")
        self._play(context, script)

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Play the leaf's script as for a command that runs already."""
        self._record("attach", context, outside_id)
        self._play(context, self._script(context))

    def abort(self, context: LeafContext, reason: str) -> None:
        """End the command ABORTED, unless its script does not heed that."""
        self._record("abort", context, reason)
        if not self._script(context).heeds_abort:
            return
        with self._changed:
            self._hanging.pop(context.path, None)
        context.note("abort-acknowledged", f"{context.leaf.name} acknowledged: {reason}")
        context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, reason))

    def release(
        self, leaf: str, script: Script | None = None, *, timeout_s: float = WAIT_LIMIT_S
    ) -> None:
        """Let a command that hangs end; waits for it to hang, if it does not yet.

        Args:
            leaf: The leaf's path or name.
            script: Ends it as this script says; None: as its own says.
            timeout_s: How long to wait for it to hang, in seconds.

        Raises:
            AssertionError: No such command hangs.
        """

        def found() -> str | None:
            return next((path for path in self._hanging if _is_of(leaf, path)), None)

        with self._changed:
            path = self._changed.wait_for(found, timeout_s)
            if path is None:
                hanging = ", ".join(self._hanging) or "none"
                raise AssertionError(
                    f"no command of {leaf!r} hangs after {timeout_s:g} s; hanging: {hanging}"
                )
            context, own = self._hanging.pop(path)
        _end(context, script or own)

    def release_all(self) -> None:
        """Let every command that hangs end as its script says."""
        for path in self.hanging:
            self.release(path)

    def wait_for_call(
        self,
        leaf: str,
        action: FakeAction = "start",
        *,
        attempt: int | None = None,
        timeout_s: float = WAIT_LIMIT_S,
    ) -> FakeCall:
        """Block until the executor has called; a command that hangs can be released then.

        Args:
            leaf: The leaf's path or name.
            action: The request that it must have got.
            attempt: Number of the attempt, from 1; None takes the first that comes.
            timeout_s: How long to wait, in seconds.

        Raises:
            AssertionError: The call did not come in time; the text holds those that did.
        """

        def found() -> FakeCall | None:
            for call in self._calls:
                right = call.action == action and _is_of(leaf, call.path)
                if right and attempt in (None, call.attempt):
                    return call
            return None

        with self._changed:
            call = self._changed.wait_for(found, timeout_s)
            if call is None:
                came = "\n".join(f"  {call}" for call in self._calls) or "  none"
                raise AssertionError(
                    f"no {action} of {leaf!r} came within {timeout_s:g} s; the calls:\n{came}"
                )
            return call

    def assert_calls(self, leaves: Iterable[str], action: FakeAction = "start") -> None:
        """Check which leaves were called, by name, in the order of the calls.

        Raises:
            AssertionError: Others were, or in another order.
        """
        expected = list(leaves)
        found = [call.name for call in self.calls if call.action == action]
        if found != expected:
            raise AssertionError(f"expected a {action} of {expected}, found {found}")

    def _record(self, action: FakeAction, context: LeafContext, reason: str = "") -> None:
        leaf = context.leaf
        call = FakeCall(
            action,
            context.path,
            leaf.name,
            leaf.device_name,
            leaf.command_name,
            leaf.argin,
            context.attempt,
            reason,
        )
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def _script(self, context: LeafContext) -> Script:
        attempts = self._scripts.get(context.path) or self._scripts.get(context.leaf.name)
        if attempts is None:
            return self._default
        return attempts[min(context.attempt, len(attempts)) - 1]

    def _play(self, context: LeafContext, script: Script) -> None:
        refuses = script.status is TaskStatus.REJECTED and not (script.progress or script.hangs)
        if not refuses:  # a command that is refused in its call never begins
            context.update(status=TaskStatus.IN_PROGRESS)
        for percent in script.progress:
            context.update(progress=percent)
        if not script.hangs:
            _end(context, script)
            return
        with self._changed:
            self._hanging[context.path] = (context, script)
            self._changed.notify_all()
        if context.is_over:  # an abort came first and found nothing to end
            with self._changed:
                self._hanging.pop(context.path, None)


def _is_of(leaf: str, path: str) -> bool:
    return leaf in (path, path.rsplit("/", 1)[-1])


def _end(context: LeafContext, script: Script) -> None:
    context.finish(script.status, script.result, may_retry=script.may_retry, **script.fields)
