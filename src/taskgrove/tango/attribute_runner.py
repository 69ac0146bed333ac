"""Steps of devices on their attributes, as leaves: write, wait and expect; and ``skip_if``.

Threads: the executor calls ``start`` on its pool, and ``abort`` on its control threads; the end of
a wait comes on the client's dispatcher thread. ``_lock`` guards the table of waits.
"""

from __future__ import annotations

import threading

from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits, Refusal
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, NoteDetail
from taskgrove.events.cause import with_device
from taskgrove.tango.client.attribute_steps import StepEnd
from taskgrove.tango.client.attribute_wait import AttributeWait
from taskgrove.tango.lrc_client import LrcClient

_WRITE_GOES_ON = "a write that has been sent cannot be taken back"
_ABORTED = "it was asked to stop"


class AttributeRunner:
    """Runs leaves that write, await or expect values of attributes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[int, AttributeWait] = {}

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Return which limits can be enforced: reading ends at once, a write cannot be undone."""
        if leaf.step == "write":
            return LeafLimits("none", "reported", _WRITE_GOES_ON)
        return LeafLimits("kill", "enforced")

    def has_nothing_to_do(self, client: LrcClient, device: str, context: LeafContext) -> bool:
        """End a leaf whose ``skip_if`` holds, or cannot be read; return whether it has ended."""
        given = context.leaf.settings.get("skip_if")
        if given is None:
            return False
        end = client.attribute_steps(device).expect(AttributeCondition.of(given))
        if end.cause is not None and end.cause.kind == "unmet":
            return False
        if end.cause is None:
            text = f"nothing to do: {end.text}"
            context.tell(NoteDetail(topic="nothing-to-do", data={"found": end.text}), text)
            end = end._replace(text=text, value=None)
        self._finish(context, end)
        return True

    def start(self, client: LrcClient, device: str, context: LeafContext) -> None:
        """Do the step of a leaf; a wait goes on after this has returned.

        Args:
            client: The client.
            device: The TANGO name by which the device is reached.
            context: The attempt.
        """
        leaf, steps = context.leaf, client.attribute_steps(device)
        if leaf.step == "write":
            if not context.abort_event.is_set():
                context.update(status=TaskStatus.IN_PROGRESS)
                self._finish(context, steps.write(leaf.command_name, leaf.argin))
                return
            text, cause = "it was stopped before the write", Cause(kind="not_started")
            self._finish(context, StepEnd(TaskStatus.ABORTED, text, cause))
            return
        condition = _condition_of(leaf)
        context.update(status=TaskStatus.IN_PROGRESS)
        if leaf.step == "expect":
            self._finish(context, steps.expect(condition))
            return
        key, has_limit = id(context), context.deadline is not None
        with self._lock:
            wait = client.wait_for(
                device, condition, lambda end: self._ended(context, end), has_limit=has_limit
            )
            self._waits[key] = wait
        if context.abort_event.is_set():
            wait.stop(_ABORTED)

    def _ended(self, context: LeafContext, end: StepEnd) -> None:
        with self._lock:
            self._waits.pop(id(context), None)
        self._finish(context, end)

    def abort(self, context: LeafContext) -> None:
        """End a wait; a write, and a single read, ends by itself."""
        with self._lock:
            wait = self._waits.get(id(context))
        if wait is None:
            context.note("abort-unheard", "it ends by itself", fate="not needed")
            return
        wait.stop(_ABORTED)
        context.note("abort-acknowledged", "it waits no longer")

    def preflight(self, client: LrcClient, device: str, leaf: LeafTask) -> list[Refusal]:
        """Return why a leaf can never succeed; nothing is written."""
        found: list[Refusal] = []
        steps, is_known = client.attribute_steps(device), leaf.pending_argument is None
        if leaf.step == "write":
            found += _problems(steps.usable(leaf.command_name, leaf.argin, is_known=is_known), leaf)
        elif leaf.step != "command":
            # A value that an earlier step is still to give is compared when the step starts.
            wanted = _condition_of(leaf) if is_known else _any_value_of(leaf.command_name)
            found += _problems(steps.usable(wanted.attribute, condition=wanted), leaf)
        skip_if = leaf.settings.get("skip_if")
        if skip_if is not None:
            wanted = AttributeCondition.of(skip_if)
            found += _problems(steps.usable(wanted.attribute, condition=wanted), leaf)
        return found

    @staticmethod
    def _finish(context: LeafContext, end: StepEnd) -> None:
        cause = None if end.cause is None else with_device(end.cause, context.leaf.device_name)
        fields = {} if end.value is None else {"result_value": end.value}
        if end.errors:
            fields["error"] = end.errors
        context.finish(end.status, end.result, may_retry=end.may_retry, cause=cause, **fields)


def _condition_of(leaf: LeafTask) -> AttributeCondition:
    """Return the condition of a leaf.

    Raises:
        UsageError: Its argument tells none.
    """
    given = leaf.argin
    try:
        if isinstance(given, AttributeCondition):
            return given
        return AttributeCondition.of({"attribute": leaf.command_name, **given})
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{given!r:.200} is no condition: {exc}", path=leaf.path) from exc


def _any_value_of(attribute: str) -> AttributeCondition:
    return AttributeCondition(attribute=attribute)


def _problems(end: StepEnd | None, leaf: LeafTask) -> list[Refusal]:
    if end is None or end.cause is None:
        return []
    return [Refusal(end.text, with_device(end.cause, leaf.device_name))]
