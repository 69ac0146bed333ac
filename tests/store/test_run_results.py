"""The results of analyses over many runs: which rows and columns there are, and their values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from taskgrove import LeafTask, Task
from taskgrove.analysis.payload_reference import PayloadReference
from taskgrove.analysis.plain.json_form import dump_json
from taskgrove.errors import UsageError
from taskgrove.events import AnalysisDetail, TaskEvent
from taskgrove.store import tables
from taskgrove.store.history import History
from taskgrove.store.queries.flat_values import MAX_ITEMS, MAX_VALUES, cell_of, flat_values
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.queries.run_results import ValueColumn
from taskgrove.store.store import Store
from tests.store.by_sqlalchemy import tables_of
from tests.store.kept_runs import beams, every_minute, keep, ran, retimed

LEAF = "configure/configure_pst/pst-beam-01"


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Fit:
    distance: float
    sigma: Any


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


@pytest.fixture
def history(store: Store) -> History:
    return History(store)


def kept(store: Store, run_id: str, minute: int, *told: tuple[str, AnalysisDetail]) -> None:
    """Keep a run in which leaves told of analyses, in this order."""
    events = retimed(ran(beams(1), run_id=run_id), every_minute(minute))
    last = events[-1]
    extra: list[TaskEvent] = [
        msgspec.structs.replace(
            last, sequence=last.sequence + 1 + number, path=path, kind="note", detail=detail
        )
        for number, (path, detail) in enumerate(told)
    ]
    keep(store, [*events, *extra], labels={"shift": "night"} if minute else {})


def described(payload: Any, *, analysis: str = "Fit", **fields: Any) -> AnalysisDetail:
    fields.setdefault("status", "COMPLETED")
    return AnalysisDetail(analysis=analysis, payload=dump_json(payload), **fields)


def test_each_value_is_a_column_and_each_run_a_row(store: Store, history: History) -> None:
    kept(
        store, "r1", 0,
        (LEAF, described({"n": 1, "fit": {"distance": 0.5}}, parameters='{"tag":"a"}',
                         summary_values='{"rings":5}', duration_s=2.5)),
    )  # fmt: skip
    kept(store, "r2", 1, (LEAF, described({"n": 2, "late": True}, summary="two", status="FAILED")))
    kept(store, "r3", 2)  # it has no result
    found = history.results()
    assert [(row.run_id, row.path, row.status) for row in found] == [
        ("r2", LEAF, "FAILED"),
        ("r1", LEAF, "COMPLETED"),
    ]
    assert found.columns() == [
        ValueColumn("n", "payload.n"),
        ValueColumn("late", "payload.late"),
        ValueColumn("summary", "summary"),
        ValueColumn("fit.distance", "payload.fit.distance"),
        ValueColumn("rings", "summary.rings"),
    ]
    assert found[1].values["parameters.tag"] == "a"
    assert found[1].duration_s == 2.5
    (second, first) = found.records(["fit.*", "parameters.tag", "late"])
    assert (second["fit.distance"], second["late"], second["run_id"]) == (None, True, "r2")
    assert (first["fit.distance"], first["parameters.tag"], first["late"]) == (0.5, "a", None)


def test_the_last_attempt_counts_and_every_leaf_has_a_row(store: Store, history: History) -> None:
    other = "configure/cbf-subarray-01"
    kept(
        store, "r1", 0,
        (LEAF, described({"n": 1}, status="FAILED")),
        (other, described({"n": 7}, analysis="Merge")),
        (LEAF, described({"n": 2})),
    )  # fmt: skip
    assert [(row.path, row.values["payload.n"]) for row in history.results()] == [
        (other, 7), (LEAF, 2),
    ]  # fmt: skip
    assert [row.path for row in history.results(RunFilter(analysis="M*"))] == [other]
    assert history.results(RunFilter(analysis="None")) == []


@pytest.mark.parametrize("name", ["PyfaiIntegrate", "Integrate", "pyfai-integrate", "*ntegrate"])
def test_the_run_of_one_analysis_is_found_by_each_of_its_names(
    store: Store, history: History, name: str
) -> None:
    leaf = "pyfai-integrate"
    tree = Task(leaf, is_root=True, subtasks=[LeafTask(leaf, "mid/a/1", "Configure")])
    events = retimed(ran(tree, run_id="single"))
    told = msgspec.structs.replace(
        events[-1], sequence=events[-1].sequence + 1, path=f"{leaf}/{leaf}", kind="note",
        detail=described({"n": 1}, analysis="PyfaiIntegrate"),
    )  # fmt: skip
    keep(store, [*events, told], command="Integrate")
    kept(store, "tree", 1, *[(LEAF, described({"n": 1}, analysis="PyfaiIntegrate"))] * 2)
    assert [run.run_id for run in history.runs(RunFilter(command=name))] == ["single"]
    assert history.find(f"last:{name}").run_id == "single"


def test_a_run_of_several_analyses_can_have_one_row(store: Store, history: History) -> None:
    other = "configure/cbf-subarray-01"
    kept(store, "r1", 0, (other, described({"n": 7})), (LEAF, described({"n": 1, "a": 2})))
    kept(store, "r2", 1, (LEAF, described({"n": 5})))
    (second, first) = history.results().by_run()
    step = LEAF.partition("/")[2]
    assert list(first) == list(second) == [
        "run_id", "command", "outcome", "created_at",
        f"{step}.n", "cbf-subarray-01.n", f"{step}.a",
    ]  # fmt: skip
    assert (first["cbf-subarray-01.n"], first[f"{step}.n"], first[f"{step}.a"]) == (7, 1, 2)
    assert (second["cbf-subarray-01.n"], second[f"{step}.n"]) == (None, 5)
    (only,) = history.results(RunFilter(limit=1)).by_run(["n"])
    assert only["n"] == 5  # one analysis a run: no step


def test_filters_choose_runs_and_the_limit_counts_those_with_results(
    store: Store, history: History
) -> None:
    for minute, run_id in enumerate(["r1", "r2", "r3"]):
        kept(store, run_id, minute, (LEAF, described({"n": minute})))
    kept(store, "r4", 3)
    assert [row.run_id for row in history.results(RunFilter(limit=2))] == ["r3", "r2"]
    labelled = RunFilter(labels={"shift": "night"}, analysis="Fit")
    assert [row.run_id for row in history.results(labelled)] == ["r3", "r2"]
    assert [run.run_id for run in history.runs(RunFilter(analysis="F?t"))] == ["r3", "r2", "r1"]
    assert history.runs(RunFilter(analysis="Merge")) == []
    assert history.results(RunFilter(command="none")) == []


def test_a_name_is_whole_where_the_short_one_means_two(store: Store, history: History) -> None:
    kept(store, "r1", 0, (LEAF, described({"n": 1, "status": "x"}, summary_values='{"n":2}')))
    found = history.results()
    assert [column.title for column in found.columns()] == [
        "payload.n", "payload.status", "summary.n",
    ]  # fmt: skip
    (row,) = found.records(["summary.n"])
    assert (row["summary.n"], row["status"]) == (2, "COMPLETED")


def test_what_is_asked_for_may_lie_in_a_list(store: Store, history: History) -> None:
    kept(store, "r1", 0, (LEAF, described({"rings": [{"radius": 1.5}, {"radius": 2.5}]})))
    (row,) = history.results().records(["rings.1.radius", "payload.rings.0.radius"])
    assert row["rings.1.radius"] == 2.5
    with pytest.raises(UsageError, match="no result has a value 'ring'") as told:
        history.results().columns(["ring"])
    assert told.value.hint == "did you mean 'rings'?"
    with pytest.raises(UsageError):
        history.results().columns(["none*"])
    assert history.results(RunFilter(analysis="none")).columns(["whatever"]) == []


def test_a_frame_has_a_line_for_each_row(store: Store, history: History) -> None:
    pytest.importorskip("pandas")
    kept(store, "r1", 0, (LEAF, described({"n": 1})))
    kept(store, "r2", 1, (LEAF, described({"n": 4})))
    frame = history.results().to_frame()
    assert frame["n"].tolist() == [4, 1]
    assert frame["run_id"].tolist() == ["r2", "r1"]
    assert list(history.results(RunFilter(analysis="none")).to_frame().columns)[:2] == [
        "run_id",
        "command",
    ]


def test_a_row_that_cannot_be_read_says_so(store: Store, history: History) -> None:
    kept(store, "r1", 0, (LEAF, described({"n": 1})))
    with tables_of(store) as connection:
        connection.execute(update(tables.analyses).values(detail=b"{broken"))
    (row,) = history.results()
    assert "cannot be read" in row.values["summary"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (np.float64(2.5), 2.5),
        (np.int32(-4), -4),
        (np.bool_(True), True),
        (np.array(3.5), 3.5),
        (np.array([1, 2], dtype=">i2"), [1, 2]),
        (np.zeros((2, 3)), "(array of 2 by 3)"),
        (np.datetime64("2020-01-01"), "(scalar)"),
        (math.inf, math.inf),
        (2**70, 2**70),
        pytest.param(10**5000, "(a very large integer)", id="huge"),
        pytest.param([{10**5000: 1}], [{"(a very large integer)": 1}], id="huge key"),
        (Fraction(1, 4), 0.25),
        pytest.param(Fraction(10**400, 3), "(fraction)", id="huge fraction"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({4}, [4]),
        (Colour.RED, "RED"),
        (Path("/x/y"), "/x/y"),
        (dt.date(2026, 5, 1), "2026-05-01"),
        (dt.timedelta(hours=1, microseconds=500_000), 3600.5),
        (PayloadReference("/work/p.npy", 3, "ab", "npy"), "/work/p.npy"),
        (list(range(MAX_ITEMS + 1)), f"({MAX_ITEMS + 1} items)"),
        (b"abc", "(bytes)"),
        (None, None),
    ],
)  # fmt: skip
def test_every_value_becomes_what_a_table_can_hold(value: Any, cell: Any) -> None:
    plain = json.loads(dump_json({"x": value}))["x"]
    assert cell_of(plain) == cell


def test_objects_and_dicts_are_opened() -> None:
    text = dump_json({"fit": Fit(0.5, {"low": 1}), "by_number": {1: {2: "x"}}, "empty": {}})
    assert flat_values(text, "payload") == {
        "payload.fit.distance": 0.5,
        "payload.fit.sigma.low": 1,
        "payload.by_number.1.2": "x",
        "payload.empty": {},
    }
    assert flat_values(dump_json(3.5), "payload") == {"payload": 3.5}
    assert flat_values("null", "payload") == flat_values("{}", "summary") == {}
    assert flat_values("{broken", "payload") == {}


def test_a_published_page_is_told_by_its_name() -> None:
    page = {"page": "scans/a", "file": "/pages/a", "size_bytes": 3, "sha256": "ab"}
    text = dump_json({"plots": page, "more": [{**page, "files": ["/b"]}], "page": {"page": 1}})
    assert flat_values(text, "payload") == {
        "payload.plots": "scans/a", "payload.more": ["scans/a"], "payload.page.page": 1,
    }  # fmt: skip


def test_a_document_has_a_bound() -> None:
    many = {f"k{number}": number for number in range(MAX_VALUES + 10)}
    assert len(flat_values(json.dumps(many), "payload")) == MAX_VALUES
    deep: Any = 1
    for _ in range(50):
        deep = {"a": deep}
    (name,) = flat_values(json.dumps(deep), "payload")
    assert name.count(".") == 20


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["$", "v", "s", "d", "a"]), inner)
    ),
    max_leaves=12,
)


@given(JSONS)
def test_whatever_a_foreign_record_holds_is_read(document: Any) -> None:
    json.dumps(list(flat_values(json.dumps(document), "payload").values()))
