"""One thread for one function; every thread of the library starts here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

#: What a thread is given to do.
Action: TypeAlias = Callable[[], object]
#: Makes the context manager that a thread lives inside, such as ``tango.EnsureOmniThread``.
ThreadContext: TypeAlias = Callable[[], AbstractContextManager[Any]]


def spawn(name: str, function: Action) -> threading.Thread:
    """Start a daemon thread that calls ``function`` once.

    Args:
        name: The thread's name, for logs and debuggers.
        function: What the thread does; the thread ends when the function returns.

    Raises:
        RuntimeError: The machine has no further thread.
    """
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread
