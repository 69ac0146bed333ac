"""The file of a spill: entries one after the other, and how they are read where it is damaged.

The file holds for each entry its length and CRC (two unsigned 32-bit numbers, little endian),
then MessagePack. Every entry stands alone, so damage costs only the entries that it hits, and an
append needs no more room than the entry: both matter on a disk that is full or failing, which is
why a spill is no database file. An entry that was cut off by a crash ends the file; other damage
is passed over.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

_HEAD: Final = struct.Struct("<II")
#: The first bytes of an entry, behind the number of its fields.
_MARK: Final = b"\xa4type"
_READ_BYTES: Final = 1 << 20
#: How the decoder reports a value that would be one if it went on.
_CUT_OFF: Final = "Input data was truncated"


class RunEntry(msgspec.Struct, frozen=True, tag="run"):
    """A run whose row is not in the record yet: what its row and its lease are made with."""

    run_id: str
    row: Mapping[str, Any]
    lease: Mapping[str, Any]
    resumed: bool


class EventEntry(msgspec.Struct, frozen=True, tag="event"):
    """An event for the log."""

    run_id: str
    sequence: int
    body: bytes


class AnswerEntry(msgspec.Struct, frozen=True, tag="answer"):
    """The answer of a run to a request of an operator, as its row is to hold it."""

    run_id: str
    request_id: str
    answer: bytes


class EndEntry(msgspec.Struct, frozen=True, tag="end"):
    """The end of a run."""

    run_id: str
    ending: tuple[Any, ...]


Entry = RunEntry | EventEntry | AnswerEntry | EndEntry

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


def framed(entry: Entry) -> bytes:
    """Return an entry as the file holds it."""
    body = _ENCODER.encode(entry)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def unframed(data: bytes) -> Entry:
    """Return the entry of :func:`framed`."""
    return _DECODER.decode(data[_HEAD.size :])


def read_entries(
    fd: int,
    start: int = 0,
    end: int | None = None,
    on_damage: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Entry, int]]:
    """Yield each whole entry of a spill's file, and where it ends.

    Args:
        fd: The file.
        start: Where an entry begins.
        end: Where to stop; None stops at the end of the file.
        on_damage: Called with the begin and the end of damage: bytes that are no entry, nor the
            beginning of an entry at the end of the file.
    """
    end = os.fstat(fd).st_size if end is None else end
    reader, at = _Reader(fd, end), start
    while at < end:
        found = reader.entry_at(at)
        if found is not None:
            yield found
            at = found[1]
            continue
        behind = reader.next_after(at)
        if behind is None and reader.is_cut_off(at):
            return
        behind = end if behind is None else behind
        if on_damage is not None:
            on_damage(at, behind)
        at = behind


class _Reader:
    """Finds entries in a file, up to an end."""

    def __init__(self, fd: int, end: int) -> None:
        self._fd = fd
        self._end = end
        self._data = b""
        self._base = 0

    def entry_at(self, at: int) -> tuple[Entry, int] | None:
        """Return the entry that begins here, and where it ends; None where there is no whole."""
        head = self._part(at, _HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, crc = _HEAD.unpack(head)
        stop = at + _HEAD.size + length
        if stop > self._end:
            return None
        body = self._part(at + _HEAD.size, length)
        if zlib.crc32(body) != crc:
            return None
        try:
            return _DECODER.decode(body), stop
        except msgspec.DecodeError:  # of another version, or zeros, whose CRC is right
            return None

    def next_after(self, at: int) -> int | None:
        """Return where the next whole entry behind a place begins, or None."""
        seek = at + _HEAD.size + 2  # where an entry that begins one byte later has its mark
        while data := os.pread(self._fd, max(0, min(_READ_BYTES, self._end - seek)), seek):
            found = data.find(_MARK)
            while found >= 0:
                begin = seek + found - _HEAD.size - 1
                if self.entry_at(begin) is not None:
                    return begin
                found = data.find(_MARK, found + 1)
            seek += max(1, len(data) - len(_MARK) + 1)
        return None

    def is_cut_off(self, at: int) -> bool:
        """Return whether the rest of the file is the beginning of an entry, and nothing else."""
        rest = self._part(at, self._end - at)
        if len(rest) < _HEAD.size:
            return True
        length, _ = _HEAD.unpack_from(rest)
        body = rest[_HEAD.size :]
        if length <= len(body):
            return False
        try:
            _DECODER.decode(body)
        except msgspec.DecodeError as exc:
            return str(exc) == _CUT_OFF
        return False  # it is whole: its length is wrong

    def _part(self, at: int, size: int) -> bytes:
        size = min(size, self._end - at)
        if at < self._base or at + size > self._base + len(self._data):
            self._data, self._base = os.pread(self._fd, max(_READ_BYTES, size), at), at
        return self._data[at - self._base : at - self._base + size]
