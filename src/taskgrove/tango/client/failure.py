"""What an exception from PyTango proves about a call; pure, without TANGO.

The question that matters: was the request sent? With transparent reconnection switched off,
PyTango raises ``ConnectionFailed`` before it sends anything and ``CommunicationFailed`` once
the request may have left. An exception raised by the device comes back as a bare
``DevFailed`` whose outermost entry tells of the call (``API_CommandFailed``).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple


class FailureKind(Enum):
    """What is known of a call that failed."""

    REFUSED = "refused"
    """Nothing was sent: no server can be connected to."""
    DELAYED = "delayed"
    """Nothing was sent: PyTango connects at most once a second, and that was the case."""
    SILENT = "silent"
    """Nothing was sent: the connection is accepted, then nobody answers."""
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
        kind: What is known of it.
        reason: The reason of the innermost entry, such as ``API_CommandNotFound``.
        text: The innermost description, on one line: what people want to read.
        errors: The entries of the DevFailed, innermost first; empty for other exceptions.
    """

    kind: FailureKind
    reason: str
    text: str
    errors: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """What happened, without the terms of the middleware where it has its own."""
        plain = _WORDS.get(self.kind)
        return plain if plain is not None and "CORBA" in self.text else self.text


_WORDS: Final = {
    FailureKind.REFUSED: "no server answers at its address",
    FailureKind.DELAYED: "no server answers at its address",
    FailureKind.SILENT: "its server accepts connections and does not answer",
    FailureKind.BROKEN: "the connection broke",
    FailureKind.TIMED_OUT: "no answer came in time",
}
_FROM_THE_DEVICE: Final = frozenset({"API_CommandFailed", "API_AttributeFailed"})
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
    """Return what an exception of PyTango proves."""
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
    if outermost in _FROM_THE_DEVICE or outermost not in _NOT_REACHED:
        return FailureKind.RAISED
    if "request was delayed" in text:
        return FailureKind.DELAYED
    return FailureKind.REFUSED


def _one_line(text: str) -> str:
    return " ".join(text.split())
