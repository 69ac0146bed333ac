"""Frames: how messages between an analysis and its executor are laid out in bytes.

A frame is a fixed little head, the lengths of its buffers, a header in msgpack, and the
buffers themselves, which are raw memory: an array is never converted::

    "TGF" version kind flags  buffer count  header length   12 bytes
    length of each buffer                                   8 bytes each
    the header (msgpack)
    the buffers that travel in the stream, one after the other

A length whose highest bit is set belongs to a *shared* buffer: its bytes do not travel in the
stream (:mod:`taskgrove.analysis.channel.shared_buffers`). Nothing in a frame is executed,
and no memory is taken for what a length merely claims: only for bytes that have come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Union

from taskgrove.errors import AnalysisError

if TYPE_CHECKING:
    from typing import TypeAlias

Buffer: TypeAlias = Union[bytes, bytearray, memoryview]

MAGIC: Final = b"TGF"
#: Version of the layout; another one is refused.
VERSION: Final = 1
#: Longest header of a frame, in bytes.
MAX_HEADER_BYTES: Final = 64 << 20
#: Most buffers of a frame.
MAX_BUFFERS: Final = 1 << 15
#: Most bytes of a frame that travel in the stream.
MAX_STREAM_BYTES: Final = 256 << 20
#: Most bytes of a frame's shared buffers.
MAX_SHARED_BYTES: Final = 1 << 40

_HEAD: Final = struct.Struct("<3sBBBHI")
_SHARED: Final = 1 << 63

#: Takes the lengths of a frame's shared buffers and returns their memory.
TakeShared: TypeAlias = Callable[[Sequence[int]], Sequence[memoryview]]


class ChannelError(AnalysisError):
    """What came over a channel is no frame; nothing further is read from it.

    It costs the analysis that sent it its result, and nobody else anything.
    """

    code = "analysis-channel"


class Frame(NamedTuple):
    """One frame as it came.

    Attributes:
        kind: What it tells, 0..255; the meaning is the channel's.
        header: The header, still in msgpack.
        buffers: The buffers in their order, writable.
    """

    kind: int
    header: bytes
    buffers: tuple[memoryview, ...] = ()


def encode_frame(
    kind: int, header: bytes, buffers: Sequence[Buffer] = (), *, shared_from: int | None = None
) -> list[Buffer]:
    """Return the pieces of a frame, to be sent one after the other.

    Args:
        kind: What it tells, 0..255.
        header: The header, in msgpack.
        buffers: Contiguous memory.
        shared_from: Buffers of at least this many bytes are shared, and not among the pieces;
            None: none is.

    Raises:
        ChannelError: The frame is larger than a reader accepts.
    """
    if not buffers:
        if len(header) > MAX_HEADER_BYTES:
            raise _too_much("header", len(header), MAX_HEADER_BYTES)
        return [_HEAD.pack(MAGIC, VERSION, kind, 0, 0, len(header)) + header]
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    shared = [shared_from is not None and size >= shared_from for size in sizes]
    inline = sum(size for size, away in zip(sizes, shared) if not away)
    _check_sizes(len(header), len(sizes), inline, sum(sizes) - inline)
    lengths = [size | _SHARED if away else size for size, away in zip(sizes, shared)]
    head = _HEAD.pack(MAGIC, VERSION, kind, 0, len(lengths), len(header))
    pieces: list[Buffer] = [head + struct.pack(f"<{len(lengths)}Q", *lengths) + header]
    pieces += [
        memoryview(buffer).cast("B")
        for buffer, away, size in zip(buffers, shared, sizes)
        if size and not away
    ]
    return pieces


class FrameDecoder:
    """Makes frames of a stream of bytes, however the stream is cut into pieces.

    Not thread-safe: one thread feeds it.

    Args:
        take_shared: Where the memory of shared buffers comes from; None: a frame that has
            any is refused.

    Attributes:
        broken: The error that ended the reading, or None.
    """

    __slots__ = ("_needed", "_rest", "_take_shared", "broken")

    def __init__(self, take_shared: TakeShared | None = None) -> None:
        self._take_shared = take_shared
        self._rest = bytearray()
        self._needed = _HEAD.size
        self.broken: ChannelError | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an unfinished frame have come."""
        return len(self._rest)

    def feed(self, data: Buffer) -> list[Frame]:
        """Return the frames that are complete with ``data``.

        Raises:
            ChannelError: What came is no frame. Frames that were complete before it are
                returned first; every call after that raises.
        """
        if self.broken is not None:
            raise self.broken
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data, self._rest = self._rest, bytearray()
        frames: list[Frame] = []
        try:
            used = self._cut(data, frames)
        except ChannelError as exc:
            self.broken = exc
            if not frames:
                raise
            return frames  # what came before the garbage counts; the next call raises
        if used < len(data):
            self._rest = bytearray(memoryview(data)[used:])
        return frames

    def _cut(self, data: Buffer, frames: list[Frame]) -> int:
        """Append the frames at the beginning of ``data``; return how many bytes they take."""
        at, end = 0, len(data)
        unpack = _HEAD.unpack_from
        view = memoryview(data)
        while True:
            start = at + _HEAD.size
            if start > end:
                # Garbage is refused at its first byte, not when a whole head has come.
                _check_magic(bytes(view[at:end]))
                self._needed = _HEAD.size
                return at
            magic, version, kind, flags, count, header_length = unpack(data, at)
            if magic != MAGIC or version != VERSION or flags:
                _check_magic(bytes(view[at:start]))
            if header_length > MAX_HEADER_BYTES:
                raise _too_much("header", header_length, MAX_HEADER_BYTES)
            if not count:
                stop = start + header_length
                if stop > end:
                    self._needed = stop - at
                    return at
                frames.append(Frame(kind, bytes(view[start:stop])))
                at = stop
                continue
            if count > MAX_BUFFERS:
                raise ChannelError(f"a frame has {count} buffers, at most {MAX_BUFFERS} may be")
            table = start + 8 * count
            if table > end:
                self._needed = table - at
                return at
            lengths = struct.unpack_from(f"<{count}Q", data, start)
            inline = sum(length for length in lengths if not length & _SHARED)
            away = [length ^ _SHARED for length in lengths if length & _SHARED]
            _check_sizes(header_length, count, inline, sum(away))
            stop = table + header_length + inline
            if stop > end:
                self._needed = stop - at
                return at
            middle = table + header_length
            buffers = self._buffers(view[middle:stop], lengths, away)
            frames.append(Frame(kind, bytes(view[table:middle]), buffers))
            at = stop

    def _buffers(
        self, inline: memoryview, lengths: Sequence[int], away: Sequence[int]
    ) -> tuple[memoryview, ...]:
        shared: list[memoryview] = []
        if away:
            if self._take_shared is None:
                raise ChannelError("a frame has shared buffers, and this channel has none")
            shared = list(self._take_shared(away))
        found: list[memoryview] = []
        at = taken = 0
        for length in lengths:
            if length & _SHARED:
                found.append(shared[taken])
                taken += 1
            else:
                found.append(memoryview(bytearray(inline[at : at + length])))
                at += length
        return tuple(found)


def _check_magic(head: bytes) -> None:
    if not MAGIC.startswith(head[: len(MAGIC)]):
        raise ChannelError(f"no frame begins with {head[:12]!r}")
    if len(head) > len(MAGIC) and head[len(MAGIC)] != VERSION:
        raise ChannelError(f"a frame has layout {head[len(MAGIC)]}, this version reads {VERSION}")
    if len(head) == _HEAD.size and head[5]:
        raise ChannelError(f"a frame has flags that this version does not know: {head[5]:#x}")


def _check_sizes(header: int, count: int, inline: int, shared: int) -> None:
    if header > MAX_HEADER_BYTES:
        raise _too_much("header", header, MAX_HEADER_BYTES)
    if count > MAX_BUFFERS:
        raise ChannelError(f"a frame has {count} buffers, at most {MAX_BUFFERS} may be")
    if inline > MAX_STREAM_BYTES:
        raise _too_much("buffers", inline, MAX_STREAM_BYTES)
    if shared > MAX_SHARED_BYTES:
        raise _too_much("shared buffers", shared, MAX_SHARED_BYTES)


def _too_much(what: str, claimed: int, limit: int) -> ChannelError:
    return ChannelError(f"a frame claims {claimed} bytes of {what}, at most {limit} may be")
