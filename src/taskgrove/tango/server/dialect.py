"""How a device speaks the long-running-command protocol: its version and its quirks.

Real devices differ in the protocol version, in the keys that they leave out, in the form of their
results, and in the time that they hold events back. A :class:`Dialect` says which of these a
served device shows; by default the device follows the protocol exactly.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

import msgspec

#: No result was given, which is not the same as a result of None.
UNSET: Final = msgspec.UNSET

#: Longest time that events may be held back before they are flushed, in seconds.
MAX_FLUSH_S: Final = 10.0

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


class RawText(str):
    """A result that is put on the wire as it stands, without encoding it as JSON."""

    __slots__ = ()


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Version and quirks of a served device.

    Attributes:
        protocol: ``v2``: versions (1, 2) are offered, with ``_lrcEvent`` and the ``lrc*``
            attributes; ``v1``: only (1, 1) is offered; ``old``: a device older than the
            attribute ``lrcProtocolVersions`` and the command ``Abort``, which it lacks.
        submitted_time: Whether the ``lrc*`` attributes carry ``submitted_time``; ``misspelt``
            gives it as ``sumbitted_time``, as devices in the field do.
        bare_results: Results are the message alone, a bare string, without a code.
        result_on_failure: False: a command that raised or was aborted has no result at all.
        early_events: Events for a new command may be sent before its call returns.
        flush_s: Events of running commands are held back and sent together at this
            interval, in seconds, 0 to 10; 0 sends each at once.
    """

    protocol: Literal["v2", "v1", "old"] = "v2"
    submitted_time: Literal["present", "absent", "misspelt"] = "present"
    bare_results: bool = False
    result_on_failure: bool = True
    early_events: bool = True
    flush_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.flush_s <= MAX_FLUSH_S:
            raise ValueError(f"flush_s is {self.flush_s:g}, allowed is 0 to {MAX_FLUSH_S:g} s")

    @property
    def versions(self) -> tuple[int, int]:
        """The lowest and the highest protocol version that is offered."""
        return (1, 2) if self.protocol == "v2" else (1, 1)

    def shape_result(self, result: Any, *, abnormal: bool) -> Any:
        """Return ``result`` as this device would send it, UNSET when it would not.

        Args:
            result: A pair of code and message, or anything else that JSON can hold.
            abnormal: The command raised or was aborted.
        """
        if abnormal and not self.result_on_failure:
            return UNSET
        if self.bare_results and isinstance(result, list | tuple) and len(result) == 2:
            return result[1]
        return result


#: A device of before 1.0: v1 only, bare strings, nothing at all on an exception.
OLD_DEVICE: Final = Dialect(
    protocol="old", bare_results=True, result_on_failure=False, submitted_time="absent"
)


def encode_result(result: Any) -> str:
    """Return ``result`` as it goes on the wire: JSON, or a :class:`RawText` as it stands.

    A value that JSON cannot hold is sent as its text.
    """
    return str(result) if isinstance(result, RawText) else json_of(result).decode()


def json_of(value: Any) -> bytes:
    """Return ``value`` as JSON in ASCII; a value that JSON cannot hold becomes its text.

    The texts of TANGO are Latin-1: a result with another character would not be sent at all.
    """
    try:
        encoded = msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, msgspec.MsgspecError):  # a mapping with keys of another kind
        encoded = msgspec.json.encode(str(value))
    if encoded.isascii():
        return encoded
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], encoded.decode()).encode()
