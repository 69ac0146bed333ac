"""Lost runs, recoveries at once and verdicts in a real PostgreSQL, whose locks are its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.store import Store, find_lost, give_verdict, recover
from taskgrove.store.history import History
from taskgrove.store.tables import events
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.cli.command_line import environment, start
from tests.recovery.cut_runs import DEVICE, cut, record
from tests.recovery.test_recovery import tree
from tests.store.by_sqlalchemy import tables_of
from tests.store.postgres_server import PostgresServer
from tests.store.recording import eventually

pytestmark = pytest.mark.postgres
HANG_GUARD_S = 200.0


def test_of_several_that_look_and_recover_at_once_one_goes_on(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with Store.open(url) as store:
        record(store, "r1", tree())
        last = next(
            e
            for e in History(store).events("r1")
            if e.path == "configure/b" and e.kind == "started"
        )
        key = cut(store, "r1", last.sequence)
        with tables_of(store) as connection:
            connection.execute(
                delete(events).where(events.c.run_key == key, events.c.sequence == 6)
            )
    fake = FakeDeviceRunner({"b": Script(hangs=True)})
    told: list[Any] = []
    found: list[str] = []
    ready = threading.Barrier(3)

    def attempt() -> None:
        with Store.open(url) as own:
            ready.wait()
            found.extend(lost.run_id for lost in find_lost(own))
            try:
                told.append(recover(own, "r1", runners={DEVICE: fake}).status)
            except UsageError as exc:
                told.append(str(exc))

    threads = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    fake.wait_for_call("b", "attach")
    eventually(lambda: len(told) >= 2)
    fake.release("b")
    for thread in threads:
        thread.join(HANG_GUARD_S)
    assert found == ["r1"]  # one of them found it
    assert sum(item is TaskStatus.ABORTED for item in told) == 1
    with Store.open(url) as store:
        log = EventLog()
        for event in History(store).events("r1"):
            log(event)
        log.assert_gapless()
        row = History(store).find("r1")
        assert (row.state, row.lost_event_count) == ("final", 1)


def test_verdicts_at_once_are_numbered_one_after_the_other(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with Store.open(url) as store:
        record(store, "r1", tree())

        def operate(name: str) -> None:
            with Store.open(url) as own:
                for number in range(8):
                    give_verdict(own, "r1", "configure/b", "note", why=f"{number}", who=name)

        operators = [threading.Thread(target=operate, args=(name,)) for name in ("ann", "bo")]
        for thread in operators:
            thread.start()
        for thread in operators:
            thread.join(HANG_GUARD_S)
        assert [row.sequence for row in History(store).verdicts("r1")] == list(range(1, 17))


WAITING = """
import time
from pathlib import Path


class Manager:
    components = {}

    def step(self, task_callback=None):
        Path("began").touch()
        while not Path("go").exists():
            time.sleep(0.01)
        for percent in range(0, 100, 10):
            task_callback(progress=percent)
            time.sleep(0.02)
        return 0, "stepped"
"""


def test_drivers_write_nothing_raw_to_standard_error(postgres_server: PostgresServer) -> None:
    code = (
        "import logging, sys\n"
        "from taskgrove.store import Store\n"
        "with Store.open(sys.argv[1]):\n"
        "    for name in ('psycopg', 'sqlalchemy.pool'):\n"
        "        logging.getLogger(name).warning('error ignored terminating <Pipeline>')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, postgres_server.new_database()],
        env=environment(), capture_output=True, text=True, timeout=HANG_GUARD_S, check=True,
    )  # fmt: skip
    assert done.stderr == ""


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_server_that_goes_away_is_told_in_our_words_only(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_database()
    (tmp_path / "manager.py").write_text(WAITING)
    tasks = {"step": {"handler": "internal", "command_name": "step"}}
    (tmp_path / "map.json").write_text(json.dumps({"go": {"type": "sequential", "tasks": tasks}}))
    words = ("run", "map.json", "go", "--manager", "manager:Manager", "--db", url, "--no-live")
    with start(*words, cwd=tmp_path) as process:
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
            assert process.poll() is None
        postgres_server.stop()
        try:
            (tmp_path / "go").touch()
            told, trouble = process.communicate(timeout=HANG_GUARD_S)
        finally:
            postgres_server.start()
    assert process.returncode == 0
    assert "record: " in told + trouble
    for line in trouble.splitlines():
        assert line.startswith(("record: ", "note: ", "  ")), trouble
    assert "Pipeline" not in told + trouble
