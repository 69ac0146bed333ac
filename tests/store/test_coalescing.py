"""Coalescing leaves out progress only, and leaves no gap."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import NoteDetail, ProgressDraft, SubtaskFacts, TaskEvent
from taskgrove.store.recording import coalescing
from taskgrove.store.recording.coalescing import coalesce
from taskgrove.story.run_node import RunNodes
from tests.store.recording import event


@pytest.fixture(autouse=True, scope="module")
def every_batch_is_a_load() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coalescing, "LOAD", 0)
        yield


def ranges(events: object) -> list[tuple[int, int]]:
    return [(e.sequence_from or e.sequence, e.sequence) for e in events]  # type: ignore[attr-defined]


def test_the_newest_progress_of_each_node_stands_for_the_rest() -> None:
    paths = ["a", "b", "a", "a", "b", "c", "a"]
    burst = [event("r", 5 + n, path=path, progress=n) for n, path in enumerate(paths)]
    kept = coalesce(burst)
    assert [(e.path, e.progress) for e in kept] == [("b", 4), ("c", 5), ("a", 6)]
    assert ranges(kept) == [(5, 9), (10, 10), (11, 11)]


@pytest.mark.parametrize(
    "change",
    [
        {"message": "now tuning"},
        {"attempt": 2},
        {"result_code": ResultCode.FAILED},
        {"devices": ("a/b/c",)},
        {"failed_devices": ("a/b/c",)},
        {"health_state": "DEGRADED"},
        {"status": TaskStatus.NOT_FOUND},
        {"detail": NoteDetail("info")},
        {"kind": "note"},
        {"kind": "finished", "status": TaskStatus.FAILED},
    ],
)
def test_what_says_more_than_a_percentage_is_kept(change: dict[str, object]) -> None:
    events = [event("r", 1), event("r", 2, **change), event("r", 3), event("r", 4)]
    kept = coalesce(events)
    assert events[1] in kept
    assert [e.sequence for e in kept][-1] == 4


def test_a_number_that_has_not_come_yet_is_not_claimed() -> None:
    assert ranges(coalesce([event("r", n) for n in (1, 2, 4, 5)])) == [(1, 2), (4, 5)]


def test_a_few_events_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescing, "LOAD", 4)
    events = [event("r", n) for n in range(1, 4)]
    assert coalesce(events) == events


@st.composite
def streams(draw: st.DrawFn) -> list[TaskEvent]:
    events: list[TaskEvent] = []
    sequence = 0
    for _ in range(draw(st.integers(0, 40))):
        sequence += draw(st.sampled_from([1, 1, 1, 1, 2]))
        kind = draw(st.sampled_from(["progress"] * 6 + ["started", "finished", "note"]))
        fields = {
            "kind": kind,
            "path": draw(st.sampled_from(["a", "a/b", "a/c"])),
            "progress": draw(st.integers(0, 100)),
            "message": draw(st.sampled_from(["", "", "", "x"])),
            "status": TaskStatus.FAILED if kind == "finished" else TaskStatus.IN_PROGRESS,
        }
        events.append(event("r", sequence, **fields))
    return events


@given(streams())
def test_what_is_kept_tells_the_same_without_a_gap(events: list[TaskEvent]) -> None:
    kept = list(coalesce(events))
    # The same numbers are accounted for, each once.
    numbers = [n for first, last in ranges(kept) for n in range(first, last + 1)]
    assert numbers == [e.sequence for e in events]
    # All but progress is there as it was.
    assert [e for e in kept if e.kind != "progress"] == [e for e in events if e.kind != "progress"]
    # And the nodes are the same but for when progress was last heard of.
    whole, less = RunNodes(events).nodes, RunNodes(kept).nodes
    assert set(whole) == set(less)
    for path, node in whole.items():
        other = less[path]
        assert (node.status, node.message, node.finished_sequence, node.notes) == (
            other.status, other.message, other.finished_sequence, other.notes,
        )  # fmt: skip
        if not node.is_final:
            assert other.progress <= node.progress


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 100),
            st.sampled_from(["", "", "", "x"]),
            st.sampled_from([None, None, "d/e/f"]),
            st.booleans(),
        )
    )
)
def test_drafts_are_coalesced_as_their_events_are(
    steps: list[tuple[str, int, str, str | None, bool]],
) -> None:
    drafts, sequence = [], 0
    known: dict[str, SubtaskFacts] = {}
    for name, progress, message, device, gap in steps:
        sequence += 2 if gap else 1
        facts = SubtaskFacts("r", f"root/{name}", None, message, (device,) if device else ())
        if name in known and msgspec.structs.astuple(facts) == msgspec.structs.astuple(known[name]):
            facts = known[name]  # a subtask has new ones only when it has changed
        known[name] = facts
        drafts.append(ProgressDraft(facts, sequence, progress, 1.0, sequence))
    assert coalesce(drafts) == coalesce([draft.event() for draft in drafts])
