"""A published page in its frame: the page, the scripts that it shares, its files and its picture.

Whatever an analysis wrote may stand in it. So it is shown in a sandbox: it has no origin, it
reads nothing of this server, opens nothing, and loads from nowhere else. The key in its address
(:mod:`taskgrove.web.page_keys`) opens this one page and what belongs to it.

Threads: the server's asyncio loop; the record and the disk are read on threads of the server.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from taskgrove.analysis.publishing.page_names import ASSET_FOLDER, OWN_FOLDER
from taskgrove.errors import StoreError, UnknownRunError
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import PageRow
from taskgrove.web import kept_pages
from taskgrove.web.page_keys import SHOWN, PageKeys

_POLICY: Final = "; ".join(
    (
        "sandbox allow-scripts allow-downloads",
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
        "style-src 'self' 'unsafe-inline' data:",
        "img-src 'self' data: blob:",
        "media-src data: blob:",
        "font-src data:",
        "connect-src {place} data: blob:",
        "worker-src blob: data:",
        "child-src blob: data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
#: In place of the headers of other answers. A page without an origin may load its own scripts,
#: and read its own files: whoever has the key may.
_HEADERS: Final = {
    "X-Frame-Options": "SAMEORIGIN",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cache-Control": "private, max-age=3600",
}
_KINDS: Final = {
    "html": "text/html",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}


class ShownPages:
    """Answers for the addresses of shown pages.

    Args:
        history: The record.
        keys: Reads the keys in the addresses.
    """

    def __init__(self, history: History, keys: PageKeys) -> None:
        self._history = history
        self._keys = keys

    async def answer(self, request: Request) -> Response:
        """Return the page, or a part of it, that an address names."""
        key, path = request.path_params["key"], request.path_params["path"]
        answer = await run_in_threadpool(partial(self._answer, key, path))
        # The entrance knows the host; the router allows no slash in the key.
        is_good = answer.status_code == HTTPStatus.OK
        place = f"{request.headers['host']}{SHOWN}{key}/" if is_good else ""
        answer.headers["Content-Security-Policy"] = _POLICY.format(place=place)
        return answer

    def _answer(self, key: str, path: str) -> Response:
        named = self._keys.page_of(key)
        if named is None:
            return _words(
                "This address is not good any more: load the page of the plot again.", 403
            )
        try:
            pages = self._history.pages(named[0])
        except (UnknownRunError, StoreError) as exc:
            return _words(exc.message, 503 if isinstance(exc, StoreError) else 404)
        page = next((one for one in pages if one.sequence == named[1]), None)
        found = None if page is None else _part(page, path)
        return found or _words("This is not kept any more, or was never here.", 404)


def _part(page: PageRow, path: str) -> Response | None:
    shared, own = f"{OWN_FOLDER}/{ASSET_FOLDER}/", f"{page.display_name}/"
    beside = f"{own}{OWN_FOLDER}/"
    if path.startswith(shared):
        name = path.removeprefix(shared)
        return _content(kept_pages.shared_content(page, name), name)
    if path.startswith(beside):
        name, _, file = path.removeprefix(beside).partition("/")
        return (
            _file(page, name, file)
            if file
            else _content(kept_pages.picture_content(page, name), name)
        )
    if path.startswith(own):
        name = path.removeprefix(own)
        return _content(kept_pages.page_content(page, name), name)
    return None


def _content(content: bytes | None, name: str) -> Response | None:
    if content is None:
        return None
    return Response(content, 200, _HEADERS, media_type=_KINDS[name.rpartition(".")[2]])


def _file(page: PageRow, key: str, name: str) -> Response | None:
    found = kept_pages.file_pieces(page, key, name)
    if found is None:
        return None
    size, pieces = found
    headers = {
        **_HEADERS,
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
    }
    return StreamingResponse(pieces, 200, headers, media_type="application/octet-stream")


def _words(words: str, code: int) -> Response:
    headers = {**_HEADERS, "Cache-Control": "no-store"}
    return Response(words, code, headers, media_type="text/plain")
