"""A small picture of a page, made without a browser: the first image that the page holds.

Pages that scripts draw have none; the index shows their kind instead. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from io import BytesIO
from typing import Final, NamedTuple

from taskgrove.analysis.figures.html_document import ASSET_ATTRIBUTE, ORIGIN_MARK

#: A larger picture is made smaller, or left out, in bytes.
MOST_BYTES: Final = 300_000
#: The sides of a picture that was made smaller, in pixels.
_SIDE_PX: Final = (480, 360)
#: Images with a shorter side are icons, in pixels; where the sides are not told, in bytes.
_LEAST_PX: Final = 48
_LEAST_BYTES: Final = 1_500
_IMAGE: Final = re.compile(
    rb"data:image/(png|svg\+xml|jpeg|gif|webp);base64,([A-Za-z0-9+/]{100,}={0,2})"
)
_SUFFIXES: Final = {
    b"png": "png",
    b"svg+xml": "svg",
    b"jpeg": "jpg",
    b"gif": "gif",
    b"webp": "webp",
}
_LABEL: Final = re.compile(rb"<script " + ASSET_ATTRIBUTE.encode() + rb'="([\w.+-]{1,80})"')


class Picture(NamedTuple):
    """A picture: its file, and the end of its name."""

    content: bytes
    suffix: str


def picture_of(page: bytes) -> Picture | None:
    """Return a small picture of a page, or None where none is at hand."""
    start = max(0, page.find(b"<body"))
    for found in _IMAGE.finditer(page, start):
        with suppress(binascii.Error):
            content = base64.b64decode(found[2])
            suffix = _SUFFIXES[found[1]]
            if _is_icon(content, suffix):
                continue
            if len(content) <= MOST_BYTES:
                return Picture(content, suffix)
            smaller = None if suffix == "svg" else _smaller(content)
            if smaller is not None:
                return smaller
    return None


def kind_of(page: bytes) -> str:
    """Return in a word or two what draws a page."""
    if ORIGIN_MARK.encode() not in page:
        return "HTML"
    labels = b" ".join(_LABEL.findall(page)).lower()
    for sign, kind in ((b"panel", "Panel"), (b"plotly", "plotly"), (b"bokeh", "Bokeh")):
        if sign in labels:
            return kind
    body = page[page.find(ORIGIN_MARK.encode()) :]
    for sign, kind in ((b"<img ", "image"), (b"<table", "table"), (b'class="text"', "text")):
        if sign in body:
            return kind
    return "HTML"


def _is_icon(content: bytes, suffix: str) -> bool:
    if suffix == "png":
        sides = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    elif suffix == "gif":
        sides = int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
    else:
        return len(content) < _LEAST_BYTES
    return min(sides) < _LEAST_PX


def _smaller(content: bytes) -> Picture | None:
    try:
        from PIL import Image  # noqa: PLC0415 - slow, and needed for large pictures only

        with Image.open(BytesIO(content)) as image:
            image.thumbnail(_SIDE_PX)
            made = BytesIO()
            image.convert("RGBA" if "A" in image.mode else "RGB").save(made, format="PNG")
    except Exception:  # noqa: BLE001 - any fault of a picture: the index shows a word instead
        return None
    return Picture(made.getvalue(), "png")
