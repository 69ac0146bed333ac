"""The log of an analysis: what its loggers say goes over the channel."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress


class _ChannelHandler(logging.Handler):
    def __init__(self, send: Callable[[int, str], object]) -> None:
        super().__init__(logging.INFO)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; an executor that is gone is no error of the one who logs."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - as the handlers of logging: said on stderr
            self.handleError(record)
            return
        with suppress(OSError):
            self._send(record.levelno, text)


def install(send: Callable[[int, str], object]) -> None:
    """Have every record from INFO up sent; what somebody set up before stays.

    Args:
        send: Takes the level and the text; raises OSError when nobody listens any more.
    """
    root = logging.getLogger()
    root.addHandler(_ChannelHandler(send))
    if root.level == logging.NOTSET or root.level > logging.INFO:
        root.setLevel(logging.INFO)
