"""``taskgrove serve`` as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.command_line import Forked

#: A guard against hangs, in seconds.
PATIENCE_S = 100


class Answer:
    """The answer to a request."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def data(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    path: str,
    *,
    cookie: str | None = None,
    headers: dict[str, str] | None = None,
    data: Any = None,
    method: str | None = None,
) -> Answer:
    """Send one request to a server on this machine and return its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    sent = dict(headers or {})
    if cookie is not None:
        sent["Cookie"] = cookie
    body = None
    if data is not None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def cookie_of(port: int, link: str) -> str:
    """Use a one-time link and return the cookie that it gives."""
    answer = ask(port, "/" + link.partition("://")[2].partition("/")[2])
    assert answer.status == 200, answer.body
    return answer.headers["set-cookie"].partition(";")[0]


@contextmanager
def stream(port: int, path: str, cookie: str) -> Iterator[Iterator[tuple[str, str, Any]]]:
    """Open a stream, and give its messages: kind, number, data."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()

    def messages() -> Iterator[tuple[str, str, Any]]:
        fields: dict[str, str] = {}
        while line := answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif fields:
                yield fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])
                fields = {}

    try:
        yield messages()
    finally:
        answer.close()
        connection.close()


class PageProcess:
    """A server of the page; ``stop`` ends it as Ctrl-C does, ``kill`` at once."""

    def __init__(self, record: Path, port: int, environment: dict[str, str], *more: str) -> None:
        self.port = port
        self._process = Forked(
            [
                sys.executable, "-m", "taskgrove", "serve", "--db", str(record),
                "--port", str(port), *more,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=Path.cwd(),
        )  # fmt: skip
        assert self._process.stdout is not None
        self.told: list[str] = []
        self.link = ""
        for line in self._process.stdout:
            self.told.append(line)
            if found := re.search(r"http://\S+/enter/\S+", line):
                self.link = found.group()
                break
        assert self.link, self.told
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.told.extend(self._process.stdout)

    def interrupt(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        code = self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self._process.kill()
        self.wait()

    def stop(self) -> int:
        """End it, and return its exit code."""
        self._process.terminate()
        return self.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None
