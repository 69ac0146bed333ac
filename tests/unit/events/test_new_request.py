"""Making a request on a live run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskgrove.errors import UsageError
from taskgrove.events.new_request import WHO_LIMIT, WHY_LIMIT, new_request
from taskgrove.provenance import user_name


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
