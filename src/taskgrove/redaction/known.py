"""Values that are known as secrets by their name, to be found again in other texts.

Threads: a thread may add values while others replace them in texts.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Final
from urllib.parse import quote

from taskgrove.redaction.forms import REDACTED

#: A shorter value, or a plain word, may stand in a text with another meaning.
_SHORTEST: Final = 6
_LONGEST: Final = 4096
#: More values are not looked for, because each takes time in every text.
_MOST: Final = 200
_PLAIN: Final = re.compile(
    r"[A-Za-z_-]+|[\d.+:e-]+|[\w.~-]*(?:/[\w.-]+)+/?|[\w-]+(?:@[\w-]+)?(?:\.[\w-]+)+|<redacted>"
)


class KnownValues:
    """Values to be replaced wherever they stand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def add(self, value: object) -> None:
        """Take a value, unless a text could hold it by chance: plain words, numbers, paths."""
        if not isinstance(value, str) or not _SHORTEST <= len(value) <= _LONGEST:
            return
        if value in self._values or (_PLAIN.fullmatch(value) and not _is_key(value)):
            return
        with self._lock:
            if len(self._values) < _MOST:
                forms = {value, quote(value, safe="", errors="replace"), json.dumps(value)[1:-1]}
                # A value may hold another one: the longest go first.
                self._values = tuple(sorted({*self._values, *forms}, key=len, reverse=True))

    def hide(self, text: str) -> str:
        """Return a text in which known values are replaced."""
        for value in self._values:
            if value in text:
                text = text.replace(value, REDACTED)
        return text


def _is_key(value: str) -> bool:
    """Return True for a key: a long value with digits, capitals and small letters."""
    kinds = (str.isdigit, str.isupper, str.islower)
    return len(value) >= 20 and all(any(kind(sign) for sign in value) for kind in kinds)
