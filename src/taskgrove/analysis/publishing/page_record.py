"""The record beside each page: its origin, and its former versions."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from taskgrove.analysis.publishing.page_files import FileRecord
from taskgrove.analysis.publishing.page_folder import Folder
from taskgrove.analysis.publishing.page_names import PAGE_FILE, RECORD_FILE, VERSION
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.errors import AnalysisError

DecodedT = TypeVar("DecodedT")

#: Version of the form of records and of the index.
SCHEMA: Final = 1


class VersionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A former version of a page.

    Attributes:
        file: Its name in the page's folder.
        published_ns: When it was published, nanoseconds since the epoch, UTC.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
        origin: Where it came from; None: not known.
        strange: It was not published by taskgrove, so it is never removed.
        picture: A small picture of it, in the folder of the page's files; empty: none.
        files: The files beside it.
    """

    file: str
    published_ns: int
    size_bytes: int
    sha256: str
    origin: PageOrigin | None = None
    strange: bool = False
    picture: str = ""
    files: tuple[FileRecord, ...] = ()


class PageRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page, as it is kept in ``page.json`` and listed in ``index.json``.

    Attributes:
        display_name: The page's place.
        published_ns: When it was published, nanoseconds since the epoch, UTC.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
        origin: Where it came from; None: not known, it was not published by taskgrove.
        versions: Its former versions, the latest first.
        foreign: Addresses on the network that it loads something from.
        strange: It was not published by taskgrove.
        kind: What draws it, in a word; empty: not known.
        picture: A small picture of it, in the folder of the page's files; empty: none.
        files: The files beside it.
    """

    display_name: str
    published_ns: int
    size_bytes: int
    sha256: str
    origin: PageOrigin | None = None
    versions: tuple[VersionRecord, ...] = ()
    foreign: tuple[str, ...] = ()
    strange: bool = False
    kind: str = ""
    picture: str = ""
    files: tuple[FileRecord, ...] = ()

    def named(self) -> set[str]:
        """Return the names, in the folder of the page's files, that it and its versions need."""
        whole: tuple[PageRecord | VersionRecord, ...] = (self, *self.versions)
        return {one.picture for one in whole} | {it.key for one in whole for it in one.files}


def read_record(folder: Folder, display_name: str) -> PageRecord | None:
    """Return the record of the page in a folder, or None when there is no page.

    The page itself decides. ``page.json`` counts only for files that are there, and for the page
    only if the hash is the same: a writer may have been killed between the two files, and another
    program may have written the page.
    """
    found = folder.look(PAGE_FILE)
    if found is None:
        return None
    content = folder.read(PAGE_FILE) or b""
    digest = hashlib.sha256(content).hexdigest()
    known = decoded(folder.read(RECORD_FILE), PageRecord)
    versions = tuple(_versions(folder, known))
    if known is not None and known.sha256 == digest:
        return msgspec.structs.replace(known, display_name=display_name, versions=versions)
    return PageRecord(
        display_name, found.st_mtime_ns, len(content), digest, versions=versions, strange=True
    )


def as_version(record: PageRecord, file: str) -> VersionRecord:
    """Return the record of a page that a new one replaces."""
    return VersionRecord(
        file, record.published_ns, record.size_bytes, record.sha256, record.origin,
        record.strange, record.picture, record.files,
    )  # fmt: skip


def write_record(folder: Folder, record: PageRecord) -> None:
    """Keep a record beside its page.

    Raises:
        OSError: It cannot be written.
        AnalysisError: The file that is there was made by another program.
    """
    if _is_strange(folder.read(RECORD_FILE)):
        raise AnalysisError(
            f"{folder.path / RECORD_FILE} was not written by taskgrove and is left as it is",
            file=folder.path / RECORD_FILE,
            hint="move it away, and the next page that is published writes it",
        )
    folder.replace(RECORD_FILE, msgspec.json.format(msgspec.json.encode(record), indent=1))


def _is_strange(data: bytes | None) -> bool:
    """Return whether a file is valid JSON but no record; a damaged one was ours."""
    found = decoded(data, object)
    return found is not None and not (isinstance(found, dict) and "display_name" in found)


def decoded(data: bytes | None, kind: type[DecodedT]) -> DecodedT | None:
    """Return the content of a file of JSON, or None where it is missing or damaged."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(data or b"", type=kind)
    return None


def _versions(folder: Folder, record: PageRecord | None) -> list[VersionRecord]:
    known = {version.file: version for version in record.versions} if record else {}
    found = []
    for name in folder.names():
        seen = folder.look(name) if VERSION.fullmatch(name) else None
        if seen is None:
            continue
        if name in known:
            found.append(known[name])
        else:
            digest = hashlib.sha256(folder.read(name) or b"").hexdigest()
            found.append(VersionRecord(name, seen.st_mtime_ns, seen.st_size, digest))
    return sorted(found, key=lambda version: (version.published_ns, version.file), reverse=True)
