"""The proof that lies in an exception from PyTango about a call; pure, without TANGO.

The question that matters: was the request sent? With transparent reconnection switched off,
PyTango raises ``ConnectionFailed`` before it sends anything and ``CommunicationFailed`` once
the request may have left. An exception raised by the device comes back as a bare
``DevFailed`` whose outermost entry names the call (``API_CommandFailed``).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple

from taskgrove.events import Cause, CauseKind, ChainLink
from taskgrove.events.cause import CHAIN_LIMIT, TEXT_LIMIT, NameProblem


class FailureKind(Enum):
    """The ways in which a call can fail."""

    REFUSED = "refused"
    """Nothing was sent: no server can be connected to."""
    DELAYED = "delayed"
    """Nothing was sent: PyTango connects at most once a second, and that was the case."""
    SILENT = "silent"
    """Nothing was sent: the connection is accepted, then no answer comes."""
    BROKEN = "broken"
    """The connection broke after the request may have been sent: its fate is unknown."""
    TIMED_OUT = "timed out"
    """No answer in time: the request may yet be executed."""
    RAISED = "raised"
    """The device answered with an exception."""
    MISUSED = "misused"
    """PyTango refused the call itself; nothing was sent."""

    @property
    def is_unknown(self) -> bool:
        """True where the device may have executed the request."""
        return self in (FailureKind.BROKEN, FailureKind.TIMED_OUT)

    @property
    def is_silence(self) -> bool:
        """True where something holds the connection but does not answer."""
        return self in (FailureKind.SILENT, FailureKind.TIMED_OUT)


class Failure(NamedTuple):
    """One failed call.

    Attributes:
        kind: How the call failed.
        reason: The reason of the innermost entry, such as ``API_CommandNotFound``.
        text: The innermost description, on one line.
        errors: The entries of the DevFailed, innermost first; empty for other exceptions.
    """

    kind: FailureKind
    reason: str
    text: str
    errors: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """The failure in plain words, without the terms of the middleware."""
        if self.name_problem is not None:
            return _NAME_WORDS[self.name_problem]
        if self.is_unknown_device:
            return "its server has no device of that name"
        plain = _WORDS.get(self.kind)
        by_others = "CORBA" in self.text or self.kind is FailureKind.DELAYED
        return plain if plain is not None and by_others else self.text

    @property
    def said(self) -> str:
        """The text of the device; empty where the middleware speaks."""
        if self.kind is not FailureKind.RAISED:
            return ""
        return str(self.errors[0].desc).strip() if self.errors else self.text

    @property
    def is_unknown_device(self) -> bool:
        """True where the server, or the database, answers and has no device of that name."""
        not_reached = self.kind is FailureKind.REFUSED
        return not_reached and any(entry.reason in _NO_SUCH_DEVICE for entry in self.errors)

    @property
    def is_wrong_name(self) -> bool:
        """True where another name of the device may be right, as a server or database answers."""
        return self.is_unknown_device or self.name_problem == "no_database"

    @property
    def name_problem(self) -> NameProblem | None:
        """Why the name of the device led to no server of it; None: it led there."""
        if self.kind not in (FailureKind.REFUSED, FailureKind.SILENT) or not self.errors:
            return None
        found = next((entry for entry in self.errors if entry.reason in _NAME_PROBLEMS), None)
        if found is None:
            return "database_gone" if self._is_look_up else None
        # Who answers, and has no such object, is a server; a database has one of that name.
        if found.reason == "API_CantConnectToDatabase" and "OBJECT_NOT_EXIST" in self.text:
            return "no_database"
        return _NAME_PROBLEMS[found.reason]

    @property
    def _is_look_up(self) -> bool:
        """True where the database was lost while it was asked for the address of the device."""
        inner = self.errors[0].reason in (*_NO_CONNECTION, "API_CorbaException")
        return inner and _LOOK_UP in self.errors[-1].desc

    @property
    def chain(self) -> tuple[ChainLink, ...]:
        """The errors as data, from the one that arrived to the deepest."""
        if not self.errors:
            return (ChainLink(self.reason, self.text),)
        return tuple(
            ChainLink(str(entry.reason), str(entry.desc).strip()[:TEXT_LIMIT])
            for entry in reversed(self.errors[-CHAIN_LIMIT:])
        )

    @property
    def refusal_kind(self) -> CauseKind:
        """The kind of cause that it is where nothing was executed because of it."""
        if self.is_unknown_device:
            return "no_device"
        if self.kind not in (FailureKind.RAISED, FailureKind.MISUSED):
            return "unreachable"
        reason = self._own_reason
        if reason.endswith("QueueFull"):
            return "queue_full"
        other: CauseKind = "refused" if self.kind is FailureKind.RAISED else "misconfigured"
        return _KINDS.get(reason, other)

    @property
    def _own_reason(self) -> str:
        """The reason that the device itself gave; reasons of other devices lie deeper."""
        reasons = [str(entry.reason) for entry in self.errors] or [self.reason]
        for wrappers in (_FROM_THE_DEVICE, _FROM_ITS_CODE):
            if len(reasons) > 1 and reasons[-1] in wrappers:
                reasons.pop()
        return reasons[-1]

    def cause(self, kind: CauseKind, **fields: Any) -> Cause:
        """Return the failure as a cause of the given kind."""
        return Cause(
            kind=kind,
            said=self.said,
            chain=self.chain,
            errno_name=self.errno_name,
            name_problem=self.name_problem,
            **fields,
        )

    @property
    def errno_name(self) -> str | None:
        """Why nothing was reached: ``ECONNREFUSED``, ``ETIMEDOUT``; None: not known."""
        if self.name_problem is not None:
            return None
        if self.kind is FailureKind.SILENT:
            return "ETIMEDOUT"
        if self.kind not in (FailureKind.REFUSED, FailureKind.DELAYED) or not self.errors:
            return None
        return "ECONNREFUSED" if self.errors[-1].reason in _NO_CONNECTION else None


_WORDS: Final = {
    FailureKind.REFUSED: "no server answers at its address",
    FailureKind.DELAYED: "no server answers at its address",
    FailureKind.SILENT: "its server accepts connections and does not answer",
    FailureKind.BROKEN: "the connection broke",
    FailureKind.TIMED_OUT: "no answer came in time",
}
_NAME_WORDS: Final[dict[NameProblem, str]] = {
    "host_unset": "TANGO_HOST is not set, or not host:port: no TANGO database looks up the name",
    "database_gone": "the TANGO database does not answer",
    "no_database": "the server that answers at its address is no TANGO database",
    "not_defined": "the TANGO database has no device of that name",
    "not_exported": "its server is not running: the TANGO database has no address of it",
}
_NAME_PROBLEMS: Final[dict[str, NameProblem]] = {
    "API_TangoHostNotSet": "host_unset",
    "API_CantConnectToDatabase": "database_gone",
    "TangoApi_DATABASE_CONNECTION_REFUSED": "database_gone",
    "API_DatabaseAccess": "database_gone",
    "DB_DeviceNotDefined": "not_defined",
    "API_DeviceNotExported": "not_exported",
}
#: The command of a TANGO database that gives the address of a device.
_LOOK_UP: Final = "command DbImportDevice"
_NO_CONNECTION: Final = frozenset({"API_CantConnectToDevice", "API_ServerNotRunning"})
_NO_SUCH_DEVICE: Final = frozenset({"API_DeviceNotDefined", "DB_DeviceNotDefined"})
_KINDS: Final[dict[str, CauseKind]] = {
    "API_CommandNotFound": "no_command",
    "API_CommandNotAllowed": "not_allowed",
    "API_IncompatibleCmdArgumentType": "wrong_argument",
}
_FROM_THE_DEVICE: Final = frozenset({"API_CommandFailed", "API_AttributeFailed"})
#: The device's server puts such an entry around an error that the device's code raised.
_FROM_ITS_CODE: Final = frozenset({"PyDs_UnexpectedFailure"})
_NOT_REACHED: Final = frozenset(
    {
        "API_CantConnectToDatabase",
        "API_CantConnectToDevice",
        "API_CommandTimedOut",
        "API_CorbaException",
        "API_DatabaseAccess",
        "API_DeviceNotDefined",
        "API_DeviceNotExported",
        "API_ServerNotRunning",
        "DB_DeviceNotDefined",
        "TangoApi_DATABASE_CONNECTION_REFUSED",
        "API_TangoHostNotSet",
    }
)
_MISUSE: Final = frozenset({"WrongNameSyntax", "WrongData", "NonDbDevice", "NonSupportedFeature"})


def classify(exc: BaseException) -> Failure:
    """Return the failure that an exception of PyTango proves."""
    errors = tuple(entry for entry in exc.args if hasattr(entry, "reason"))
    if not errors:
        text = _one_line(str(exc)) or type(exc).__name__
        return Failure(FailureKind.MISUSED, type(exc).__name__, text)
    first = errors[0]
    kind = _kind(type(exc).__name__, [(entry.reason, entry.desc) for entry in errors])
    return Failure(kind, str(first.reason), _one_line(str(first.desc)), errors)


def _kind(type_name: str, entries: list[tuple[str, str]]) -> FailureKind:
    text = " ".join(f"{reason} {desc}" for reason, desc in entries)
    timed_out = "CallTimedout" in text or "API_DeviceTimedOut" in text
    outermost = entries[-1][0]
    if type_name == "CommunicationFailed":
        return FailureKind.TIMED_OUT if timed_out else FailureKind.BROKEN
    if type_name == "ConnectionFailed":
        return FailureKind.SILENT if timed_out else FailureKind.REFUSED
    if type_name in _MISUSE:
        return FailureKind.MISUSED
    if _LOOK_UP not in entries[-1][1]:  # else the database was asked; the device was not
        if outermost in _FROM_THE_DEVICE or outermost not in _NOT_REACHED:
            return FailureKind.RAISED
        if "request was delayed" in text:
            return FailureKind.DELAYED
    return FailureKind.REFUSED


def _one_line(text: str) -> str:
    return " ".join(text.split())
