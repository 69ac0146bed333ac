"""Plain data as bytes and text that every database takes.

Words of devices and programs may be no valid text (half of a surrogate pair), or hold signs that a
database refuses (a NUL in PostgreSQL). They are kept, escaped, and never stop a record.
"""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()


def json_bytes(value: Any) -> bytes:
    """Return a value as one line of JSON.

    Args:
        value: Plain data, dataclasses or Structs.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_writable(msgspec.to_builtins(value)))


def json_text(value: Any) -> str:
    """Return a value as one line of JSON, as text."""
    return json_bytes(value).decode("utf-8")


def clean_text(text: str) -> str:
    """Return text that every database takes: other signs are written out."""
    if text.isascii():
        return text if "\0" not in text else text.replace("\0", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_writable(key): _writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    return value
