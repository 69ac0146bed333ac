"""A pytest plugin that fails a test which leaves a thread, a child process or a socket behind.

A test is looked at only when it passed otherwise. What exists before its own fixtures
are set up, and what a wider fixture (module, session) makes on the way, is not blamed on
it; what its own fixtures make is, unless they remove it again. ``@pytest.mark.leaks(reason)``
exempts a test.

Exempt by nature: threads that Python did not start (PyTango's; some appear as
``_DummyThread`` because they called back into Python), the helper processes of
``multiprocessing``, and connections that belong to native libraries: PyTango keeps those per
process and reconnects them when it likes. A port that anybody in this process listens on is
not exempt.
"""

from __future__ import annotations

import functools
import gc
import os
import socket
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import psutil
import pytest

#: How long a thread, a process or a socket may take to go away after the test, in seconds.
SETTLE_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.1
#: The ids of processes that the tests of a session share, and that end with it.
SHARED_PROCESSES: set[int] = set()

#: The sockets that Python code has made, and that still exist.
_SOCKETS: dict[int, weakref.ref[socket.socket]] = {}

_OUTCOME = pytest.StashKey[str]()
_TOLERATED = pytest.StashKey["Resources"]()


@dataclass(slots=True)
class Resources:
    """What this process holds: its threads, its descendants, its sockets by inode."""

    threads: set[threading.Thread] = field(default_factory=set)
    processes: set[psutil.Process] = field(default_factory=set)
    sockets: dict[str, int] = field(default_factory=dict)

    @classmethod
    def now(cls) -> Resources:
        """Return what is there at this moment."""
        return cls(set(_threads()), set(_descendants()), dict(_socket_inodes()))

    def beyond(self, *known: Resources) -> Resources:
        """Return what is here and in none of ``known``."""
        found = Resources(set(self.threads), set(self.processes), dict(self.sockets))
        for other in known:
            found.threads -= other.threads
            found.processes -= other.processes
            for inode in other.sockets:
                found.sockets.pop(inode, None)
        return found

    def add(self, other: Resources) -> None:
        """Take over what ``other`` holds."""
        self.threads |= other.threads
        self.processes |= other.processes
        self.sockets |= other.sockets

    def __bool__(self) -> bool:
        return bool(self.threads or self.processes or self.sockets)


def _threads() -> Iterator[threading.Thread]:
    for thread in threading.enumerate():
        if not isinstance(thread, threading._DummyThread):
            yield thread


def _helpers() -> set[int | None]:
    return {
        getattr(resource_tracker._resource_tracker, "_pid", None),
        getattr(forkserver._forkserver, "_forkserver_pid", None),
        *SHARED_PROCESSES,
    }


def _may_have_children(beyond: set[int | None]) -> bool:
    # Asking psutil costs a walk through all processes; most tests have no child at all.
    for task in Path("/proc/self/task").iterdir():
        try:
            if set(map(int, (task / "children").read_bytes().split())) - beyond:
                return True
        except FileNotFoundError:  # the thread has ended, or the kernel does not offer this
            if task.exists():
                return True
    return False


def _descendants() -> Iterator[psutil.Process]:
    helpers = _helpers()
    if not _may_have_children(helpers):
        return
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            # A zombie runs no more: it only waits to be reaped by whoever holds its Popen.
            if process.pid not in helpers and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _socket_inodes() -> Iterator[tuple[str, int]]:
    # Every test asks this twice: paths as objects would take most of the time.
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the folder's own descriptor is gone again
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("socket:"):
                yield target, int(name)


def _describe_sockets(found: dict[str, int]) -> list[str]:
    """Name those sockets that Python code holds, or that listen; the rest is exempt."""
    if not found:
        return []
    suspects = {fd: inode for inode, fd in found.items()}
    lines: dict[int, str] = {}
    for connection in psutil.Process().net_connections(kind="tcp"):
        if connection.fd in suspects and connection.status == psutil.CONN_LISTEN:
            address = f"{connection.laddr.ip}:{connection.laddr.port}"
            lines[connection.fd] = f"socket (fd {connection.fd}) listening on {address}"
    for made in tuple(_SOCKETS.values()):
        thing = made()
        if thing is not None and thing.fileno() in suspects:
            lines.setdefault(thing.fileno(), f"socket {thing!r}")
    return list(lines.values())


def _note_sockets() -> None:
    """Have each socket noted that Python makes: among all objects they are found too slowly."""
    initialize = socket.socket.__init__
    if hasattr(initialize, "__wrapped__"):
        return

    @functools.wraps(initialize)
    def noted(self: socket.socket, *args: Any, **options: Any) -> None:
        initialize(self, *args, **options)
        made = weakref.ref(self, lambda it: _SOCKETS.pop(id(it), None))
        _SOCKETS[id(made)] = made

    socket.socket.__init__ = noted  # type: ignore[method-assign]


def _describe(found: Resources) -> list[str]:
    lines = []
    for thread in found.threads:
        if thread.is_alive():
            kind = "daemon thread" if thread.daemon else "thread"
            lines.append(f"{kind} {thread.name!r} ({type(thread).__qualname__})")
    for process in found.processes:
        with suppress(psutil.NoSuchProcess):
            command = " ".join(process.cmdline()) or process.name()
            lines.append(f"process {process.pid}: {command[:200]}")
    return sorted(lines) + sorted(_describe_sockets(found.sockets))


def leaks_since(*known: Resources, settle_s: float) -> list[str]:
    """Return a line for each thing that is there and not known, after giving it time to go.

    Args:
        *known: What is not to be blamed.
        settle_s: How long to wait for the rest to go away, in seconds.
    """
    if not Resources.now().beyond(*known):
        return []
    deadline = time.monotonic() + settle_s
    pause, collected = FIRST_PAUSE_S, False
    while lines := _describe(Resources.now().beyond(*known)):
        if time.monotonic() >= deadline:
            return lines
        if pause == LONGEST_PAUSE_S and not collected:
            gc.collect()  # what only a cycle still holds; it is slow, and the most goes by itself
            collected = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
    return []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the settle time be chosen."""
    parser.addoption(
        "--leak-settle-s",
        type=float,
        default=SETTLE_S,
        help="seconds that a thread, process or socket may take to go away after its test",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, so that the plugin can be used on its own; begin to note sockets."""
    _note_sockets()
    config.addinivalue_line(
        "markers", "leaks(reason): the test is exempt from the leak guard, and says why"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember how the test itself ended: a failed one is not looked at."""
    report = yield
    if report.when == "call":
        item.stash[_OUTCOME] = report.outcome
    return report


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Tolerate what a wider fixture makes when it is asked for in the midst of a test."""
    if fixturedef.scope == "function":
        return (yield)
    before = Resources.now()
    try:
        return (yield)
    finally:
        tolerated = request.session.stash.setdefault(_TOLERATED, Resources())
        tolerated.add(Resources.now().beyond(before))


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test when it leaves behind what was not there before its own fixtures."""
    marker = request.node.get_closest_marker("leaks")
    if marker is not None:
        reason = marker.kwargs.get("reason", next(iter(marker.args), None))
        if not isinstance(reason, str) or not reason.strip():
            pytest.fail("the marker leaks needs a reason: @pytest.mark.leaks('why')", pytrace=False)
        yield
        return
    before = Resources.now()
    yield
    if request.node.stash.get(_OUTCOME, None) != "passed":
        return
    tolerated = request.session.stash.setdefault(_TOLERATED, Resources())
    settle_s = request.config.getoption("--leak-settle-s")
    if lines := leaks_since(before, tolerated, settle_s=settle_s):
        listed = "\n".join(f"  - {line}" for line in lines)
        pytest.fail(
            f"{request.node.nodeid} passed, but left behind:\n{listed}\n"
            f"Stop what the test starts, or say why not: @pytest.mark.leaks('reason')",
            pytrace=False,
        )
