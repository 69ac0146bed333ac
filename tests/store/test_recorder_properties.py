"""Whatever comes, in whatever order: the log is the truth, and the rows say what it says."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from taskgrove import MainTaskExecutor, TaskStatus
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import TaskExecutionType
from taskgrove.control_model import ResultCode
from taskgrove.events import (
    AnalysisDetail,
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
)
from taskgrove.store import Store
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner
from taskgrove.view.snapshot import RunView
from taskgrove.view.tree_text import render_plain
from tests.examples import share_of_examples
from tests.store.recording import OK, PATIENCE_S, Kept, end_and_wait, event, new_recorder, tree

TEXT = st.sampled_from(["", "", "fine", "no lock ✓", "half \ud800", "nul \0"])
KINDS = ["composed", "queued", "started", *["progress"] * 4, "finished", "note"]
DETAILS = {
    "composed": st.builds(
        ComposedDetail,
        execution=st.sampled_from(["SEQUENTIAL", "PARALLEL", "INTERNAL", "DEVICE", "ANALYSIS"]),
        children=st.lists(TEXT, max_size=2).map(tuple),
        target=st.none() | TEXT,
    ),
    "started": st.builds(StartedDetail, outside_kind=st.just("command"), outside_id=TEXT)
    | st.none(),
    "finished": st.builds(FinishedDetail, skipped=st.booleans()) | st.none(),
    "note": st.builds(NoteDetail, topic=st.sampled_from(["info", "late", "operator"]))
    | st.builds(AnalysisDetail, analysis=TEXT, status=st.just("RUNNING"), summary=TEXT)
    | st.builds(PageDetail, display_name=TEXT, file=TEXT, size_bytes=st.just(1), sha256=TEXT),
}


@st.composite
def logs(draw: st.DrawFn) -> list[TaskEvent]:
    """Return the events of a run, in order; they need not make sense as a whole."""
    events = []
    for sequence in range(1, draw(st.integers(1, 25)) + 1):
        kind = draw(st.sampled_from(KINDS))
        status = {
            "composed": None,
            "queued": TaskStatus.QUEUED,
            "note": None,
            "finished": draw(st.sampled_from([TaskStatus.COMPLETED, TaskStatus.FAILED])),
        }.get(kind, TaskStatus.IN_PROGRESS)
        events.append(
            event(
                "run",
                sequence,
                path=draw(st.sampled_from(["root", "root/a", "root/b", "root/b/c"])),
                kind=kind,
                status=status,
                result_code=draw(st.sampled_from([None, ResultCode.OK, ResultCode.FAILED])),
                attempt=draw(st.integers(1, 3)),
                progress=draw(st.none() | st.integers(0, 100)),
                message=draw(TEXT),
                devices=draw(st.sampled_from([(), ("a/b/c",)])),
                wall_ns=draw(st.integers(1, 2**62)),
                detail=draw(DETAILS[kind]) if kind in DETAILS else None,
            )
        )
    return events


@given(
    logs(),
    st.lists(st.integers(0, 25), max_size=4),
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=3),
    st.booleans(),
)
def test_the_rows_say_what_the_log_says(
    events: list[TaskEvent],
    pauses: list[int],
    swaps: list[tuple[int, int]],
    goes_on: bool,
) -> None:
    arriving = list(events)
    for one, other in swaps:  # threads hand events over a little out of order
        if one < len(arriving) and other < len(arriving):
            arriving[one], arriving[other] = arriving[other], arriving[one]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store.open(folder / "runs.db") as store:
            recorder = new_recorder(store, folder)
            observe = recorder.begin_run("run", RunAbout(command="root"))
            for number, item in enumerate(arriving):
                observe(item)
                if number in pauses:
                    recorder.begin_run(f"other-{number}", RunAbout())  # a batch ends here
            if goes_on and sorted(arriving, key=lambda e: e.sequence) == arriving:
                # The recorder goes, and another one goes on with the run.
                recorder.close()
                recorder = new_recorder(store, folder)
                recorder.begin_run("run", RunAbout(), resumed=True)
            with recorder:
                end_and_wait(recorder, "run", OK)
            found = Kept(store, "run")
    found.assert_final()
    facts = RunNodes(found.events)
    assert found.run["last_sequence"] == len(events)
    assert found.run["leaf_count"] == sum(
        node.is_leaf and node.composed is not None for node in facts.nodes.values()
    )


@settings(max_examples=share_of_examples(3))
@given(st.integers(1, 12), st.booleans(), st.integers(1, 8))
def test_a_run_is_recorded_as_its_observers_saw_it(leaves: int, fails: bool, workers: int) -> None:
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner()}
    with tempfile.TemporaryDirectory() as name, Store.open(Path(name) / "runs.db") as store:
        with (
            new_recorder(store, Path(name)) as recorder,
            MainTaskExecutor(workers, runners) as executor,
        ):
            handle = executor.submit_main_task(
                tree(leaves, fails=fails), observers=[log], run_id="run", recorder=recorder
            )
            assert handle.wait(PATIENCE_S)
            outcome = handle.outcome
        found = Kept(store, "run")
    assert outcome is not None
    found.assert_final()
    assert tuple(found.events) == log.events
    live, drawn = RunView().apply_all(log.events), RunView.of("run", found.nodes)
    assert drawn.nodes == live.nodes
    assert +drawn.leaf_tally == +live.leaf_tally
    assert render_plain(drawn) == render_plain(live)
    assert (found.run["status"], found.run["result_code"], found.run["message"]) == (
        outcome.status, outcome.result, outcome.message,
    )  # fmt: skip
    root = found.folded[0]
    assert (root.status, root.message) == (outcome.status, outcome.message)
