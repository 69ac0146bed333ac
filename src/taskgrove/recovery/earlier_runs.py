"""The runs that a resume stands on: the one that is resumed, and all that are linked with it.

A run that resumed another set out to run some leaves and to take over the others; where it ended
before it came to what it would have taken over, the end of the run before it still stands. Which
leaves a run set out to run is on record with its claim; of a run without one, only what it tells
itself counts.

Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.recovery.resume_order import NEVER, LeafPast
from taskgrove.store.queries.run_rows import VerdictRow
from taskgrove.store.verdicts import taken_as_ok
from taskgrove.story.run_node import RunNode

#: Topic of the note on a leaf whose end was taken over from an earlier run.
_REUSED: Final = "reused"


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """One run, as far as a plan needs it.

    Attributes:
        run_id: The run.
        nodes: What is known of its nodes, by path.
        fine: What operators said to treat as OK, by path.
        parent_run_id: The run that it resumed, or None.
        set_out: The leaves that it set out to run, by path; None: that is not on record.
    """

    run_id: str
    nodes: Mapping[str, RunNode]
    fine: Mapping[str, VerdictRow] = field(default_factory=dict)
    parent_run_id: str | None = None
    set_out: frozenset[str] | None = None


def earlier_run(
    run_id: str,
    nodes: Iterable[RunNode],
    verdicts: Iterable[VerdictRow] = (),
    parent_run_id: str | None = None,
    set_out: frozenset[str] | None = None,
) -> EarlierRun:
    """Return a run from its nodes and what operators said of it."""
    by_path = {node.path: node for node in nodes}
    return EarlierRun(run_id, by_path, taken_as_ok(verdicts), parent_run_id, set_out)


def family_of_one(
    run_id: str, nodes: Iterable[RunNode], verdicts: Iterable[VerdictRow]
) -> tuple[EarlierRun, ...]:
    """Return the runs that a resume stands on where no other is linked with the earlier one."""
    return (earlier_run(run_id, nodes, verdicts),)


class Earlier:
    """What the earlier runs say of each leaf.

    Args:
        run_id: The run that is resumed.
        family: It, and all that are linked with it, in the order in which they began.
    """

    def __init__(self, run_id: str, family: Sequence[EarlierRun]) -> None:
        self._family = family
        places = {run.run_id: place for place, run in enumerate(family)}
        self._line: list[int] = []  # the run that is resumed, then what each of them resumed
        following: str | None = run_id
        while following in places and places[following] not in self._line:
            self._line.append(places[following])
            following = family[places[following]].parent_run_id

    def facts_of(self, path: str) -> tuple[str, RunNode | None]:
        """Return what decides about a leaf: the facts of it, and the run that they are of."""
        run = self._family[self._place(path)]
        return run.run_id, run.nodes.get(path)

    def verdict_on(self, path: str) -> VerdictRow | None:
        """Return the verdict on a leaf, or on the nearest composite above it.

        One that was given on a run before counts where the leaf did not run since.
        """
        for place in self._line[: self._line.index(self._place(path)) + 1]:
            fine, part = self._family[place].fine, path
            while part:
                if part in fine:
                    return fine[part]
                part = part.rpartition("/")[0]
        return None

    def began_since(self, path: str) -> str | None:
        """Return a run in which a leaf began after the one whose end of it counts, or None."""
        place, last = self._place(path), self.past_of(path).began
        return self._family[last].run_id if last > place else None

    def past_of(self, path: str) -> LeafPast:
        """Return in which of the runs a leaf was at work."""
        began = NEVER
        for place, run in enumerate(self._family):
            facts = run.nodes.get(path)
            if facts is not None and _began(facts):
                began = place
        place = self._place(path)
        worked = next((p for p in self._line_from(place) if not self._is_reused(p, path)), NEVER)
        return LeafPast(worked, began)

    def _place(self, path: str) -> int:
        """Return the place of the run whose word on a leaf counts."""
        for place, before in zip(self._line, [*self._line[1:], None], strict=True):
            set_out = self._family[place].set_out
            if set_out is None or path in set_out or before is None:
                return place
        raise AssertionError("a line has an end")

    def _line_from(self, place: int) -> list[int]:
        return self._line[self._line.index(place) :]

    def _is_reused(self, place: int, path: str) -> bool:
        facts = self._family[place].nodes.get(path)
        return facts is None or any(note.topic == _REUSED for note in facts.notes)


def went_well(facts: RunNode) -> bool:
    """Return True for an end that a resume takes over."""
    return (
        facts.status is TaskStatus.COMPLETED
        and facts.result_code not in PROBLEM_CODES
        and facts.health_state is None
        and not facts.skipped
    )


def _began(facts: RunNode) -> bool:
    """Return True where a leaf was started, as far as the record tells."""
    return facts.started_ns is not None or facts.outside_id is not None
