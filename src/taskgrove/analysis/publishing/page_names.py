"""Where a page is kept under its root, and which names the root keeps for itself.

::

    <root>/index.html  index.json              the index of all pages
    <root>/_taskgrove/lock  assets/            the lock of writers; scripts that pages share
    <root>/<display_name>/report.html          the page
    <root>/<display_name>/report-<time>.html   its former versions
    <root>/<display_name>/page.json            where it came from
    <root>/<display_name>/_taskgrove/          its files, and small pictures of its versions
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from taskgrove.analysis.results import check_display_name
from taskgrove.errors import AnalysisError

PAGE_FILE: Final = "report.html"
RECORD_FILE: Final = "page.json"
INDEX_PAGE: Final = "index.html"
INDEX_FILE: Final = "index.json"
OWN_FOLDER: Final = "_taskgrove"
ASSET_FOLDER: Final = "assets"
LOCK_FILE: Final = "lock"
#: How a file is called while it is written.
TEMPORARY: Final = re.compile(r"\.taskgrove-[0-9a-f]+\.tmp")
#: How a former version of a page is called, after the time when it was published.
VERSION: Final = re.compile(r"report-\d{8}T\d{6}\.\d{6}Z(-\d+)?\.html")
#: How the small picture of a page is called.
PICTURE: Final = re.compile(r"[0-9a-f]{16}\.(png|svg|jpg|gif|webp)")

_KEPT: Final = frozenset({PAGE_FILE, RECORD_FILE, INDEX_PAGE, INDEX_FILE, OWN_FOLDER})


def page_parts(display_name: str) -> tuple[str, ...]:
    """Return the folders below the root that lead to a page.

    Raises:
        AnalysisError: It is no display name, or uses a name that is kept for files
            beside the pages.
    """
    parts = tuple(check_display_name(display_name).split("/"))
    for part in parts:
        if part in _KEPT or TEMPORARY.fullmatch(part) or VERSION.fullmatch(part):
            raise AnalysisError(
                f"{display_name!r} cannot be a page: {part!r} is the name of a file of the pages",
                hint="choose another display name",
            )
    return parts


def version_file(published_ns: int) -> str:
    """Return the name under which the version published at that time is kept."""
    instant = datetime.fromtimestamp(published_ns / 1e9, UTC)
    return f"report-{instant.strftime('%Y%m%dT%H%M%S.%f')}Z.html"


def iso_time(wall_ns: int) -> str:
    """Return nanoseconds since the epoch as ``2026-03-01T12:30:05Z``."""
    return datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
