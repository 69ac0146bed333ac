"""A PostgreSQL server of our own, on loopback, that tests may stop and start."""

from __future__ import annotations

import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.free_port import free_port

#: Stops the server and removes its folder when the tests were killed and could not.
_GUARD = """
(while kill -0 "$1" 2>/dev/null && [ -d "$2" ]; do sleep 2; done
 if [ -d "$2" ]; then
   kill -QUIT "$(head -n 1 "$2/data/postmaster.pid")"
   sleep 1
   rm -rf "$2"
 fi) </dev/null >/dev/null 2>&1 &
"""

#: A guard against hangs, in seconds.
PATIENCE_S = 200


@functools.cache
def programs() -> Path | None:
    """Return the folder of the server's programs, the newest first; None where there are none."""
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    versions = sorted(folders, key=lambda path: int(path.parts[-3]), reverse=True)
    if versions:
        return versions[0].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).parent


@functools.cache
def why_no_postgres() -> str | None:
    """Return why no server can be started here, or None when one can."""
    if programs() is None:
        return "needs a PostgreSQL server's programs (Debian: postgresql)"
    if os.geteuid() == 0 and (shutil.which("runuser") is None or _user() is None):
        return "needs a user 'postgres' and runuser: a PostgreSQL server does not run as root"
    return None


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _roomy_memory() -> str | None:
    """Return a folder in memory: a database is a thousand files, and each test has its own."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30:
        return str(memory)
    return None


class PostgresServer:
    """One server with its own data; a context manager."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskgrove-postgres-", dir=_roomy_memory()))
        self._numbers = itertools.count(1)
        self.port = free_port()
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        words = ["sh", "-c", _GUARD, "sh", str(os.getpid()), str(self.folder)]
        subprocess.run(words, start_new_session=True, check=True)
        self._data = self.folder / "data"
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "taskgrove", "--no-sync",
                  "-E", "UTF8", "--locale=C")  # fmt: skip
        settings = (
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            "unix_socket_directories = ''",
            "fsync = off",  # no power is cut here, and the machine is shared
            "max_connections = 40",
        )
        with (self._data / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write("\n".join(settings) + "\n")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.folder / "log"
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-t", PATIENCE_S, "start")

    def stop(self) -> None:
        """Stop the server as a crash would: its clients are not asked."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def pid(self) -> int:
        """Return the server's process."""
        return int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def new_database(self) -> str:
        """Make a database and return its URL."""
        import psycopg

        name = f"record{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        import psycopg

        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://taskgrove@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: object) -> None:
        folder = programs()
        assert folder is not None
        words = [str(folder / program), *map(str, arguments)]
        if os.geteuid() == 0:
            words = ["runuser", "-u", "postgres", "--", *words]
        # Its own output: a server that is left running must not hold a pipe of ours.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, timeout=2 * PATIENCE_S, check=False,
            )  # fmt: skip
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program}: {output.read().decode(errors='replace')}")

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
