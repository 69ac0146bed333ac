"""Random runs, kept and read: the same as a naive model of their events, whatever is asked."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taskgrove.events import TaskEvent
from taskgrove.store.history import History
from taskgrove.store.queries.export_jsonl import jsonl_of, read_jsonl
from taskgrove.store.queries.run_diff import node_word
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.queries.run_outcome import RUN_OUTCOMES, outcome_word
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNode, RunNodes
from taskgrove.testing import Script
from tests.examples import share_of_examples
from tests.property.tree_strategies import build, roots
from tests.store.kept_runs import START, keep, ran, retimed

LABELS = st.dictionaries(st.sampled_from(["shift", "by", 'a"b']), st.sampled_from(["x", "ü", ""]))
RUNS = st.lists(
    st.tuples(
        roots,
        st.integers(0, 5),
        st.sampled_from(["final", "final", "final", "running", "lost"]),
        LABELS,
        st.lists(st.floats(0, 100), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=5,
)
GLOBS = st.one_of(
    st.none(),
    st.sampled_from(["root", "root?", "r*", "[a-r]*", "[!r]*", "[]", "[^r]oot", "ro[o]t", "r]*"]),
    st.text(alphabet="rot*?[]!^-", max_size=6),
)
DEVICES = st.one_of(
    st.none(),
    st.sampled_from(["mid-pst/*", "x/y/01", "*/0[12]", "mid-cbf/subarray/01", "x/y/9?"]),
)
FILTERS = st.builds(
    RunFilter,
    command=GLOBS,
    outcomes=st.lists(st.sampled_from(RUN_OUTCOMES), max_size=3).map(tuple),
    device=DEVICES,
    since=st.one_of(st.none(), st.integers(0, 5).map(lambda m: START + timedelta(minutes=m))),
    until=st.one_of(st.none(), st.integers(0, 6).map(lambda m: START + timedelta(minutes=m))),
    labels=LABELS,
    limit=st.one_of(st.none(), st.integers(1, 4)),
)


class Model:
    """What the events of one run say, without any database."""

    def __init__(self, events: list[TaskEvent], state: str, labels: dict[str, str]) -> None:
        self.events = events
        self.facts = RunNodes(events)
        self.state = state
        self.labels = labels
        self.run_id = events[0].run_id
        self.created_ns = events[0].wall_ns

    @property
    def root(self) -> RunNode:
        assert self.facts.root is not None
        return self.facts.root

    @property
    def outcome(self) -> str:
        root = self.root
        return outcome_word(self.state, root.status, root.result_code, root.health_state)

    def passes(self, which: RunFilter) -> bool:
        devices = [
            node.composed.target
            for node in self.facts.nodes.values()
            if node.composed is not None and node.composed.execution == "DEVICE"
        ]
        return (
            (which.command is None or fnmatch.fnmatchcase(self.root.name, which.command))
            and (not which.outcomes or self.outcome in which.outcomes)
            and (
                which.device is None
                or any(fnmatch.fnmatchcase(str(name), which.device) for name in devices)
            )
            and (which.since_ns is None or self.created_ns >= which.since_ns)
            and (which.until_ns is None or self.created_ns < which.until_ns)
            and all(self.labels.get(name) == value for name, value in which.labels.items())
        )


@contextmanager
def kept(given_runs: list[Any]) -> Iterator[tuple[History, list[Model]]]:
    with TemporaryDirectory() as folder, Store.open(Path(folder) / "runs.db") as store:
        models = []
        for number, (spec, minute, state, labels, durations) in enumerate(given_runs):
            scripts: dict[str, Script] = {}
            tree = build(spec, scripts)
            events = ran(tree, scripts, run_id=f"run-{number}")
            paths = sorted({event.path for event in events})
            taken = {path: durations[i % len(durations)] for i, path in enumerate(paths)}
            events = retimed(events, START + timedelta(minutes=minute), taken)
            keep(store, events, state=state, labels=labels)
            models.append(Model(events, state, labels))
        yield History(store), models


@given(RUNS, st.lists(FILTERS, min_size=1, max_size=8))
def test_lists_show_and_filters_are_those_of_the_events(
    given_runs: list[Any], filters: list[RunFilter]
) -> None:
    with kept(given_runs) as (history, models):
        for which in filters:
            expected = [model for model in models if model.passes(which)]
            order = {model.run_id: number for number, model in enumerate(models)}
            expected.sort(key=lambda m: (m.created_ns, order[m.run_id]), reverse=True)
            found = history.runs(which)
            assert [run.run_id for run in found] == [m.run_id for m in expected][: which.limit]
            assert history.stats(which).run_count == len(found)
        for model in models:
            run = history.find(model.run_id)
            assert run.outcome == model.outcome
            assert run.message == model.root.message
            assert history.nodes(run) == list(model.facts.nodes.values())
            assert list(history.events(run)) == model.events
            assert history.diff(run, run).same


@settings(max_examples=share_of_examples(2))
@given(RUNS)
def test_an_export_holds_every_event(given_runs: list[Any]) -> None:
    with kept(given_runs) as (history, models):
        exported = list(read_jsonl(jsonl_of(history, history.runs())))
        by_id = {run.header["run_id"]: run for run in exported}
        assert len(by_id) == len(exported) == len(models)
        for model in models:
            assert list(by_id[model.run_id].events) == model.events
            assert by_id[model.run_id].header["outcome"] == model.outcome
            assert by_id[model.run_id].header["labels"] == model.labels


@settings(max_examples=share_of_examples(2))
@given(RUNS)
def test_statistics_are_those_of_the_events(given_runs: list[Any]) -> None:
    with kept(given_runs) as (history, models):
        found = history.stats()
        nodes = [node for model in models for node in model.facts.nodes.values()]
        paths = sorted({node.path for node in nodes}, key=lambda path: path.split("/"))
        assert [row.path for row in found.nodes] == paths
        for row in found.nodes:
            own = [node for node in nodes if node.path == row.path]
            words = [node_word(node) for node in own]
            assert row.ok_count == words.count("ok")
            assert row.degraded_count == words.count("degraded")
            assert row.failed_count == words.count("failed") + words.count("rejected")
            assert row.aborted_count == words.count("aborted")
            assert row.skipped_count == words.count("skipped")
            durations = sorted(
                node.ended_ns - node.started_ns  # type: ignore[operator]
                for node, word in zip(own, words, strict=True)
                if word in ("ok", "degraded") and node.started_ns is not None
            )
            for percent, value in ((50, row.p50_s), (90, row.p90_s)):
                rank = max(1, math.ceil(percent * len(durations) / 100))
                assert value == (durations[rank - 1] / 1e9 if durations else None)
        for device in found.devices:
            bad = {
                model.run_id
                for model in models
                for node in model.facts.nodes.values()
                if node.composed is not None
                and node.composed.target == device.device
                and node_word(node) in ("failed", "rejected", "degraded")
            }
            assert device.spoiled_run_count == len(bad)
