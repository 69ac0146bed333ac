"""The differences between two runs.

Each difference is one row: its topic, its place, and the values in the first run and in the
second. Durations are compared with their usual spread, see
:mod:`taskgrove.store.queries.usual_durations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from taskgrove.events import AnalysisDetail, ComposedDetail
from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.node_reading import read_run_nodes
from taskgrove.store.queries.plain_differences import (
    changed_lines,
    changed_values,
    from_json,
    value_text,
)
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.request_reading import read_requests
from taskgrove.store.queries.run_outcome import is_broken
from taskgrove.store.queries.run_rows import RequestRow, RunRow
from taskgrove.store.queries.usual_durations import unusual_durations
from taskgrove.story.run_node import RunNode

DiffTopic: TypeAlias = Literal[
    "outcome",
    "cause",
    "node",
    "status",
    "duration",
    "retries",
    "parameters",
    "environment",
    "versions",
    "devices",
    "requests",
]
#: The topics, in the order in which they are told.
DIFF_TOPICS: Final[tuple[DiffTopic, ...]] = (
    "outcome",
    "cause",
    "node",
    "status",
    "retries",
    "requests",
    "duration",
    "devices",
    "parameters",
    "environment",
    "versions",
)

#: The parameters of a composed node; its devices and its place are told elsewhere.
_SETTINGS: Final = (
    "execution", "rule", "timeout_s", "retries", "operation", "obs_mode", "command_name", "step",
    "pst_group", "skip_subtasks", "call", "hold", "hold_timeout_s", "retry_delay_s",
    "retry_backoff",
)  # fmt: skip
#: Variables of an analysis that are new for every process.
_OF_A_PROCESS: Final = ("TASKGROVE_ANALYSIS", "TASKGROVE_CHANNEL")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        topic: Its kind.
        where: The path of a node, or the name of a parameter, a variable or a package.
        first: The value in the first run, as text; None: nothing.
        second: The value in the second run; None: nothing.
        note: By which measure it differs, where that is not plain.
    """

    topic: DiffTopic
    where: str
    first: str | None
    second: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunDiff:
    """The differences between two runs.

    Attributes:
        first: The first run.
        second: The second run.
        differences: Everything that differs, by topic in the order of ``DIFF_TOPICS``.
    """

    first: RunRow
    second: RunRow
    differences: Listing[Difference]

    @property
    def same(self) -> bool:
        """True when nothing differs."""
        return not self.differences

    def of(self, topic: DiffTopic) -> list[Difference]:
        """Return the differences of one topic."""
        return [found for found in self.differences if found.topic == topic]

    def to_frame(self) -> Any:
        """Return the differences as a pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return self.differences.to_frame()


def diff_runs(reader: Reader, first: RunRow, second: RunRow) -> RunDiff:
    """Return the differences between two runs.

    Args:
        reader: Reads the record that holds both.
        first: The first run; usually the older, or the better one.
        second: The second run.
    """
    with reader.cursor() as cursor:
        before = {node.path: node for node in read_run_nodes(cursor, first.run_key)}
        after = {node.path: node for node in read_run_nodes(cursor, second.run_key)}
        asked = [read_requests(cursor, run.run_key, run.run_id) for run in (first, second)]
    both = [(node, after[path]) for path, node in before.items() if path in after]
    found = [
        *_outcomes(first, second),
        *_causes(first, second),
        *_nodes(before, after),
        *_node_values(both),
        *_requests(*asked),
        *_durations(reader, (first, second), both),
        *_sources(first, second),
        *_surroundings(first, second),
        *_analyses(both),
    ]
    rank = {topic: number for number, topic in enumerate(DIFF_TOPICS)}
    return RunDiff(first, second, Listing(sorted(found, key=lambda item: rank[item.topic])))


def node_word(node: RunNode) -> str:
    """Return the outcome of a node in one word."""
    return "ok" if node.state == "completed" else node.state


def _outcomes(first: RunRow, second: RunRow) -> Iterator[Difference]:
    if first.command != second.command:
        yield Difference("outcome", "command", first.command, second.command)
    if first.outcome != second.outcome:
        yield Difference("outcome", "run", first.outcome, second.outcome)


def _causes(first: RunRow, second: RunRow) -> Iterator[Difference]:
    before, after = first.causes, second.causes
    for line in before:
        if line not in after:
            yield Difference("cause", "run", line, None)
    for line in after:
        if line not in before:
            yield Difference("cause", "run", None, line)


def _nodes(before: dict[str, RunNode], after: dict[str, RunNode]) -> Iterator[Difference]:
    for path, node, count in _uppermost(before, after):
        yield Difference("node", path, node_word(node), None, _below(count))
    for path, node, count in _uppermost(after, before):
        yield Difference("node", path, None, node_word(node), _below(count))


def _uppermost(
    nodes: dict[str, RunNode], others: dict[str, RunNode]
) -> Iterator[tuple[str, RunNode, int]]:
    """Yield the nodes that the others lack, without those below one, and how many those are."""
    missing = {path: node for path, node in nodes.items() if path not in others}
    below: Counter[str] = Counter()
    for path in missing:
        top = path
        while (parent := top.rpartition("/")[0]) in missing:
            top = parent
        below[top] += 1
    for top, count in below.items():
        yield top, missing[top], count - 1


def _below(count: int) -> str:
    return f"and {count} below it" if count else ""


def _node_values(both: list[tuple[RunNode, RunNode]]) -> Iterator[Difference]:
    changed: dict[str, tuple[str, str]] = {}
    for one, other in both:
        words = node_word(one), node_word(other)
        changed[one.path] = words
        # A node that was skipped with the step above it is not told again.
        same_above = "skipped" in words and changed.get(one.parent_path) == words
        if words[0] != words[1] and not same_above:
            yield Difference("status", one.path, *words)
        if one.attempt != other.attempt:
            yield Difference("retries", one.path, str(one.attempt - 1), str(other.attempt - 1))
        if one.is_leaf and (devices := (_devices(one), _devices(other)))[0] != devices[1]:
            yield Difference("devices", one.path, *devices)
        for name in _SETTINGS:
            values = _setting(one.composed, name), _setting(other.composed, name)
            if values[0] != values[1]:
                yield Difference("parameters", f"{one.path} {name}", *values)


def _requests(first: Listing[RequestRow], second: Listing[RequestRow]) -> Iterator[Difference]:
    before, after = _told(first), _told(second)
    for what in {**before, **after}:
        if before.get(what) != after.get(what):
            yield Difference("requests", what, before.get(what), after.get(what))


def _told(rows: Listing[RequestRow]) -> dict[str, str]:
    """Return who asked for each thing, and what became of it."""
    told: dict[str, list[str]] = {}
    for row in rows:
        what = f"{row.request.verb} {row.request.path}".rstrip()
        fate = "not answered" if row.answer is None else row.answer.fate.replace("_", " ")
        told.setdefault(what, []).append(f"{fate} ({row.request.who})")
    return {what: ", ".join(parts) for what, parts in told.items()}


def _devices(node: RunNode) -> str | None:
    composed = node.composed
    if composed is not None and composed.execution == "DEVICE" and composed.target:
        return composed.target
    return ", ".join(sorted(node.devices)) or None


def _setting(composed: ComposedDetail | None, name: str) -> str | None:
    value = None if composed is None else getattr(composed, name)
    return None if value is None else value_text(value)


def _durations(
    reader: Reader, two: tuple[RunRow, RunRow], both: list[tuple[RunNode, RunNode]]
) -> Iterator[Difference]:
    if any(is_broken(run.parent_run_id, run.recovered_ns) for run in two):
        return
    run_keys = (two[0].run_key, two[1].run_key)
    for found in unusual_durations(reader, run_keys, both):
        first, second = f"{found.first_s:.2f} s", f"{found.second_s:.2f} s"
        yield Difference("duration", found.path, first, second, found.measure)


def _sources(first: RunRow, second: RunRow) -> Iterator[Difference]:
    before, after = dict(first.source), dict(second.source)
    texts = str(before.pop("text", "") or ""), str(after.pop("text", "") or "")
    yield from _changed("parameters", "", before, after)
    for number, old, new in changed_lines(*texts):
        yield Difference("parameters", f"map, line {number}", old, new)


def _surroundings(first: RunRow, second: RunRow) -> Iterator[Difference]:
    for name in ("host", "user"):
        values = getattr(first, name), getattr(second, name)
        if values[0] != values[1]:
            yield Difference("environment", name, *values)
    yield from _changed("versions", "", first.versions, second.versions)


def _analyses(both: list[tuple[RunNode, RunNode]]) -> Iterator[Difference]:
    for one, other in both:
        before, after = one.analysis, other.analysis
        if before is None or after is None:
            continue
        place = f"{one.path} "
        yield from _changed(
            "parameters", place, from_json(before.parameters), from_json(after.parameters)
        )
        surroundings = _lasting(before.environment), _lasting(after.environment)
        yield from _changed("environment", place, *surroundings)
        yield from _changed("versions", place, before.versions, after.versions)
        yield from _changed("versions", f"{place}code.", _code(before), _code(after))
        for name in ("cwd", "host", "user"):
            values = getattr(before, name), getattr(after, name)
            if values[0] != values[1]:
                yield Difference("environment", f"{place}{name}", *values)


def _code(detail: AnalysisDetail) -> dict[str, str]:
    """Return the commit of the code of an analysis, and whether it was changed."""
    code = detail.code
    if code is None:
        return {}
    changed = {True: "yes", False: "no", None: "unknown"}[code.dirty]
    return {"commit": code.revision, "changed": changed}


def _lasting(environment: Mapping[str, str] | None) -> dict[str, str]:
    """Return an environment without the variables that are new for every process."""
    return {name: value for name, value in (environment or {}).items() if name not in _OF_A_PROCESS}


def _changed(topic: DiffTopic, place: str, before: Any, after: Any) -> Iterator[Difference]:
    for name, old, new in changed_values(before, after):
        yield Difference(topic, f"{place}{name}", old, new)
