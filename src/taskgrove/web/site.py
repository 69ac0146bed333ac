"""The addresses of the page, and what each answers.

Everything passes the entrance first. What fails is told as data, never with a traceback.

Threads: the server's asyncio loop; functions that read the record run on threads of the server.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskgrove.errors import UsageError
from taskgrove.provenance import user_name, version_of
from taskgrove.store.history import History
from taskgrove.web import page_requests, record_answers
from taskgrove.web.answers import (
    asked_endpoint,
    file_answer,
    given_in,
    plain_page,
    refusal,
    told_endpoint,
)
from taskgrove.web.entrance import COOKIE, COOKIE_S, Caller, Entrance, cookie_of
from taskgrove.web.page_keys import SHOWN, PageKeys
from taskgrove.web.plot_site import plot_routes
from taskgrove.web.record_watch import RecordWatch
from taskgrove.web.start_settings import Starts
from taskgrove.web.start_site import start_routes
from taskgrove.web.static_files import HEADERS
from taskgrove.web.streams import STREAMS, list_stream, run_stream

_LOGGER = logging.getLogger(__name__)

#: The address of the one-time link.
ENTER: Final = "/enter/"
_READING: Final = ("GET", "HEAD")
#: The browser asks for the page itself: a cookie of the same site comes along then.
_GO_ON: Final = '<meta http-equiv="refresh" content="0;url=/">'


def make_site(
    history: History, watch: RecordWatch, entrance: Entrance, starts: Starts | None = None
) -> ASGIApp:
    """Return the site of a record.

    Args:
        history: The record; it stays the caller's to close.
        watch: Watches the same record.
        entrance: Decides who may read and act.
        starts: How runs are started; None: none is.
    """
    site = _Site(history, watch, entrance, starts)
    return _Guard(Starlette(routes=site.routes()), entrance)


class _Site:
    """The answers of the site; the arguments are those of :func:`make_site`."""

    def __init__(
        self, history: History, watch: RecordWatch, entrance: Entrance, starts: Starts | None
    ) -> None:
        self._starts = starts
        self._history = history
        self._watch = watch
        self._entrance = entrance

    def routes(self) -> list[Route]:
        get, post = partial(Route, methods=["GET"]), partial(Route, methods=["POST"])
        run = "/api/runs/{run:str}"
        return [
            get(f"{ENTER}{{key:str}}", self._enter),
            get("/", self._page),
            get("/runs/{run:str}", self._page),
            get("/start", self._page),
            get("/plots", self._page),
            get("/plots/{run:str}/{sequence:int}", self._page),
            get("/static/{name:path}", self._file),
            get("/favicon.ico", self._icon),
            get("/api/about", told_endpoint(self._about)),
            get("/api/runs", told_endpoint(self._list)),
            get("/api/stream", self._list_stream),
            get(run, told_endpoint(self._of_run(record_answers.one_run))),
            get(f"{run}/rows", told_endpoint(self._of_run(record_answers.rows_of_run))),
            get(f"{run}/why", told_endpoint(self._of_run(record_answers.why_run))),
            get(f"{run}/node", told_endpoint(self._node)),
            get(f"{run}/usual", told_endpoint(self._of_run(record_answers.usual_of_nodes))),
            get(f"{run}/output", told_endpoint(self._output)),
            get(f"{run}/stream", self._run_stream),
            post(f"{run}/requests", asked_endpoint(self._to_run(page_requests.ask))),
            post(f"{run}/verdicts", asked_endpoint(self._to_run(page_requests.say))),
            *start_routes(self._starts, self._history),
            *plot_routes(self._history, PageKeys(self._entrance.key, self._entrance.clock)),
        ]

    # -- the page -------------------------------------------------------------------------------

    async def _enter(self, request: Request) -> Response:
        cookie = self._entrance.use_link(request.path_params["key"])
        if cookie is None:
            return plain_page("this link was used, or is unknown; ask the server for another", 403)
        answer = plain_page("You are let in.", 200, _GO_ON)
        answer.set_cookie(COOKIE, cookie, max_age=COOKIE_S, httponly=True, samesite="strict")
        return answer

    async def _page(self, request: Request) -> Response:
        return file_answer("index.html", request)

    async def _file(self, request: Request) -> Response:
        return file_answer(request.path_params["name"], request)

    async def _icon(self, request: Request) -> Response:
        return file_answer("icon.svg", request)

    # -- data -----------------------------------------------------------------------------------

    def _of_run(self, function: Callable[[History, str], Any]) -> Callable[[Request], Any]:
        return lambda request: function(self._history, request.path_params["run"])

    def _about(self, request: Request) -> Any:
        may_act = self._entrance.may_act(caller_of(request.scope))
        version = version_of("taskgrove") or ""
        told = record_answers.about(
            self._history, may_act=may_act, who=user_name(), version=version
        )
        maps = () if self._starts is None else self._starts.settings.maps
        may_resume = may_act and self._starts is not None
        return {**told, "may_start": may_act and bool(maps), "may_resume": may_resume}

    def _list(self, request: Request) -> Any:
        return record_answers.list_of_runs(self._history, given_in(request))

    def _node(self, request: Request) -> Any:
        run, path = request.path_params["run"], request.query_params.get("path", "")
        # A run that somebody looks at is at hand; reading all nodes of a large one takes a while.
        feed = self._watch.feed_of(run)
        known = None if feed is None else feed.node(path)
        return known or record_answers.one_node(self._history, run, path)

    def _to_run(
        self, function: Callable[[History, str, bytes], Any]
    ) -> Callable[[Request, bytes], Any]:
        return lambda request, body: function(self._history, request.path_params["run"], body)

    def _output(self, request: Request) -> Any:
        if not self._entrance.knows(caller_of(request.scope).cookie):  # files are not for all
            raise UsageError("the output is for those whom the link let in")
        run, given = request.path_params["run"], request.query_params
        path, file = given.get("path", ""), given.get("file", "")
        return record_answers.output_of_node(self._history, run, path, file)

    # -- streams --------------------------------------------------------------------------------

    async def _list_stream(self, _request: Request) -> Response:
        return self._stream(list_stream(self._watch))

    async def _run_stream(self, request: Request) -> Response:
        told = request.query_params.get("from", "") or request.headers.get("last-event-id", "")
        position = int(told) if told.isascii() and told.isdecimal() else 0
        return self._stream(run_stream(self._watch, request.path_params["run"], position))

    def _stream(self, content: AsyncIterator[bytes]) -> Response:
        if self._watch.count >= STREAMS:
            return refusal(f"{STREAMS} browsers look already", 503)
        answer = StreamingResponse(content, media_type="text/event-stream")
        answer.headers["X-Accel-Buffering"] = "no"  # a proxy hands each message on at once
        return answer


class _Guard:
    """Lets through what the entrance allows, and gives every answer its headers."""

    def __init__(self, inner: ASGIApp, entrance: Entrance) -> None:
        self._inner = inner
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in kept
                    ),
                ]
            await send(message)

        why_not = self._objection(scope)
        if why_not is None or (
            scope["path"].startswith(ENTER) and scope["method"] == "GET" and self._may_enter(scope)
        ):
            await self._inner(scope, receive, send_guarded)
            return
        is_data = scope["path"].startswith("/api/")
        answer = refusal(why_not, 403) if is_data else plain_page(why_not, 403)
        await answer(scope, receive, send_guarded)

    def _objection(self, scope: Scope) -> str | None:
        caller = caller_of(scope)
        if scope["path"].startswith(SHOWN) and caller.is_reading:
            # A frame without an origin has no cookie; the key in the address decides.
            caller = dataclasses.replace(caller, origin=None)
            if self._entrance.is_known_place(caller):
                return None
        return self._entrance.objection(caller)

    def _may_enter(self, scope: Scope) -> bool:
        """Return whether only the cookie is missing, which the link gives."""
        return self._entrance.is_known_place(caller_of(scope))


def caller_of(scope: Scope) -> Caller:
    """Return who makes a request."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Caller(
        host=headers.get("host", ""),
        origin=headers.get("origin"),
        cookie=cookie_of(headers),
        is_reading=scope["method"] in _READING,
    )
