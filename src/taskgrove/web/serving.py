"""Starting and ending the server of the page.

Threads: the server has a thread of its own. ``start`` and ``stop`` belong to the thread that
made it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn

from taskgrove.errors import UsageError
from taskgrove.loops.threads import spawn
from taskgrove.store.history import History
from taskgrove.web.entrance import Entrance
from taskgrove.web.record_watch import RecordWatch
from taskgrove.web.site import ENTER, make_site
from taskgrove.web.start_settings import Starts

#: How long open streams may take to end, in seconds.
_GRACE_S: Final = 2
_START_S: Final = 30.0
_BACKLOG: Final = 512


class PageServer:
    """Serves the page of one record until ``stop``.

    Args:
        history: The record; it stays the caller's to close.
        entrance: Decides who may read and act.
        host: The address that is listened at.
        port: The port; 0: any that is free.
        look_for_lost: As of :class:`taskgrove.web.record_watch.RecordWatch`.
        starts: How runs are started; they go on after ``stop``. None: none is.

    Raises:
        UsageError: Nobody can listen there.
    """

    def __init__(
        self,
        history: History,
        entrance: Entrance,
        host: str = "127.0.0.1",
        port: int = 0,
        look_for_lost: Callable[[], object] | None = None,
        starts: Starts | None = None,
    ) -> None:
        self._starts = starts
        self._entrance = entrance
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._host = host
        self._watch = RecordWatch(history, look_for_lost)
        config = uvicorn.Config(
            make_site(history, self._watch, entrance, starts),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The address of the page, without a key."""
        name = "127.0.0.1" if self._host in ("0.0.0.0", "::", "") else self._host  # noqa: S104
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    @property
    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._thread is not None and self._thread.is_alive()

    def new_link(self) -> str:
        """Return an address that lets one browser in, once."""
        return f"{self.address}{ENTER}{self._entrance.new_link()}"

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread = spawn("taskgrove-page", self._serve)

    def stop(self) -> None:
        """End open streams, then the server; calling it twice does no harm."""
        self._watch.close()
        if self._starts is not None:
            self._starts.runners.close()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_S + _START_S)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
    except OSError as exc:
        made.close()
        raise UsageError(
            f"nobody can listen at {host}:{port}: {exc.strerror or exc}",
            hint="--port 0 takes any free port",
        ) from exc
    return made
