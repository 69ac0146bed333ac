"""Server-sent events, by hand. Pure."""

from __future__ import annotations


def message(kind: str, data: bytes, number: int | None = None) -> bytes:
    """Return one message of a stream.

    Args:
        kind: Its kind (``event``).
        data: One line of JSON.
        number: Its number (``id``), or None.
    """
    mark = b"" if number is None else b"id: %d\n" % number
    return b"event: %s\n%sdata: %s\n\n" % (kind.encode(), mark, data)
