"""Make the records that a former version would leave: a SQLite file and a PostgreSQL dump.

The tests keep what this made with the code as it was when the tables had versions 1 to 4. It is
run again only to keep a record of another version, from a checkout of that version, as root:

    unshare --mount --uts python make.py CHECKOUT VERSION

It mounts the checkout, this Python and the site beside this file at neutral places, takes a
neutral name for the host and the user, so that the record says nothing about the machine on
which it was made, and runs every kind of command. What is killed stays lost in the record.
"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SITE = Path("/srv/beam")
HOST, USER, BOOT = "control-01", "operator", "6f2c1f6e-0000-4000-8000-000000000001"
PYTHON = "/opt/python/bin/python3"
#: What the event says with which a step has begun that waits. A step was named after its method,
#: and is named after its entry since version 4.
STEPS = ('"long/until_aborted","kind":"started"', '"long/listens","kind":"started"')
INTERNAL = ("--manager", "site_steps:Steps", "--no-live")
ANALYSES = ("--analyses", "site_analyses", "--pages", "/srv/beam/pages", "--no-live")


def mount_neutrally(checkout: Path) -> None:
    """Mount what the runs see; the namespace is ours alone."""
    run("mount", "--make-rprivate", "/")
    installed = [entry for entry in sys.path if entry.endswith("site-packages")]
    run("mount", "-t", "tmpfs", "tmpfs", "/opt")
    for number, folder in enumerate(installed):
        _bind(Path(folder), Path(f"/opt/packages{number}"))
    _bind(Path(sys.base_prefix), Path("/opt/python"))
    _bind(checkout, Path("/opt/taskgrove"))
    run("mount", "-t", "tmpfs", "tmpfs", "/srv")
    boot = Path("/srv/boot_id")
    boot.write_text(f"{BOOT}\n")
    run("mount", "--bind", str(boot), "/proc/sys/kernel/random/boot_id")
    run("hostname", HOST)


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def _bind(source: Path, place: Path) -> None:
    place.mkdir()
    run("mount", "--bind", str(source), str(place))


class Maker:
    """Runs commands at the site into one record."""

    def __init__(self, database: str) -> None:
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.copytree(HERE / "site", SITE)
        packages = ":".join(str(path) for path in Path("/opt").glob("packages*"))
        self._environment = {
            "PATH": "/opt/python/bin:/usr/bin:/bin",
            "HOME": "/srv/home",
            "USER": USER,
            "LOGNAME": USER,
            "PYTHONPATH": f"/opt/taskgrove/src:{packages}",
            "PYTHONUTF8": "1",
            "TASKGROVE_DB": database,
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYTHON, "-m", "taskgrove", *words],
            cwd=SITE, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def do(self, expected: int, *words: str) -> str:
        process = self.start(*words)
        told, _ = process.communicate(timeout=120)
        if process.returncode != expected:
            raise SystemExit(f"{words} exited with {process.returncode}:\n{told}")
        print("ok", *words)
        return told

    def end(self, number: int, said: tuple[str, ...], *words: str) -> None:
        """End a run by a signal as soon as it has said a word, or, without one, has begun."""
        process = self.start(*words)
        assert process.stdout is not None
        while not said and not (SITE / "begun").exists():
            time.sleep(0.05)
        for line in process.stdout if said else ():
            if any(word in line for word in said):
                break
        else:
            if said:
                raise SystemExit(f"{words} never said {said!r}")
        time.sleep(0.5)  # what was told is kept already; progress of steps may come too
        process.send_signal(number)
        process.communicate(timeout=120)
        print("ended", *words)

    def make(self) -> None:
        """Make every kind of run, the lost ones last."""
        lamp, slow = SITE / "lamp-off", SITE / "slow"
        run = ("run", "map.yaml")
        self.do(0, *run, "good", *INTERNAL)
        self.do(3, *run, "half", *INTERNAL)
        self.do(1, *run, "raises", *INTERNAL)
        self.do(1, *run, "hostile", *INTERNAL)
        self.do(4, *run, "guarded", *INTERNAL)
        (SITE / "argin.yaml").write_text("takes: {user: ann, password: 'hunter 2 hunter'}\n")
        self.do(0, *run, "secret", "--argin", "argin.yaml", *INTERNAL)
        slow.touch()
        self.do(1, *run, "late", *INTERNAL)
        self.end(signal.SIGINT, STEPS, *run, "long", "--json", *INTERNAL)
        lamp.touch()
        self.do(1, *run, "bad", *INTERNAL)
        self.do(0, "verdict", "last", "bad/lamp", "note", "--why", "the fuse?", "--by", "ann")
        lamp.unlink()
        self.do(0, "resume", "last", "--yes", *INTERNAL)
        lamp.touch()
        self.do(1, *run, "bad", *INTERNAL)
        self.do(0, "verdict", "last", "bad/lamp", "ok", "--why", "lit by hand", "--by", "ann")
        self.do(1, *run, "bad", *INTERNAL)
        self.do(0, "verdict", "last", "bad/lamp", "acknowledged", "--why", "known", "--by", "bob")
        self.do(1, *run, "reduce", *ANALYSES)
        self.do(1, "analyse", "site.yaml", "DrawFrames", *ANALYSES)
        lamp.unlink()
        (SITE / "tried").unlink(missing_ok=True)
        self.do(0, *run, "reduce", *ANALYSES)
        self.do(0, "analyse", "site.yaml", "DrawFrames", "--set", "frames=9", *ANALYSES)
        self.on_devices()
        self.end(signal.SIGKILL, STEPS, *run, "long", "--json", *INTERNAL)
        self.do(1, "recover", "last", "--no-live")
        self.end(signal.SIGKILL, (), "analyse", "site.yaml", "Waits", *ANALYSES)
        self.end(signal.SIGKILL, STEPS, *run, "long", "--json", *INTERNAL)

    def on_devices(self) -> None:
        """Runs with simulated devices: well, degraded, retried, refused, aborted, lost."""
        argin = SITE / "devices.yaml"
        argin.write_text("{cbf: {id: 1}, pss: {id: 1}, pst: {id: 1}}\n")
        simulator = self.start("simulate", "map.yaml", "--write-map", "there.yaml")
        assert simulator.stdout is not None
        for line in simulator.stdout:
            if "SimSetFault" in line:
                break
        run = ("run", "there.yaml", "configure", "--argin", "devices.yaml", "--no-live")
        scan = ("run", "there.yaml", "scan", "--argin", "devices.yaml", "--json")
        try:
            self.do(0, *run)
            self.fault("low-pst/beam/02", '{"Configure": "reject,message=queue is full,times=1"}')
            self.do(0, *run)
            self.fault("low-pst/beam/02", '{"Configure": "fail,message=no [bold]clock[/]"}')
            self.do(3, *run)
            self.fault("low-pst/beam/02", '{"Configure": "hang"}')
            self.do(3, *run)
            self.fault("low-cbf/subarray/01", '{"Configure": "fail,message=band 5b"}')
            self.do(1, *run)
            self.do(4, "run", "there.yaml", "strict", "--argin", "devices.yaml", "--no-live")
            self.end(signal.SIGINT, ('"kind":"progress"',), *scan)
            self.end(signal.SIGKILL, ('"kind":"progress"',), *scan)
            self.do(0, "recover", "last", "--no-live")
            self.end(signal.SIGKILL, ('"kind":"progress"',), *scan)
        finally:
            simulator.send_signal(signal.SIGINT)
            simulator.communicate(timeout=60)

    def fault(self, device: str, faults: str) -> None:
        code = (
            "import sys, yaml, tango\n"
            "names = yaml.safe_load(open('there.yaml'))['components'].values()\n"
            "trls = [n for v in names for n in ([v] if isinstance(v, str) else v)]\n"
            "trl = next(t for t in trls if sys.argv[1] in t)\n"
            "tango.DeviceProxy(trl).command_inout('SimSetFault', sys.argv[2])\n"
        )
        words = [PYTHON, "-c", code, device, faults]
        subprocess.run(words, cwd=SITE, env=self._environment, check=True)


def make_sqlite(version: str) -> None:
    file = Path("/srv/runs.db")
    Maker(str(file)).make()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    kept = HERE / f"version-{version}.db.gz"
    kept.write_bytes(gzip.compress(file.read_bytes(), mtime=0))


def make_postgres(version: str) -> None:
    sys.path.insert(0, str(HERE.parents[2]))
    from tests.store.postgres_server import PostgresServer, programs

    with PostgresServer() as server:
        url = server.new_database()
        Maker(url).make()
        words = [str(programs() / "pg_dump"), "--no-owner", "--no-privileges", url]
        dump = subprocess.run(words, check=True, capture_output=True).stdout
    # Newer clients write lines that older ones do not know.
    lines = [line for line in dump.splitlines(True) if not line.startswith(b"\\restrict")]
    lines = [line for line in lines if not line.startswith(b"\\unrestrict")]
    kept = HERE / f"version-{version}.sql.gz"
    kept.write_bytes(gzip.compress(b"".join(lines), mtime=0))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    os.umask(0o022)
    tempfile.tempdir = "/tmp"
    mount_neutrally(Path(sys.argv[1]))
    make_sqlite(sys.argv[2])
    make_postgres(sys.argv[2])
