"""What every test shares: a clean environment, the leak guard, and plain reasons to skip."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove import events
from taskgrove.events import bus
from tests.examples import register_profiles
from tests.store.postgres_server import PostgresServer, why_no_postgres
from tests.store.ready_tables import use_ready_tables

pytest_plugins = ["pytester", "tests.leak_guard", "tests.failures_at_once"]

# A machine that stands still for a second takes no observer away from a test.
# The public names are resolved before that, so tests of the limits know the usual ones.
USUAL_LIMITS_S = (events.SLOW_LIMIT_S, events.STALL_LIMIT_S)
bus.STALL_LIMIT_S = bus.SLOW_LIMIT_S = 600.0  # type: ignore[misc]

# Nothing of the caller's environment may steer a test: neither our own settings, nor a control
# system that happens to be near, nor the colours of a terminal.
for _name in list(os.environ):
    if _name.startswith("TASKGROVE_") or _name in {
        "TANGO_HOST",
        "PYTHONUNBUFFERED",  # what is told late without it would be told at once
        "PYTHONDONTWRITEBYTECODE",  # every process would compile every module
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR_FORCE",
    }:
        del os.environ[_name]

# Nor may a test write into the record, or the state, of whoever runs it.
_OWN_FOLDER = tempfile.mkdtemp(prefix="taskgrove-tests-")
atexit.register(shutil.rmtree, _OWN_FOLDER, ignore_errors=True)
for _kind in ("data", "state"):
    os.environ[f"XDG_{_kind.upper()}_HOME"] = f"{_OWN_FOLDER}/{_kind}"

# A shell ignores interrupts for what it starts in the background, nohup and all of its children
# hang-ups; tests that send them mean the default. (What is ignored, children would inherit.)
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

register_profiles()
use_ready_tables()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite side by side (most tests wait), and named tests where one sees them."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    return (os.cpu_count() or 1) + 2 if whole else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the small unit tests last, so that the workers end at nearly the same time."""
    items.sort(key=lambda item: "unit" in item.path.parts)


def pytest_collection_finish() -> None:
    """Take the tests themselves out of the collector's sight: each collection would visit them."""
    gc.collect()
    gc.freeze()


@functools.cache
def why_no_root() -> str | None:
    """Return why connections cannot be cut on this machine, or None when they can."""
    if os.geteuid() != 0:
        return "needs root, to cut TCP connections with `ss -K`"
    if shutil.which("ss") is None:
        return "needs `ss` (Debian: iproute2), to cut TCP connections"
    # Not every kernel lets it: try it on a connection of our own.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as near:
            far, _ = listener.accept()
            with far:
                command = ["ss", "-K", "dst", "127.0.0.1", "dport", "=", f":{port}"]
                subprocess.run(command, capture_output=True, check=False, timeout=200)
                try:
                    near.sendall(b"?")
                except OSError:
                    return None
    return "this kernel does not let root cut TCP connections (`ss -K` has no effect)"


@functools.cache
def why_no_database() -> str | None:
    """Return why no TANGO database can be started, or None when it can."""
    if importlib.util.find_spec("databaseds") is None:
        return "needs a TANGO database server: pip install pytango-db"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with a plain reason, what this machine cannot run."""
    reasons = (
        ("root", why_no_root),
        ("database", why_no_database),
        ("postgres", why_no_postgres),
    )
    for marker, why_not in reasons:
        if item.get_closest_marker(marker) is not None and (reason := why_not()) is not None:
            pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Give a running server; whoever stops it starts it again."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def record_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the location of a new record, once for each kind of database."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)
