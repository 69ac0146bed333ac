"""Addresses that show one published page to whoever has them, for an hour or two.

A page is shown in a frame without an origin of its own, to which a browser sends no cookie. So
the address itself is the key: it names the page and the time of its end, signed. Within an hour
it stays the same, so that a browser can keep what it has.

Pure, but for the clock.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK, Clock

#: The address under which pages are shown; a key follows.
SHOWN: Final = "/shown/"
_HOUR_S: Final = 3_600
#: Keeps keys of pages and cookies apart.
_LABEL: Final = b"page\0"
_MARK_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PageKeys:
    """Makes and reads keys of pages.

    Attributes:
        secret: What they are signed with.
        clock: The wall clock.
    """

    secret: bytes
    clock: Clock = SYSTEM_CLOCK

    def key_of(self, run_id: str, sequence: int) -> str:
        """Return a key of one page of the record; it is good for one to two hours."""
        end_h = self._now_s() // _HOUR_S + 2
        content = f"{end_h:x}.{sequence:x}.{run_id}".encode()
        return base64.urlsafe_b64encode(self._mark(content) + content).decode().rstrip("=")

    def page_of(self, key: str) -> tuple[str, int] | None:
        """Return the run and the number of the page that a key names; None: it is not good."""
        with suppress(ValueError):  # also of what is no base64, no UTF-8, no number
            given = base64.b64decode(key + "=" * (-len(key) % 4), b"-_", validate=True)
            mark, content = given[:_MARK_BYTES], given[_MARK_BYTES:]
            if hmac.compare_digest(mark, self._mark(content)):
                end_h, sequence, run_id = content.decode().split(".", 2)
                if self._now_s() < int(end_h, 16) * _HOUR_S:
                    return run_id, int(sequence, 16)
        return None

    def _mark(self, content: bytes) -> bytes:
        return hmac.new(self.secret, _LABEL + content, hashlib.sha256).digest()

    def _now_s(self) -> int:
        return self.clock.wall_ns() // 1_000_000_000
