"""The addresses of published plots, and what each answers.

Threads: the server's asyncio loop; the record and the disk are read on threads of the server.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from taskgrove.store.history import History
from taskgrove.web.answers import given_in, told_endpoint
from taskgrove.web.page_keys import SHOWN, PageKeys
from taskgrove.web.plot_answers import list_of_plots, one_plot
from taskgrove.web.shown_pages import ShownPages


def plot_routes(history: History, keys: PageKeys) -> list[Route]:
    """Return the routes of plots.

    Args:
        history: The record; it stays the caller's to close.
        keys: Makes and reads the keys of shown pages.
    """

    def all_plots(request: Request) -> Any:
        return list_of_plots(history, keys, given_in(request))

    def plot(request: Request) -> Any:
        run, sequence = request.path_params["run"], request.path_params["sequence"]
        return one_plot(history, keys, run, sequence)

    get = partial(Route, methods=["GET"])
    return [
        get(f"{SHOWN}{{key:str}}/{{path:path}}", ShownPages(history, keys).answer),
        get("/api/plots", told_endpoint(all_plots)),
        get("/api/plots/{run:str}/{sequence:int}", told_endpoint(plot)),
    ]
