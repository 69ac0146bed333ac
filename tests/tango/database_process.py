"""A TANGO database of our own, and device servers that are registered in it."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import tango

from tests.free_port import free_port

START_GUARD_S = 200.0


class Process:
    """A child that is ended with the test, whose output is kept in a file.

    Args:
        command: What to run.
        log: Where its output goes.
        environment: Added to ours.
    """

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def stop(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)

    def wait_until(self, ready, what: str):
        """Return what ``ready()`` gives once that is true; a DevFailed means: not yet."""
        deadline = time.monotonic() + START_GUARD_S
        while True:
            try:
                if found := ready():
                    return found
            except tango.DevFailed:
                pass
            text = self.log.read_text(errors="replace")
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come up:\n{text}")
            time.sleep(0.05)


class TangoDatabase:
    """A database server on a free port, of PyTango (SQLite in a file); a context manager.

    Args:
        folder: For its file, and for the logs of its processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[Process] = []
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self.database: tango.Database

    def __enter__(self) -> TangoDatabase:
        try:
            self.start_database()
        except BaseException:
            self._stop_all()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop_all()

    def _stop_all(self) -> None:
        for server in reversed(self._servers):
            server.stop()
        self._server.stop()

    def start_database(self) -> None:
        """Start the database server, once more after :meth:`stop_database`."""
        self._server = self._launch(self._folder / "database.log")
        self.database = self._server.wait_until(
            lambda: tango.Database("127.0.0.1", self._port), "the database"
        )

    def stop_database(self) -> None:
        """Stop the database server; what it knows stays."""
        self._server.stop()

    def _launch(self, log: Path) -> Process:
        program = "from databaseds.database import main; raise SystemExit(main())"
        return Process(
            [sys.executable, "-c", program, "--host", "127.0.0.1", "--port", str(self._port), "2"],
            log,
            {"PYTANGO_DATABASE_NAME": str(self._folder / "tango.db"), "PYTHONUNBUFFERED": "1"},
        )

    def start(self, command: list[str], server: str, devices: Mapping[str, str]) -> Process:
        """Register devices and start their server; return when each of them answers.

        Args:
            command: What to run.
            server: Name of the server and its instance, ``TangoTest/demo``.
            devices: Device name → TANGO class.
        """
        self.register(server, devices)
        process = Process(
            command, self._folder / f"{server.replace('/', '-')}.log", {"TANGO_HOST": self.host}
        )
        self._servers.append(process)
        for name in devices:
            trl = f"tango://{self.host}/{name}"
            # Made while waiting, too: a client of a database that has just come back waits a second
            # before it asks again.
            proxy = process.wait_until(lambda trl=trl: tango.DeviceProxy(trl), name)
            process.wait_until(lambda proxy=proxy: proxy.ping() >= 0, name)
            # The pid in the database is that of the process that exported the device.
            assert self.database.get_device_info(name).pid == process.popen.pid
        return process

    def register(self, server: str, devices: Mapping[str, str]) -> None:
        """Write devices of a server into the database: device name → TANGO class."""
        for name, class_name in devices.items():
            info = tango.DbDevInfo()
            info.name, info._class, info.server = name, class_name, server
            self.database.add_device(info)


#: The database of the TANGO project, as Debian has it, and its tables.
DATABASE_DS = Path("/usr/lib/tango/DataBaseds")
TABLES = Path("/usr/share/dbconfig-common/data/tango-db/install/mysql")


def why_no_maria() -> str | None:
    """Return why the TANGO project's own database cannot be started, or None when it can."""
    programs = (shutil.which("mariadbd", path=_SBIN), shutil.which("mariadb-install-db"))
    if DATABASE_DS.exists() and TABLES.exists() and all(programs):
        return None
    return "needs the TANGO database on MariaDB (Debian: tango-db, mariadb-server)"


_SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
_SMALL = (
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--innodb-flush-method=nosync",
)


class MariaTangoDatabase(TangoDatabase):
    """The same with Debian's C++ database server, whose tables lie in a MariaDB of our own."""

    def __enter__(self) -> MariaTangoDatabase:
        data, user = self._folder / "maria", f"--user={getpass.getuser()}"
        self._socket = Path(tempfile.mkdtemp(prefix="taskgrove-maria-")) / "s"
        self._maria_port = free_port()
        self._run("mariadb-install-db", user, f"--datadir={data}", *_SMALL,
                  "--auth-root-authentication-method=normal", "--skip-test-db")  # fmt: skip
        program = shutil.which("mariadbd", path=_SBIN)
        assert program is not None  # asked before
        self._maria = Process(
            [program, "--no-defaults", user, f"--datadir={data}", "--bind-address=127.0.0.1",
             f"--port={self._maria_port}", f"--socket={self._socket}", *_SMALL],
            self._folder / "maria.log",
            {},
        )  # fmt: skip
        try:
            self._maria.wait_until(self._socket.exists, "MariaDB")
            self._sql(
                "CREATE DATABASE tango; CREATE USER 't'@'127.0.0.1' IDENTIFIED BY 't';"
                "GRANT ALL ON tango.* TO 't'@'127.0.0.1'; USE tango;\n" + TABLES.read_text()
            )
            super().__enter__()
        except BaseException:
            self._end_maria()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._end_maria()

    def _end_maria(self) -> None:
        self._maria.stop()
        shutil.rmtree(self._socket.parent)

    def _launch(self, log: Path) -> Process:
        return Process(
            [str(DATABASE_DS), "2", "-ORBendPoint", f"giop:tcp:{self.host}"],
            log,
            {
                "MYSQL_HOST": f"127.0.0.1:{self._maria_port}",
                "MYSQL_USER": "t",
                "MYSQL_PASSWORD": "t",
                "MYSQL_DATABASE": "tango",
                "TANGO_HOST": self.host,
            },
        )

    def _sql(self, text: str) -> None:
        self._run("mariadb", f"--socket={self._socket}", "--user=root", given=text)

    def _run(self, program: str, *words: str, given: str = "") -> None:
        done = subprocess.run(
            [program, "--no-defaults", *words],
            input=given, capture_output=True, text=True, check=False, timeout=START_GUARD_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
