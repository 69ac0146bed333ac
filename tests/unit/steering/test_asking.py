"""The functions that make requests on a live run, with a desk that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskgrove import steering
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import UsageError
from taskgrove.events import SteeringAnswer, SteeringRequest
from taskgrove.provenance import user_name
from taskgrove.steering.asking import WHO_LIMIT, WHY_LIMIT, new_request


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


def test_who_asks_may_say_another_name_beside_the_user() -> None:
    request = new_request("abort", who=" ann ")
    assert (request.who, request.user) == ("ann", user_name())
    assert new_request("abort", who="  ").who == user_name()


def test_no_two_requests_have_one_id() -> None:
    assert len({new_request("abort").id for _ in range(500)}) == 500


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: new_request("retri"), "did you mean 'retry'"),  # type: ignore[arg-type]
        (lambda: new_request("skip", "  "), "skip needs the path of a step"),
        (lambda: new_request("abort", "a/b"), "abort acts on the whole run"),
        (lambda: new_request("continue", "a"), "continue acts on the whole run"),
        (lambda: new_request("abort", why="x" * (WHY_LIMIT + 1)), "the reason has 4,097"),
        (lambda: new_request("abort", who="x" * (WHO_LIMIT + 1)), "the name has 201"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError) as told:
        make()
    assert words in str(told.value)
