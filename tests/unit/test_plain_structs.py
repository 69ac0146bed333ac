"""The stand-in for msgspec: the same bytes, both ways."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taskgrove import plain_structs
from taskgrove.events import ChainLink

VALUES: list[Any] = [
    None, True, False, 0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1,
    -1, -32, -33, -(2**40), -(2**63), 1.5, "", "é", "x" * 31, "x" * 32, "x" * 255, "x" * 256,
    "x" * 70_000, b"", b"y" * 300, b"y" * 70_000, [], [1] * 15, [1] * 16, [1] * 70_000, {},
    {"a": {"b": [1, None]}}, {str(n): n for n in range(16)}, {str(n): n for n in range(70_000)},
]  # fmt: skip


class Ours(plain_structs.Struct, frozen=True, array_like=True):
    first: Any
    second: int = 7


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20])
def test_both_read_what_the_other_wrote(value: Any) -> None:
    written = plain_structs.Encoder().encode(value)
    assert msgspec.msgpack.decode(written) == value
    theirs = msgspec.msgpack.encode([value, 3])
    assert plain_structs.Decoder(Ours).decode(theirs) == Ours(value, 3)


def test_a_struct_is_an_array_or_a_map_of_its_fields() -> None:
    class Named(plain_structs.Struct, frozen=True, omit_defaults=True):
        type: str
        text: str = ""

    written = plain_structs.Encoder().encode(Ours((Named("ValueError", "bad"),)))
    assert msgspec.msgpack.decode(written) == [[{"type": "ValueError", "text": "bad"}], 7]
    link = msgspec.msgpack.decode(plain_structs.Encoder().encode(Named("E")), type=ChainLink)
    assert link == ChainLink("E")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x92\x01", b"\xa5ab", b"\x01", b"\x93\x01\x02\x03", b"\x92\x01\x02\x00"],
)
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(plain_structs.MsgspecError):
        plain_structs.Decoder(Ours).decode(data)


def test_fields_that_are_wrong_or_missing() -> None:
    with pytest.raises(TypeError, match="lacks 'first'"):
        Ours()
    with pytest.raises(TypeError, match="has the fields first, second"):
        Ours(1, third=2)
    with pytest.raises(TypeError, match="object is no plain data"):
        plain_structs.Encoder().encode([object()])
