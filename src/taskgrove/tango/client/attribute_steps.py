"""Steps on attributes that one call does: a value is written, or read and compared.

Threads: any thread may call any method; all of them may block for the length of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.attribute_condition import AttributeCondition, value_text
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, CauseKind
from taskgrove.events.cause import Reading
from taskgrove.tango.client.attribute_shape import AttributeShape, plain_value
from taskgrove.tango.client.attributes import NO_SUCH_ATTRIBUTE
from taskgrove.tango.client.failure import Failure, FailureKind, classify
from taskgrove.tango.client.refusal import is_refusal, name_problem
from taskgrove.tango.client.session import DeviceSession

NearDevice: TypeAlias = Callable[[str, Failure], str | None]
"""Returns the device that was probably meant by one that is not there; may ask and raise."""

#: The device's server compares a written number with the limits of the attribute.
_OUT_OF_LIMITS: Final = "API_WAttrOutsideLimit"


class StepEnd(NamedTuple):
    """How a step on an attribute ended.

    Attributes:
        status: The final status.
        text: What is told of it.
        cause: Why it did not end well, or None.
        may_retry: Whether it is proved that nothing was changed.
        errors: The TANGO errors that belong to it, innermost first.
        value: The value that was read, as plain data, or None.
    """

    status: TaskStatus
    text: str
    cause: Cause | None = None
    may_retry: bool = True
    errors: tuple[Any, ...] = ()
    value: Any = None

    @property
    def result(self) -> tuple[ResultCode, str]:
        """Its code and text."""
        if self.cause is None:
            return ResultCode.OK, self.text
        if self.status is TaskStatus.REJECTED:
            return ResultCode.REJECTED, self.text
        aborted = self.status is TaskStatus.ABORTED
        return ResultCode.ABORTED if aborted else ResultCode.FAILED, self.text


def refused(text: str, cause: Cause, failure: Failure | None = None) -> StepEnd:
    """Return the end of a step of which nothing was done."""
    rejected = failure is None or is_refusal(failure) or cause.kind == "no_device"
    status = TaskStatus.REJECTED if rejected else TaskStatus.FAILED
    return StepEnd(status, text, cause, errors=() if failure is None else failure.errors)


def reading_of(shape: AttributeShape, value: Any, read_ns: int) -> Reading:
    """Return a value as the cause of an end tells it."""
    return Reading(shape.name, "no value" if value is None else value_text(value), read_ns)


class AttributeSteps:
    """Does the steps on attributes of one device.

    Args:
        session: The session of the device.
        near_device: Returns the device that was probably meant by one that is not there; gets its
            name, and the failure.
    """

    def __init__(self, session: DeviceSession, near_device: NearDevice) -> None:
        self.session = session
        self._near_device = near_device

    def ready(self, attribute: str) -> AttributeShape | StepEnd:
        """Connect, and return the description of an attribute, or why it cannot be used.

        Args:
            attribute: The attribute.
        """
        link = self.session.link
        wrong = name_problem(link.device, attribute)
        if wrong is not None:
            return refused(wrong.text, wrong.cause)
        try:
            link.ensure()
            return link.attributes.shape(attribute)
        except Exception as exc:  # noqa: BLE001 - told as the end of the step
            return self._not_done(attribute, classify(exc))

    def problem(
        self, shape: AttributeShape, value: Any = None, condition: AttributeCondition | None = None
    ) -> StepEnd | None:
        """Return why a step can never succeed; None where it can.

        Args:
            shape: The attribute.
            value: The value to write.
            condition: The condition, of a step that reads.
        """
        if condition is not None:
            problem = shape.problem_of(condition)
        elif not shape.is_writable:
            problem = "cannot be written"
        else:
            problem = shape.checked(value).problem
        if problem is None:
            return None
        cause = Cause(kind="wrong_argument", expected=shape.words)
        return refused(f"{shape.name} {problem}", cause)

    def usable(
        self,
        attribute: str,
        value: Any = None,
        condition: AttributeCondition | None = None,
        *,
        is_known: bool = True,
    ) -> StepEnd | None:
        """Return why a step cannot be done, without doing it; None where it could.

        Args:
            attribute: The attribute.
            value: The value to write.
            condition: The condition, of a step that reads.
            is_known: Whether the value is known already.
        """
        shape = self.ready(attribute)
        if isinstance(shape, StepEnd):
            return shape
        if condition is None and not is_known and shape.is_writable:
            return None
        return self.problem(shape, value, condition)

    def write(self, attribute: str, value: Any) -> StepEnd:
        """Write an attribute once.

        Args:
            attribute: The attribute.
            value: The value, as plain data.
        """
        shape = self.ready(attribute)
        if isinstance(shape, StepEnd):
            return shape
        wrong = self.problem(shape, value)
        if wrong is not None:
            return wrong
        attributes = self.session.link.attributes
        try:
            attributes.write(shape, shape.checked(value).value)
        except Exception as exc:  # noqa: BLE001 - told as the end of the step
            return self._not_written(shape, classify(exc))
        return StepEnd(TaskStatus.COMPLETED, "")

    def _not_written(self, shape: AttributeShape, failure: Failure) -> StepEnd:
        name = shape.name
        if failure.kind.is_unknown:
            self.session.link.mark_stale()
            text = (
                f"the answer to the call was lost ({failure.words}): it is not known whether "
                f"{name} was written, and it is not written again"
            )
            return StepEnd(
                TaskStatus.FAILED, text, failure.cause("fate_unknown"), False, failure.errors
            )
        if failure.kind is FailureKind.RAISED:
            out = failure.reason == _OUT_OF_LIMITS
            kind: CauseKind = "wrong_argument" if out else failure.refusal_kind
            cause = failure.cause(kind, expected=shape.words if out else None)
            return refused(failure.text, cause, failure)
        return self._not_done(name, failure)

    def expect(self, condition: AttributeCondition) -> StepEnd:
        """Read an attribute once and compare its value.

        Args:
            condition: The condition.
        """
        shape = self.ready(condition.attribute)
        if isinstance(shape, StepEnd):
            return shape
        wrong = self.problem(shape, condition=condition)
        if wrong is not None:
            return wrong
        try:
            value = self.session.link.attributes.read(shape)
        except Exception as exc:  # noqa: BLE001 - told as the end of the step
            return self.not_read(shape.name, classify(exc))
        return compared(shape, condition, value, SYSTEM_CLOCK.wall_ns())

    def not_read(self, name: str, failure: Failure) -> StepEnd:
        """Return the end of a step that could not read its attribute."""
        if failure.kind is FailureKind.RAISED:
            text = f"reading {name} failed: {failure.text}"
            cause = failure.cause("raised", attribute=name)
            return StepEnd(TaskStatus.FAILED, text, cause, True, failure.errors)
        self.session.link.mark_stale()
        return self._not_done(name, failure)

    def _not_done(self, name: str, failure: Failure) -> StepEnd:
        """Return the end of a step whose device or attribute cannot be reached."""
        device, kind, near = self.session.link.device, failure.refusal_kind, None
        if failure.reason in NO_SUCH_ATTRIBUTE:
            kind = "no_attribute"
        try:
            if kind == "no_attribute":
                near = self.session.link.attributes.near(name)
            elif failure.is_wrong_name:
                near = self._near_device(device, failure)
        except Exception:  # noqa: BLE001 - the hint is a courtesy, the reason is known
            near = None
        hint = f"; did you mean {near}?" if near else ""
        if kind == "no_attribute":
            text = f"the device has no attribute {name}{hint}"
        elif is_refusal(failure):
            text = f"{name}: {failure.text}"
        else:
            text = f"cannot be reached: {failure.words} (tried {device}){hint}"
        return refused(text, failure.cause(kind, nearest=near, attribute=name), failure)


def compared(
    shape: AttributeShape, condition: AttributeCondition, value: Any, read_ns: int
) -> StepEnd:
    """Return the end of a step whose attribute has a value now.

    Args:
        shape: The attribute.
        condition: The condition.
        value: The value that was read.
        read_ns: When, UTC, nanoseconds since the epoch.
    """
    reading = reading_of(shape, value, read_ns)
    told, plain = f"{shape.name} is {reading.value}", plain_value(value)
    if value is not None and condition.holds(value):
        return StepEnd(TaskStatus.COMPLETED, told, value=plain)
    cause = Cause(kind="unmet", expected=condition.words, reading=reading)
    text = f"{told}; expected: {condition.words}"
    return StepEnd(TaskStatus.FAILED, text, cause, value=plain)
