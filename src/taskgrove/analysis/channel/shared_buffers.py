"""Large buffers by shared memory: an anonymous file that is passed over the channel.

The memory has no name in any file system, so nothing is left behind, whichever side is
killed: the kernel frees it with its last user. The sender seals it (it can neither change nor
shrink any more), and the receiver takes nothing that is not sealed: otherwise a program could
shrink it later, and the reader would die of a bus error.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from collections.abc import Sequence
from typing import Final

from taskgrove.analysis.channel.frames import Buffer, ChannelError

#: Buffers of at least this many bytes are shared.
SHARED_FROM_BYTES: Final = 1 << 20
_ALIGNMENT: Final = 64
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_NEEDED: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE
_MOST_AT_ONCE: Final = 1 << 30


def write_shared(buffers: Sequence[Buffer]) -> int:
    """Return the descriptor of sealed memory that holds the buffers one after the other.

    Raises:
        OSError: There is not that much memory.
    """
    descriptor = os.memfd_create("taskgrove", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        sizes = [memoryview(buffer).nbytes for buffer in buffers]
        starts, total = _layout(sizes)
        os.ftruncate(descriptor, total)
        for buffer, start in zip(buffers, starts):
            view = memoryview(buffer).cast("B")
            written = 0
            while written < len(view):
                piece = view[written : written + _MOST_AT_ONCE]
                written += os.pwrite(descriptor, piece, start + written)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def map_shared(descriptor: int, sizes: Sequence[int]) -> list[memoryview]:
    """Return the buffers of that many bytes each; closes ``descriptor``.

    What is written to them stays in this process.

    Raises:
        ChannelError: The descriptor is not sealed memory, or holds less than claimed.
    """
    try:
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        except OSError:
            raise ChannelError("the descriptor of a shared buffer is not shared memory") from None
        if seals & _NEEDED != _NEEDED:
            raise ChannelError("the memory of a shared buffer can still be changed by its sender")
        starts, total = _layout(sizes)
        held = os.fstat(descriptor).st_size
        if not total or held < total:
            raise ChannelError(f"a frame claims {total} shared bytes, {held} came")
        try:
            view = _map(descriptor, total)
        except OSError as exc:
            raise ChannelError(f"{total} shared bytes cannot be mapped: {exc.strerror}") from exc
    finally:
        os.close(descriptor)
    return [view[start : start + size] for start, size in zip(starts, sizes)]


def _map(descriptor: int, size: int) -> memoryview:
    """Return private, writable memory with the content of a file."""
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY, trackfd=False))
    import ctypes  # noqa: PLC0415 - only where an array is large
    import weakref  # noqa: PLC0415

    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.restype = ctypes.c_void_p
    system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    access = mmap.PROT_READ | mmap.PROT_WRITE
    address = system.mmap(None, size, access, mmap.MAP_PRIVATE, descriptor, 0)
    if address in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, system.munmap, address, size)
    return memoryview(memory).cast("B")


def _layout(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Return where each buffer starts, and how many bytes all take."""
    starts: list[int] = []
    end = 0
    for size in sizes:
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        starts.append(start)
        end = start + size
    return starts, end
