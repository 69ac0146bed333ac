"""Bytes and text: HTML as it is, image files as images, everything else as escaped text."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from html import escape
from typing import Final

from taskgrove.analysis.figures.part import Part
from taskgrove.errors import AnalysisError

#: The first bytes of image files, and their media types.
_IMAGES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg[\s>]", re.DOTALL),
     "image/svg+xml"),
)  # fmt: skip
_DOCUMENT: Final = re.compile(r"\ufeff?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype|html[\s>])",
                              re.IGNORECASE | re.DOTALL)  # fmt: skip
_CHARSET: Final = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
#: How far into a document its character set is looked for, in bytes (as browsers do).
_HEAD_BYTES: Final = 1024


def render(obj: str | bytes | bytearray | memoryview, label: str) -> Part:
    """Return bytes (HTML, or an image file) or text as a part.

    Text is shown unchanged, tags included, unless its class has a method ``__html__``, as
    ``markupsafe.Markup`` has.
    """
    if isinstance(obj, str):
        if hasattr(obj, "__html__"):
            # UTF-8 has no half surrogate pairs: each becomes '?'.
            return _html(obj, obj.encode("utf-8", "replace"))
        return Part(f'<pre class="text">{escape(obj)}</pre>')
    data = bytes(obj)
    for magic, media_type in _IMAGES:
        if magic.match(data):
            return Part(image_tag(data, media_type, label))
    return _html(_decoded(data), data)


def image_tag(data: bytes, media_type: str, label: str, width_px: int | None = None) -> str:
    """Return an ``<img>`` that holds its file; nothing in it can act on the page."""
    width = "" if width_px is None else f' width="{width_px}"'
    content = base64.b64encode(data).decode("ascii")
    return f'<img alt="{escape(label)}"{width} src="data:{media_type};base64,{content}">'


def _html(text: str, data: bytes) -> Part:
    if _DOCUMENT.match(text) is None:
        return Part(text, raw=True)
    # A whole document among others gets a frame of its own, where its styles and scripts
    # cannot reach the rest of the page.
    frame = (
        '<iframe class="document" sandbox="allow-scripts allow-popups allow-downloads" '
        f'srcdoc="{escape(text)}"></iframe>'
    )
    return Part(frame, raw=True, document=data)


def _decoded(data: bytes) -> str:
    declared = _CHARSET.search(data[:_HEAD_BYTES])
    for encoding in ("utf-8-sig", *((declared[1].decode("ascii"),) if declared else ())):
        with suppress(UnicodeDecodeError, LookupError):
            return data.decode(encoding)
    raise AnalysisError(
        f"{len(data)} bytes are neither HTML nor an image of a known kind "
        f"(they begin with {data[:8]!r})",
        hint="HTML bytes are UTF-8, or name their character set; images are PNG, JPEG, GIF, "
        "WebP or SVG",
    )
