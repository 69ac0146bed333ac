"""Foreign values at every door of a run: what was told is on record, and others are not harmed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType, TaskStatus
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.replay import rebuild
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode
from taskgrove.events import AnalysisDetail, PageDetail, decode_event, encode_event
from taskgrove.report import render_report
from taskgrove.store import History, Recorder, Store, find_lost
from taskgrove.store.queries.export_jsonl import jsonl_of, read_jsonl
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.view.record_view import story_of_record
from taskgrove.view.why import why
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import (
    PATIENCE_S,
    Troubles,
    end_and_wait,
    feed,
    kept,
    life,
    new_recorder,
    run_recorded,
)
from tests.unit.foreign_values import FOREIGN, foreign_values

#: One that raises when it is asked for its class fails the tracker as a whole, not a leaf.
KINDS = sorted(set(FOREIGN) - {"lying class"})


class Sends:
    """Runs device leaves: each sends a foreign value through every door of a leaf."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def limits(self, leaf: LeafTask) -> LeafLimits:
        return LeafLimits("ask", "reported")

    def start(self, context: LeafContext) -> None:
        value = self.value
        context.started("command", value)
        context.note("info", value, size=value)
        context.tell(AnalysisDetail(analysis="Fit", summary=value, payload=value), value)
        context.tell(AnalysisDetail(analysis=value, status=value, environment=value, pid=value))
        context.tell(PageDetail(value, value, value, value), value)
        context.update(status=TaskStatus.IN_PROGRESS, progress=value, result=value, devices=value)
        context.finish(TaskStatus.COMPLETED, (ResultCode.OK, value), devices=[value, "a/b/c"])

    def attach(self, context: LeafContext, outside_id: str) -> None: ...

    def abort(self, context: LeafContext) -> None: ...


def tree_with(value: Any) -> Task:
    def gives(task_callback: Any = None) -> Any:
        task_callback(progress=value, result=value)
        return value

    def raises() -> None:
        raise ValueError(value)

    device = LeafTask("device", "a/b/c", "On", task_type=TaskExecutionType.DEVICE)
    return Task(
        "root",
        TaskExecutionType.PARALLEL,
        subtasks=[
            LeafTask.from_callable(gives, name="gives"),
            LeafTask.from_callable(raises, name="raises"),
            device,
        ],
    )


def record(recorder: Recorder, run_id: str, value: Any) -> TaskStatus:
    labels: Any = {"sample": value, 5: "five"}
    about = RunAbout("scan", {"argin": value}, ("taskgrove", value), labels=labels)
    runners = {TaskExecutionType.DEVICE: Sends(value)}
    with MainTaskExecutor(2, runners) as executor:
        handle = executor.submit_main_task(
            tree_with(value), run_id=run_id, recorder=recorder, about=about
        )
        assert handle.wait(PATIENCE_S)
        assert handle.outcome is not None
        return handle.outcome.status


def assert_read_everywhere(url: str, run_id: str, status: TaskStatus) -> None:
    """Check that the run and its neighbour can be read by each way there is."""
    with History.open(url) as history:
        assert {run.run_id for run in history.runs()} >= {run_id, "neighbour"}
        row = history.find(run_id)
        assert row.status is status
        assert row.lost_event_count == 0
        nodes, events = history.nodes(row), list(history.events(row))
        assert [node.path for node in nodes if node.is_final] == [node.path for node in nodes]
        assert {e.path for e in events if e.kind == "finished"} == {node.path for node in nodes}
        assert why(story_of_record(row, nodes, now_ns=0, location=url)) is not None
        assert run_id in render_report(history, [run_id])
        assert history.stats().run_count >= 2
        history.diff(run_id, "neighbour")
        history.runs(RunFilter(labels={"shift": "night"}))
        assert len(history.analyses(row)) == 2
        lines = list(jsonl_of(history, [row]))
        (exported,) = read_jsonl(lines)
        assert list(exported.events) == events
        assert rebuild(exported.events).statuses["root"] is status


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_value_at_every_door_costs_no_event(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        run_recorded(recorder, "neighbour")
        status = record(recorder, "foreign", FOREIGN[kind]())
        assert recorder.trouble is None
    found = kept(file, "foreign")
    assert found.run["state"] == "final"
    assert [item.sequence for item in found.events] == list(range(1, len(found.events) + 1))
    assert_read_everywhere(str(file), "foreign", status)


@pytest.mark.thorough  # each value in each database takes long
def test_foreign_values_in_every_database(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        run_recorded(recorder, "neighbour")
        told = {kind: record(recorder, f"run {kind}", FOREIGN[kind]()) for kind in KINDS}
        assert recorder.trouble is None
    for kind, status in told.items():
        assert_read_everywhere(record_url, f"run {kind}", status)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.lists(foreign_values, min_size=1, max_size=2))
def test_any_value_at_every_door(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    with new_recorder(folder / "runs.db", folder) as recorder:
        run_recorded(recorder, "neighbour")
        told = [record(recorder, f"run {n}", value) for n, value in enumerate(values)]
        assert recorder.trouble is None
    for number, status in enumerate(told):
        assert_read_everywhere(str(folder / "runs.db"), f"run {number}", status)


def test_foreign_values_survive_an_outage(tmp_path: Path) -> None:
    file, troubles = tmp_path / "runs.db", Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "neighbour")
        with pytest.MonkeyPatch.context() as patch:

            def full(*_: object, **__: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            patch.setattr(RunWriter, "write", full)
            status = record(recorder, "foreign", ["half \ud800 pair\0", FOREIGN["hostile"]()])
            troubles.wait_for("goes on")
        troubles.wait_for("is written again")
    assert_read_everywhere(str(file), "foreign", status)


# -- what even so cannot be written ------------------------------------------------------------


def test_events_that_the_database_refuses_are_replaced_and_the_run_goes_on(
    record_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles, real = Troubles(), RunWriter._write_nodes

    def refuses(self: RunWriter, connection: Any, state: Any, *more: Any, **options: Any) -> None:
        if any("poison" in node.message for node in state.facts.nodes.values()):
            raise sqlite3.IntegrityError("not this one")
        real(self, connection, state, *more, **options)

    monkeypatch.setattr(RunWriter, "_write_nodes", refuses)
    with new_recorder(record_url, tmp_path, on_trouble=troubles) as recorder:
        observers = {name: recorder.begin_run(name, RunAbout()) for name in ("bad", "good")}
        for name, observe in observers.items():
            events = life(name)
            if name == "bad":
                events[-1] = msgspec.structs.replace(events[-1], message="poison")
            feed(observe, events)
            end_and_wait(recorder, name)
        assert "replaced" in troubles.wait_for("run bad")
    kept(record_url, "good").assert_final()
    bad = kept(record_url, "bad")
    assert bad.run["state"] == "final"
    assert bad.run["lost_event_count"] == 0
    assert [item.sequence for item in bad.events] == [item.sequence for item in life("bad")]
    replaced = [item for item in bad.events if item.replaced]
    assert replaced
    for item in replaced:
        first = life("bad")[item.sequence - 1]
        assert (item.path, item.kind, item.status) == (first.path, first.kind, first.status)
        assert "not this one" in (item.replaced or {})["event"]
    assert bad.nodes[0].status is TaskStatus.COMPLETED


# -- records that older versions poisoned ------------------------------------------------------

POISON = {
    "message": lambda line: line.replace(b'"message":"step 1"', b'"message":{"n":{"$":"int"}}'),
    "no JSON": lambda _: b"\x00\xff nothing",
    "digits": lambda line: line.replace(b'"step 1"', b'"","devices":[' + b"1" * 5_000 + b"]"),
}


@pytest.mark.parametrize("poison", sorted(POISON))
@pytest.mark.parametrize("lost", [True, False])
def test_a_poisoned_event_is_shown_as_such_and_all_else_is_read(
    record_url: str, tmp_path: Path, poison: str, *, lost: bool
) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        run_recorded(recorder, "neighbour")
        feed(recorder.begin_run("bad", RunAbout("scan")), life("bad"))
        end_and_wait(recorder, "bad")
    with Store.open(record_url) as store:
        line = POISON[poison](encode_event(life("bad")[3]))
        with pytest.raises(Exception):  # noqa: B017, PT011 - it is no event
            decode_event(line)
        with tables_of(store) as connection:
            from sqlalchemy import text

            connection.execute(
                text("UPDATE events SET body = :line WHERE sequence = 4 AND run_key = (SELECT"
                     " run_key FROM runs WHERE run_id = 'bad')"),
                {"line": line},
            )  # fmt: skip
            if lost:
                connection.execute(text("UPDATE runs SET state = 'running' WHERE run_id = 'bad'"))
        find_lost(store)
        history = History(store)
        events = list(history.events("bad"))
        assert [item.sequence for item in events] == [1, 2, 3, 4, 5, 6]
        assert [item.sequence for item in events if item.replaced] == [4]
        row = history.find("bad")
        assert (row.state, row.status) == ("final", TaskStatus.COMPLETED)
        (exported,) = read_jsonl(jsonl_of(history, [row]))
        assert list(exported.events) == events
        assert "bad" in render_report(history, ["bad"])
    kept(record_url, "neighbour").assert_final()


@pytest.mark.parametrize(
    ("table", "column", "poison"),
    [
        ("nodes", "facts", b'{"progress":{}}'),
        ("nodes", "composed", b"\xff"),
        ("runs", "labels", '{"shift":5}'),
        ("runs", "labels", "nothing"),
        ("runs", "source", "[" * 100_000),
        ("runs", "status", 99),
        ("runs", "result_code", -1),
    ],
)
def test_a_poisoned_row_keeps_no_other_from_being_read(
    tmp_path: Path, table: str, column: str, poison: Any
) -> None:
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        for name in ("neighbour", "bad"):
            run_recorded(recorder, name)
    with Store.open(file) as store:
        with tables_of(store) as connection:
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = ? WHERE run_key ="
                " (SELECT run_key FROM runs WHERE run_id = 'bad')",
                (poison,),
            )
        history = History(store)
        assert [run.run_id for run in history.runs()] == ["bad", "neighbour"]
        row = history.find("bad")
        nodes = history.nodes(row)
        assert len(nodes) == len(history.nodes("neighbour"))
        if table == "nodes":
            assert all("cannot be read" in node.message for node in nodes)
        assert history.whole("bad").run == row
        assert "bad" in render_report(history, ["bad"])
