"""Whether a duration is beyond its usual spread.

With twenty or more past good ends of the same path, its usual spread is from the 5th to the
95th percentile (nearest rank) of the newest two hundred; two durations differ when one is
inside and the other outside, or when they are outside on different sides. With fewer, they
differ when one is at least 1.5 times the other and the difference is at least one second.
Differences below 0.2 seconds are never told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.queries.percentiles import percentile
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_outcome import (
    BROKEN_SQL,
    OUTCOME_SQL,
    good_code_sql,
    waited_sql,
)
from taskgrove.story.run_node import RunNode

#: Fewer past ends give no spread.
ENOUGH_ENDS: Final = 20
#: No more than the newest so many ends count.
NEWEST_ENDS: Final = 200
#: Differences below this are never told, in seconds.
FLOOR_S: Final = 0.2
#: Without a spread: at least this factor, and at least so many seconds.
FACTOR: Final = 1.5
FACTOR_FLOOR_S: Final = 1.0

_PAST: Final = (
    "SELECT n.ended_ns - n.started_ns FROM nodes n"  # noqa: S608 - our own constants
    " WHERE n.path_key = (SELECT path_key FROM paths WHERE path = ?)"
    " AND n.run_key NOT IN (?, ?) AND n.status = 5 AND n.ended_ns >= n.started_ns"
    f" AND ({good_code_sql('n.result_code')} OR n.health_state = 'DEGRADED') AND NOT {{waited}}"
    f" AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.run_key = n.run_key AND {BROKEN_SQL})"
    f" ORDER BY n.run_key DESC LIMIT {NEWEST_ENDS}"
)


#: Past ends of the nodes of one command; ``{runs}`` are the keys of the runs that count.
_PAST_OF_RUNS: Final = (
    "SELECT p.path, n.ended_ns - n.started_ns FROM nodes n"  # noqa: S608 - our own constants
    " JOIN paths p ON p.path_key = n.path_key"
    " WHERE n.run_key IN ({runs}) AND n.status = 5 AND n.ended_ns >= n.started_ns"
    f" AND ({good_code_sql('n.result_code')} OR n.health_state = 'DEGRADED') AND NOT {{waited}}"
)
#: Fewer past ends of a node tell nothing of it.
_ENOUGH_OF_NODE: Final = 5
#: No more than the newest so many runs count, and so many of their nodes.
_NEWEST_RUNS: Final = 50
_MOST_NODES: Final = 60_000


def usual_durations(
    reader: Reader, command: str, *, node_count: int, but: str = ""
) -> dict[str, float]:
    """Return how long the nodes of a command usually take: the median, in seconds, by path.

    The newest runs of the command count that ended OK or degraded and were neither resumed nor
    recovered; of them the good ends that waited for no person. A node with fewer than five such
    ends is missing.

    Args:
        reader: Reads the record.
        command: The command.
        node_count: How many nodes the run at hand has: of large runs fewer are read.
        but: The id of a run that does not count: the one at hand.
    """
    many = min(_NEWEST_RUNS, _MOST_NODES // max(1, node_count))
    if many < _ENOUGH_OF_NODE:
        return {}
    ended_well = f"({OUTCOME_SQL['ok']} OR {OUTCOME_SQL['degraded']})"
    with reader.cursor() as cursor:
        found = cursor.rows(
            "SELECT r.run_key FROM runs r"  # noqa: S608 - our own constants
            f" WHERE r.command = ? AND r.run_id <> ? AND {ended_well} AND NOT {BROKEN_SQL}"
            f" ORDER BY r.created_ns DESC LIMIT {many}",
            (command, but),
        )
        keys = [key for (key,) in found]
        if len(keys) < _ENOUGH_OF_NODE:
            return {}
        past = _PAST_OF_RUNS.replace("{waited}", waited_sql(cursor.dialect))
        past = past.replace("{runs}", ", ".join("?" for _ in keys))
        taken: dict[str, list[int]] = {}
        for path, took_ns in cursor.rows(past, tuple(keys)):
            taken.setdefault(path, []).append(took_ns)
    return {
        path: percentile(sorted(took), 50) / 1e9
        for path, took in taken.items()
        if len(took) >= _ENOUGH_OF_NODE
    }


@dataclass(frozen=True, slots=True)
class UnusualDuration:
    """Two durations of one path that differ beyond their usual spread.

    Attributes:
        path: The node's path.
        first_s: How long it took in the first run, in seconds.
        second_s: How long it took in the second.
        measure: By which measure they differ, in words.
    """

    path: str
    first_s: float
    second_s: float
    measure: str


def unusual_durations(
    reader: Reader, run_keys: tuple[int, int], both: list[tuple[RunNode, RunNode]]
) -> Iterator[UnusualDuration]:
    """Yield the paths whose durations differ beyond their usual spread.

    Args:
        reader: Reads the record.
        run_keys: The two runs, which do not count as past.
        both: The nodes that are in both runs.
    """
    with reader.cursor() as cursor:
        for one, other in both:
            first_s, second_s = good_duration_s(one), good_duration_s(other)
            if first_s is None or second_s is None or abs(first_s - second_s) < FLOOR_S:
                continue
            past = past_durations_s(cursor, one.path, run_keys)
            measure = _measure(first_s, second_s, past)
            if measure is not None:
                yield UnusualDuration(one.path, first_s, second_s, measure)


def past_durations_s(cursor: Cursor, path: str, but: tuple[int, int]) -> list[float]:
    """Return the newest good durations of a path, ascending, in seconds.

    Args:
        cursor: Reads the record.
        path: The path.
        but: Keys of runs that do not count.
    """
    past = _PAST.replace("{waited}", waited_sql(cursor.dialect))
    return sorted(took / 1e9 for (took,) in cursor.rows(past, (path, *but)))


def good_duration_s(node: RunNode) -> float | None:
    """Return how long a node took that completed well or degraded, in seconds; else None."""
    good = node.result_code not in PROBLEM_CODES or node.health_state == "DEGRADED"
    held = any(note.topic == "held" for note in node.notes)  # older versions tell only this
    waited = node.has_waited or node.is_accepted or held
    if node.status is not TaskStatus.COMPLETED or not good or waited:
        return None
    if node.started_ns is None or node.ended_ns is None or node.ended_ns < node.started_ns:
        return None
    return (node.ended_ns - node.started_ns) / 1e9


def _measure(first_s: float, second_s: float, past: list[float]) -> str | None:
    if len(past) >= ENOUGH_ENDS:
        low, high = percentile(past, 5), percentile(past, 95)
        if _side(first_s, low, high) == _side(second_s, low, high):
            return None
        return f"usually {low:.2f} to {high:.2f} s (p5 to p95 of {len(past)})"
    least, most = sorted((first_s, second_s))
    if most - least < FACTOR_FLOOR_S or most < FACTOR * least:
        return None
    return f"{len(past)} past runs are too few for a spread; a factor of {FACTOR:g} and 1 s count"


def _side(value: float, low: float, high: float) -> int:
    return (value > high) - (value < low)
