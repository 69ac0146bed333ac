"""Maps whose names a TANGO database looks up: that of PyTango, and that of the TANGO project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from click.testing import CliRunner

from taskgrove.cli import tango_database
from taskgrove.cli.app import app
from taskgrove.cli.tango_database import blocked_port, databases_of
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.tango.device_runner import DeviceRunner
from tests.cli.command_line import PATIENCE_S, environment
from tests.free_port import free_port
from tests.tango.database_process import (
    MariaTangoDatabase,
    Process,
    TangoDatabase,
    why_no_maria,
)

pytestmark = [pytest.mark.tango, pytest.mark.database]

SERVER = Path(__file__).parent / "servers" / "motor_server.py"
MOTORS = {"x01/motor/1": "Motor", "x01/motor/2": "Motor", "x01/pump/1": "Pump"}
MAP = """
components:
  motors: [x01/motor/*]
  pump: x01/pump/1
move:
  type: sequential
  skip_subtasks: true
  tasks:
    move: {device: motors, command_name: MoveTo, argin: 3.5}
    there: {device: x01/motor/2, expect: {attribute: position, value: 3.5}}
    pump: {device: pump, command_name: Status}
"""
WRONG = """
components:
  spare: x01/spare/1
  gone: x01/gone/1
  typo: x01/motr/1
  rotor: y01/rotor/1
  rest: x01/absent/*
  found: x01/motor/*
go:
  type: sequential
  tasks:
    {}
"""


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TangoDatabase]:
    kind: type[TangoDatabase] = TangoDatabase
    if request.param == "MariaDB":
        if reason := why_no_maria():
            pytest.skip(reason)
        kind = MariaTangoDatabase
    with kind(tmp_path) as found:
        yield found


def start(database: TangoDatabase, instance: str, devices: dict[str, str]) -> Process:
    command = [sys.executable, str(SERVER), instance, "-ORBendPoint"]
    server = f"motor_server/{instance}"
    return database.start([*command, f"giop:tcp:127.0.0.1:{free_port()}"], server, devices)


def ask(folder: Path, host: str, *words: str) -> tuple[int, str]:
    """Run the command line as a process of its own: TANGO keeps the database of a process."""
    done = subprocess.run(
        [sys.executable, "-m", "taskgrove", *words],
        cwd=folder,
        env={**environment(), "TANGO_HOST": host, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("database", ["pytango-db", "MariaDB"], indirect=True)
def test_a_map_by_plain_names_and_a_pattern(database: TangoDatabase, tmp_path: Path) -> None:
    server = start(database, "a", MOTORS)
    (tmp_path / "m.yaml").write_text(MAP)
    code, told = ask(tmp_path, database.host, "run", "m.yaml", "move", "--db", "runs.db")
    assert code == 0, told
    address = f"tango://{database.host}/x01/motor/2"
    runner = DeviceRunner()
    try:
        with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor:

            def move() -> str:
                leaf = LeafTask("again", address, "MoveTo", 4.0, timeout=PATIENCE_S)
                tree = Task("move", is_root=True, subtasks=[leaf])
                handle = executor.submit_main_task(tree)
                assert handle.wait(PATIENCE_S)
                assert handle.outcome is not None
                return handle.outcome.message or ""

            assert "completed" in move()
            database.stop_database()
            assert "the TANGO database does not answer" in move()
            code, told = ask(tmp_path, database.host, "doctor", "m.yaml")
            assert code == 1
            assert f"database   {database.host}: does not answer: start it" in told
            assert "What to do: start the TANGO database" in told
            database.start_database()
            server.stop()
            start(database, "a", MOTORS)  # on another port
            assert "completed" in move()
    finally:
        runner.close()
    code, told = ask(tmp_path, database.host, "run", "m.yaml", "move", "--db", "runs.db")
    assert code == 0, told


@pytest.mark.parametrize(
    "database",
    ["pytango-db", pytest.param("MariaDB", marks=pytest.mark.thorough)],
    indirect=True,
)
def test_doctor_tells_what_is_wrong_with_each_name(database: TangoDatabase, tmp_path: Path) -> None:
    start(database, "a", MOTORS)
    gone = start(database, "gone", {"x01/gone/1": "Motor"})
    gone.popen.kill()
    gone.popen.wait()
    database.register("motor_server/spare", {"x01/spare/1": "Motor"})
    steps = "\n    ".join(
        f"{name}: {{device: {name}, command_name: Status}}"
        for name in ("spare", "gone", "typo", "rotor", "rest", "found")
    )
    (tmp_path / "w.yaml").write_text(WRONG.format(steps))
    code, told = ask(tmp_path, database.host, "doctor", "w.yaml")
    lines = {words[0]: line for line in told.splitlines() if (words := line.split())}
    assert code == 1, told
    assert f"{database.host}: sys/database/2 on " in lines["database"]
    assert "the TANGO database has no device of that name" in lines["x01/motr/1"]
    assert "did you mean x01/motor/1?" in lines["x01/motr/1"]
    assert "did you mean x01/motor/1?" in lines["y01/rotor/1"]
    assert "its server is not running" in lines["x01/spare/1"]
    assert "no server answers at its address" in lines["x01/gone/1"]
    assert "no exported device of the TANGO database fits it" in lines["x01/absent/*"]
    assert "answers in" in lines["x01/motor/1"]
    assert "answers in" in lines["x01/motor/2"]
    assert "2 of 7 devices answer." in told
    assert "What to do: start its server: motor_server spare" in told
    assert f"(its process there was {gone.popen.pid}): motor_server gone" in told


def test_a_port_that_nothing_listens_to_is_told(tmp_path: Path) -> None:
    free = free_port()
    assert blocked_port([]) is None
    assert blocked_port(["Event: "]) is None
    lines = [f"Heartbeat: tcp://127.0.0.1:{free}", "Event: "]
    assert blocked_port(lines) == ("127.0.0.1", free)


def test_events_that_cannot_come_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    trl = f"tango://127.0.0.1:{port}/x01/motor/1#dbase=no"
    words = ["a", "-nodb", "-dlist", "Motor::x01/motor/1,Pump::x01/pump/1"]
    server = Process(
        [sys.executable, str(SERVER), *words, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"],
        tmp_path / "server.log",
        {},
    )
    step = "go: {type: sequential, tasks: {home: {device: motor, command_name: Status}}}"
    (tmp_path / "m.yaml").write_text(f"components: {{motor: '{trl}'}}\n{step}\n")
    words = ["doctor", str(tmp_path / "m.yaml"), "--db", str(tmp_path / "runs.db")]
    try:
        server.wait_until(lambda: tango.DeviceProxy(trl).ping() >= 0, "the server")
        told = CliRunner().invoke(app, words)
        assert told.exit_code == 0, told.output
        monkeypatch.setattr(tango_database, "_can_connect", lambda address: False)
        told = CliRunner().invoke(app, words)
    finally:
        server.stop()
    assert told.exit_code == 1
    assert "no event can come: nothing can connect to its port" in told.output
    assert "What to do: let TCP connections to port" in told.output


def test_databases_are_those_of_names_with_an_address_and_without_dbase_no() -> None:
    names = ["x/y/1", "tango://a:1/x/y/1", "//b:2/x/y/1", "tango://c:3/x/y/1#dbase=no"]
    assert databases_of([*names, "tango://a:1/x/y/2"]) == ["a:1", "b:2"]
