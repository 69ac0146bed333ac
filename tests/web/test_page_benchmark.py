"""The benchmark of the page runs; of its numbers only the bound of memory is asserted."""

from __future__ import annotations

import pytest

from benchmarks import page as bench
from tests.analysis.chromium import Chromium, Page
from tests.web.browsing import open_page

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.leaks("the clients of the benchmark are killed in the middle of a stream"),
]


def test_many_clients_are_told() -> None:
    with bench.served() as site:
        bench.large_run(site, "large", 50)
        rows = [*bench.broadcast_rows(site, 3, 50, 1), *bench.updates_rows(site, 3, 2_000)]
        assert all(row.value > 0 for row in rows)


def test_a_client_that_sleeps_costs_no_memory() -> None:
    with bench.served() as site:
        # Each update is about 250 bytes: all that are slept through would be 25 MB.
        assert bench.slept_through(site, 100_000) < 12 * bench.MB


def test_a_run_is_timed_with_lookers_on_and_without() -> None:
    with bench.served() as site:
        looked = bench.Looked(site, None, 0.3)
        assert min(looked.alone(), looked.watched()) > 0.3


@pytest.mark.browser
def test_events_are_timed_to_the_screen(chromium: Chromium, opened: list[Page]) -> None:
    with bench.served() as site:
        site.let_in(chromium)
        page = open_page(chromium, opened, site.new_link(), site.port)
        took = bench.to_screen(site, page, 3)
        assert len(took) == 3
        bench.large_run(site, "large", 50)
        assert bench.first_paint(site, chromium, 1) > 0
