"""The record, read: what was kept is found, filtered and returned as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from taskgrove.errors import StoreError, UnknownRunError
from taskgrove.events import AnalysisDetail, NoteDetail, PageDetail, TaskEvent, encode_event
from taskgrove.store import tables
from taskgrove.store.history import History
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import Script
from tests.store.by_sqlalchemy import tables_of
from tests.store.kept_runs import (
    SECOND_NS,
    beams,
    every_minute,
    keep,
    keep_beams,
    ns,
    ran,
    retimed,
)


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


@pytest.fixture
def history(store: Store) -> History:
    return History(store)


@pytest.fixture
def three(store: Store) -> dict[str, list[TaskEvent]]:
    """A good run, a degraded one and a failed one, a minute apart."""
    return {
        "good": keep_beams(store, "20260101T000000Z-aaaa0001", start=every_minute(0)),
        "degraded": keep_beams(
            store,
            "20260101T000100Z-aaaa0002",
            start=every_minute(1),
            failing=["pst-beam-02"],
            labels={"shift": "night"},
        ),
        "failed": keep_beams(
            store,
            "20260101T000200Z-bbbb0003",
            start=every_minute(2),
            failing=["cbf-subarray-01"],
            command="scan",
            parent_run_id="20260101T000100Z-aaaa0002",
        ),
    }


def ids(history: History, **fields: object) -> list[str]:
    return [run.run_id[-4:] for run in history.runs(RunFilter(**fields))]  # type: ignore[arg-type]


def test_runs_come_newest_first(history: History, three: object) -> None:
    assert ids(history) == ["0003", "0002", "0001"]
    assert ids(history, limit=2) == ["0003", "0002"]


def test_a_summary_says_what_the_events_say(
    history: History, three: dict[str, list[TaskEvent]]
) -> None:
    failed, degraded, good = history.runs()
    assert (good.outcome, degraded.outcome, failed.outcome) == ("ok", "degraded", "failed")
    assert degraded.headline == "configure_pst - PST success 2/3; mid-pst/beam/02: no lock"
    assert failed.parent_run_id == degraded.run_id
    assert (degraded.leaf_count, degraded.failed_leaf_count) == (4, 1)
    assert good.duration_s == 1.0
    assert good.created_at == every_minute(0)
    assert good.last_sequence == len(three["good"])


def test_every_filter(history: History, three: object) -> None:
    assert ids(history, command="configure") == ["0002", "0001"]
    assert ids(history, command="s*") == ["0003"]
    assert ids(history, command="[!s]*") == ["0002", "0001"]
    assert ids(history, command="SCAN") == []
    assert ids(history, outcomes=("failed",)) == ["0003"]
    assert ids(history, outcomes=("ok", "degraded")) == ["0002", "0001"]
    assert ids(history, device="mid-pst/beam/02") == ["0003", "0002", "0001"]
    assert ids(history, device="mid-pst/*", command="configure", limit=1) == ["0002"]
    assert ids(history, device="mid-pst") == []
    assert ids(history, since=every_minute(1)) == ["0003", "0002"]
    assert ids(history, until=every_minute(1)) == ["0001"]
    assert ids(history, labels={"shift": "night"}) == ["0002"]
    assert ids(history, labels={"shift": "day"}) == []
    assert ids(history, labels={"shift' OR 1=1 --": "night"}) == []


def test_signs_of_sql_in_a_filter_are_only_signs(history: History, three: object) -> None:
    for text in ("' OR '1'='1", "%", "_", "a'; DROP TABLE runs; --", "[", "[a", "*]"):
        assert ids(history, command=text) == []
    assert len(history.runs()) == 3


def test_nodes_are_the_facts_of_the_events(
    history: History, three: dict[str, list[TaskEvent]]
) -> None:
    for events in three.values():
        facts = RunNodes(events)
        assert history.nodes(events[0].run_id) == list(facts.nodes.values())
        assert list(history.events(events[0].run_id)) == events
        assert history.facts(events[0].run_id).nodes == facts.nodes


def test_a_long_log_comes_in_pages_without_gaps(store: Store, history: History) -> None:
    script = Script(progress=range(1, 100))
    names = ["cbf-subarray-01", *(f"pst-beam-{number:02}" for number in range(1, 11))]
    events = keep_beams(store, "long", count=10, scripts=dict.fromkeys(names, script))
    assert len(events) > 1000
    assert [event.sequence for event in history.events("long")] == [e.sequence for e in events]
    assert [e.sequence for e in history.events("long", first_sequence=1000)] == [
        e.sequence for e in events if e.sequence >= 1000
    ]


#: What is asked for, and the end of the id that is found.
REFERENCES = [
    ("20260101T000000Z-aaaa0001", "0001"),
    ("20260101T0001", "0002"),
    ("last", "0003"),
    (" last ", "0003"),
    ("last:configure", "0002"),
    ("last:conf*", "0002"),
    ("last-failed", "0003"),
    ("last-ok", "0001"),
    ("last-degraded:configure", "0002"),
]


def test_a_run_is_found(history: History, three: object) -> None:
    for reference, found in REFERENCES:
        assert history.find(reference).run_id.endswith(found), reference


def test_what_failed_last_need_not_be_called_failed(store: Store, history: History) -> None:
    keep_beams(store, "b", failing=["cbf-subarray-01"], start=every_minute(0))
    events = ran(beams(), {"cbf-subarray-01": Script.rejects("no")}, run_id="c")
    keep(store, retimed(events, every_minute(1)))
    assert history.find("c").outcome == "rejected"
    assert history.find("last-failed").run_id == "c"
    keep_beams(store, "d", start=every_minute(2), state="lost")
    assert history.find("last-failed").run_id == "d"
    assert history.find("last-lost").run_id == "d"


#: What is asked for, and what is said.
WRONG_REFERENCES = [
    ("20260101", "several runs begin with '20260101'.*0003.*0002.*0001"),
    ("20260101T000000Z-aaaa0009", "did you mean '20260101T000000Z-aaaa0001'"),
    ("bbbb0003", "did you mean '20260101T000200Z-bbbb0003'"),
    ("lst", "did you mean 'last'"),
    ("xyz", "'taskgrove runs list --db .*' shows"),
    ("last:configur", "no run of the command 'configur'.*did you mean 'configure'"),
    ("last-lost", "no lost run"),
    ("last-failed:configure", "failed or rejected or aborted or lost run of the command"),
    ("last-faild", "no run is called 'last-faild'.*did you mean 'failed'"),
    ("", "named by its id"),
    ("'; DROP TABLE runs; --", "holds no run"),
]


def test_a_wrong_name_of_a_run_is_told(history: History, three: object) -> None:
    for reference, words in WRONG_REFERENCES:
        with pytest.raises(UnknownRunError, match=words):
            history.find(reference)


def test_an_empty_record_says_so(history: History) -> None:
    assert history.runs() == []
    assert history.stats().run_count == 0
    for reference in ("last", "x", "last:configure"):
        with pytest.raises(UnknownRunError, match=r"holds no run yet.*taskgrove run"):
            history.find(reference)


def test_a_run_holds_what_it_was_run_with(store: Store, history: History) -> None:
    events = keep_beams(
        store,
        "r",
        source={"kind": "map", "file": "/m.yaml", "argin": {"band": "5a"}},
        argv=["taskgrove", "run"],
        versions={"python": "3.11"},
    )
    run = history.run("r")
    assert run.source["argin"] == {"band": "5a"}
    assert run.argv == ("taskgrove", "run")
    assert run.versions == {"python": "3.11"}
    assert run.lease is None
    assert history.run(run) is run
    assert history.run(history.runs()[0]) == run
    assert history.nodes(run) == list(RunNodes(events).nodes.values())


def test_a_running_run_has_a_lease_and_no_end(store: Store, history: History) -> None:
    events = retimed(ran(beams(), run_id="r"))[:12]
    lease = {"host": "h", "pid": 7, "pid_started": 1.0, "heartbeat_ns": 5, "interval_s": 2.0}
    keep(store, events, lease=lease)
    run = history.find("last-running")
    assert run.outcome == "running"
    assert run.duration_s is None
    assert run.lease is not None
    assert (run.lease.pid, run.lease.interval_s) == (7, 2.0)


def test_analyses_and_pages(store: Store, history: History) -> None:
    events = retimed(ran(beams(), run_id="r"))
    last = events[-1]
    described = AnalysisDetail(analysis="FindPeaks", parameters='{"n": 3}', status="COMPLETED")
    page = PageDetail("scans/one", "/pages/scans/one/report.html", 12, "ab" * 32)
    leaf = "configure/cbf-subarray-01"
    extra = [
        msgspec.structs.replace(
            last, sequence=last.sequence + 1 + number, path=leaf, kind="note", detail=detail
        )
        for number, detail in enumerate([described, page])
    ]
    keep(store, [*events, *extra])
    (analysis,) = history.analyses("r")
    assert (analysis.analysis, analysis.path, analysis.detail) == ("FindPeaks", leaf, described)
    (kept,) = history.pages("r")
    assert (kept.display_name, kept.size_bytes, kept.path) == ("scans/one", 12, leaf)


def test_pages_of_all_runs_are_listed_with_their_analyses(store: Store, history: History) -> None:
    leaf = "configure/cbf-subarray-01"
    for run, named in (("a", ("scans/one", "100%")), ("b", ("Scans/two",))):
        events = retimed(ran(beams(), run_id=run))
        details: list[AnalysisDetail | PageDetail] = []
        for number, name in enumerate(named):
            details.append(AnalysisDetail(analysis=f"Find{number}", status="COMPLETED"))
            details.append(PageDetail(name, f"/pages/{name}/report.html", 12, "ab" * 32))
        last = events[-1]
        for number, detail in enumerate(details, 1):
            events.append(
                msgspec.structs.replace(
                    last, sequence=last.sequence + number, path=leaf, kind="note", detail=detail,
                    wall_ns=last.wall_ns + number + (run == "b"),
                )
            )  # fmt: skip
        keep(store, events)

    def told(**which: Any) -> list[tuple[str, str, str | None]]:
        rows = history.newest_pages(**which)
        return [(row.run_id, row.display_name, row.analysis) for row in rows]

    one, percent, two = (
        ("a", "scans/one", "Find0"), ("a", "100%", "Find1"), ("b", "Scans/two", "Find0"),
    )  # fmt: skip
    assert told() == [percent, two, one]
    assert told(limit=2) == [percent, two]
    assert told(run="a") == [percent, one]
    assert told(named="sCANS") == [two, one]
    assert told(named="%") == [percent]
    assert told(named="find1") == [percent]
    assert told(named="_") == []
    assert told(place="Scans/two") == [two]
    assert told(place="scans") == []
    with pytest.raises(UnknownRunError):
        history.newest_pages("none")


def test_a_node_of_an_analysis_has_its_last_description(store: Store, history: History) -> None:
    events = retimed(ran(beams(1), run_id="r"))
    index, leaf = next(
        (i, e) for i, e in enumerate(events) if e.path.endswith("pst-beam-01") and e.detail
    )
    composed = msgspec.structs.replace(leaf.detail, execution="ANALYSIS")
    events[index] = msgspec.structs.replace(leaf, detail=composed)
    for number, status in enumerate(["RUNNING", "COMPLETED"], 1):
        events.append(
            msgspec.structs.replace(
                leaf,
                sequence=len(events) + 1,
                kind="note",
                detail=AnalysisDetail(analysis="A", status=status),
            )
        )
        assert number
    keep(store, events)
    facts = RunNodes(events)
    assert history.nodes("r") == list(facts.nodes.values())
    assert facts.nodes[leaf.path].analysis.status == "COMPLETED"  # type: ignore[union-attr]


def test_verdicts(store: Store, history: History) -> None:
    keep_beams(store, "r", failing=["pst-beam-02"])
    key = history.find("r").run_key
    said = TaskEvent(
        run_id="r",
        sequence=1,
        path="configure/configure_pst/pst-beam-02",
        kind="note",
        message="treat as OK",
        monotonic_s=0.0,
        wall_ns=ns(every_minute(9)),
        detail=NoteDetail("operator", {"verdict": "ok", "who": "ann", "why": "spare beam"}),
    )
    with tables_of(store) as connection:
        connection.execute(
            insert(tables.verdicts).values(run_key=key, number=1, body=encode_event(said))
        )
    (verdict,) = history.verdicts("r")
    assert (verdict.verdict, verdict.who, verdict.why) == ("ok", "ann", "spare beam")
    assert verdict.path == said.path
    assert history.find("r").outcome == "degraded"


def test_opening_for_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"missing\.db"):
        History.open(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    with Store.open(tmp_path / "runs.db") as store:
        keep_beams(store, "r")
    with History.open(tmp_path / "runs.db") as history:
        assert history.find("last").run_id == "r"


def test_a_damaged_table_is_a_store_error(store: Store, history: History) -> None:
    keep_beams(store, "r")
    with tables_of(store) as connection:
        connection.exec_driver_sql("DROP TABLE pages")
    with pytest.raises(StoreError, match="pages") as caught:
        history.pages("r")
    assert caught.value.location == store.location


def test_listings_become_frames(history: History, three: object) -> None:
    pandas = pytest.importorskip("pandas")
    frame = history.runs().to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["outcome"]) == ["failed", "degraded", "ok"]
    assert list(frame["duration_s"]) == [1.0, 1.0, 1.0]
    assert frame["created_ns"][0] == ns(every_minute(2))
    assert SECOND_NS == 10**9
