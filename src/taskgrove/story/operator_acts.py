"""The acts of operators on a run: their requests, and the nodes that these changed.

The events that a request caused carry it, so the acts are known from events alone; a record also
knows requests that were refused, or came too late. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from taskgrove.events.steering_request import (
    PATHS_KEPT,
    SteeringAnswer,
    SteeringFate,
    SteeringObjection,
    SteeringRequest,
)
from taskgrove.story.run_node import RunNode

#: A request on record, and its answer where one was given.
Asked: TypeAlias = tuple[SteeringRequest, SteeringAnswer | None]


@dataclass(frozen=True, slots=True)
class OperatorAct:
    """A request of an operator, and its effect.

    Attributes:
        request: The request.
        fate: Whether it took effect; None while there is no answer and no effect.
        paths: The nodes that it changed, at most ``PATHS_KEPT`` of them; the root's for a request
            on the whole run.
        count: How many nodes it changed.
        wall_ns: When its first effect was told, UTC, nanoseconds since the epoch, or None.
        objections: Why it did not act on further nodes, or on the run.
    """

    request: SteeringRequest
    fate: SteeringFate | None
    paths: tuple[str, ...] = ()
    count: int = 0
    wall_ns: int | None = None
    objections: tuple[SteeringObjection, ...] = ()

    @property
    def when_ns(self) -> int:
        """When it took effect, or else when it was asked, UTC, nanoseconds since the epoch."""
        return self.request.asked_ns if self.wall_ns is None else self.wall_ns


class _Effects:
    """The effects of one request."""

    __slots__ = ("first_ns", "paths", "request")

    def __init__(self, request: SteeringRequest) -> None:
        self.request = request
        self.paths: dict[str, None] = {}
        self.first_ns: int | None = None

    def add(self, path: str, wall_ns: int | None) -> None:
        self.paths[path] = None
        if wall_ns is not None and (self.first_ns is None or wall_ns < self.first_ns):
            self.first_ns = wall_ns


def acts_of(nodes: Iterable[RunNode], asked: Sequence[Asked] = ()) -> tuple[OperatorAct, ...]:
    """Return the acts of operators on a run, in the order of their effects.

    Args:
        nodes: The nodes of the run.
        asked: The requests on record.
    """
    effects: dict[str, _Effects] = {}
    for node in nodes:
        finished = node.finished
        if finished is not None and finished.request is not None:
            _note(effects, finished.request, node.path, node.ended_ns)
        for note in node.notes:
            if note.request is not None:
                _note(effects, note.request, node.path, note.wall_ns)
    answers = {request.id: (request, answer) for request, answer in asked}
    acts = [_act(item, answers.pop(key, (None, None))[1]) for key, item in effects.items()]
    acts += [_act(_Effects(request), answer) for request, answer in answers.values()]
    return tuple(sorted(acts, key=lambda act: (act.when_ns, act.request.asked_ns)))


def _note(
    effects: dict[str, _Effects], request: SteeringRequest, path: str, wall_ns: int | None
) -> None:
    found = effects.get(request.id)
    if found is None:
        found = effects[request.id] = _Effects(request)
    found.add(path, wall_ns)


def _act(effects: _Effects, answer: SteeringAnswer | None) -> OperatorAct:
    fate: SteeringFate | None = "done" if effects.paths else None
    count = len(effects.paths)
    if answer is not None:
        fate, count = answer.fate, max(count, answer.acted_count)
    return OperatorAct(
        effects.request,
        fate,
        tuple(effects.paths)[:PATHS_KEPT] or (() if answer is None else answer.paths),
        count,
        effects.first_ns,
        () if answer is None else answer.objections,
    )
