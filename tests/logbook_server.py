"""An electronic logbook on this machine, for tests: an HTTP server that answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

#: A guard against hangs, in seconds; nothing is measured with it.
LIMIT_S = 30.0


@dataclass
class Post:
    """What the server was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """A logbook on this machine, which answers as it is told: the last answer is kept."""

    answers: list[Any] = field(default_factory=lambda: [200])
    posts: list[Post] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    release: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def next_answer(self, post: Post) -> Any:
        with self.changed:
            self.posts.append(post)
            self.changed.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait_for(self, count: int) -> list[Post]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posts) >= count, LIMIT_S), self.posts
            return list(self.posts)

    def told(self) -> list[tuple[str, str]]:
        return [(post.body["run_id"], post.body.get("status", "-")) for post in self.posts]


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        logbook: Server = self.server.logbook
        answer = logbook.next_answer(Post(self.path, headers, body))
        if callable(answer):
            answer(self, logbook)
        else:
            self.send_response(answer)
            self.end_headers()
            self.wfile.write(b"\x00 not JSON")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is expected here."""


def silent(handler: Handler, server: Server) -> None:
    """Say nothing until the server is told to go on, and then hang up."""
    server.release.wait(LIMIT_S)
    handler.close_connection = True


StartServer: TypeAlias = Callable[..., Server]


@contextmanager
def logbook_servers() -> Iterator[StartServer]:
    """Have a function that starts servers, from answers; all of them are stopped at the end."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread, Server]] = []

    def start_one(*answers: Any, context: ssl.SSLContext | None = None) -> Server:
        http = QuietServer(("127.0.0.1", 0), Handler)
        logbook = Server(list(answers) or [200])
        http.logbook = logbook  # type: ignore[attr-defined]
        scheme = "http"
        if context is not None:
            http.socket = context.wrap_socket(http.socket, server_side=True)
            scheme = "https"
        logbook.url = f"{scheme}://127.0.0.1:{http.server_address[1]}/api/runs?x=1"
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        running.append((http, thread, logbook))
        return logbook

    try:
        yield start_one
    finally:
        for http, thread, logbook in running:
            logbook.release.set()
            http.shutdown()
            http.server_close()
            thread.join(LIMIT_S)
