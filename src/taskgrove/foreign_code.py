"""Guards around code that is not ours: a logger may raise, and so may whatever it formats."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

_LOGGER = logging.getLogger(__name__)

#: Stands around a log line. The act that the line tells of comes before it, and what follows must
#: still be done; where a logger fails there is nobody left to tell.
LOGGING: Final = contextlib.suppress(BaseException)


def is_interrupt(exc: BaseException) -> bool:
    """Return whether an exception may be meant for the program rather than for the code it met.

    Signals are handled on the main thread, in the middle of anything that runs there.
    """
    return (
        isinstance(exc, (KeyboardInterrupt, SystemExit))
        and threading.current_thread() is threading.main_thread()
    )


def guarded(function: Callable[..., object], *args: Any, **fields: Any) -> None:
    """Call a function that reports to trackers, and log what it raises.

    An exit or an interrupt that a callback raises comes out of a tracker once everything was
    reported. On a thread of the executor nobody waits for it, and what follows must still be done.
    """
    try:
        function(*args, **fields)
    except BaseException as exc:  # noqa: BLE001 - see above
        log_exit(exc)


def log_exit(exc: BaseException) -> None:
    """Log the exit or interrupt that a callback raised."""
    with LOGGING:
        _LOGGER.error("a callback of a task raised an exit or an interrupt", exc_info=exc)
