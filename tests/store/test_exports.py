"""What leaves the record can be read back: JSON lines, Parquet."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from taskgrove.errors import MissingExtraError, UsageError
from taskgrove.events import Cause, FinishedDetail, NoteDetail, Place, decode_event, encode_event
from taskgrove.store import tables
from taskgrove.store.history import History
from taskgrove.store.queries.export_jsonl import read_jsonl
from taskgrove.store.queries.export_parquet import _node_row, export_parquet, parquet_files
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNode
from tests.store.by_sqlalchemy import tables_of
from tests.store.kept_runs import every_minute, keep_beams, ns


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


@pytest.fixture
def history(store: Store) -> History:
    keep_beams(store, "a", start=every_minute(0), labels={"shift": "näch\nt"})
    keep_beams(store, "b", start=every_minute(1), failing=["pst-beam-02"])
    return History(store)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in names:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)


def test_json_lines_are_read_back(history: History, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    assert history.export_jsonl(file) == 2
    with file.open("rb") as lines:
        newest, oldest = read_jsonl(lines)
    assert oldest.header["labels"] == {"shift": "näch\nt"}
    assert (newest.header["run_id"], newest.header["outcome"]) == ("b", "degraded")
    assert list(newest.events) == list(history.events("b"))
    assert "run_key" not in newest.header
    assert "lease" not in newest.header


def test_every_line_is_json_and_every_other_line_an_event(history: History, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    assert history.export_jsonl(file, RunFilter(command="*", limit=1)) == 1
    head, *lines = file.read_bytes().splitlines()
    assert json.loads(head)["record"] == "run"
    assert [decode_event(line).sequence for line in lines] == list(range(1, len(lines) + 1))


def test_verdicts_are_in_the_header(store: Store, history: History, tmp_path: Path) -> None:
    (event,) = [event for event in history.events("b") if event.sequence == 1]
    data = {"verdict": "ok", "who": "ann", "why": "spare"}
    said = msgspec.structs.replace(event, kind="note", detail=NoteDetail("operator", data))
    with tables_of(store) as connection:
        row = {"run_key": history.find("b").run_key, "number": 1, "body": encode_event(said)}
        connection.execute(insert(tables.verdicts).values(row))
    history.export_jsonl(tmp_path / "x.jsonl")
    newest, _ = read_jsonl((tmp_path / "x.jsonl").read_bytes().splitlines())
    assert newest.header["verdicts"][0]["who"] == "ann"


def test_what_is_no_export_is_told() -> None:
    with pytest.raises(UsageError, match="line 1 is no header"):
        list(read_jsonl([b'{"schema":1}']))
    with pytest.raises(UsageError, match="export version 9"):
        list(read_jsonl(['{"record":"run","version":9}']))
    assert list(read_jsonl(["", "\n"])) == []


def test_parquet_tables(history: History, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert history.export_parquet(tmp_path / "out") == 2
    runs, nodes, _, events = (parquet.read_table(file) for file in parquet_files(tmp_path / "out"))
    assert runs.column("outcome").to_pylist() == ["degraded", "ok"]
    created = runs.column("created_at")
    assert str(created.type) == "timestamp[ns, tz=UTC]"
    assert created.cast("int64").to_pylist() == [ns(every_minute(1)), ns(every_minute(0))]
    assert json.loads(runs.column("labels")[1].as_py()) == {"shift": "näch\nt"}
    assert nodes.num_rows == 12
    rows = {(row["run_id"], row["path"]): row for row in nodes.to_pylist()}
    bad = rows["b", "configure/configure_pst/pst-beam-02"]
    assert (bad["outcome"], bad["status"], bad["result_code"]) == ("failed", "COMPLETED", "FAILED")
    assert bad["target"] == "mid-pst/beam/02"
    assert bad["duration_s"] == 1.0
    kept = {run: list(history.events(run)) for run in ("a", "b")}
    for run, expected in kept.items():
        bodies = [row["body"] for row in events.to_pylist() if row["run_id"] == run]
        assert [decode_event(body) for body in bodies] == expected


def test_a_node_tells_why_it_ended() -> None:
    cause = Cause(kind="exited", return_code=2, place=Place("map.yaml", 3), said="no mask")
    row = _node_row("r", RunNode("a/b", finished=FinishedDetail(cause=cause)))
    assert row["cause_kind"] == "exited"
    assert msgspec.json.decode(row["cause"], type=Cause) == cause
    assert _node_row("r", RunNode("a/b"))["cause"] is None


def test_large_tables_are_written_in_batches(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("taskgrove.store.queries.export_parquet._BATCH", 7)
    export_parquet(history, history.runs(), tmp_path / "out")
    *_, file = parquet_files(tmp_path / "out")
    expected = sum(len(list(history.events(run))) for run in ("a", "b"))
    assert parquet.read_table(file).num_rows == expected


def test_missing_extras_are_named(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "pyarrow", "pandas")
    with pytest.raises(MissingExtraError, match="Parquet needs the extra 'export'"):
        history.export_parquet(tmp_path / "out")
    with pytest.raises(MissingExtraError, match=r"to_frame\(\) needs the extra 'export'"):
        history.runs().to_frame()
    assert not (tmp_path / "out").exists()
