"""The addresses under which runs are started, resumed and recovered.

Threads: the functions run on threads of the server.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from taskgrove.errors import UsageError
from taskgrove.store.history import History
from taskgrove.web import resume_requests, starting
from taskgrove.web.answers import asked_endpoint, told_endpoint
from taskgrove.web.start_settings import Starts, StartSettings


def start_routes(starts: Starts | None, history: History) -> list[Route]:
    """Return the addresses under which runs are started.

    Args:
        starts: How they are started; None: every start is refused.
        history: The record; it stays the caller's to close.
    """
    site = _StartSite(starts, history)
    get, post = partial(Route, methods=["GET"]), partial(Route, methods=["POST"])
    run = "/api/runs/{run:str}"
    return [
        get("/api/maps", told_endpoint(site.maps)),
        post("/api/dry-runs", asked_endpoint(site.dry_run, starting.START_BODY_LIMIT)),
        post("/api/starts", asked_endpoint(site.start, starting.START_BODY_LIMIT)),
        get("/api/starts/{run:str}", told_endpoint(site.started)),
        post(f"{run}/resume-plan", asked_endpoint(site.resume_plan)),
        post(f"{run}/resume", asked_endpoint(site.resume)),
        post(f"{run}/recover", asked_endpoint(site.recover)),
    ]


class _StartSite:
    """The answers; the arguments are those of :func:`start_routes`."""

    def __init__(self, starts: Starts | None, history: History) -> None:
        self._given = starts
        self._history = history

    @property
    def _starts(self) -> Starts:
        if self._given is None:
            raise UsageError("this server starts no runs")
        return self._given

    def maps(self, _request: Request) -> Any:
        return starting.maps_of(StartSettings() if self._given is None else self._given.settings)

    def dry_run(self, _request: Request, body: bytes) -> Any:
        return starting.dry_run(self._starts, body)

    def start(self, _request: Request, body: bytes) -> Any:
        return starting.start(self._starts, self._history, body)

    def started(self, request: Request) -> Any:
        run_id = request.path_params["run"]
        return starting.started(self._starts.runners, self._history, run_id)

    def resume_plan(self, request: Request, _body: bytes) -> Any:
        run = request.path_params["run"]
        return resume_requests.resume_plan(self._starts, self._history, run)

    def resume(self, request: Request, body: bytes) -> Any:
        run = request.path_params["run"]
        return resume_requests.resume(self._starts, self._history, run, body)

    def recover(self, request: Request, _body: bytes) -> Any:
        return resume_requests.recover(self._starts, self._history, request.path_params["run"])
