"""The functions that make requests on a live run, with a desk that keeps them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskgrove import steering
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.events import SteeringAnswer, SteeringRequest
from taskgrove.provenance import user_name


class KeepingDesk:
    """A desk that answers everything with done."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, SteeringRequest, float | None]] = []

    def ask(
        self, run: str, request: SteeringRequest, *, wait_s: float | None = None
    ) -> SteeringAnswer:
        self.asked.append((run, request, wait_s))
        return SteeringAnswer(request_id=request.id, fate="done")


ASKS: dict[str, Callable[[KeepingDesk], SteeringAnswer]] = {
    "abort": lambda desk: steering.abort(desk, "r", why=" stop ", stop_finally=True, wait_s=3.0),
    "pause": lambda desk: steering.pause(desk, "r", why=" stop ", before="a/b", wait_s=3.0),
    "continue": lambda desk: steering.continue_run(desk, "r", why=" stop ", wait_s=3.0),
    "retry": lambda desk: steering.retry(
        desk, "r", "a/b", why=" stop ", abort_first=True, wait_s=3.0
    ),
    "skip": lambda desk: steering.skip(desk, "r", "a/b", why=" stop ", wait_s=3.0),
    "accept": lambda desk: steering.accept(desk, "r", "a/b", why=" stop ", wait_s=3.0),
    "fail": lambda desk: steering.fail(desk, "r", "a/b", why=" stop ", wait_s=3.0),
}


@pytest.mark.parametrize("verb", ASKS)
def test_each_function_asks_for_what_its_name_says(verb: str) -> None:
    desk = KeepingDesk()
    before_ns = SYSTEM_CLOCK.wall_ns()
    answer = ASKS[verb](desk)
    ((run, request, wait_s),) = desk.asked
    assert (run, wait_s, answer.request_id) == ("r", 3.0, request.id)
    assert (request.verb, request.why, request.who) == (verb, "stop", user_name())
    assert request.path == ("" if verb in ("abort", "continue") else "a/b")
    assert request.abort_first is (verb == "retry")
    assert request.stop_finally is (verb == "abort")
    assert request.user == user_name()
    assert request.host
    assert before_ns <= request.asked_ns <= SYSTEM_CLOCK.wall_ns()
