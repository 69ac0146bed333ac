"""The addresses of the page, and what each answers.

Everything passes the entrance first. What fails is told as data, never with a traceback.

Threads: the server's asyncio loop; functions that read the record run on threads of the server.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskgrove.errors import StoreError, TaskgroveError, UnknownRunError
from taskgrove.provenance import user_name, version_of
from taskgrove.store.history import History
from taskgrove.web import page_requests, record_answers
from taskgrove.web.entrance import COOKIE, COOKIE_S, Caller, Entrance, cookie_of
from taskgrove.web.page_files import HEADERS, page_file
from taskgrove.web.record_watch import RecordWatch
from taskgrove.web.streams import STREAMS, list_stream, run_stream

_LOGGER = logging.getLogger(__name__)

#: The address of the one-time link.
ENTER: Final = "/enter/"
_READING: Final = ("GET", "HEAD")
#: A page without a file beside it: nobody has been let in yet.
_PLAIN: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">{more}<title>taskgrove</title>'
    "<h1>taskgrove</h1><p>{words}</p></html>"
)
#: The browser asks for the page itself: a cookie of the same site comes along then.
_GO_ON: Final = '<meta http-equiv="refresh" content="0;url=/">'


def make_site(history: History, watch: RecordWatch, entrance: Entrance) -> ASGIApp:
    """Return the site of a record.

    Args:
        history: The record; it stays the caller's to close.
        watch: Watches the same record.
        entrance: Decides who may read and act.
    """
    site = _Site(history, watch, entrance)
    return _Guard(Starlette(routes=site.routes()), entrance)


class _Site:
    """The answers of the site; the arguments are those of :func:`make_site`."""

    def __init__(self, history: History, watch: RecordWatch, entrance: Entrance) -> None:
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
            get("/static/{name:path}", self._file),
            get("/favicon.ico", self._icon),
            get("/api/about", self._told(self._about)),
            get("/api/runs", self._told(self._list)),
            get("/api/stream", self._list_stream),
            get(run, self._told(self._of_run(record_answers.one_run))),
            get(f"{run}/rows", self._told(self._of_run(record_answers.rows_of_run))),
            get(f"{run}/why", self._told(self._of_run(record_answers.why_run))),
            get(f"{run}/node", self._told(self._node)),
            get(f"{run}/stream", self._run_stream),
            post(f"{run}/requests", self._asked(page_requests.ask)),
            post(f"{run}/verdicts", self._asked(page_requests.say)),
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

    def _told(self, function: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Return an endpoint that answers with what a function returns, on a thread."""

        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(partial(answer_of, partial(function, request)))

        return endpoint

    def _of_run(self, function: Callable[[History, str], Any]) -> Callable[[Request], Any]:
        return lambda request: function(self._history, request.path_params["run"])

    def _about(self, request: Request) -> Any:
        may_act = self._entrance.may_act(caller_of(request.scope))
        version = version_of("taskgrove") or ""
        return record_answers.about(
            self._history, may_act=may_act, who=user_name(), version=version
        )

    def _list(self, request: Request) -> Any:
        names = request.query_params.keys()
        given = {name: request.query_params.getlist(name) for name in names}
        return record_answers.list_of_runs(self._history, given)

    def _node(self, request: Request) -> Any:
        run, path = request.path_params["run"], request.query_params.get("path", "")
        # A run that somebody looks at is at hand; reading all nodes of a large one takes a while.
        feed = self._watch.feed_of(run)
        known = None if feed is None else feed.node(path)
        return known or record_answers.one_node(self._history, run, path)

    def _asked(self, function: Callable[[History, str, bytes], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0] != "application/json":
                return refusal("a request is sent as application/json", 415)
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > page_requests.BODY_LIMIT:
                    return refusal("the request is too large", 413)
            call = partial(function, self._history, request.path_params["run"], body)
            return await run_in_threadpool(partial(answer_of, call))

        return endpoint

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

        why_not = self._entrance.objection(caller_of(scope))
        if why_not is None or (
            scope["path"].startswith(ENTER) and scope["method"] == "GET" and self._may_enter(scope)
        ):
            await self._inner(scope, receive, send_guarded)
            return
        is_data = scope["path"].startswith("/api/")
        answer = refusal(why_not, 403) if is_data else plain_page(why_not, 403)
        await answer(scope, receive, send_guarded)

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


def answer_of(call: Callable[[], Any]) -> Response:
    """Return what a function returns as JSON, or its error with the status that fits."""
    try:
        return json_answer(call())
    except TaskgroveError as exc:
        code = 404 if isinstance(exc, UnknownRunError) else 400
        return refusal(exc.message, 503 if isinstance(exc, StoreError) else code, exc.hint)
    except Exception as exc:
        _LOGGER.error("a request of the page failed: %s: %s", type(exc).__name__, exc)
        _LOGGER.debug("where", exc_info=exc)
        return refusal(f"unexpected {type(exc).__name__}; the log of the server tells more", 500)


def json_answer(value: Any, code: int = 200) -> Response:
    """Return plain data as JSON: ASCII, so that no text can be cut or misread."""
    content = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(content, code, media_type="application/json")


def refusal(words: str, code: int, hint: str | None = None) -> Response:
    """Return an error as JSON: ``error``, and ``hint`` where there is one."""
    told = {"error": words} if hint is None else {"error": words, "hint": hint}
    return json_answer(told, code)


def plain_page(words: str, code: int, more: str = "") -> Response:
    """Return a page of our own words that needs no other file."""
    return Response(_PLAIN.format(words=words, more=more), code, media_type="text/html")


def file_answer(name: str, request: Request) -> Response:
    """Return a file of the page, or 304 where the browser has it."""
    found = page_file(name)
    if found is None:
        return plain_page("there is no such file", 404)
    content, kind, mark = found
    headers = {"ETag": mark, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == mark:
        return Response(b"", 304, headers)
    return Response(content, 200, headers, media_type=kind)
