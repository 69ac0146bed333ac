"""One post over HTTP: sent once, within a limit of time, and answered by its outcome.

Redirects are not followed: a post that carries a token goes to the given host and no other.
Environment variables for proxies are not read. The body of the answer is not read.

Threads: :meth:`HttpPoster.post` is called by one thread at a time; any thread may call
:meth:`HttpPoster.abort`, which ends a post that is under way. ``_lock`` guards ``_open`` and
``_aborted``.
"""

from __future__ import annotations

import datetime as dt
import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from taskgrove.analysis.publishing.logbook_trouble import TroubleKind
from taskgrove.errors import UsageError

#: Longest reason of an answer that is shown, in characters.
_MAX_REASON: Final = 200
#: Answers after which a later try may succeed, besides every 5xx.
_PASSING: Final = frozenset({408, 425, 429})
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """The outcome of one try.

    Attributes:
        sent: True when the logbook accepted the post.
        again: True when another try may succeed.
        text: The outcome in words.
        why: Why it was not sent.
        code: The status code of the answer; None: there was none.
        wait_s: How long the logbook asked to wait before the next try, in seconds, or None.
    """

    sent: bool
    again: bool
    text: str
    why: TroubleKind = "answered"
    code: int | None = None
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
            without encryption. The error never shows the token.
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
        is_secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if is_secure else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context = (ssl_context or ssl.create_default_context()) if is_secure else None
        self._timeout_s = timeout_s
        self._token = token
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "taskgrove",
            "Connection": "close",
        }
        if token is not None:
            if _TOKEN.fullmatch(token) is None:
                raise UsageError("the token of the logbook has characters that no header may have")
            if not (is_secure or allow_plain_token or _is_this_machine(self._host)):
                raise UsageError(
                    f"the token would be sent to {self._host} over plain http",
                    hint="use https, or allow_plain_token=True if the network is trusted",
                )
            self._headers["Authorization"] = f"Bearer {token}"
        #: The address without its query, which may hold secrets.
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._lock = threading.Lock()
        self._open: socket.socket | None = None
        self._aborted = False

    def post(self, body: bytes, key: str, limit_s: float | None = None) -> PostAnswer:
        """Send one body and return the outcome; errors of the other side are never raised.

        Args:
            body: The body.
            key: The idempotency key.
            limit_s: A shorter limit than the poster's own, in seconds.
        """
        limit_s = self._timeout_s if limit_s is None else min(limit_s, self._timeout_s)
        deadline = time.monotonic() + limit_s
        try:
            with closing(http.client.HTTPConnection(self._host, self._port)) as connection:
                connection.sock = self._connected(deadline)
                headers = {**self._headers, "Idempotency-Key": key}
                connection.sock.settimeout(_rest(deadline))
                connection.request("POST", self._target, body, headers)
                return self._judged(_read_head(connection.sock, deadline))
        except TimeoutError:
            return PostAnswer(False, True, f"no answer within {limit_s:.3g} s", "no_answer")
        except UnicodeError:
            words = f"{self._host!r} is not the name of a host"
            return PostAnswer(False, False, words, "unreachable")
        except http.client.HTTPException:
            return PostAnswer(False, True, "the answer is not HTTP", "garbage")
        except OSError as exc:
            if self._aborted:
                return PostAnswer(False, True, "no answer before it was closed", "no_answer")
            return PostAnswer(False, True, f"{type(exc).__name__}: {exc}", "unreachable")
        finally:
            self._hold(None)

    def abort(self) -> None:
        """End a post that is under way; it counts as a try without an answer."""
        with self._lock, suppress(OSError):
            self._aborted = True
            if self._open is not None:
                self._open.shutdown(socket.SHUT_RDWR)

    def _hold(self, sock: socket.socket | None) -> None:
        """Keep a second handle of a connection for :meth:`abort`; TLS does not replace that one."""
        handle = None if sock is None else sock.dup()
        with self._lock:
            former, self._open = self._open, handle
        if former is not None:
            former.close()

    def _connected(self, deadline: float) -> socket.socket:
        failure: OSError = ConnectionError(f"{self._host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                self._hold(sock)  # before it connects, so that an abort ends that, too
                sock.settimeout(_rest(deadline))
                sock.connect(address)
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_hostname=self._host)
                return sock
            except OSError as exc:
                sock.close()
                failure = exc
        raise failure

    def _judged(self, response: http.client.HTTPResponse) -> PostAnswer:
        status, reason = response.status, response.reason[:_MAX_REASON]
        text = "answered " + "".join(char for char in f"{status} {reason}" if char.isprintable())
        if self._token is not None:  # the logbook may echo the token
            text = text.replace(self._token, "…")
        if 200 <= status < 300:
            return PostAnswer(True, False, text, code=status)
        if 300 <= status < 400:
            words = f"{text}: redirects are not followed"
            return PostAnswer(False, False, words, code=status)
        again = status >= 500 or status in _PASSING
        wait_s = _asked_wait(response.headers["Retry-After"])
        return PostAnswer(False, again, text, "answered", status, wait_s)


def _rest(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


class _Answer(io.RawIOBase):
    """The bytes of an answer; each piece of them counts against the same deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_rest(self._deadline))
        count = self._sock.recv_into(buffer)
        if time.monotonic() >= self._deadline:
            raise TimeoutError
        if not count:
            raise ConnectionError("the connection was closed before an answer")
        return count


def _read_head(sock: socket.socket, deadline: float) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Answer(sock, deadline))  # type: ignore[arg-type]
    response.begin()
    while response.status < 200:  # an interim answer: the real one follows
        response.headers = None  # type: ignore[assignment] # as before the first head
        response.begin()
    return response


def _asked_wait(text: str | None) -> float | None:
    """Return how many seconds ``Retry-After`` asks for: a number of them, or a date (RFC 9110)."""
    text = (text or "").strip()
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
    with suppress(ValueError):
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False
