"""The program's side of the channel to its executor.

Threads: :meth:`ChildChannel.send` may be called by any thread; ``_lock`` guards the
order of frames in the stream. :meth:`ChildChannel.wait_for` is the main thread's. The guard
thread sends heartbeats and ends the program when the executor is gone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from taskgrove.analysis.channel.channel_messages import (
    Heartbeat,
    Hello,
    Message,
    decode_message,
)
from taskgrove.analysis.channel.connection import (
    CHANNEL_VARIABLE,
    TOKEN_VARIABLE,
    Received,
    frame_pieces,
    send_piece,
)
from taskgrove.analysis.channel.frames import Buffer, ChannelError, FrameDecoder
from taskgrove.analysis.channel.shared_buffers import map_shared
from taskgrove.loops.threads import spawn

_AnyMessage = TypeVar("_AnyMessage", bound=Message)

_CHUNK_BYTES: Final = 256 << 10
#: Ends the guard; other bytes in its pipe are numbers of signals.
_STOP: Final = b"\0"
#: How often the guard looks whether the executor is still there when nothing wakes it.
_WATCH_S: Final = 60.0
#: Where process managers tell a program its MPI rank, in the order in which they are asked.
_RANK_VARIABLES: Final = (
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "SLURM_PROCID",
)


def rank_of(environment: Mapping[str, str]) -> int:
    """Return the MPI rank of this process by its environment; 0 where there is none."""
    for name in _RANK_VARIABLES:
        text = environment.get(name, "")
        if text.isdecimal():
            return int(text)
    return 0


class ChildChannel:
    """The channel that the environment tells of.

    Args:
        environment: The environment; what tells of the channel is taken out of it, so that
            programs which the analysis starts do not take it for theirs.

    Attributes:
        rank: MPI rank of this process; only rank 0 reports progress and a result.

    Raises:
        ChannelError: There is no channel.
    """

    def __init__(self, environment: dict[str, str] | os._Environ[str]) -> None:
        address = environment.pop(CHANNEL_VARIABLE, "")
        token = environment.pop(TOKEN_VARIABLE, "")
        self._lock = threading.Lock()
        self._descriptors: list[int] = []
        self._decoder = FrameDecoder(self._take_shared)
        self._received: list[Received] = []
        self._stop_read, self._stop_write = -1, -1
        self._guard: threading.Thread | None = None
        self._on_sigterm: Callable[[], object] | None = None
        self.rank = 0
        where, _, name = address.partition(":")
        if where == "fd" and name.isdecimal():
            self._socket = socket.socket(fileno=int(name))
            self._socket.set_inheritable(False)
        elif where == "unix" and name:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect("\0" + name)
            self.rank = rank_of(environment)
            self.send(Hello(token, self.rank))
        else:
            raise ChannelError(
                "there is no channel to an executor",
                hint="this module is started by taskgrove.analysis.executor, not by hand",
            )

    def send(self, message: Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message; waits while the executor does not read.

        Raises:
            OSError: The executor is gone, or has closed the channel.
            ChannelError: The message is larger than a frame may be.
        """
        pieces = frame_pieces(message, buffers)
        try:
            with self._lock:
                for piece, descriptor in pieces:
                    sent = send_piece(self._socket, piece, descriptor)
                    if sent < len(piece):
                        self._socket.sendall(memoryview(piece)[sent:])
        finally:
            for _, descriptor in pieces:
                if descriptor is not None:
                    os.close(descriptor)

    def wait_for(self, kind: type[_AnyMessage]) -> tuple[_AnyMessage, tuple[memoryview, ...]]:
        """Return the next message of a kind; others are passed over.

        Raises:
            EOFError: The executor closed the channel, or is gone.
            ChannelError: What came is no message.
        """
        while True:
            while self._received:
                message, buffers = self._received.pop(0)
                if isinstance(message, kind):
                    return message, buffers
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, _CHUNK_BYTES, 4, socket.MSG_CMSG_CLOEXEC
            )
            self._descriptors += descriptors
            if not data:
                raise EOFError("the executor closed the channel")
            self._received += [
                Received(decode_message(frame), frame.buffers) for frame in self._decoder.feed(data)
            ]

    def keep_watch(
        self,
        heartbeat_s: float | None,
        grace_s: float,
        on_lost: Callable[[], object],
        on_sigterm: Callable[[], object] | None = None,
    ) -> None:
        """Start the guard: heartbeats, and an end of this program when the executor is gone.

        Args:
            heartbeat_s: Period of the heartbeats in seconds; None: none are sent.
            grace_s: How long after ``on_lost`` the process is killed, in seconds.
            on_lost: Called once by the guard thread when the executor is gone.
            on_sigterm: Called by the guard thread when the process has got SIGTERM, whichever of
                its threads took it; this method is then called by the main thread.
        """
        self._stop_read, self._stop_write = os.pipe()
        if on_sigterm is not None:
            self._on_sigterm = on_sigterm
            os.set_blocking(self._stop_write, False)
            signal.set_wakeup_fd(self._stop_write, warn_on_full_buffer=False)
        watch = partial(self._watch, heartbeat_s, grace_s, on_lost)
        self._guard = spawn("taskgrove-analysis-guard", watch)

    def begin_anew(self) -> None:
        """Have a lock of its own in a fork, and nothing to do with the guard.

        Another thread may have held the lock that the fork inherited.
        """
        self._lock = threading.Lock()
        if self._on_sigterm is not None:
            signal.set_wakeup_fd(-1)

    def close(self) -> None:
        """End the guard and close the channel."""
        if self._guard is not None:
            if self._on_sigterm is not None:
                signal.set_wakeup_fd(-1)
            os.write(self._stop_write, _STOP)  # closing is not enough: a fork may hold it open
            self._guard.join()
            os.close(self._stop_write)
            os.close(self._stop_read)
            self._guard = None
        self._socket.close()

    def _watch(
        self, heartbeat_s: float | None, grace_s: float, on_lost: Callable[[], object]
    ) -> None:
        poll = select.poll()
        poll.register(self._stop_read, select.POLLIN)
        poll.register(self._socket, select.POLLRDHUP)
        period_s = heartbeat_s or _WATCH_S
        beat_at = time.monotonic() + period_s
        while True:
            wait_s = max(0.0, beat_at - time.monotonic())
            ready = dict(poll.poll(wait_s * 1000))
            if self._stop_read in ready and self._is_told_to_stop():
                return
            if self._socket.fileno() in ready:
                break
            if ready:
                continue
            if heartbeat_s is not None:
                with suppress(OSError):  # the next poll tells that the executor is gone
                    self.send(Heartbeat())
            beat_at = time.monotonic() + period_s
        on_lost()
        deadline = time.monotonic() + grace_s
        poll.unregister(self._socket)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if self._is_told_to_stop():
                return
        _kill_ourselves()

    def _is_told_to_stop(self) -> bool:
        """Take what came over the guard's pipe: numbers of signals, or the word to stop."""
        said = os.read(self._stop_read, _CHUNK_BYTES)
        if bytes([signal.SIGTERM]) in said and self._on_sigterm is not None:
            self._on_sigterm()
        return _STOP in said

    def _take_shared(self, sizes: Sequence[int]) -> list[memoryview]:
        if not self._descriptors:
            raise ChannelError("a frame has shared buffers, and no memory came with it")
        return map_shared(self._descriptors.pop(0), sizes)


def _kill_ourselves() -> None:
    """End this process, and its whole group where that is ours."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
