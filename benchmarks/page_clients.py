"""Browsers without a screen: processes that read streams of the page and discard them.

``python -m benchmarks.page_clients read PORT COUNT PATH COOKIE MARKER`` opens so many streams at
once, prints the seconds until each has got the marker, which may be a number of bytes, and reads on
until it is ended.
``python -m benchmarks.page_clients send FILE`` listens at a port that it prints, and sends the
messages of the file to whoever asks: the bare broadcast.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NEVER = "nothing of this kind is ever sent"
HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Reader:
    """One stream that is read until it was told something, and on.

    Args:
        connection: Where it comes from.
        marker: The bytes that are looked for, or how many bytes are wanted.
    """

    def __init__(self, connection: socket.socket, marker: bytes | int) -> None:
        self.connection, self._marker = connection, marker
        self._count = 0
        self._tail = b""
        self.is_told = False

    def read(self, buffer: bytearray) -> int:
        """Read what is there, and return how much it was."""
        if isinstance(self._marker, int):
            # The kernel discards what is read: a reader costs next to nothing.
            size = self.connection.recv_into(buffer, len(buffer), socket.MSG_TRUNC)
            self._count += size
            self.is_told = self._count >= self._marker
            return size
        size = self.connection.recv_into(buffer)
        if not self.is_told:
            got = self._tail + buffer[:size]
            self.is_told = self._marker in got
            self._tail = bytes(got[-len(self._marker) :])
        return size


def read_streams(port: int, count: int, path: str, cookie: str, marker: bytes | int) -> None:
    """Read so many streams; say when all are open, and how long it took until all were told."""
    looked, buffer = selectors.DefaultSelector(), bytearray(1 << 20)
    readers = [Reader(socket.create_connection(("127.0.0.1", port)), marker) for _ in range(count)]
    asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    began_s = time.monotonic()
    for reader in readers:
        reader.connection.sendall(asked)
        looked.register(reader.connection, selectors.EVENT_READ, reader)
    print("open", flush=True)
    left = set(readers)
    while looked.get_map():
        for key, _ in looked.select():
            reader = key.data
            if not reader.read(buffer):
                looked.unregister(reader.connection)
            if reader.is_told and reader in left:
                left.remove(reader)
                if not left:
                    print(time.monotonic() - began_s, time.monotonic(), flush=True)


async def send(messages: Sequence[bytes]) -> None:
    """Send messages to everybody who asks."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEADER)
            for message in messages:
                writer.write(message)
                await writer.drain()
            await reader.read()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def process(*words: Any) -> Iterator[subprocess.Popen[str]]:
    """Start this module, and end it with the block."""
    command = [sys.executable, "-m", "benchmarks.page_clients", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@contextlib.contextmanager
def reading(
    port: int, count: int, path: str, cookie: str, marker: str | int = NEVER
) -> Iterator[subprocess.Popen[str]]:
    """Let so many clients read a stream; what is printed next are the seconds to the marker."""
    with process("read", port, count, path, cookie, marker) as clients:
        assert clients.stdout is not None
        assert clients.stdout.readline() == "open\n"
        yield clients


def seconds_of(clients: subprocess.Popen[str]) -> tuple[float, float]:
    """Wait for the marker; return the seconds that it took, and when it was (monotonic)."""
    assert clients.stdout is not None
    took, at = clients.stdout.readline().split()
    return float(took), float(at)


def seconds_to_marker(port: int, count: int, path: str, cookie: str, marker: str | int) -> float:
    """Return the seconds until so many new clients have all got the marker."""
    with reading(port, count, path, cookie, marker) as clients:
        return seconds_of(clients)[0]


if __name__ == "__main__":
    if sys.argv[1] == "send":
        parts = Path(sys.argv[2]).read_bytes().split(b"\n\n")
        asyncio.run(send([part + b"\n\n" for part in parts if part]))
    else:
        port, count, path, cookie, marker = sys.argv[2:]
        wanted = int(marker) if marker.isdecimal() else marker.encode()
        read_streams(int(port), int(count), path, cookie, wanted)
