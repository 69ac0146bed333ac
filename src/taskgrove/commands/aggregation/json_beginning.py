"""Whether a text is the beginning of a JSON text and nothing else; pure.

NaN and infinities, which the standard library writes, are numbers here.
"""

from __future__ import annotations

import json
from typing import Final

_DECODE: Final = json.JSONDecoder(strict=False).raw_decode
_WORDS: Final = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
#: The ends that may mend a text which is cut within a string or a number.
_ENDS: Final = ('"', '\\"', '0000"', '000"', '00"', '0"', "0")


def ends_too_early(text: str) -> bool:
    """Return True when a text would be a JSON text if it went on, and is none as it is."""
    text = text.lstrip()
    at = _wrong_at(text)
    if at is None or at >= len(text):
        return at is not None
    rest = text[at : at + len("-Infinity")]
    words = [word[len(rest) :] for word in _WORDS if word.startswith(rest)]
    return any((_wrong_at(text + end) or 0) >= len(text + end) for end in words or _ENDS)


def _wrong_at(text: str) -> int | None:
    """Return the place of the error in a JSON text, or None; it may be the end of the text."""
    try:
        _DECODE(text)
    except json.JSONDecodeError as exc:
        return exc.pos
    except RecursionError:
        return len(text)  # no message is nested so deep
    return None
