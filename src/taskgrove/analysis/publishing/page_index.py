"""The index of a root of pages: ``index.json`` for programs, ``index.html`` for people.

The page has no script, and its style is a file of its own, so that it can be shown under a
Content-Security-Policy as strict as a facility's. Both files can be made anew from the records
of the pages.

Threads: callers of :func:`update_index` and :func:`rebuild_index` hold the root's lock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from html import escape
from itertools import groupby
from typing import Final
from urllib.parse import quote

import msgspec

from taskgrove.analysis.publishing.page_assets import keep_asset
from taskgrove.analysis.publishing.page_folder import Folder
from taskgrove.analysis.publishing.page_header import file_link
from taskgrove.analysis.publishing.page_names import (
    ASSET_FOLDER,
    INDEX_FILE,
    INDEX_PAGE,
    OWN_FOLDER,
    PAGE_FILE,
    PICTURE,
    VERSION,
    page_parts,
)
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.publishing.page_record import (
    SCHEMA,
    PageRecord,
    VersionRecord,
    decoded,
    read_record,
)
from taskgrove.analysis.publishing.page_words import counted, shown, size_text, time_tag
from taskgrove.errors import AnalysisError

_POLICY: Final = "script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
#: In every index that was written here: where its style is.
_OUR_STYLE: Final = f'href="{OWN_FOLDER}/{ASSET_FOLDER}/'.encode()
_STYLE: Final = """\
:root { color-scheme: light dark; --line: #d0d7de; --quiet: #59636e; --link: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --quiet: #9198a1; --link: #4493f8; }
  body { background: #0d1117; color: #f0f6fc; }
}
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
ul { list-style: none; margin: 0; padding: 0; }
.pages > li { position: relative; border-top: 1px solid var(--line); padding: .6rem 0;
  display: grid; gap: 0 .9rem;
  grid-template-columns: 10rem minmax(0, 1fr); align-items: start; }
.tile { display: flex; height: 6.5rem; align-items: center; justify-content: center;
  border: 1px solid var(--line); border-radius: 6px; color: var(--quiet);
  overflow: hidden; text-decoration: none; }
.tile img { width: 100%; height: 100%; object-fit: contain; background: #fff; }
.name { font-weight: 600; }
.name::before { content: ""; position: absolute; left: 0; top: .6rem;
  width: 10rem; height: 6.5rem; }
@media (max-width: 30rem) { .pages > li { grid-template-columns: 6rem minmax(0, 1fr); }
  .tile, .name::before { height: 4.5rem; } .name::before { width: 6rem; } }
a { color: var(--link); overflow-wrap: anywhere; }
p, summary, details li { color: var(--quiet); font-size: .875rem; margin: .1rem 0;
  overflow-wrap: anywhere; }
summary { cursor: pointer; }
details ul { padding-left: 1rem; }
"""


class Index(msgspec.Struct, frozen=True):
    """The content of ``index.json``.

    Attributes:
        schema: Version of this form.
        updated_ns: When it was written, nanoseconds since the epoch, UTC.
        pages: Every page, by its display name.
    """

    schema: int
    updated_ns: int
    pages: tuple[PageRecord, ...]


def update_index(root: Folder, record: PageRecord, now_ns: int) -> None:
    """Put one page into the index, unless another program made the index that is there."""
    known = _read_index(root)
    records = _scan(root) if known is None else {page.display_name: page for page in known.pages}
    records[record.display_name] = record
    _write_index(root, records, now_ns)


def rebuild_index(root: Folder, now_ns: int) -> Index:
    """Make the index anew from the pages, unless another program made the one that is there."""
    return _write_index(root, _scan(root), now_ns)


def _read_index(root: Folder) -> Index | None:
    index = decoded(root.read(INDEX_FILE), Index)
    return index if index is not None and index.schema == SCHEMA else None


def _scan(root: Folder) -> dict[str, PageRecord]:
    found = {}
    for path, _, files, _ in os.fwalk(".", follow_symlinks=False, dir_fd=root.fd):
        display_name = os.path.relpath(path, ".").replace(os.sep, "/")
        if PAGE_FILE not in files or display_name == ".":
            continue
        # A folder that no page may have was not made by us, and is not ours to list.
        with suppress(AnalysisError), root.enter(*page_parts(display_name), create=False) as folder:
            record = read_record(folder, display_name)
            if record is not None:
                found[display_name] = record
    return found


def _write_index(root: Folder, records: Mapping[str, PageRecord], now_ns: int) -> Index:
    _check_ours(root)
    index = Index(SCHEMA, now_ns, tuple(records[name] for name in sorted(records, key=_natural)))
    with root.enter(OWN_FOLDER, ASSET_FOLDER) as assets:
        style = keep_asset(assets, "index", _STYLE.encode(), "css")
    # Not durable: an index that a power failure damages is made anew from the pages.
    data = msgspec.json.format(msgspec.json.encode(index), indent=1)
    root.replace(INDEX_FILE, data, durable=False)
    page = _page_of(index, style).encode("utf-8", "replace")
    root.replace(INDEX_PAGE, page, durable=False)
    return index


def _check_ours(root: Folder) -> None:
    """Refuse to overwrite an index that another program made."""
    page, data = root.read(INDEX_PAGE), root.read(INDEX_FILE)
    if page:
        strange = None if _OUR_STYLE in page else INDEX_PAGE
    else:  # beside a page of ours it would be ours, and spoilt
        strange = INDEX_FILE if data and _read_index(root) is None else None
    if strange is not None:
        raise AnalysisError(
            f"{root.path / strange} was not written by taskgrove and is left as it is",
            file=root.path / strange,
            hint="move it away, and the next page that is published writes the index",
        )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which run_2 comes before run_10."""
    return [
        (0, int(piece), "") if piece.isdecimal() and len(piece) <= 18 else (1, 0, piece)
        for piece in re.split(r"([0-9]+)", name)
    ]


def _page_of(index: Index, style: str) -> str:
    # The newest first, the tabs by their newest page; of one instant in the order of names.
    named = sorted(index.pages, key=lambda page: (_natural(_tab(page)), _natural(_name(page))))
    newest: dict[str, int] = {}
    for page in named:
        newest[_tab(page)] = max(page.published_ns, newest.get(_tab(page), 0))
    tabs = {tab: place for place, tab in enumerate(sorted(newest, key=lambda tab: -newest[tab]))}
    pages = sorted(named, key=lambda page: (tabs[_tab(page)], -page.published_ns))
    sections = "".join(_section(tab, tuple(members)) for tab, members in groupby(pages, key=_tab))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        "<title>Summary plots</title>\n"
        f'<link rel="stylesheet" href="{OWN_FOLDER}/{ASSET_FOLDER}/{style}">\n'
        "</head>\n<body>\n<h1>Summary plots</h1>\n"
        f"<p>{counted(len(pages), 'page')}, as of {time_tag(index.updated_ns)}</p>\n"
        f"{sections}</body>\n</html>\n"
    )


def _section(tab: str, pages: Iterable[PageRecord]) -> str:
    head = f"<h2>{shown(tab)}</h2>\n" if tab else ""
    return f'<section>\n{head}<ul class="pages">\n{"".join(map(_item, pages))}</ul>\n</section>\n'


def _item(page: PageRecord) -> str:
    folder = _address(page.display_name)
    lines = [
        f'<li>{_tile(folder, page)}\n<div><a class="name" href="{folder}/{PAGE_FILE}">'
        f"{shown(_name(page))}</a>\n",
        f"<p>{time_tag(page.published_ns)} · {size_text(page.size_bytes)}"
        f"{_origin(page.origin)}</p>\n",
    ]
    if page.foreign:
        lines.append(f"<p>loads something from the network: {shown(page.foreign[0])}</p>\n")
    files = [file for file in page.files if file.is_sound]
    if files:
        links = " · ".join(file_link(f"{folder}/", file) for file in files)
        lines.append(f"<p>{counted(len(files), 'file')}: {links}</p>\n")
    versions = [version for version in page.versions if VERSION.fullmatch(version.file)]
    if versions:
        lines.append(
            f"<details><summary>{counted(len(versions), 'former version')}</summary>\n<ul>\n"
            + "".join(_version(folder, version) for version in versions)
            + "</ul>\n</details>\n"
        )
    return "".join([*lines, "</div></li>\n"])


def _tile(folder: str, page: PageRecord) -> str:
    """Return a small picture of a page, or its kind in a word; beside it stands the rest."""
    if PICTURE.fullmatch(page.picture):
        address = f"{folder}/{OWN_FOLDER}/{page.picture}"
        inside = f'<img src="{address}" alt="" loading="lazy" width="160" height="104">'
    else:
        inside = shown(page.kind or "page")
    return f'<span class="tile" aria-hidden="true">{inside}</span>'


def _version(folder: str, version: VersionRecord) -> str:
    return (
        f'<li><a href="{folder}/{quote(version.file)}">{time_tag(version.published_ns)}</a>'
        f" · {size_text(version.size_bytes)}{_origin(version.origin)}</li>\n"
    )


def _origin(origin: PageOrigin | None) -> str:
    if origin is None:
        return " · origin not known"
    told = [
        ("analysis", origin.analysis),
        ("experiment", origin.experiment),
        ("experiment run", str(origin.experiment_run)),
        ("run", origin.run_id),
        ("as", origin.path),
    ]
    return "".join(f" · {word} {shown(value)}" for word, value in told if value)


def _tab(page: PageRecord) -> str:
    return " / ".join(page.display_name.split("/")[:-1])


def _name(page: PageRecord) -> str:
    return page.display_name.rpartition("/")[2]


def _address(display_name: str) -> str:
    # "./": a name such as "javascript:x" is a folder and not a scheme.
    return "./" + "/".join(quote(part, safe="") for part in display_name.split("/"))
