"""Whether bytes are the beginning of one value in MessagePack; its lengths tell it. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple


class _Form(NamedTuple):
    """What follows the first byte of a value.

    Attributes:
        size: How many bytes hold its length, or its number of parts.
        more: How many bytes follow besides.
        parts: How many values one counted part is; 0: the length counts bytes.
    """

    size: int = 0
    more: int = 0
    parts: int = 0


#: By the first byte; what is missing is written in that byte alone, or is no value (0xC1).
_FORMS: Final = {
    **{byte: _Form() for byte in (0xC0, 0xC2, 0xC3)},
    **{byte + n: _Form(1 << n) for byte in (0xC4, 0xD9) for n in range(3)},
    **{0xC7 + n: _Form(1 << n, 1) for n in range(3)},
    **{0xCA + n: _Form(0, 4 << n) for n in range(2)},
    **{byte + n: _Form(0, 1 << n) for byte in (0xCC, 0xD0) for n in range(4)},
    **{0xD4 + n: _Form(0, (1 << n) + 1) for n in range(5)},
    **{0xDC + n: _Form(2 << n, 0, 1) for n in range(2)},
    **{0xDE + n: _Form(2 << n, 0, 2) for n in range(2)},
}


def is_beginning(data: bytes) -> bool:
    """Return True when bytes would be one value if they went on, and are none as they are."""
    at, left = 0, 1
    while left and at < len(data):
        first = data[at]
        at, left = at + 1, left - 1
        if 0x80 <= first < 0xA0:  # a small map or a small list
            left += (first & 15) * (2 if first < 0x90 else 1)
        elif 0xA0 <= first < 0xC0:  # a short text
            at += first & 31
        elif 0xC0 <= first < 0xE0:
            form = _FORMS.get(first)
            if form is None:
                return False
            count = int.from_bytes(data[at : at + form.size], "big")
            at += form.size + form.more
            if form.parts:
                left += count * form.parts
            else:
                at += count
    return left > 0 or at > len(data)
