"""Published pages on the disk, found again by what the record says of them.

The record tells a place and a hash. A page counts only where its place ends with its display name
and its content has that hash, so that a record cannot make the server show another file. Folders
are entered by name and never through a link; only the root itself may be one.

Threads: any thread may call any function; each opens what it reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from taskgrove.analysis.publishing.page_files import FILE_KEY, FileRecord
from taskgrove.analysis.publishing.page_folder import Folder
from taskgrove.analysis.publishing.page_names import (
    ASSET_FOLDER,
    OWN_FOLDER,
    PAGE_FILE,
    PICTURE,
    RECORD_FILE,
    VERSION,
    page_parts,
)
from taskgrove.analysis.publishing.page_record import PageRecord, VersionRecord, decoded
from taskgrove.errors import AnalysisError

_ASSET: Final = re.compile(r"[\w.+-]{1,120}\.(js|css)")


class PageOfRecord(Protocol):
    """What the record says of a page."""

    @property
    def display_name(self) -> str:
        """The page's place."""

    @property
    def file(self) -> str:
        """Where it was written."""

    @property
    def sha256(self) -> str:
        """The hash of its content, in hex."""


class KeptPage(NamedTuple):
    """What is known of a page beside its content.

    Attributes:
        file: The name of the page in its folder: itself, or a former version.
        kind: What draws it, in a word; empty: not known.
        picture: The name of a small picture; empty: none.
        files: The files beside it.
        foreign: Addresses on the network that it would load something from.
    """

    file: str
    kind: str = ""
    picture: str = ""
    files: tuple[FileRecord, ...] = ()
    foreign: tuple[str, ...] = ()


def kept_page(page: PageOfRecord) -> KeptPage | None:
    """Return what is known of a page; None: this version of it is not kept any more."""
    with suppress(OSError, AnalysisError), _folder_of(page) as folder:
        record = decoded(folder.read(RECORD_FILE), PageRecord)
        if record is not None:
            if record.sha256 == page.sha256 and folder.look(PAGE_FILE) is not None:
                files = _sound(record.files)
                return KeptPage(
                    PAGE_FILE, record.kind, _picture(record.picture), files, record.foreign
                )
            for version in record.versions:
                if version.sha256 == page.sha256 and _is_there(folder, version):
                    files = _sound(version.files)
                    return KeptPage(version.file, "", _picture(version.picture), files)
        elif _has_hash(folder.read(PAGE_FILE), page.sha256):  # its record is gone
            return KeptPage(PAGE_FILE)
    return None


def page_content(page: PageOfRecord, name: str) -> bytes | None:
    """Return the page with the content that the record knows; None: it is not kept any more.

    Args:
        page: The page.
        name: A name that it has or had: a new version gives it another one.
    """
    if name != PAGE_FILE and VERSION.fullmatch(name) is None:
        return None
    known = kept_page(page)
    with suppress(OSError, AnalysisError), _folder_of(page) as folder:
        content = folder.read(known.file) if known is not None else None
        return content if _has_hash(content, page.sha256) else None
    return None


def shared_content(page: PageOfRecord, name: str) -> bytes | None:
    """Return a script or a style that pages of the same root share; None: there is none."""
    if _ASSET.fullmatch(name) is None:
        return None
    with (
        suppress(OSError, AnalysisError),
        _root_of(page) as root,
        root.enter(OWN_FOLDER, ASSET_FOLDER, create=False) as assets,
    ):
        return assets.read(name)
    return None


def picture_content(page: PageOfRecord, name: str) -> bytes | None:
    """Return the small picture of a page; None: there is none of that name."""
    if PICTURE.fullmatch(name) is None:
        return None
    with (
        suppress(OSError, AnalysisError),
        _folder_of(page) as folder,
        folder.enter(OWN_FOLDER, create=False) as own,
    ):
        return own.read(name)
    return None


def file_pieces(page: PageOfRecord, key: str, name: str) -> tuple[int, Iterator[bytes]] | None:
    """Return the size and the content, in pieces, of a file beside a page; None: there is none."""
    known = kept_page(page)
    if known is None or not any((it.key, it.name) == (key, name) for it in known.files):
        return None
    with (
        suppress(OSError, AnalysisError),
        _folder_of(page) as folder,
        folder.enter(OWN_FOLDER, key, create=False) as place,
    ):
        return place.pieces(name)
    return None


@contextmanager
def _root_of(page: PageOfRecord) -> Iterator[Folder]:
    file, parts = Path(page.file), (*page_parts(page.display_name), PAGE_FILE)
    if not file.is_absolute() or file.parts[-len(parts) :] != parts:
        raise AnalysisError(f"{page.file} is not the place of the page {page.display_name}")
    with Folder.existing(file.parents[len(parts) - 1]) as root:
        yield root


@contextmanager
def _folder_of(page: PageOfRecord) -> Iterator[Folder]:
    with _root_of(page) as root, root.enter(*page_parts(page.display_name), create=False) as folder:
        yield folder


def _is_there(folder: Folder, version: VersionRecord) -> bool:
    return VERSION.fullmatch(version.file) is not None and folder.look(version.file) is not None


def _has_hash(content: bytes | None, sha256: str) -> bool:
    return content is not None and hashlib.sha256(content).hexdigest() == sha256


def _sound(files: tuple[FileRecord, ...]) -> tuple[FileRecord, ...]:
    return tuple(file for file in files if file.is_sound and FILE_KEY.fullmatch(file.key))


def _picture(name: str) -> str:
    return name if PICTURE.fullmatch(name) else ""
