"""The codec of frames: whatever the cut, the same frames; whatever the garbage, one error."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis.channel import frames
from taskgrove.analysis.channel.channel_messages import (
    Cancelled,
    Failed,
    Log,
    Message,
    Progress,
    Result,
    decode_message,
    encode_message,
    printable,
)
from taskgrove.analysis.channel.frames import (
    MAX_BUFFERS,
    MAX_HEADER_BYTES,
    VERSION,
    ChannelError,
    Frame,
    FrameDecoder,
    encode_frame,
)
from taskgrove.errors import AnalysisError

HEAD = struct.Struct("<3sBBBHI")

some_frames = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.binary(max_size=200),
        st.lists(st.binary(max_size=300), max_size=4),
    ),
    max_size=6,
)


def stream_of(given_frames: list[tuple[int, bytes, list[bytes]]]) -> bytes:
    return b"".join(
        bytes(piece)
        for kind, header, buffers in given_frames
        for piece in encode_frame(kind, header, buffers)
    )


def plain(found: list[Frame]) -> list[tuple[int, bytes, list[bytes]]]:
    return [(f.kind, f.header, [bytes(item) for item in f.buffers]) for f in found]


@given(some_frames, st.randoms(use_true_random=False))
def test_any_split_of_the_stream_gives_the_same_frames(
    sent: list[tuple[int, bytes, list[bytes]]], chance: random.Random
) -> None:
    stream = stream_of(sent)
    decoder, found = FrameDecoder(), []
    at = 0
    while at < len(stream):
        size = chance.choice([1, 2, 11, 12, 13, 64, 1000])
        found += decoder.feed(stream[at : at + size])
        at += size
    assert plain(found) == sent
    assert decoder.pending_bytes == 0


@given(some_frames, st.binary(max_size=300), st.integers(0, 400))
def test_garbage_never_raises_anything_else(
    sent: list[tuple[int, bytes, list[bytes]]], garbage: bytes, at: int
) -> None:
    stream = stream_of(sent)
    stream = stream[:at] + garbage + stream[at:]
    decoder = FrameDecoder()
    for start in range(0, len(stream), 7):
        try:
            for frame in decoder.feed(stream[start : start + 7]):
                decode_message(frame)
        except ChannelError:
            break


@given(st.binary(max_size=100), st.integers(0, 255))
def test_no_header_raises_anything_else(header: bytes, kind: int) -> None:
    with contextlib.suppress(ChannelError):
        decode_message(Frame(kind, header))


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), st.data())
def test_every_changed_byte_is_refused_or_read(buffers: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(bytes, encode_frame(3, b"header", buffers))))
    place = data.draw(st.integers(0, len(stream) - 1))
    stream[place] ^= data.draw(st.integers(1, 255))
    try:
        for frame in FrameDecoder().feed(bytes(stream)):
            assert len(frame.header) <= len(stream)
    except ChannelError:
        pass


def test_garbage_is_refused_at_its_first_byte() -> None:
    with pytest.raises(ChannelError, match="no frame begins with b'x'"):
        FrameDecoder().feed(b"x")


def test_frames_before_garbage_count_and_none_after() -> None:
    decoder = FrameDecoder()
    good = stream_of([(1, b"a", [])])
    assert plain(decoder.feed(good + b"garbage" + good)) == [(1, b"a", [])]
    with pytest.raises(ChannelError):
        decoder.feed(good)
    with pytest.raises(ChannelError):
        decoder.feed(b"")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEAD.pack(b"TGF", VERSION, 1, 0, 0, 2_000_000_000), "claims 2000000000 bytes of header"),
        (HEAD.pack(b"TGF", VERSION, 1, 0, MAX_BUFFERS + 1, 1), "32769 buffers"),
        (HEAD.pack(b"TGF", VERSION, 1, 0, 1, 1) + struct.pack("<Q", 2 << 30), "2147483648 bytes"),
        (
            HEAD.pack(b"TGF", VERSION, 1, 0, 2, 1) + struct.pack("<2Q", 200 << 20, 200 << 20),
            "claims 419430400 bytes of buffers",
        ),
        (HEAD.pack(b"TGF", VERSION, 1, 0, 1, 1) + struct.pack("<Q", 5 | 1 << 63), "this channel"),
        (
            HEAD.pack(b"TGF", VERSION, 1, 0, 1, 1) + struct.pack("<Q", (1 << 64) - 1),
            "of shared buffers",
        ),
        (HEAD.pack(b"TGF", 2, 1, 0, 0, 1), "layout 2, this version reads 1"),
        (HEAD.pack(b"TGF", VERSION, 1, 4, 0, 1), "flags that this version does not know"),
        (HEAD.pack(b"TGX", VERSION, 1, 0, 0, 1), "no frame begins with"),
    ],
)
def test_what_no_frame_may_claim(head: bytes, words: str) -> None:
    """A claimed length costs no memory: it is refused, or waited for byte by byte."""
    with pytest.raises(ChannelError, match=words):
        FrameDecoder().feed(head + b"x")


def test_nothing_is_allocated_for_what_is_merely_claimed() -> None:
    tracemalloc.start()
    try:
        decoders = [FrameDecoder() for _ in range(50)]
        for decoder in decoders:
            decoder.feed(HEAD.pack(b"TGF", VERSION, 1, 0, 0, MAX_HEADER_BYTES) + b"half")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_frame_that_no_reader_would_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_HEADER_BYTES", 10)
    with pytest.raises(ChannelError, match="11 bytes of header"):
        encode_frame(1, bytes(11))
    monkeypatch.setattr(frames, "MAX_STREAM_BYTES", 10)
    with pytest.raises(ChannelError, match="11 bytes of buffers"):
        encode_frame(1, b"", [bytes(11)])


def test_shared_buffers_do_not_travel_in_the_stream() -> None:
    taken = []

    def take(sizes: list[int]) -> list[memoryview]:
        taken.append(list(sizes))
        return [memoryview(bytearray(b"L" * size)) for size in sizes]

    pieces = encode_frame(1, b"h", [b"small", bytes(100), b"", b"end"], shared_from=50)
    assert sum(map(len, pieces)) < 80
    (frame,) = FrameDecoder(take).feed(b"".join(map(bytes, pieces)))  # type: ignore[arg-type]
    assert [bytes(item) for item in frame.buffers] == [b"small", b"L" * 100, b"", b"end"]
    assert taken == [[100]]


MESSAGES: list[Message] = [
    Progress(50.0, "half"),
    Progress(None, ""),
    Log(20, "a line"),
    Result("COMPLETED", "fine", {"a": [1, None]}, "Powder", 12),
    Failed("ValueError: x", "Traceback", None),
    Cancelled("SIGTERM"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda item: type(item).__name__)
def test_messages_come_back(message: Message) -> None:
    (frame,) = FrameDecoder().feed(b"".join(map(bytes, encode_message(message))))
    assert decode_message(frame) == message


def test_messages_of_other_types_are_refused() -> None:
    with pytest.raises(ChannelError, match="of kind 200"):
        decode_message(Frame(200, b"\x90"))
    with pytest.raises(ChannelError, match="no Progress message"):
        decode_message(Frame(4, b"\x92\xa1x\xa1y"))
    deep = b"\x91" * 100_000 + b"\x90"
    with pytest.raises(ChannelError, match="no Result message"):
        decode_message(Frame(6, b"\x95\xa1x\xa1x" + deep))


def test_what_is_no_text_is_printable() -> None:
    assert printable("half \ud800") == "half \\ud800"
    assert len(printable("x" * 1_000_000)) < 70_000


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(ChannelError, AnalysisError)
    assert ChannelError.code == "analysis-channel"
