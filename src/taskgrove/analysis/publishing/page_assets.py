"""Scripts that many pages need, kept once beside them.

A page comes with everything in it, so that it can be shown wherever it is carried. Where pages
are published each of the large scripts (plotly.js alone has 4.8 MB) is taken out and kept in one
file for all pages of the root; the page names it by a relative path, which holds for a web
server and for a page opened as a file. The file's name holds the hash of its content: nothing
that one page brings can change another's.
"""

from __future__ import annotations

import hashlib
import html
import re
from typing import Final

from taskgrove.analysis.figures.html_document import ASSET_ATTRIBUTE
from taskgrove.analysis.publishing.page_folder import Folder
from taskgrove.analysis.publishing.page_names import ASSET_FOLDER, OWN_FOLDER

#: A script smaller than this stays in its page, in bytes.
SHARED_FROM_BYTES: Final = 30_000

_SCRIPT: Final = re.compile(
    rb"<script " + ASSET_ATTRIBUTE.encode() + rb'="([\w.+-]{1,80})">(.*?)</script>', re.DOTALL
)


def with_shared_scripts(page: bytes, depth: int, root: Folder) -> bytes:
    """Return a page with its large scripts kept under the root.

    Args:
        page: The page.
        depth: How many folders below the root it will lie.
        root: The root.

    Raises:
        OSError: A script cannot be written.
    """
    scripts = [match for match in _SCRIPT.finditer(page) if _is_large(match)]
    if not scripts:
        return page
    pieces, end = [], 0
    with root.enter(OWN_FOLDER, ASSET_FOLDER) as assets:
        for match in scripts:
            name = keep_asset(assets, match.group(1).decode("ascii"), match.group(2), "js")
            address = html.escape(f"{'../' * depth}{OWN_FOLDER}/{ASSET_FOLDER}/{name}")
            pieces.append(page[end : match.start()])
            pieces.append(f'<script charset="utf-8" src="{address}"></script>'.encode())
            end = match.end()
    return b"".join([*pieces, page[end:]])


def keep_asset(assets: Folder, label: str, content: bytes, suffix: str) -> str:
    """Keep a file in the folder of assets, unless it is there already; return its name."""
    digest = hashlib.sha256(content).hexdigest()
    name = f"{label}-{digest[:16]}.{suffix}"
    kept = assets.read(name)
    # What is there may have been cut short by a full disk, or changed by hand.
    if kept is None or hashlib.sha256(kept).hexdigest() != digest:
        assets.replace(name, content)
    return name


def _is_large(match: re.Match[bytes]) -> bool:
    return len(match.group(2)) >= SHARED_FROM_BYTES
