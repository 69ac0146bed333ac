"""Guards around code that is not ours: a logger may raise, and so may whatever it formats."""

from __future__ import annotations

import contextlib
import threading
from typing import Final

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
