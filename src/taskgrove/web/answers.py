"""Answers of the server: JSON, errors as data, files of the page; and endpoints on threads."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from taskgrove.errors import MapError, StoreError, TaskgroveError, UnknownRunError
from taskgrove.web.page_requests import BODY_LIMIT
from taskgrove.web.runner_processes import RunnerError
from taskgrove.web.static_files import page_file

_LOGGER = logging.getLogger(__name__)
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
#: A page without a file beside it: nobody has been let in yet.
_PLAIN: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">{more}<title>taskgrove</title>'
    "<h1>taskgrove</h1><p>{words}</p></html>"
)


def told_endpoint(function: Callable[[Request], Any]) -> Endpoint:
    """Return an endpoint that answers with what a function returns, on a thread."""

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(partial(answer_of, partial(function, request)))

    return endpoint


def asked_endpoint(function: Callable[[Request, bytes], Any], limit: int = BODY_LIMIT) -> Endpoint:
    """Return an endpoint that hands a request with its body to a function, on a thread.

    Args:
        function: It returns plain data.
        limit: How large the body may be, in bytes.
    """

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return refusal("a request is sent as application/json", 415)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return refusal("the request is too large", 413)
        return await run_in_threadpool(partial(answer_of, partial(function, request, bytes(body))))

    return endpoint


def given_in(request: Request) -> dict[str, list[str]]:
    """Return the parameters of a request's address, each with its values."""
    names = request.query_params.keys()
    return {name: request.query_params.getlist(name) for name in names}


def answer_of(call: Callable[[], Any]) -> Response:
    """Return what a function returns as JSON, or its error with the status that fits."""
    try:
        return json_answer(call())
    except RunnerError as exc:
        return json_answer(exc.facts, 409 if exc.facts.get("code") == "map-changed" else 400)
    except MapError as exc:
        return json_answer(map_error_facts(exc), 400)
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


def map_error_facts(error: MapError) -> dict[str, Any]:
    """Return what is wrong with a map or an argument, and where, as plain data."""
    told = {"hint": error.hint, "file": error.file, "line": error.line, "path": error.map_path}
    known = {name: value for name, value in told.items() if value is not None}
    return {"error": error.problem, "code": error.code, "problems": list(error.problems), **known}
