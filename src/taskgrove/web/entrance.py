"""Who may read and act through the page: the one-time link, its cookie, known hosts, same origin.

A link is good for one browser: it is exchanged for a cookie that scripts cannot read and that
other sites cannot send. Cookies are signed with a key that is kept in a private file, so that they
outlive the server.

Threads: any thread may call any method; ``_lock`` guards the links that were not used yet.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.private_files import make_private_folder, open_new_private

COOKIE: Final = "taskgrove_page"
#: How long a cookie is good, in seconds.
COOKIE_S: Final = 30 * 86_400
#: So many links may wait to be used; an older one is forgotten.
_LINKS: Final = 20
_KEY_BYTES: Final = 32
#: A name or an address, with a port or without.
_HOST: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::\d+)?")
#: The names of this machine for itself.
_OWN_NAMES: Final = frozenset(("127.0.0.1", "localhost", "::1"))


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request tells of who makes it.

    Attributes:
        host: The header ``Host``.
        origin: The header ``Origin``, or None.
        cookie: The value of the page's cookie, or None.
        is_reading: Whether the request only reads.
    """

    host: str
    origin: str | None
    cookie: str | None
    is_reading: bool


@dataclass(slots=True)
class Entrance:
    """Decides on requests.

    Attributes:
        key: What cookies are signed with.
        known_hosts: Names under which the page may be called, besides those of this machine.
        open_reading: Whether reading needs no cookie.
        read_only: Whether nothing but reading is allowed.
        clock: The wall clock.
    """

    key: bytes
    known_hosts: frozenset[str] = frozenset()
    open_reading: bool = False
    read_only: bool = False
    clock: Clock = SYSTEM_CLOCK
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _links: dict[str, None] = field(default_factory=dict)

    def new_link(self) -> str:
        """Return the secret part of a link that works once."""
        made = secrets.token_urlsafe(24)
        with self._lock:
            self._links[made] = None
            while len(self._links) > _LINKS:
                del self._links[next(iter(self._links))]
        return made

    def use_link(self, secret: str) -> str | None:
        """Return the cookie that a link is exchanged for; None: it is unknown, or was used."""
        with self._lock:
            found = [
                link for link in self._links if hmac.compare_digest(link.encode(), secret.encode())
            ]
            if not found:
                return None
            del self._links[found[0]]
        content = f"{self.clock.wall_ns() // 1_000_000_000}.{secrets.token_urlsafe(12)}"
        return f"{content}.{self._signed(content)}"

    def objection(self, caller: Caller) -> str | None:
        """Return why a request is refused, in words; None: it is allowed."""
        if _name_of(caller.host) not in _OWN_NAMES | self.known_hosts:
            return (
                "this server is not known by that name;"
                " 'taskgrove serve --known-host NAME' adds one"
            )
        if caller.origin is not None and not _is_same(caller.origin, caller.host):
            return "the request comes from another site"
        if not caller.is_reading and self.read_only:
            return "this page is for reading only: the server was started with --read-only"
        if caller.is_reading and self.open_reading:
            return None
        if not self.knows(caller.cookie):
            return "open the link that 'taskgrove serve' printed; it works once, in one browser"
        return None

    def is_known_place(self, caller: Caller) -> bool:
        """Return whether a request comes by a known name, and from no other site."""
        known = _name_of(caller.host) in _OWN_NAMES | self.known_hosts
        return known and (caller.origin is None or _is_same(caller.origin, caller.host))

    def may_act(self, caller: Caller) -> bool:
        """Return whether the caller may ask something of a run."""
        return not self.read_only and self.knows(caller.cookie)

    def knows(self, cookie: str | None) -> bool:
        """Return whether a cookie was given by this page, and is not too old."""
        content, _, signed = (cookie or "").rpartition(".")
        if not hmac.compare_digest(self._signed(content).encode(), signed.encode()):
            return False
        given_s = int(content.partition(".")[0])
        return 0 <= self.clock.wall_ns() // 1_000_000_000 - given_s + 60 <= COOKIE_S

    def _signed(self, content: str) -> str:
        return hmac.new(self.key, content.encode(), hashlib.sha256).hexdigest()


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """Return the value of the page's cookie among the headers of a request, or None."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return None


def known_names(given: Iterable[str]) -> frozenset[str]:
    """Return names of hosts as they are compared: without a port, in lower case."""
    return frozenset(_name_of(name) for name in given)


def kept_key(file: Path) -> bytes:
    """Return the key of a file that is private to its user; it is made where there is none.

    Raises:
        OSError: The file cannot be read or made.
    """
    make_private_folder(file.parent, share=False)
    try:
        with open(open_new_private(file, os.O_WRONLY, share=False), "wb") as made:
            made.write(secrets.token_bytes(_KEY_BYTES))
    except FileExistsError:
        pass
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{file} does not hold a key; remove the file, and a new one is made")
    return key


def _name_of(host: str) -> str:
    found = _HOST.fullmatch(host)
    return "" if found is None else (found["name"] or found["v6"]).lower()


def _is_same(origin: str, host: str) -> bool:
    """Return whether an origin is the page's own, behind a server that adds TLS, too."""
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and bool(rest) and rest.lower() == host.lower()
