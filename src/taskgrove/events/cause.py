"""Why something ended, as data: made by the code that knows it, and carried by the event.

Readers decide by the fields. The words of a message are for people, and no code reads them.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, get_args

from taskgrove.events.words import exception_text, exceptions_of, notes_of

if TYPE_CHECKING:
    from typing import TypeAlias

try:
    if sys.version_info < (3, 10):  # msgspec cannot read our annotations there
        raise ModuleNotFoundError
    import msgspec
except ModuleNotFoundError:  # an analysis in an interpreter without our dependencies
    from taskgrove import plain_structs as msgspec  # type: ignore[no-redef]

#: The kinds of work that provably did nothing.
NothingRan: TypeAlias = Literal[
    "refused", "not_allowed", "queue_full", "no_command", "no_attribute", "no_device",
    "wrong_argument", "misconfigured", "not_launched", "unreachable", "unresolved", "skipped",
    "not_started", "never_begun",
]  # fmt: skip
NOTHING_RAN: Final[frozenset[CauseKind]] = frozenset(get_args(NothingRan))
#: The set grows by addition; :class:`Cause` explains each kind.
CauseKind: TypeAlias = Literal[
    NothingRan, "reported", "raised", "promised", "unreadable", "died", "restarted", "silent",
    "fate_unknown", "forgotten", "timed_out", "aborted", "abandoned", "lost", "exited",
    "signalled", "unresponsive", "no_result", "unmet",
]  # fmt: skip

#: The fate of an Abort that an expired limit asked for.
AbortFate: TypeAlias = Literal["acknowledged", "not sent", "not acknowledged"]

#: Why the name of a device led to no server of it.
NameProblem: TypeAlias = Literal[
    "host_unset", "database_gone", "no_database", "not_defined", "not_exported",
]  # fmt: skip

#: A chain of more exceptions is cut, and so is a longer text of one (in characters).
CHAIN_LIMIT: Final = 50
TEXT_LIMIT: Final = 65_536


class ChainLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception of a chain.

    Attributes:
        type: The name of its class.
        text: Its text and, on lines of their own, its notes.
    """

    type: str
    text: str = ""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value of an attribute.

    Attributes:
        attribute: The attribute.
        value: Its value, as text.
        read_ns: When it was read, or an event told it, UTC, nanoseconds since the epoch.
    """

    attribute: str
    value: str
    read_ns: int


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place of a value in a map, a configuration or a file of arguments.

    Attributes:
        file: The file, as it was given.
        line: The line, from 1, or None.
        key: The key in it, such as ``timeout``, or empty.
    """

    file: str
    line: int | None = None
    key: str = ""


class Cause(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a node ended as it did, or why an attempt did.

    The kinds:

    - ``reported``: the work itself told that it failed; ``raised``: an exception of the work;
      ``promised``: a method gave a promise of work in place of its end; ``unreadable``: it ended
      with a result that cannot be understood.
    - Nothing was executed, because the target said so: ``refused``; ``not_allowed`` in its state;
      ``queue_full``; ``no_command`` or ``no_attribute`` of that name; ``no_device`` of that name on
      the server; ``wrong_argument``: the command does not take the argument, or the attribute the
      value.
    - Nothing was executed, because it could not be: ``misconfigured``: the map or the
      configuration is wrong; ``not_launched``: a program cannot be started; ``unreachable``: the
      target does not answer, and nothing was sent; ``unresolved``: its argument refers to a
      result that an earlier step has not given.
    - The target went away: ``died``: its server ended while the work ran; ``restarted``: the same,
      and it is back; ``silent``: it stopped answering; ``fate_unknown``: the answer to the call
      was lost; ``forgotten``: it does not know the work any more.
    - ``timed_out``: a limit expired while it ran; ``aborted``: it ended because it was asked to
      stop; ``abandoned``: it did not end after it was asked to stop.
    - It did not begin: ``skipped``: an earlier step failed; ``not_started``: a limit had expired,
      or the run was stopped; ``never_begun``: the run lost its runner before its turn.
    - ``lost``: it was running when the run lost its runner, and its end is not known.
    - A program: ``exited``: with a status that tells a failure; ``signalled``: a signal ended it;
      ``unresponsive``: it gave no sign of life for too long; ``no_result``: it ended without its
      result.
    - ``unmet``: an attribute has a value that ends a step: not the expected one, or one at which
      waiting is of no use.

    Attributes:
        kind: The kind.
        said: The words of a device, a method, a program or a person. They are quoted, and never
            interpreted.
        limit_s: The limit that expired, in seconds.
        limit_owner: The path of the node that set the limit, or the limit's origin.
        because_of: The path of the node whose end led to this one.
        last_answer_ns: When the target last answered, UTC, nanoseconds since the epoch; set where
            it had not answered for some time.
        outside_id: The id under which the work ran outside.
        device: The device that the cause speaks of.
        chain: The exceptions, from the one that arrived to the deepest.
        output_file: The file that holds the output of the work.
        attempt: The attempt that the cause speaks of; None: that of the event.
        abort: The fate of the Abort that an expired limit asked for; None: none was asked for.
        return_code: The exit status of a program, negative for a signal; None: not known.
        signal: The name of the signal that ended a program, such as ``SIGSEGV``, or None.
        last_lines: The last lines that a program wrote, as plain text.
        place: The place of the user's mistake, or None.
        nearest: The name that was probably meant, or None.
        expected: The right value, such as the type of an argument, or None.
        program: The program that cannot be started, or that ended, or None.
        errno_name: Why a program cannot be started, a file cannot be opened (``ENOENT``,
            ``EACCES``) or a target cannot be reached (``ECONNREFUSED``; ``ETIMEDOUT`` where it
            takes connections and does not answer); or None.
        name_problem: Why the name of a device led to no server of it; None: it led there, or the
            record is older. ``host_unset``: nothing names a TANGO database; ``database_gone``: it
            does not answer; ``no_database``: the server that answers at its address is none;
            ``not_defined``: it has no device of that name; ``not_exported``: no server has told
            it the address of the device.
        reading: The last value of the attribute that a step waited for, or expected something
            of; None: there is none. ``expected`` tells the condition.
        attribute: The attribute that could not be read or is not there, as that of a ``skip_if``;
            None: there is none, or it is the one that the step is for.
    """

    kind: CauseKind
    said: str = ""
    limit_s: float | None = None
    limit_owner: str | None = None
    because_of: str | None = None
    last_answer_ns: int | None = None
    outside_id: str | None = None
    device: str | None = None
    chain: tuple[ChainLink, ...] = ()
    output_file: str | None = None
    attempt: int | None = None
    abort: AbortFate | None = None
    return_code: int | None = None
    signal: str | None = None
    last_lines: tuple[str, ...] = ()
    place: Place | None = None
    nearest: str | None = None
    expected: str | None = None
    program: str | None = None
    errno_name: str | None = None
    name_problem: NameProblem | None = None
    reading: Reading | None = None
    attribute: str | None = None


def with_device(cause: Cause, device: str | None) -> Cause:
    """Return a cause that speaks of a device."""
    return msgspec.structs.replace(cause, device=device)


def cause_of(exc: BaseException) -> Cause:
    """Return the cause that an exception is."""
    return Cause(kind="raised", chain=chain_of(exc))


def chain_of(exc: BaseException) -> tuple[ChainLink, ...]:
    """Return an exception, those of its group, and those that led to each; never raises."""
    return tuple(
        ChainLink(type(link).__name__, _text_of(link))
        for link in islice(exceptions_of(exc), CHAIN_LIMIT)
    )


def _text_of(exc: BaseException) -> str:
    return "\n".join([exception_text(exc), *notes_of(exc)])[:TEXT_LIMIT]
