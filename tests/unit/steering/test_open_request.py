"""A request on its way through a run."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from taskgrove.events import SteeringAnswer, SteeringRequest
from taskgrove.steering.open_request import MOVES, OpenRequest, RequestMove, RequestStage
from tests.moves_walk import walk_cells

DONE = SteeringAnswer(request_id="q-1", fate="done")
LATE = SteeringAnswer(request_id="q-1", fate="too_late")

ASKS: dict[RequestMove, Callable[[OpenRequest], bool]] = {
    RequestMove.TAKE: OpenRequest.take,
    RequestMove.ANSWER: lambda asked: asked.answer(LATE),
    RequestMove.KEEP: OpenRequest.keep,
}


def in_stage(stage: RequestStage) -> OpenRequest:
    asked = OpenRequest(SteeringRequest(id="q-1", verb="abort"))
    ways: dict[RequestStage, list[Callable[[], bool]]] = {
        RequestStage.ASKED: [],
        RequestStage.TAKEN: [asked.take],
        RequestStage.ANSWERED: [asked.take, lambda: asked.answer(DONE)],
        RequestStage.KEPT: [asked.take, lambda: asked.answer(DONE), asked.keep],
    }
    for go in ways[stage]:
        assert go()
    return asked


def test_a_request_moves_as_its_table_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    walk_cells(
        MOVES,
        in_stage,
        lambda asked, move: ASKS[move](asked),
        lambda asked: asked.stage,
        lambda _: len(caplog.records),
    )


def test_it_is_handed_over_once_and_the_first_answer_stands() -> None:
    asked = in_stage(RequestStage.ASKED)
    assert [asked.take(), asked.take()] == [True, False]
    assert [asked.answer(DONE), asked.answer(LATE)] == [True, False]
    assert asked.given is DONE
    assert not asked.take()
