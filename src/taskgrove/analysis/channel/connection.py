"""The executor's side of the channel between it and its analyses.

A channel is a socket pair whose one end the program inherits (its number stands in the
environment, :data:`CHANNEL_VARIABLE`), or, for programs that ``mpirun`` or ``srun`` start and
that inherit nothing, a connection to a Unix socket in the abstract name space: it has no file,
so nothing is left behind. Both carry the same frames. Nothing goes by stdout or stderr.

Nothing is lost: what the executor does not take, the kernel keeps, and the program waits.

Threads: none of the classes here is guarded; the supervisor's thread uses them. Only
:func:`open_channel` and :func:`listen` may be called by any thread.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from taskgrove.analysis.channel.channel_messages import Message, decode_message, encode_message
from taskgrove.analysis.channel.frames import Buffer, ChannelError, FrameDecoder
from taskgrove.analysis.channel.shared_buffers import (
    SHARED_FROM_BYTES,
    map_shared,
    write_shared,
)

#: Environment variable that tells a program where its channel is: ``fd:7`` or ``unix:name``.
CHANNEL_VARIABLE: Final = "TASKGROVE_CHANNEL"
#: Environment variable with the word that a program says first on a Unix socket.
TOKEN_VARIABLE: Final = "TASKGROVE_CHANNEL_TOKEN"  # noqa: S105 - a name, not a secret

_CHUNK_BYTES: Final = 256 << 10
_BUFFER_BYTES: Final = 1 << 20
#: Descriptors that came and that no frame has claimed yet: an honest sender has one.
_MAX_WAITING: Final = 8
_INT_BYTES: Final = array.array("i").itemsize
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MAX_WAITING * _INT_BYTES)


class Received(NamedTuple):
    """A message, and the buffers that belong to it."""

    message: Message
    buffers: tuple[memoryview, ...]


class Connection:
    """One program at the other end.

    Args:
        end: The executor's end; made non-blocking, and closed by :meth:`close`.

    Attributes:
        at_end: True once the other side has closed.
        broken: What came that is no message, or None. Nothing is read any more then.
        rank: The MPI rank of the program that said hello; 0 for an inherited channel.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._decoder = FrameDecoder(self._take_shared)
        self._descriptors: deque[int] = deque()
        self._outgoing: deque[tuple[Buffer, int | None]] = deque()
        self.at_end = False
        self.broken: ChannelError | None = None
        self.rank = 0

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """True while something waits to be sent."""
        return bool(self._outgoing)

    @property
    def unfinished_bytes(self) -> int:
        """How many bytes of an unfinished frame have come."""
        return self._decoder.pending_bytes

    def receive(self) -> list[Received]:
        """Return the messages that one read brings; none where nothing has come.

        What came before garbage counts; :attr:`broken` and :attr:`at_end` tell the rest.
        """
        if self.broken is not None:
            return []
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                _CHUNK_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:  # the other side was killed with unread data in its end
            self.at_end = True
            return []
        messages: list[Received] = []
        try:
            if ancillary or flags & socket.MSG_CTRUNC:
                self._keep_descriptors(ancillary, truncated=bool(flags & socket.MSG_CTRUNC))
            if not data:
                self.at_end = True
                return []
            for frame in self._decoder.feed(data):
                messages.append(Received(decode_message(frame), frame.buffers))
        except ChannelError as exc:
            self.broken = exc
        self.broken = self.broken or self._decoder.broken
        return messages

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send as much as goes at once; :meth:`flush` sends the rest later."""
        self._outgoing.extend(frame_pieces(message, buffers))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the other side takes it."""
        while self._outgoing:
            piece, descriptor = self._outgoing[0]
            try:
                sent = send_piece(self._socket, piece, descriptor)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # nobody will read it: the end of the program tells the rest
                self._drop_outgoing()
                return
            if descriptor is not None:
                os.close(descriptor)
            if sent < len(piece):
                self._outgoing[0] = (memoryview(piece)[sent:], None)
            else:
                self._outgoing.popleft()

    def close(self) -> None:
        """Close the connection and all that it holds; calling it twice does no harm."""
        self._socket.close()
        self._drop_outgoing()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _drop_outgoing(self) -> None:
        while self._outgoing:
            _, descriptor = self._outgoing.popleft()
            if descriptor is not None:
                os.close(descriptor)

    def _keep_descriptors(
        self, ancillary: list[tuple[int, int, bytes]], *, truncated: bool
    ) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % _INT_BYTES])
                self._descriptors.extend(numbers)
        if truncated or len(self._descriptors) > _MAX_WAITING:
            raise ChannelError("more descriptors came than frames that use them")

    def _take_shared(self, sizes: Sequence[int]) -> list[memoryview]:
        if not self._descriptors:
            raise ChannelError("a frame has shared buffers, and no memory came with it")
        return map_shared(self._descriptors.popleft(), sizes)


class Listener(NamedTuple):
    """Where programs connect that inherit no descriptor.

    Attributes:
        socket: The listening socket, non-blocking; whoever made it closes it.
        address: What :data:`CHANNEL_VARIABLE` holds.
        token: What :data:`TOKEN_VARIABLE` holds.
    """

    socket: socket.socket
    address: str
    token: str

    def accept(self) -> Connection | None:
        """Return the next connection of a process of our own user, or None."""
        try:
            end, _ = self.socket.accept()
        except OSError:  # nobody is there any more, or no descriptor is left for him
            return None
        credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, user, _ = struct.unpack("3i", credentials)
        if user != os.geteuid():
            end.close()
            return None
        return Connection(end)


def open_channel() -> tuple[Connection, socket.socket]:
    """Return a new channel: the executor's end, and the end that a program inherits."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):  # fewer turns of a burst; the kernel's limit may be lower
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return Connection(ours), theirs


def listen() -> Listener:
    """Return a new place to connect to, which only our own user's programs may use."""
    name = f"taskgrove-{os.urandom(16).hex()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind("\0" + name)
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return Listener(listener, f"unix:{name}", os.urandom(16).hex())


def frame_pieces(message: Message, buffers: Sequence[Buffer]) -> list[tuple[Buffer, int | None]]:
    """Return what to send for a message: pieces, the first perhaps with a descriptor.

    Whoever sends a piece with a descriptor closes that afterwards.

    Raises:
        ChannelError: The message is larger than the other side accepts.
        OSError: There is not enough memory for its large buffers.
    """
    large = [item for item in buffers if memoryview(item).nbytes >= SHARED_FROM_BYTES]
    pieces = encode_message(message, buffers, shared_from=SHARED_FROM_BYTES)
    descriptor = write_shared(large) if large else None
    return [(piece, None if number else descriptor) for number, piece in enumerate(pieces)]


def send_piece(end: socket.socket, piece: Buffer, descriptor: int | None) -> int:
    """Send a piece, with its descriptor if it has one; return how many bytes went."""
    if descriptor is None:
        return end.send(piece)
    rights = array.array("i", [descriptor])
    return end.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
