"""A callback that remembers its calls, and lets a test wait for them.

Threads: every method may be called by any thread; ``_changed`` guards the two lists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

from taskgrove.testing.event_log import WAIT_LIMIT_S

Payload: TypeAlias = dict[str, Any]

_MISSING: Final = object()


class CallbackRecorder:
    """Stands in for a ``completed_callback``, or for any callback called by keyword.

    ::

        done = CallbackRecorder()
        tracker = TaskTracker("configure", 2, completed_callback=done)
        ...
        done.assert_call(status=TaskStatus.COMPLETED, lookahead=3)

    Args:
        raises: Raised by every call, after it was recorded: for tests of bad
            callbacks.
        status_type: The only enum of which a status is accepted, as base classes of devices do
            with their own: any other status is a TypeError, and its call is not recorded.
    """

    def __init__(
        self, raises: BaseException | None = None, *, status_type: type[Enum] | None = None
    ) -> None:
        self._changed = threading.Condition()
        self._payloads: list[Payload] = []
        self._open: list[Payload] = []
        self._raises = raises
        self._status_type = status_type

    def __call__(self, **payload: Any) -> None:
        """Record one call.

        Raises:
            TypeError: Its status is of another enum than the one that is accepted.
        """
        status, wanted = payload.get("status"), self._status_type
        if wanted is not None and status is not None and not isinstance(status, wanted):
            raise TypeError(f"status is of {type(status)}, not of {wanted}")
        with self._changed:
            self._payloads.append(payload)
            self._open.append(payload)
            self._changed.notify_all()
        if self._raises is not None:
            raise self._raises

    def __len__(self) -> int:
        return len(self._payloads)

    @property
    def payloads(self) -> tuple[Payload, ...]:
        """Every call so far, in order: the keyword arguments that it had."""
        with self._changed:
            return tuple(self._payloads)

    def assert_call(
        self, *, lookahead: int = 1, timeout_s: float = WAIT_LIMIT_S, **expected: Any
    ) -> Payload:
        """Block until a call with the expected arguments has come, and use it up.

        Args:
            lookahead: Among how many calls that are not used up yet it must be, from 1;
                those passed over stay.
            timeout_s: How long to wait for it, in seconds.
            **expected: Keyword arguments that the call must have; it may have others too.

        Returns:
            All keyword arguments of the call.

        Raises:
            AssertionError: No such call came in time, or others came in its place.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for payload in self._open[:lookahead]:
                    if _has(payload, expected):
                        self._open[:] = [item for item in self._open if item is not payload]
                        return payload
                left = deadline - time.monotonic()
                if len(self._open) >= lookahead or left <= 0:
                    raise AssertionError(self._mismatch(expected, lookahead, timeout_s))
                self._changed.wait(left)

    def assert_no_call(self, within_s: float = 0.1) -> None:
        """Check that no call waits to be used up, and that none comes for a while.

        Args:
            within_s: How long to watch, in seconds.

        Raises:
            AssertionError: There is one.
        """
        with self._changed:
            self._changed.wait_for(lambda: bool(self._open), within_s)
            if self._open:
                raise AssertionError(f"an unexpected call:\n{_listed(self._open)}")

    def _mismatch(self, expected: Mapping[str, Any], lookahead: int, timeout_s: float) -> str:
        wanted = ", ".join(f"{name}={value!r}" for name, value in expected.items()) or "anything"
        if len(self._open) >= lookahead:
            others = f"the next {lookahead} call{'s are' if lookahead > 1 else ' is'} other"
        else:
            others = f"{len(self._open)} other calls came within {timeout_s:g} s"
        return f"no call with {wanted}: {others}\n{_listed(self._open)}".rstrip()


def _has(payload: Payload, expected: Mapping[str, Any]) -> bool:
    return all(_equal(payload.get(name, _MISSING), value) for name, value in expected.items())


def _equal(found: object, expected: object) -> bool:
    return found is expected or bool(found == expected)


def _listed(payloads: list[Payload]) -> str:
    return "\n".join(f"  {payload!r}" for payload in payloads)
