"""A port for a server that has to be told one before it starts."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now.

    It lies below the ephemeral range, so that no connection of anybody takes it meanwhile.
    """
    dice = random.SystemRandom()  # tests side by side are seeded alike
    while True:
        port = dice.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
