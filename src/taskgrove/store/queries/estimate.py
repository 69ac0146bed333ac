"""How long a command usually takes, from past runs of it: a range, or nothing.

Only runs that ended OK or degraded count, that were neither resumed nor recovered, and in which no
step waited for a person: the newest fifty of them; fewer than five are no history. The range is
that of the 10th to the 90th percentile by nearest rank, so about one run in five is outside it,
and the words say so: "usually".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskgrove.store.database.cursor import Cursor
from taskgrove.store.queries.percentiles import percentile
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_outcome import BROKEN_SQL, OUTCOME_SQL, waited_sql

#: Fewer past runs are no history.
ENOUGH_RUNS: Final = 5
#: No more than the newest so many runs count: a telescope changes.
NEWEST_RUNS: Final = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long runs of a command took.

    Attributes:
        command: The command.
        durations_s: How long each run took, in seconds, ascending; at least five.
        same_size: True when all of them had as many leaves as the run at hand.
    """

    command: str
    durations_s: tuple[float, ...]
    same_size: bool = False

    @property
    def run_count(self) -> int:
        """How many past runs it is made of."""
        return len(self.durations_s)

    @property
    def low_s(self) -> float:
        """The 10th percentile, in seconds."""
        return percentile(self.durations_s, 10)

    @property
    def high_s(self) -> float:
        """The 90th percentile, in seconds."""
        return percentile(self.durations_s, 90)

    def remaining_s(self, elapsed_s: float) -> tuple[float, float] | None:
        """Return the range of what remains after ``elapsed_s`` seconds.

        Only the past runs that took longer than that count.

        Returns:
            The least and the most, in seconds; None when fewer than five runs took so long:
            then history has nothing to say any more.
        """
        longer = [duration for duration in self.durations_s if duration > elapsed_s]
        if len(longer) < ENOUGH_RUNS:
            return None
        return percentile(longer, 10) - elapsed_s, percentile(longer, 90) - elapsed_s

    def line(self, elapsed_s: float = 0.0) -> str:
        """Return the estimate in words, for a live view.

        Args:
            elapsed_s: How long the run has been going, in seconds.
        """
        usual = f"usually {range_text(self.low_s, self.high_s)} ({self.run_count} runs)"
        if elapsed_s > self.durations_s[-1]:
            return f"{usual}; longer than all of them"
        if elapsed_s > self.high_s:
            return f"{usual}; longer than most of them"
        left = self.remaining_s(elapsed_s) if elapsed_s > 0 else None
        return usual if left is None else f"{usual}, {range_text(*left)} left"


def estimate_of(
    reader: Reader, command: str, *, leaf_count: int | None = None, but: str = ""
) -> Estimate | None:
    """Return how long a command usually takes, or None without enough history.

    Args:
        reader: Reads the record.
        command: The command, as it is.
        leaf_count: How many leaves the run at hand has; with enough past runs of the same
            size only those count. None counts runs of any size.
        but: The id of a run that does not count: the one at hand, which may be over already.
    """
    ended_well = f"({OUTCOME_SQL['ok']} OR {OUTCOME_SQL['degraded']})"
    with reader.cursor() as cursor:
        rows = cursor.rows(
            "SELECT r.run_key, r.ended_ns - r.created_ns, r.leaf_count FROM runs r"  # noqa: S608
            " WHERE r.command = ? AND r.run_id <> ? AND r.ended_ns >= r.created_ns"
            f" AND {ended_well} AND NOT {BROKEN_SQL}"
            f" ORDER BY r.created_ns DESC LIMIT {4 * NEWEST_RUNS}",
            (command, but),
        )
        taken = _newest(cursor, [(key, took) for key, took, leaves in rows if leaves == leaf_count])
        same_size = len(taken) >= ENOUGH_RUNS
        if not same_size:
            taken = _newest(cursor, [(key, took) for key, took, _ in rows])
    if len(taken) < ENOUGH_RUNS:
        return None
    return Estimate(command, tuple(sorted(took / 1e9 for took in taken)), same_size)


def _newest(cursor: Cursor, rows: Sequence[tuple[int, int]]) -> list[int]:
    """Return how long the newest runs took in which no step waited for a person.

    Args:
        cursor: Reads the record.
        rows: The keys of runs and how long each took, the newest first.
    """
    taken: list[int] = []
    for first in range(0, len(rows), NEWEST_RUNS):
        part = rows[first : first + NEWEST_RUNS]
        waited = {
            key
            for (key,) in cursor.rows(
                "SELECT n.run_key FROM nodes n WHERE n.node_number = 0"  # noqa: S608 - numbers
                f" AND n.run_key IN ({', '.join(str(int(key)) for key, _ in part)})"
                f" AND {waited_sql(cursor.dialect)}"
            )
        }
        taken += [took for key, took in part if key not in waited]
        if len(taken) >= NEWEST_RUNS:
            break
    return taken[:NEWEST_RUNS]


def range_text(low_s: float, high_s: float) -> str:
    """Return a range of seconds for people: ``20 to 35 s``, ``2 to 5 min``."""
    low, high, unit = max(0.0, low_s), max(0.0, high_s), "s"
    if high >= 5400:
        low, high, unit = low / 3600, high / 3600, "h"
    elif high >= 90:
        low, high, unit = low / 60, high / 60, "min"
    digits = 1 if high < 10 else 0
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return f"{last} {unit}" if first == last else f"{first} to {last} {unit}"
