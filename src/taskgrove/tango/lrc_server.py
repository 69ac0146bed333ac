"""Long-running commands for your own TANGO devices: the server's side of the protocol.

A device class puts :class:`LrcServerMixin` first and declares its commands with
:func:`long_running_command`::

    class Beam(LrcServerMixin, Device):
        @long_running_command(dtype_in=str)
        def Configure(self, argin, task_callback, task_abort_event):
            for step in range(10):
                if task_abort_event.wait(0.2):
                    raise LrcAbortedError
                task_callback(progress=10 * step)
            return ResultCode.OK, "Configured"

Commands run one after the other on a thread of the device; a client gets
``[[ResultCode], [id]]`` at once and follows the id by the attributes of the protocol,
all of which have change events. The value that a command returns is its result (None: success);
an exception is an abnormal failure.

Threads: each device has two of its own, both ended by ``delete_device``; the rules
are those of :mod:`taskgrove.tango.server.command_queue`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import MissingExtraError
from taskgrove.tango.server.command_queue import LrcEngine
from taskgrove.tango.server.dialect import Dialect
from taskgrove.tango.server.job import Job, LedgerUpdate, LrcAbortedError, TaskCallback
from taskgrove.tango.server.ledger import (
    MAX_EXECUTING,
    MAX_FINISHED,
    MAX_QUEUED,
    MAX_TRACKED,
    CommandLedger,
    Push,
)

try:
    import tango
    from tango.server import attribute, command
except ImportError as error:  # pragma: no cover - tested where the extra is missing
    raise MissingExtraError("tango", "serving TANGO devices") from error

__all__ = ["LrcAbortedError", "LrcServerMixin", "TaskCallback", "long_running_command"]

#: The out type of a command that answers a code and a text.
_REPLY_TYPE: Final = "DevVarLongStringArray"

#: The attributes of the protocol: type and length of the value, and its meaning.
_ATTRIBUTES: Final[dict[str, tuple[type, int, str]]] = {
    "longRunningCommandStatus": (str, 2 * MAX_TRACKED, "id and status of each known command"),
    "longRunningCommandProgress": (str, 2 * MAX_EXECUTING, "id and progress of each that runs"),
    "longRunningCommandResult": (str, 2, "id and result (JSON) of the command that ended last"),
    "longRunningCommandIDsInQueue": (str, MAX_TRACKED, "ids of the known commands"),
    "longRunningCommandsInQueue": (str, MAX_TRACKED, "names of the known commands"),
    "longRunningCommandInProgress": (str, MAX_EXECUTING, "names of the commands that run"),
    "lrcProtocolVersions": (int, 2, "lowest and highest protocol version offered"),
    "_lrcEvent": (str, 2, "events only: id and change (JSON) of one command"),
    "lrcQueue": (str, MAX_TRACKED, "commands that wait, one JSON object each"),
    "lrcExecuting": (str, MAX_EXECUTING, "commands that run, one JSON object each"),
    "lrcFinished": (str, MAX_FINISHED, "the last commands that ended, one JSON object each"),
}


def long_running_command(
    dtype_in: Any = None,
    *,
    validate: Callable[[Any, Any], str | None] | None = None,
    is_allowed: Callable[[Any], bool] | None = None,
    doc_in: str = "",
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a method of a device as a long-running command of the same name.

    The method takes ``(self, argin, task_callback, task_abort_event)``, without ``argin``
    where ``dtype_in`` is None. Its name must hold no underscore, because clients cut
    the name out of the id there.

    Args:
        dtype_in: TANGO type of the argument; None for a command that takes none.
        validate: Called with device and argin before the command is queued; the text
            that it returns is the reason of a refusal (REJECTED), its exception reaches the
            client. None or an empty text accepts.
        is_allowed: Called with the device when the command's turn has come; False ends
            it REJECTED with NOT_ALLOWED.
        doc_in: The description of the argument.

    Raises:
        ValueError: The method's name holds an underscore.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        name = function.__name__
        if "_" in name:
            raise ValueError(f"a long-running command's name holds no underscore: {name!r}")

        def start(self: Any, *args: Any) -> Any:
            return self.lrc_submit(
                name,
                lambda callback, event: function(self, *args, callback, event),
                refusal=validate(self, *args) if validate is not None else None,
                is_allowed=None if is_allowed is None else lambda: is_allowed(self),
            )

        if dtype_in is None:

            def handler(self: Any) -> Any:
                return start(self)
        else:

            def handler(self: Any, argin: Any) -> Any:  # type: ignore[misc]
                return start(self, argin)

        handler.__annotations__ = {}  # PyTango would take its types from them
        handler.__name__ = name
        handler.__qualname__ = function.__qualname__
        handler.__module__ = function.__module__
        handler.__doc__ = function.__doc__
        types = {} if dtype_in is None else {"dtype_in": dtype_in, "doc_in": doc_in}
        return command(f=handler, dtype_out=_REPLY_TYPE, **types)

    return decorate


def _lrc_attribute(name: str) -> Any:
    """Return a read-only spectrum attribute whose value comes from the ledger."""
    dtype, length, doc = _ATTRIBUTES[name]

    def read(self: Any) -> Any:
        return self.lrc_engine.read(name)

    read.__annotations__ = {}
    read.__name__ = f"read_{name}"
    return attribute(fget=read, name=name, label=name, dtype=(dtype,), max_dim_x=length, doc=doc)


def _reply(code: ResultCode, text: str) -> tuple[list[int], list[str]]:
    # TANGO carries Latin-1 only.
    return [int(code)], [text.encode("latin-1", "backslashreplace").decode("latin-1")]


class LrcServerMixin:
    """The attributes, commands and threads of the long-running-command protocol.

    Put it before ``tango.server.Device`` among the bases. A class that overrides
    ``init_device`` or ``delete_device`` calls ``super()`` there. A subclass takes an
    attribute or command of the protocol away by setting its name to None, as devices
    that only speak an older version need it.

    Attributes:
        lrc_dialect: Version and quirks; set it on the class, or before ``init_device``.
        lrc_max_queued: Commands that may wait, 1 to 32.
        lrc_engine: Runs the commands; there from ``init_device`` on.
    """

    lrc_dialect: Dialect = Dialect()
    lrc_max_queued: int = MAX_QUEUED
    lrc_engine: LrcEngine

    def init_device(self) -> None:
        """Start the device's threads and declare the events of the protocol."""
        super().init_device()  # type: ignore[misc]
        device: Any = self
        for name in _ATTRIBUTES:
            if name != "lrcProtocolVersions" and getattr(type(self), name) is not None:
                device.set_change_event(name, True, False)
                if name != "_lrcEvent":
                    device.set_archive_event(name, True, False)
        self.lrc_engine = LrcEngine(
            CommandLedger(self.lrc_dialect),
            device.push_change_event,
            thread_context=tango.EnsureOmniThread,
            on_aborting=self.lrc_aborting,
            on_aborted=self.lrc_aborted,
            watch=self.lrc_changed,
            name=device.get_name(),
            max_queued=self.lrc_max_queued,
        )

    def delete_device(self) -> None:
        """End the device's threads; a command that runs is asked to abort."""
        self.lrc_engine.close()
        super().delete_device()  # type: ignore[misc]

    # A device class may call or override these.

    def lrc_submit(
        self,
        name: str,
        run: Callable[[TaskCallback, threading.Event], Any],
        *,
        refusal: str | None = None,
        is_allowed: Callable[[], bool] | None = None,
        shape: Callable[[LedgerUpdate], Iterable[Push]] | None = None,
        argin: Any = None,
    ) -> tuple[list[int], list[str]]:
        """Queue a command and return its reply, ``[[ResultCode], [id or reason]]``.

        Args:
            name: The command's name.
            run: The function of the command, called on the device's worker thread.
            refusal: A reason to refuse the command at once; nothing is queued then.
            is_allowed: Asked when the command's turn has come.
            shape: Last word on the command's events (:class:`~taskgrove.tango.server.job.Job`).
            argin: The argument, for :meth:`lrc_changed`.
        """
        if refusal:
            return _reply(ResultCode.REJECTED, refusal)
        return _reply(*self.lrc_engine.submit(Job(name, run, is_allowed, shape, argin)))

    def lrc_aborting(self) -> None:
        """Called by the handler of ``Abort`` when an abort begins."""

    def lrc_aborted(self) -> None:
        """Called when an abort ends: every command has ended."""

    def lrc_changed(self, job: Job, status: TaskStatus, result: Any) -> None:
        """Called with each status of each command, and of each abort, before its events are sent.

        It must return soon, and may not call the engine, because the engine's lock is held.

        Args:
            job: The command.
            status: Its new status.
            result: The result that comes with the status, before it is shaped; UNSET: none.
        """

    # The commands of the protocol.

    @command(dtype_in=str, dtype_out=str, doc_in="command id", doc_out="status name or NOT_FOUND")
    def CheckLongRunningCommandStatus(self, argin):  # type: ignore[no-untyped-def]  # noqa: N802
        """Return the status' name of a command, or NOT_FOUND."""
        return self.lrc_engine.status_name(argin)

    @command(dtype_out=_REPLY_TYPE)
    def Abort(self):  # type: ignore[no-untyped-def]  # noqa: N802
        """Abort every command of this device; starts at once and is a command itself."""
        return _reply(*self.lrc_engine.abort())

    @command(dtype_out=_REPLY_TYPE)
    def AbortCommands(self):  # type: ignore[no-untyped-def]  # noqa: N802
        """Abort every command of this device, without a command id."""
        return _reply(*self.lrc_engine.abort_silently())


for _name in _ATTRIBUTES:
    setattr(LrcServerMixin, _name, _lrc_attribute(_name))
