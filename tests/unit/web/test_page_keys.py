"""Keys of shown pages: whole, for one page, and for a while only."""

from __future__ import annotations

import base64

import pytest

from taskgrove.testing import ManualClock
from taskgrove.web.entrance import Entrance
from taskgrove.web.page_keys import PageKeys


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(clock: ManualClock) -> PageKeys:
    return PageKeys(b"k" * 32, clock)


@pytest.mark.parametrize("run_id", ["run-1", "a.b.c", "ünï/€", ""])
def test_a_key_names_one_page(keys: PageKeys, run_id: str) -> None:
    key = keys.key_of(run_id, 17)
    assert keys.page_of(key) == (run_id, 17)
    assert key != keys.key_of(run_id, 18)
    assert not set(key) & set("/+=.")


def test_a_key_lasts_an_hour_and_not_more_than_two(keys: PageKeys, clock: ManualClock) -> None:
    for _ in range(5):
        key = keys.key_of("run-1", 1)
        clock.advance(3_599)
        assert keys.page_of(key) == ("run-1", 1)
        clock.advance(3_601)
        assert keys.page_of(key) is None
        clock.advance(777)


def test_a_key_stays_the_same_for_a_while(keys: PageKeys, clock: ManualClock) -> None:
    clock.advance(3_600 - clock.wall_ns() / 1e9 % 3_600)
    key = keys.key_of("run-1", 1)
    clock.advance(3_599)
    assert keys.key_of("run-1", 1) == key
    clock.advance(1)
    assert keys.key_of("run-1", 1) != key


def test_a_changed_key_opens_nothing(keys: PageKeys) -> None:
    raw = base64.urlsafe_b64decode(keys.key_of("run-1", 1) + "==")
    for place in (0, 31, 32, len(raw) - 1):
        changed = bytearray(raw)
        changed[place] ^= 1
        assert keys.page_of(base64.urlsafe_b64encode(changed).decode().rstrip("=")) is None
    assert keys.page_of(PageKeys(b"x" * 32, keys.clock).key_of("run-1", 1)) is None
    for text in ("", "x", "ä", "=" * 50, "A" * 5_000, "!" * 60):
        assert keys.page_of(text) is None


def test_a_cookie_is_no_key_and_a_key_no_cookie(keys: PageKeys, clock: ManualClock) -> None:
    entrance = Entrance(b"k" * 32, clock=clock)
    cookie = entrance.use_link(entrance.new_link())
    assert entrance.knows(cookie)
    assert keys.page_of(str(cookie)) is None
    assert not entrance.knows(keys.key_of("run-1", 1))
