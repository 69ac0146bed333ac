"""The messages between an analysis and its executor, and how one becomes a frame.

Each kind of message is a struct of plain fields; what a payload holds is plain data
(:mod:`taskgrove.analysis.plain.form`). A message of an unknown kind, or one whose fields have
other types, is a :class:`~taskgrove.analysis.channel.frames.ChannelError`: the program that
sent it loses its channel, the executor loses nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Union

from taskgrove.analysis.channel.frames import Buffer, ChannelError, Frame, encode_frame
from taskgrove.events import ChainLink

if TYPE_CHECKING:
    from typing import TypeAlias

try:
    if sys.version_info < (3, 10):  # msgspec cannot read our annotations there
        raise ModuleNotFoundError
    import msgspec
except ModuleNotFoundError:  # an analysis in an interpreter without our dependencies
    from taskgrove import plain_structs as msgspec  # type: ignore[no-redef]


class Start(msgspec.Struct, frozen=True, array_like=True):
    """To the program: what to run.

    Attributes:
        task: ``package.module:Class`` of the analysis.
        parameters_class: The same of its parameters.
        parameters: The parameters' fields as plain data.
        name: The analysis' name.
        impl_schemas: The declared contracts of the result, or None.
        heartbeat_s: Period of the heartbeats in seconds; None: none are expected.
        grace_s: How long the program may take to end when its executor is gone, in seconds.
        search_path: Where the executor finds modules; the program looks there last.
        carried: Packages that another interpreter finds by their files, by name.
        package: The package whose version another interpreter tells; empty: it is our own.
    """

    task: str
    parameters_class: str
    parameters: Any
    name: str
    impl_schemas: str | None
    heartbeat_s: float | None
    grace_s: float
    search_path: list[str]
    carried: dict[str, str]
    package: str


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """From a program that connects by a socket: proof that it is ours, and its MPI rank."""

    token: str
    rank: int


class Started(msgspec.Struct, frozen=True, array_like=True):
    """From the program: the analysis begins to run.

    Another interpreter tells its own versions, of Python and of the package of the analysis.
    """

    pid: int
    host: str
    versions: dict[str, str]


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """From the program: percent done (0..100, None: unknown), and what it does."""

    percent: float | None
    message: str


class Log(msgspec.Struct, frozen=True, array_like=True):
    """From the program: a line of its log, with a level of :mod:`logging`."""

    level: int
    text: str


class Result(msgspec.Struct, frozen=True, array_like=True):
    """From the program: the result; it is acknowledged.

    Attributes:
        status: Name of the TaskStatus that the analysis gave itself.
        summary: The short message, or what else stands for it, as plain data.
        payload: The payload as plain data.
        impl_schemas: The declared contracts, where the analysis gave any.
        max_rss_bytes: Most memory that the process has held, or None where not known.
    """

    status: str
    summary: Any
    payload: Any
    impl_schemas: str | None
    max_rss_bytes: int | None


class Failed(msgspec.Struct, frozen=True, array_like=True):
    """From the program: it failed; ``cause`` is one line, ``story`` the whole traceback.

    ``chain`` holds the exceptions, the last one first.
    """

    cause: str
    story: str
    max_rss_bytes: int | None
    chain: tuple[ChainLink, ...] = ()


class Cancelled(msgspec.Struct, frozen=True, array_like=True):
    """From the program: it heard SIGTERM, cleaned up and ends."""

    reason: str


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """From the program: it is alive."""


class Acknowledged(msgspec.Struct, frozen=True, array_like=True):
    """To the program: the result has been received and read."""


Message: TypeAlias = Union[
    Start, Hello, Started, Progress, Log, Result, Failed, Cancelled, Heartbeat, Acknowledged
]

_CLASSES: Final[tuple[type[msgspec.Struct], ...]] = (
    Start,
    Hello,
    Started,
    Progress,
    Log,
    Result,
    Failed,
    Cancelled,
    Heartbeat,
    Acknowledged,
)
_KINDS: Final = {cls: number for number, cls in enumerate(_CLASSES, 1)}
_DECODERS: Final = dict(enumerate(map(msgspec.msgpack.Decoder, _CLASSES), 1))
_ENCODE: Final = msgspec.msgpack.Encoder().encode
#: Texts are cut here: nobody reads further, and a log line is no way to send data.
MAX_TEXT: Final = 64 << 10


def encode_message(
    message: Message, buffers: Sequence[Buffer] = (), *, shared_from: int | None = None
) -> list[Buffer]:
    """Return the pieces of the message's frame; see :func:`encode_frame`."""
    kind = _KINDS[type(message)]
    return encode_frame(kind, _ENCODE(message), buffers, shared_from=shared_from)


def decode_message(frame: Frame) -> Message:
    """Return the message that a frame holds.

    Raises:
        ChannelError: It holds none that this version knows.
    """
    decoder = _DECODERS.get(frame.kind)
    if decoder is None:
        raise ChannelError(f"a frame is of kind {frame.kind}, which this version does not know")
    try:
        message: Message = decoder.decode(frame.header)  # type: ignore[assignment]
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        what = _CLASSES[frame.kind - 1].__name__
        raise ChannelError(f"a frame is no {what} message: {exc}") from exc
    return message


def printable(text: str) -> str:
    """Return ``text`` as something that every encoding can write, and not without end."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]} … ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
