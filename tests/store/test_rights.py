"""A PostgreSQL user who may not write: told before anything is started, an outage in a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import StoreError
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.store.recording import statements
from taskgrove.store.recording.rights import _CHANGED
from tests.cli.command_line import MANAGER, MAP, taskgrove
from tests.store.postgres_server import PostgresServer
from tests.store.recording import Troubles, end_and_wait, feed, kept, life, new_recorder

pytestmark = pytest.mark.postgres

READ = (
    "GRANT USAGE ON SCHEMA public TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user};"
)
WRITE = (
    READ
    + " GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user};"
    + " GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user};"
)
SQL = re.compile(r"INSERT INTO|SELECT |UPDATE |\[SQL|Traceback|psycopg|sqlalchemy")


@pytest.fixture
def owned(postgres_server: PostgresServer) -> Iterator[str]:
    """A record, as its owner reaches it."""
    url = postgres_server.new_database()
    Store.open(url).close()
    yield url
    postgres_server.drop_database(url)


def do(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def other_user(url: str, rights: str) -> str:
    """Make a user with these rights; return the URL by which the record is reached as them."""
    user = "user_" + url.rpartition("/")[2]
    do(url, f"CREATE ROLE {user} LOGIN")
    for statement in rights.format(user=user).split(";"):
        if statement.strip():
            do(url, statement)
    return url.replace("taskgrove@", f"{user}@")


LACKING = {
    "may only read": (READ, "no right to write analyses, device_holds"),
    "one table": (WRITE + "REVOKE INSERT ON events FROM {user}", "no right to write events"),
    "rows stay": (WRITE + "REVOKE DELETE ON leases FROM {user}", "no right to write leases"),
    "no numbers": (
        WRITE + "REVOKE ALL ON SEQUENCE runs_run_key_seq FROM {user}",
        "no right to write public.runs_run_key_seq",
    ),
    "reads by setting": (
        WRITE + "ALTER ROLE {user} SET default_transaction_read_only = on",
        "only read",
    ),
    "may not read": ("GRANT USAGE ON SCHEMA public TO {user}", "does not allow that"),
}


@pytest.mark.parametrize("name", LACKING)
def test_who_may_not_write_is_told_before_anything_starts(
    owned: str, tmp_path: Path, name: str
) -> None:
    rights, words = LACKING[name]
    url = other_user(owned, rights)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "steps.py").write_text(MANAGER.replace('return 0, "fine"', 'Path("ran").touch()'))
    done = taskgrove(
        "run", "map.yaml", "good", "--manager", "steps:Manager", "--no-live", "--db", url,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.startswith("error: the record at postgresql://user_")
    assert not SQL.search(done.stderr)
    assert not (tmp_path / "ran").exists()
    with History.open(owned) as history:
        assert history.runs() == []


def test_a_user_who_may_write_needs_not_own_the_record(owned: str, tmp_path: Path) -> None:
    url = other_user(owned, WRITE)
    with new_recorder(url, tmp_path) as recorder:
        feed(recorder.begin_run("run-1", RunAbout()), life("run-1"))
        end_and_wait(recorder, "run-1")
        assert recorder.is_kept("run-1")
    kept(owned, "run-1").assert_final()


def test_who_may_only_read_reads(owned: str, tmp_path: Path) -> None:
    with new_recorder(owned, tmp_path) as recorder:
        feed(recorder.begin_run("run-1", RunAbout(command="root")), life("run-1"))
        end_and_wait(recorder, "run-1")
    url = other_user(owned, READ)
    for words in (("runs", "list"), ("runs", "show", "last"), ("why", "last"), ("runs", "stats")):
        done = taskgrove(*words, "--db", url, cwd=tmp_path)
        assert done.returncode == 0, done
        assert "root" in done.stdout
    done = taskgrove("doctor", "--db", url, cwd=tmp_path)
    assert done.returncode == 1
    assert "may not be written by user" in done.stdout
    for words in (("resume", "last", "--yes"), ("recover",), ("runs", "prune", "--keep-last", "0")):
        done = taskgrove(*words, "--db", url, cwd=tmp_path)
        assert done.returncode == 2, done
        assert not SQL.search(done.stderr)


@pytest.mark.parametrize(
    ("bad", "good", "words"),
    [
        ("REVOKE INSERT ON events FROM {user}", "GRANT INSERT ON events TO {user}", "permission"),
        ("ALTER TABLE events RENAME TO gone", "ALTER TABLE gone RENAME TO events", "lacks a table"),
    ],
)
def test_what_is_refused_in_a_run_is_kept_aside_and_written_later(
    owned: str, tmp_path: Path, bad: str, good: str, words: str
) -> None:
    url = other_user(owned, WRITE)
    user = url.partition("//")[2].partition("@")[0]
    troubles = Troubles()
    with new_recorder(url, tmp_path, on_trouble=troubles) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        events = life("run-1", progress=4)
        feed(observe, events[:3])
        do(owned, bad.format(user=user))
        feed(observe, events[3:])
        told = troubles.wait_for("the command goes on")
        assert words in told
        assert not SQL.search(told)
        end_and_wait(recorder, "run-1")
        assert not recorder.is_kept("run-1")
        do(owned, good.format(user=user))
        troubles.wait_for("is written again")
        assert recorder.is_kept("run-1")
    kept(owned, "run-1").assert_final()


def test_the_last_line_does_not_say_recorded_of_what_is_kept_aside(
    owned: str, tmp_path: Path
) -> None:
    url = other_user(owned, WRITE)
    user = url.partition("//")[2].partition("@")[0]
    (tmp_path / "map.yaml").write_text(MAP)
    revoke = f"REVOKE INSERT ON events FROM {user}"
    (tmp_path / "steps.py").write_text(
        "import psycopg\n"
        "class Manager:\n"
        "    def well(self):\n"
        f"        with psycopg.connect({owned!r}, autocommit=True) as connection:\n"
        f"            connection.execute({revoke!r})\n"
        "        return 0, 'fine'\n"
    )
    done = taskgrove(
        "run", "map.yaml", "good", "--manager", "steps:Manager", "--no-live", "--db", url,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "Recorded as" not in done.stdout + done.stderr
    assert "they are kept in" in done.stdout + done.stderr
    assert not SQL.search(done.stdout + done.stderr)


def test_a_database_that_is_not_there_is_told_in_one_line(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="does not exist") as told:
        Recorder(postgres_server.url("nowhere"), spill_folder=tmp_path)
    assert "\n" not in told.value.message
    assert "createdb" in str(told.value.hint)


def test_every_table_that_a_recorder_changes_is_asked_for() -> None:
    texts = " ".join(text for text in vars(statements).values() if isinstance(text, str))
    found = re.findall(r"\b(UPDATE|DELETE)(?: FROM)? (\w+)(?= SET| WHERE)", texts)
    assert {(right, table) for right, table in found} == {
        (right, table) for table, rights in _CHANGED.items() for right in rights
    }
