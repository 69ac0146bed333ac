"""One post over HTTP: sent once, within a limit of time, and answered by what became of it.

Redirects are not followed: what carries a token goes to the host that was named and no other.
Environment variables for proxies are not looked at. The answer's body is not read.

Threads: :meth:`HttpPoster.post` is called by one thread at a time; any thread may call
:meth:`HttpPoster.abort`, which ends a post that is under way. ``_lock`` guards ``_open``.
"""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from taskgrove.errors import UsageError

#: An answer whose head is longer than this is no answer, in bytes.
_MAX_HEAD: Final = 65_536
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: ([^\r\n]{0,200}))?\r?\n")
_RETRY_AFTER: Final = re.compile(rb"\nretry-after:[ \t]*([^\r\n]{1,64})\r?\n", re.IGNORECASE)
#: Answers that a later try may change, besides every 5xx.
_PASSING: Final = frozenset({408, 425, 429})
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """What became of one try.

    Attributes:
        sent: True when the logbook took it.
        again: True when another try may succeed.
        text: What happened, in words.
        wait_s: How long the logbook asked to wait before the next try, in seconds, or None.
    """

    sent: bool
    again: bool
    text: str
    wait_s: float | None = None


class HttpPoster:
    """Posts JSON to one address.

    Args:
        url: The address, ``http`` or ``https``.
        token: Sent as ``Authorization: Bearer``; None: none is sent.
        timeout_s: How long one try may take, from connecting to the answer, in seconds.
        ssl_context: How the logbook's certificate is checked; None: as the system does.
        allow_plain_token: Send the token over plain ``http`` to another machine too.

    Raises:
        UsageError: The address or the token cannot be used, or the token would cross a network
            that anybody can listen to. The error never shows the token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        timeout_s: float,
        ssl_context: ssl.SSLContext | None,
        allow_plain_token: bool,
    ) -> None:
        parts = _checked(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context = ssl_context
        self._timeout_s = timeout_s
        self._token = token
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "taskgrove",
            "Connection": "close",
        }
        if token is not None:
            if _TOKEN.fullmatch(token) is None:
                raise UsageError("the token of the logbook holds signs that no header may hold")
            if not (self._secure or allow_plain_token or _is_this_machine(self._host)):
                raise UsageError(
                    f"the token would be sent to {self._host} over plain http",
                    hint="use https, or allow_plain_token=True if the network is trusted",
                )
            self._headers["Authorization"] = f"Bearer {token}"
        #: The address without what may be secret in it.
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._lock = threading.Lock()
        self._open: socket.socket | None = None

    def post(self, body: bytes, key: str, limit_s: float | None = None) -> PostAnswer:
        """Send one body and return what became of it; never raises for the other side's sake.

        Args:
            body: What is sent.
            key: The idempotency key.
            limit_s: A shorter limit than the poster's own, in seconds.
        """
        limit_s = self._timeout_s if limit_s is None else min(limit_s, self._timeout_s)
        deadline = time.monotonic() + limit_s
        try:
            with closing(self._connected(deadline)) as connection:
                headers = {**self._headers, "Idempotency-Key": key}
                connection.sock.settimeout(_rest(deadline))
                connection.request("POST", self._target, body, headers)
                return self._without_token(_judged(_read_head(connection.sock, deadline)))
        except TimeoutError:
            return PostAnswer(False, True, f"no answer within {limit_s:.3g} s")
        except UnicodeError:
            return PostAnswer(False, False, f"{self._host!r} is not the name of a host")
        except (OSError, http.client.HTTPException) as exc:
            return PostAnswer(False, True, f"{type(exc).__name__}: {exc}")
        finally:
            with self._lock:
                self._open = None

    def _without_token(self, answer: PostAnswer) -> PostAnswer:
        """Return an answer that does not show the token, should the logbook have echoed it."""
        if self._token is None or self._token not in answer.text:
            return answer
        return replace(answer, text=answer.text.replace(self._token, "…"))

    def abort(self) -> None:
        """End a post that is under way; it counts as a try without an answer."""
        with self._lock:
            if self._open is not None:
                # The plain method: that of a TLS socket would touch what the other thread uses.
                with suppress(OSError):
                    socket.socket.shutdown(self._open, socket.SHUT_RDWR)

    def _connected(self, deadline: float) -> http.client.HTTPConnection:
        """Return a connection that is open."""
        if not self._secure:
            connection = http.client.HTTPConnection(self._host, self._port)
        else:
            if self._context is None:
                self._context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self._host, self._port, context=self._context)
        failure: OSError = ConnectionError(f"{self._host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._host, connection.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                # Known before it connects, so that an abort reaches it there too.
                with self._lock:
                    self._open = sock
                sock.settimeout(_rest(deadline))
                sock.connect(address)
                if self._secure and self._context is not None:
                    sock = self._context.wrap_socket(
                        sock, server_hostname=self._host, do_handshake_on_connect=False
                    )
                    with self._lock:  # before the handshake: an abort reaches that, too
                        self._open = sock
                    sock.do_handshake()
                connection.sock = sock
                return connection
            except OSError as exc:
                sock.close()
                failure = exc
        raise failure


def _rest(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _read_head(sock: socket.socket, deadline: float) -> bytes:
    """Read the head of the answer; each piece of it counts against the same deadline."""
    head = b""
    while True:
        while (end := re.search(rb"\r?\n\r?\n", head)) is None:
            sock.settimeout(_rest(deadline))
            data = sock.recv(_MAX_HEAD)
            if not data:
                raise ConnectionError("the connection was closed before an answer")
            head += data
            if len(head) > _MAX_HEAD or not head.startswith(b"HTTP/"[: len(head)]):
                raise ConnectionError("the answer is not HTTP")
            if time.monotonic() >= deadline:
                raise TimeoutError
        if not re.match(rb"HTTP/1\.[01] 1\d\d", head):
            return head[: end.end()]
        head = head[end.end() :]  # an interim answer: the real one follows


def _judged(head: bytes) -> PostAnswer:
    line = _STATUS_LINE.match(head)
    if line is None:
        return PostAnswer(False, True, "the answer is not HTTP")
    status = int(line.group(1))
    reason = (line.group(2) or b"").decode("latin-1")
    text = "answered " + "".join(char for char in f"{status} {reason}" if char.isprintable())
    if 200 <= status < 300:
        return PostAnswer(True, False, text)
    if 300 <= status < 400:
        return PostAnswer(False, False, f"{text}: redirects are not followed")
    return PostAnswer(False, status >= 500 or status in _PASSING, text, _asked_wait(head))


def _asked_wait(head: bytes) -> float | None:
    """Return how many seconds ``Retry-After`` asks for: a number of them, or a date (RFC 9110)."""
    found = _RETRY_AFTER.search(head)
    if found is None:
        return None
    text = found.group(1).decode("latin-1").strip()
    if re.fullmatch(r"[0-9]{1,6}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, moment.replace(tzinfo=dt.UTC).timestamp() - time.time())


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UsageError("the address of the logbook is not a URL") from exc
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the address of the logbook holds a name or a password",
            hint="give a token, by argument or in TASKGROVE_LOGBOOK_TOKEN",
        )
    plain = re.fullmatch(r"[\x21-\x7e]+", url) is not None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise UsageError(
            f"{url!r} is not the address of a logbook",
            hint="an address such as https://logbook.example.org/api/runs",
        )
    return parts


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
