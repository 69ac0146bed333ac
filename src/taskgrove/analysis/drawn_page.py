"""A page that was drawn, with the files that belong to it, on its way to the publisher.

Pure data: it crosses from the process that drew the page to the one that publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AttachedFile:
    """A file that is published beside a page.

    Attributes:
        file: Where it is, an absolute path.
        label: What it is, in the author's words; empty: its name tells it.
    """

    file: str
    label: str = ""


@dataclass(frozen=True)
class DrawnPage:
    """A drawn page that has files; a page without files is bytes alone.

    Attributes:
        html: The page, UTF-8.
        files: Its files, in order, each once.
    """

    html: bytes
    files: tuple[AttachedFile, ...]


class PageReference(dict[str, Any]):
    """What stands in a result where its plots were: the data of a published page."""
