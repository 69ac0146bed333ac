"""What operators say stands beside the record, also while the run lives elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import UnknownRunError, UsageError
from taskgrove.provenance import user_name
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.store.verdicts import give_verdict
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.recovery.cut_runs import DEVICE, record
from tests.recovery.test_recovery import tree
from tests.store.by_sqlalchemy import tables_of

HANG_GUARD_S = 200.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def test_a_verdict_says_who_when_and_why(store: Store) -> None:
    record(store, "r1", tree(), {"b": Script.fails("no lock")})
    before = History(store).find("r1"), list(History(store).events("r1"))
    given = give_verdict(store, "r1", "configure/b", "ok", why=" replaced \n", who="ann")
    mine = give_verdict(store, "last", "configure", "note", why="see the logbook")
    assert (given.who, given.why, given.verdict, given.sequence) == ("ann", "replaced", "ok", 1)
    assert (mine.who, mine.sequence) == (user_name(), 2)
    assert given.wall_ns > before[0].created_ns
    assert list(History(store).verdicts("r1")) == [given, mine]
    assert (History(store).find("r1"), list(History(store).events("r1"))) == before


def test_a_step_may_be_named_by_its_command(store: Store) -> None:
    steps = [
        LeafTask(name, f"x/y/{name}", command) for name, command in (("a", "Go"), ("b", "End"))
    ]
    record(store, "r1", Task("tune", is_root=True, subtasks=steps))
    assert give_verdict(store, "r1", "tune/Go", "ok", why="seen").path == "tune/a"


def test_what_cannot_be_is_refused(store: Store) -> None:
    record(store, "r1", tree())
    with pytest.raises(UsageError, match="has no node 'configure/bb'") as caught:
        give_verdict(store, "r1", "configure/bb", "ok", why="x")
    assert caught.value.hint == "did you mean 'configure/b'?"
    with pytest.raises(UsageError) as caught:
        give_verdict(store, "r1", "b", "ok", why="x")
    assert caught.value.hint == "did you mean 'configure/b'?"
    with pytest.raises(UsageError, match="a verdict needs its reason"):
        give_verdict(store, "r1", "configure/b", "ok", why="  ")
    with pytest.raises(UsageError, match="a verdict is one of ok, acknowledged, note"):
        give_verdict(store, "r1", "configure/b", "okay", why="x")  # type: ignore[arg-type]
    with pytest.raises(UnknownRunError):
        give_verdict(store, "r2", "configure/b", "ok", why="x")
    assert list(History(store).verdicts("r1")) == []


def test_verdicts_while_the_run_lives_take_none_of_its_numbers(store: Store) -> None:
    fake, log = FakeDeviceRunner({"b": Script(hangs=True)}), EventLog()
    with Recorder(store) as recorder, MainTaskExecutor(1, {DEVICE: fake}) as executor:
        recorder.forward("r1", log)
        handle = executor.submit_main_task(tree(), run_id="r1", recorder=recorder)
        log.wait_for(kind="started", path="configure/b")

        def operate(name: str) -> None:
            with Store.open(store.location) as other:  # as another process would
                for number in range(10):
                    give_verdict(other, "r1", "configure/b", "note", why=f"{number}", who=name)

        operators = [threading.Thread(target=operate, args=(name,)) for name in ("ann", "bo")]
        for thread in operators:
            thread.start()
        for thread in operators:
            thread.join(HANG_GUARD_S)
        fake.release("b")
        assert handle.wait(HANG_GUARD_S)
    history = History(store)
    kept = EventLog()
    for event in history.events("r1"):
        kept(event)
    kept.assert_gapless()
    assert history.find("r1").lost_event_count == 0
    verdicts = history.verdicts("r1")
    assert [row.sequence for row in verdicts] == list(range(1, 21))
    for name in ("ann", "bo"):
        assert [row.why for row in verdicts if row.who == name] == [str(n) for n in range(10)]


def test_verdicts_go_with_their_run(store: Store) -> None:
    from sqlalchemy import delete, select

    from taskgrove.store.tables import runs, verdicts

    record(store, "r1", tree())
    give_verdict(store, "r1", "configure", "acknowledged", why="x")
    with tables_of(store) as connection:
        connection.execute(delete(runs))
        assert connection.execute(select(verdicts)).all() == []
