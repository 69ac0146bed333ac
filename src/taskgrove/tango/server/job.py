"""A long-running command as the server's side passes it around."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from taskgrove.control_model import TaskStatus
from taskgrove.tango.server.dialect import UNSET
from taskgrove.tango.server.ledger import Push


class LrcAbortedError(Exception):
    """Raised by a command's function that ended early because it was asked to abort."""


class TaskCallback(Protocol):
    """How a command's function tells where it stands; any thread may call it."""

    def __call__(
        self,
        *,
        status: TaskStatus | None = None,
        progress: int | None = None,
        result: Any = UNSET,
    ) -> None:
        """Report a status, a progress in percent, a result, or several of them at once."""
        ...


@dataclass(slots=True)
class Job:
    """One command that waits or runs.

    Attributes:
        name: The command's name.
        run: Its function, called on the worker; returns the result, None for success.
        is_allowed: Asked when its turn has come.
        shape: Last word on its events: may drop, repeat or hold back those of a change.
            Called by the thread that sends them, without any lock.
        argin: Its argument, for whoever watches the device.
        uid: Its id, once it is submitted.
        abort_event: Set when it shall end early.
    """

    name: str
    run: Callable[[TaskCallback, threading.Event], Any]
    is_allowed: Callable[[], bool] | None = None
    shape: Callable[[LedgerUpdate], Iterable[Push]] | None = None
    argin: Any = None
    uid: str = ""
    abort_event: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """The events of one change of one command."""

    uid: str
    name: str
    status: TaskStatus | None
    pushes: list[Push]
    shape: Callable[[LedgerUpdate], Iterable[Push]] | None = field(default=None, repr=False)
