"""A record with runs, the server of its page in this process, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.web.entrance import Entrance
from taskgrove.web.serving import PageServer
from tests.analysis.chromium import Chromium, Page, why_no_chromium
from tests.store.recording import new_recorder, run_recorded, tree
from tests.web.page_process import Answer, ask, cookie_of


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test see the key or the record of another."""
    for kind in ("data", "state"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / f".{kind}"))


@dataclass
class Site:
    """A server in this process, a browser's cookie, and the record."""

    server: PageServer
    cookie: str
    record: Path
    store: Store

    def get(self, path: str, **more: Any) -> Answer:
        return ask(self.server.port, path, cookie=self.cookie, **more)

    def post(self, path: str, data: Any, **more: Any) -> Answer:
        return ask(self.server.port, path, cookie=self.cookie, data=data, **more)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record with a run that ended well, ``good``, and one that did not, ``bad``."""
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        run_recorded(recorder, "good", tree(3))
        run_recorded(recorder, "bad", tree(2, fails=True))
    return file


@pytest.fixture
def entrance() -> Entrance:
    return Entrance(b"k" * 32)


@pytest.fixture
def site(record: Path, entrance: Entrance) -> Iterator[Site]:
    with Store.open(record) as store:
        server = PageServer(History(store), entrance)
        server.start()
        try:
            yield Site(server, cookie_of(server.port, server.new_link()), record, store)
        finally:
            server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if (reason := why_no_chromium()) is not None:
        pytest.skip(reason)
    browser = Chromium()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def opened(chromium: Chromium) -> Iterator[list[Page]]:
    """The pages that a test opens; each is closed."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.close()
