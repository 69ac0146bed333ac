"""The runs that a resume stands on: the run that is resumed, and all runs linked with it.

A run that resumed another one set out to run some leaves and to take over the others. Where it
ended before it reached a leaf that it would have taken over, the end of the run before still
counts. The claim of a run records which leaves it set out to run; of a run without a claim, only
its own nodes count. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import SteeringRequest
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
        nodes: Its nodes, by path.
        fine: The nodes that operators said to treat as OK, by path.
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
    """Return a run from its nodes and the verdicts of operators."""
    by_path = {node.path: node for node in nodes}
    return EarlierRun(run_id, by_path, taken_as_ok(verdicts), parent_run_id, set_out)


class Earlier:
    """Answers from the earlier runs about each leaf.

    Args:
        run_id: The run that is resumed.
        family: This run and all that are linked with it, in the order in which they began.
    """

    def __init__(self, run_id: str, family: Sequence[EarlierRun]) -> None:
        self._family = family
        places = {run.run_id: place for place, run in enumerate(family)}
        self._line: list[int] = []  # the run that is resumed, then the run that it resumed, …
        following: str | None = run_id
        while following in places and places[following] not in self._line:
            self._line.append(places[following])
            following = family[places[following]].parent_run_id

    def facts_of(self, path: str) -> tuple[str, RunNode | None]:
        """Return the run that decides about a leaf, and the leaf's node in that run."""
        run = self._family[self._place(path)]
        return run.run_id, run.nodes.get(path)

    def verdict_on(self, path: str) -> VerdictRow | None:
        """Return the verdict on a leaf, or on the nearest composite above it.

        A verdict on an earlier run counts where the leaf did not run since.
        """
        for place in self._line[: self._line.index(self._place(path)) + 1]:
            fine, part = self._family[place].fine, path
            while part:
                if part in fine:
                    return fine[part]
                part = part.rpartition("/")[0]
        return None

    def left_out_by(self, path: str) -> tuple[str, SteeringRequest] | None:
        """Return the node that an operator left out, a leaf or one above it, and the request."""
        nodes, part = self._family[self._place(path)].nodes, path
        while part:
            node = nodes.get(part)
            finished = None if node is None else node.finished
            if finished is not None and finished.skipped and finished.request is not None:
                return (part, finished.request) if finished.request.verb == "skip" else None
            part = part.rpartition("/")[0]
        return None

    def began_since(self, path: str) -> str | None:
        """Return a run in which a leaf began after the run whose end counts, or None."""
        place, last = self._place(path), self.past_of(path).began
        return self._family[last].run_id if last > place else None

    def past_of(self, path: str) -> LeafPast:
        """Return in which of the runs a leaf was at work."""
        nodes = [run.nodes.get(path) for run in self._family]
        began = max(
            (at for at, node in enumerate(nodes) if node and has_begun(node)), default=NEVER
        )
        place = self._place(path)
        line = self._line[self._line.index(place) :]
        worked = next((p for p in line if not self._is_reused(p, path)), NEVER)
        return LeafPast(worked, began)

    def _place(self, path: str) -> int:
        """Return the place of the run that decides about a leaf."""
        for place, before in zip(self._line, [*self._line[1:], None], strict=True):
            set_out = self._family[place].set_out
            if set_out is None or path in set_out or before is None:
                return place
        raise AssertionError("a line has an end")

    def _is_reused(self, place: int, path: str) -> bool:
        facts = self._family[place].nodes.get(path)
        return facts is None or any(note.topic == _REUSED for note in facts.notes)


def is_accepted(facts: RunNode) -> bool:
    """Return True for a leaf whose failure an operator accepted."""
    return facts.finished is not None and facts.finished.accepted


def went_well(facts: RunNode) -> bool:
    """Return True for an end that a resume takes over."""
    return (
        facts.status is TaskStatus.COMPLETED
        and facts.result_code not in PROBLEM_CODES
        and facts.health_state is None
        and not facts.skipped
    )


def has_begun(facts: RunNode) -> bool:
    """Return True where the record says that a leaf was started."""
    return facts.started_ns is not None or facts.outside_id is not None
