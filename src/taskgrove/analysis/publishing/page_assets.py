"""Scripts that many pages need, kept once beside them.

A rendered page is complete in itself. When it is published, each large script (plotly.js alone
has 4.8 MB) moves to one file for all pages of the root. The page refers to that file by a
relative path, which works on a web server and from the disk. The name of the file holds the hash
of its content, so one page cannot change a script of another.
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
    """Return a page, ``depth`` folders below the root, with its large scripts kept there."""
    scripts = [item for item in _SCRIPT.finditer(page) if len(item[2]) >= SHARED_FROM_BYTES]
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
    # The file may have been cut short by a full disk, or changed by hand.
    if kept is None or hashlib.sha256(kept).hexdigest() != digest:
        assets.replace(name, content)
    return name
