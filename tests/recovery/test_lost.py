"""When a lease is expired, and what is said of a run then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import delete, select, update

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.control_model import TaskStatus
from taskgrove.recovery import finding_lost as lost
from taskgrove.recovery.finding_lost import find_lost, lost_runs
from taskgrove.store import Store
from taskgrove.store.database.holders import boot_id
from taskgrove.store.history import History
from taskgrove.store.tables import events, leases, runs
from taskgrove.story.run_story import RunnerSign
from taskgrove.view.record_view import state_words, story_of_record
from tests.recovery.cut_runs import cut, record
from tests.store.by_sqlalchemy import tables_of

S = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        record(opened, "r1")
        yield opened


def states(store: Store) -> list[str]:
    return [run.run_id for run in find_lost(store)]


def test_a_process_that_is_gone_is_lost_at_once(store: Store) -> None:
    cut(store, "r1", 30)
    [found] = find_lost(store)
    assert (found.run_id, found.command, found.ended) == ("r1", "configure", False)
    assert found.note.endswith(" is gone")
    assert found.words.startswith(f"{found.note}; last sign of life 20")
    row = History(store).find("r1")
    assert (row.state, row.state_note, row.lease) == ("lost", found.note, None)
    assert [run.run_id for run in lost_runs(store)] == ["r1"]
    assert find_lost(store) == []
    with tables_of(store) as connection:
        assert connection.execute(select(leases)).all() == []


def test_a_process_that_lives_is_not_lost_however_long_it_is_silent(store: Store) -> None:
    started = psutil.Process().create_time()
    cut(store, "r1", 30, pid=os.getpid(), pid_started=started, heartbeat_ns=S)
    assert states(store) == []


def test_a_dead_process_that_nobody_waited_for_is_gone(store: Store) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    started = psutil.Process(child.pid).create_time()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    cut(store, "r1", 30, pid=child.pid, pid_started=started)
    assert states(store) == ["r1"]
    child.wait()


def test_another_process_of_the_same_number_is_not_the_runner(store: Store) -> None:
    cut(store, "r1", 30, pid=os.getpid(), pid_started=5.0, heartbeat_ns=S)
    [found] = find_lost(store)
    assert "another process' now" in found.note


def test_a_clock_that_was_set_does_not_make_a_living_process_another_one(store: Store) -> None:
    # When a process began is told by the wall clock: a step of an hour moves it.
    started = psutil.Process().create_time() + 3600
    cut(store, "r1", 30, pid=os.getpid(), pid_started=started)
    assert states(store) == []


@pytest.mark.parametrize("boot", [{"host": "elsewhere", "boot_id": "b"}, {"boot_id": "older boot"}])
@pytest.mark.parametrize(
    ("silent_s", "expired"), [(2, False), (-3600, False), (9, False), (11, True)]
)
def test_elsewhere_the_heartbeat_decides(
    store: Store, boot: dict[str, str], silent_s: int, expired: bool
) -> None:
    now = SYSTEM_CLOCK.wall_ns()
    cut(store, "r1", 30, heartbeat_ns=now - silent_s * S, **boot)
    found = find_lost(store, now_ns=now)
    assert [run.run_id for run in found] == (["r1"] if expired else [])
    if expired:
        assert "no sign of life for 11 s" in found[0].note


def test_a_runner_that_is_stopped_is_seen_as_stopped(store: Store) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        started = psutil.Process(child.pid).create_time()
        cut(store, "r1", 30, pid=child.pid, pid_started=started)

        def seen(now_ns: int | None = None) -> RunnerSign:
            run, nodes, *_ = History(store).whole("r1")
            found = story_of_record(run, nodes, now_ns=now_ns or SYSTEM_CLOCK.wall_ns()).runner
            assert found is not None
            return found

        first = seen()
        assert (first.pid, first.is_stopped, first.is_silent) == (child.pid, False, False)
        assert seen(first.heartbeat_ns + 6 * S).is_silent is False
        assert seen(first.heartbeat_ns + 7 * S).is_silent is True
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert seen().is_stopped is True
        words = state_words(History(store).find("r1"), first.heartbeat_ns, store.location)
        assert f"process {child.pid} on {first.host}, which is stopped (SIGCONT continues" in words
        child.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, child.pid, os.WCONTINUED | os.WNOWAIT)
        assert seen().is_stopped is False
        child.send_signal(signal.SIGSTOP)
        with tables_of(store) as connection:
            connection.execute(update(leases).values(boot_id="another"))
        assert seen().is_stopped is None
        with tables_of(store) as connection:  # the number of a process that is stopped now
            connection.execute(update(leases).values(boot_id=boot_id(), pid_started=started - 60))
        assert seen().is_stopped is None
    finally:
        child.kill()
        child.wait()


def test_a_run_that_is_over_has_no_runner(store: Store) -> None:
    run, nodes, *_ = History(store).whole("r1")
    assert story_of_record(run, nodes, now_ns=run.last_ns).runner is None
    cut(store, "r1", 30)
    run, nodes, *_ = History(store).whole("r1")
    gone = story_of_record(run, nodes, now_ns=run.last_ns)
    assert (gone.state, gone.runner) == ("lost", None)


def test_a_sign_of_life_that_comes_while_it_is_looked_at_keeps_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SYSTEM_CLOCK.wall_ns()
    cut(store, "r1", 30, host="elsewhere", boot_id="b", heartbeat_ns=now - 60 * S)
    before = History(store).find("r1")
    look = lost._leased

    def looked(store: Store) -> list[Any]:
        rows = look(store)
        assert [row.heartbeat_ns for row in rows] == [now - 60 * S]
        with tables_of(store) as connection:
            connection.execute(update(leases).values(heartbeat_ns=now))
        return rows

    monkeypatch.setattr(lost, "_leased", looked)
    assert find_lost(store, now_ns=now) == []
    assert History(store).find("r1").state == before.state == "running"


def test_an_end_that_comes_while_it_is_looked_at_keeps_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(store, "r1", 30)
    look = lost._leased

    def looked(store: Store) -> list[Any]:
        rows = look(store)
        with tables_of(store) as connection:
            connection.execute(update(runs).values(state="final"))
        return rows

    monkeypatch.setattr(lost, "_leased", looked)
    assert find_lost(store) == []
    assert History(store).find("r1").state == "final"


def test_a_slow_heartbeat_is_waited_for(store: Store) -> None:
    now = SYSTEM_CLOCK.wall_ns()
    cut(store, "r1", 30, host="x", boot_id="y", interval_s=60.0, heartbeat_ns=now - 200 * S)
    assert find_lost(store, now_ns=now) == []
    assert len(find_lost(store, now_ns=now + 200 * S)) == 1


def test_a_run_without_a_lease_is_lost(store: Store) -> None:
    cut(store, "r1", 30, lease=None)
    [found] = find_lost(store)
    assert "nobody holds it" in found.note


def test_an_end_on_record_makes_it_final_and_never_lost(store: Store) -> None:
    before = History(store).find("r1")
    cut(store, "r1")
    [found] = find_lost(store)
    assert found.ended
    row = History(store).find("r1")
    assert (row.state, row.status, row.message) == ("final", TaskStatus.FAILED, before.message)
    assert row.ended_ns == History(store).facts("r1").root.ended_ns
    assert "its end was on record" in row.state_note
    assert lost_runs(store) == []


def test_a_final_run_is_left_alone(store: Store) -> None:
    before = History(store).find("r1")
    assert states(store) == []
    assert History(store).find("r1") == before


def test_numbers_that_never_came_are_accounted_for(store: Store) -> None:
    key = cut(store, "r1", 30)
    with tables_of(store) as connection:
        gone = (5, 6, 7, 20)
        connection.execute(
            delete(events).where(events.c.run_key == key, events.c.sequence.in_(gone))
        )
    find_lost(store)
    history = History(store)
    notes = [e for e in history.events("r1") if getattr(e.detail, "topic", "") == "lost"]
    assert [(n.sequence_from, n.sequence) for n in notes] == [(5, 7), (None, 20)]
    assert notes[0].message == "events 5 to 7 were not recorded: the recorder was lost before"
    assert history.find("r1").lost_event_count == 4


def test_rows_that_were_behind_the_log_are_made_anew(store: Store) -> None:
    cut(store, "r1", 30)
    history = History(store)
    find_lost(store)
    facts = history.facts("r1")
    assert [(n.path, n.status) for n in history.nodes("r1")] == [
        (path, node.status) for path, node in facts.nodes.items()
    ]
    row = history.find("r1")
    assert (row.status, row.progress) == (facts.root.status, facts.root.progress)
