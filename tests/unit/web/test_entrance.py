"""Who may read and act through the page."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from taskgrove.testing import ManualClock
from taskgrove.web.entrance import COOKIE_S, Caller, Entrance, cookie_of, kept_key, known_names

HERE = "127.0.0.1:8642"


def let_in(entrance: Entrance) -> str:
    cookie = entrance.use_link(entrance.new_link())
    assert cookie is not None
    return cookie


def caller(cookie: str | None = None, **fields: object) -> Caller:
    made = Caller(host=HERE, origin=None, cookie=cookie, is_reading=True)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_a_link_lets_in_once() -> None:
    entrance = Entrance(b"k" * 32)
    link = entrance.new_link()
    assert entrance.use_link("another") is None
    cookie = entrance.use_link(link)
    assert cookie is not None
    assert entrance.use_link(link) is None
    assert entrance.objection(caller(cookie)) is None
    assert entrance.objection(caller(cookie, is_reading=False)) is None


def test_reading_and_acting_need_the_cookie() -> None:
    entrance = Entrance(b"k" * 32)
    let_in(entrance)
    for wrong in (None, "", "x", "1.x.y", "x.y", f"9{let_in(entrance)}"):
        assert entrance.objection(caller(wrong)) is not None, wrong
        assert not entrance.may_act(caller(wrong))


def test_the_cookie_outlives_the_server_and_not_its_key() -> None:
    cookie = let_in(Entrance(b"k" * 32))
    assert Entrance(b"k" * 32).objection(caller(cookie)) is None
    assert Entrance(b"l" * 32).objection(caller(cookie)) is not None


def test_a_cookie_grows_old() -> None:
    clock = ManualClock()
    entrance = Entrance(b"k" * 32, clock=clock)
    cookie = let_in(entrance)
    clock.advance(COOKIE_S - 100)
    assert entrance.knows(cookie)
    clock.advance(200)
    assert not entrance.knows(cookie)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8642", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1@evil",
        "localhost/x", "127.0.0.1 evil", "a,127.0.0.1",
    ],
)  # fmt: skip
def test_other_names_of_this_server_are_refused(host: str) -> None:
    entrance = Entrance(b"k" * 32, open_reading=True)
    words = entrance.objection(caller(let_in(entrance), host=host))
    assert words is not None
    assert "--known-host" in words
    assert not entrance.is_known_place(caller(host=host))


@pytest.mark.parametrize("host", [HERE, "localhost", "LOCALHOST:1", "[::1]:8642", "page.site:443"])
def test_known_names_are_let_through(host: str) -> None:
    entrance = Entrance(b"k" * 32, known_hosts=known_names(["Page.Site:8443"]))
    assert entrance.objection(caller(let_in(entrance), host=host)) is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:8643", "file://127.0.0.1:8642"]
)
def test_another_origin_is_refused(origin: str) -> None:
    entrance = Entrance(b"k" * 32, open_reading=True)
    for is_reading in (True, False):
        request = caller(let_in(entrance), origin=origin, is_reading=is_reading)
        assert "another site" in str(entrance.objection(request))


@pytest.mark.parametrize("origin", [f"http://{HERE}", f"https://{HERE}"])
def test_the_own_origin_is_let_through(origin: str) -> None:
    entrance = Entrance(b"k" * 32)
    request = caller(let_in(entrance), origin=origin, is_reading=False)
    assert entrance.objection(request) is None


def test_open_reading_opens_nothing_else() -> None:
    entrance = Entrance(b"k" * 32, open_reading=True)
    assert entrance.objection(caller()) is None
    assert not entrance.may_act(caller())
    assert entrance.objection(caller(is_reading=False)) is not None


def test_a_page_for_reading_only_lets_nobody_act() -> None:
    entrance = Entrance(b"k" * 32, read_only=True)
    cookie = let_in(entrance)
    assert entrance.objection(caller(cookie)) is None
    assert not entrance.may_act(caller(cookie))
    assert "--read-only" in str(entrance.objection(caller(cookie, is_reading=False)))


def test_only_the_newest_links_wait_to_be_used() -> None:
    entrance = Entrance(b"k" * 32)
    first = entrance.new_link()
    links = [entrance.new_link() for _ in range(20)]
    assert entrance.use_link(first) is None
    assert all(entrance.use_link(link) for link in links)


def test_the_key_is_kept_and_private(tmp_path: Path) -> None:
    file = tmp_path / "state" / "page.key"
    key = kept_key(file)
    assert kept_key(file) == key
    assert len(key) == 32
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert os.stat(file.parent).st_mode & 0o777 == 0o700
    file.write_bytes(b"short")
    with pytest.raises(OSError, match="does not hold a key"):
        kept_key(file)


def test_the_cookie_is_found_among_others() -> None:
    assert cookie_of({"cookie": "a=b; taskgrove_page=x.y.z; c=d"}) == "x.y.z"
    assert cookie_of({"cookie": "xtaskgrove_page=x"}) is None
    assert cookie_of({}) is None
