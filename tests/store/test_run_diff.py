"""Only what differs is named, and durations only beyond their usual spread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskgrove import LeafTask, Task
from taskgrove.events import AnalysisDetail
from taskgrove.events.code_revision import CodeRevision
from taskgrove.store.history import History
from taskgrove.store.queries.plain_differences import changed_lines, changed_values
from taskgrove.store.queries.run_diff import DIFF_TOPICS, RunDiff
from taskgrove.store.store import Store
from taskgrove.testing import Script
from tests.store.kept_runs import beams, every_minute, keep, keep_beams, ran, retimed

BEAM = "configure/configure_pst/pst-beam-02"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def told(found: RunDiff, topic: Any) -> list[tuple[str, str | None, str | None]]:
    return [(item.where, item.first, item.second) for item in found.of(topic)]


def test_two_equal_runs_do_not_differ(store: Store) -> None:
    keep_beams(store, "a", start=every_minute(0))
    keep_beams(store, "b", start=every_minute(1), durations={"pst-beam-01": 1.1})
    found = History(store).diff("a", "b")
    assert found.same
    assert found.differences == []
    assert found.first.run_id == "a"


def test_outcome_causes_statuses_and_retries(store: Store) -> None:
    keep_beams(store, "a", start=every_minute(0))
    scripts = {"pst-beam-01": [Script.fails("busy", may_retry=True), Script()]}
    keep_beams(store, "b", start=every_minute(1), failing=["pst-beam-02"], scripts=scripts)
    found = History(store).diff("a", "b")
    assert {item.topic for item in found.differences} == {"outcome", "cause", "status", "retries"}
    assert told(found, "outcome") == [("run", "ok", "degraded")]
    assert ("run", None, "mid-pst/beam/02: no lock") in told(found, "cause")
    assert (BEAM, "ok", "failed") in told(found, "status")
    assert told(found, "retries") == [("configure/configure_pst/pst-beam-01", "0", "1")]
    ranks = [DIFF_TOPICS.index(item.topic) for item in found.differences]
    assert ranks == sorted(ranks)


def test_a_skipped_step_is_told_once(store: Store) -> None:
    keep_beams(store, "a", start=every_minute(0))
    keep_beams(store, "b", start=every_minute(1), failing=["cbf-subarray-01"])
    statuses = told(History(store).diff("a", "b"), "status")
    assert statuses == [
        ("configure", "ok", "failed"),
        ("configure/cbf-subarray-01", "ok", "failed"),
        ("configure/configure_pst", "ok", "skipped"),
    ]


def test_nodes_and_devices(store: Store) -> None:
    keep_beams(store, "a", count=2)
    extra = Task("late", subtasks=[LeafTask("z", "x/y/9", "On"), LeafTask("y", "x/y/8", "On")])
    keep(store, retimed(ran(beams(3, extra=[extra]), run_id="b"), every_minute(1)))
    moved = Task("configure", is_root=True, subtasks=[LeafTask("cbf-subarray-01", "o/t/h", "Go")])
    keep(store, retimed(ran(moved, run_id="c"), every_minute(2)))
    history = History(store)
    found = history.diff("a", "b")
    assert told(found, "node") == [
        ("configure/configure_pst/pst-beam-03", None, "ok"),
        ("configure/late", None, "ok"),
    ]
    assert [item.note for item in found.of("node")] == ["", "and 2 below it"]
    other = history.diff("a", "c")
    assert told(other, "devices") == [("configure/cbf-subarray-01", "mid-cbf/subarray/01", "o/t/h")]
    assert ("configure/cbf-subarray-01 command_name", "Configure", "Go") in told(
        other, "parameters"
    )
    assert ("configure skip_subtasks", "true", "false") in told(other, "parameters")


def test_a_duration_is_compared_with_its_spread(store: Store) -> None:
    for number in range(20):
        took = 10 + number / 10
        keep_beams(
            store, f"past{number}", start=every_minute(number), durations={"pst-beam-02": took}
        )
    keep_beams(store, "a", start=every_minute(30), durations={"pst-beam-02": 10.2})
    keep_beams(store, "b", start=every_minute(31), durations={"pst-beam-02": 11.7})
    keep_beams(store, "c", start=every_minute(32), durations={"pst-beam-02": 12.5})
    history = History(store)
    assert history.diff("a", "b").same  # both within the spread, however far apart
    found = history.diff("a", "c")
    assert told(found, "duration") == [(BEAM, "10.20 s", "12.50 s")]
    (item,) = found.of("duration")
    # Of the twenty and the third run, 21 in all, rank 2 and rank 20.
    assert item.note == "usually 10.10 to 11.80 s (p5 to p95 of 21)"


def test_without_a_spread_a_factor_and_a_second_count(store: Store) -> None:
    keep_beams(store, "a", durations={"pst-beam-01": 1.0, "pst-beam-02": 4.0, "pst-beam-03": 0.1})
    keep_beams(
        store,
        "b",
        start=every_minute(1),
        durations={"pst-beam-01": 1.9, "pst-beam-02": 6.5, "pst-beam-03": 0.25},
    )
    found = History(store).diff("a", "b")
    assert told(found, "duration") == [(BEAM, "4.00 s", "6.50 s")]
    assert "too few for a spread" in found.of("duration")[0].note


def test_the_time_of_a_failure_is_no_duration(store: Store) -> None:
    keep_beams(store, "a", durations={"pst-beam-02": 1})
    keep_beams(
        store, "b", start=every_minute(1), failing=["pst-beam-02"], durations={"pst-beam-02": 99}
    )
    assert History(store).diff("a", "b").of("duration") == []


def test_what_it_was_run_with(store: Store) -> None:
    source = {"kind": "map", "file": "/m.yaml", "text": "a: 1\nb: 2\n", "argin": {"band": "5a"}}
    keep_beams(store, "a", source=source, versions={"python": "3.11", "numpy": "1"})
    other = {**source, "text": "a: 1\nb: 3\nc: 4\n", "argin": {"band": "5b", "beams": [1, 2]}}
    keep_beams(
        store, "b", start=every_minute(1), source=other, versions={"python": "3.12"}, host="h2"
    )
    found = History(store).diff("a", "b")
    assert told(found, "parameters") == [
        ("argin.band", "5a", "5b"),
        ("argin.beams", None, "[1, 2]"),
        ("map, line 2", "b: 2", "b: 3 / c: 4"),
    ]
    assert told(found, "versions") == [("python", "3.11", "3.12"), ("numpy", "1", None)]
    assert told(found, "environment") == [("host", "control-01", "h2")]


def analysis_run(store: Store, run_id: str, **fields: Any) -> None:
    events = retimed(ran(beams(1), run_id=run_id))
    index, leaf = next(
        (i, e) for i, e in enumerate(events) if e.path.endswith("pst-beam-01") and e.detail
    )
    composed = msgspec.structs.replace(leaf.detail, execution="ANALYSIS")
    events[index] = msgspec.structs.replace(leaf, detail=composed)
    detail = AnalysisDetail(**({"analysis": "FindPeaks", "cwd": "/a"} | fields))
    number = events[-1].sequence + 1
    events.append(msgspec.structs.replace(leaf, sequence=number, kind="note", detail=detail))
    keep(store, events)


def test_analyses_parameters_environment_and_versions(store: Store) -> None:
    analysis_run(
        store,
        "a",
        parameters='{"n": 3, "fit": {"order": 1}}',
        environment={"PATH": "/bin", "OMP": "1", "TASKGROVE_ANALYSIS": "1.2"},
        versions={"numpy": "1.26"},
        code=CodeRevision("/a/fit.py", "/a", "aaaa", False),
    )
    analysis_run(
        store,
        "b",
        parameters='{"n": 3, "fit": {"order": 2}}',
        environment={"PATH": "/bin", "TASKGROVE_ANALYSIS": "3.4"},
        versions={"numpy": "2.0"},
        code=CodeRevision("/a/fit.py", "/a", "bbbb", True),
        cwd="/b",
    )
    found = History(store).diff("a", "b")
    leaf = "configure/configure_pst/pst-beam-01"
    assert told(found, "parameters") == [(f"{leaf} fit.order", "1", "2")]
    assert told(found, "environment") == [(f"{leaf} OMP", "1", None), (f"{leaf} cwd", "/a", "/b")]
    assert told(found, "versions") == [
        (f"{leaf} numpy", "1.26", "2.0"),
        (f"{leaf} code.commit", "aaaa", "bbbb"),
        (f"{leaf} code.changed", "no", "yes"),
    ]


def test_a_frame(store: Store) -> None:
    pytest.importorskip("pandas")
    keep_beams(store, "a")
    keep_beams(store, "b", start=every_minute(1), failing=["pst-beam-02"])
    frame = History(store).diff("a", "b").to_frame()
    assert list(frame.columns) == ["topic", "where", "first", "second", "note"]
    assert "status" in set(frame["topic"])


def test_values_of_other_types_differ() -> None:
    assert list(changed_values({"a": 1, "b": None, "c": "1"}, {"a": True, "b": None, "c": 1})) == [
        ("a", "1", "true"),
        ("c", '"1"', "1"),
    ]
    assert list(changed_values([1, {"x": 2}], [1, {"x": 3}])) == [("[1].x", "2", "3")]
    assert list(changed_values([1], [1, 2])) == [("value", "[1]", "[1, 2]")]
    nan = float("nan")
    assert list(changed_values({"x": nan}, {"x": float("nan")})) == []


def test_many_changed_lines_are_counted() -> None:
    before = "\n".join(f"{n}\nsame {n}" for n in range(40))
    after = "\n".join(f"{n}!\nsame {n}" for n in range(40))
    found = list(changed_lines(before, after))
    assert len(found) == 21
    assert found[0] == (1, "0", "0!")
    assert found[-1][1] == "… and 20 more places"
