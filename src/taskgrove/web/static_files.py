"""The files of the page: they come with the package, and nothing is built or fetched.

Pure but for reading the files, once each.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Final

_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Every file that a browser may ask for.
FILES: Final = (
    "index.html",
    "style.css",
    "icon.svg",
    "main.js",
    "acting.js",
    "live.js",
    "node_view.js",
    "plots_view.js",
    "resuming.js",
    "row_words.js",
    "run_view.js",
    "runs_view.js",
    "start_view.js",
    "starting.js",
    "tree.js",
    "words.js",
    "vendor/lit-html.js",
)
#: What a page of this server may do: nothing but its own files and its own answers.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types lit-html",
    )
)
#: The headers of every answer.
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@functools.cache
def page_file(name: str) -> tuple[bytes, str, str] | None:
    """Return a file's content, its media type and its mark (ETag); None: there is no such file."""
    if name not in FILES:
        return None
    content = resources.files("taskgrove.web").joinpath("static", *name.split("/")).read_bytes()
    kind = _KINDS[f".{name.rpartition('.')[2]}"]
    return content, kind, f'"{hashlib.sha256(content).hexdigest()[:20]}"'
