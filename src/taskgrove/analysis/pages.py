"""Summary plots, published as pages under a root.

``scans/my_motor_scan`` becomes ``<root>/scans/my_motor_scan/report.html``: the page
``my_motor_scan`` under the tab ``scans``, where logbooks look for it. A page is written beside
the former one and replaces it in one step: a reader sees one or the other, and an error leaves
the former page unchanged. Former versions are kept beside the page.

Threads: every method may be called from any thread, and from any number of processes that
share a root. A page is converted and written to the disk outside the root's lock
(``_taskgrove/lock``); under it names change hands and the index is updated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from taskgrove.analysis.drawn_page import DrawnPage, PageReference
from taskgrove.analysis.publishing.page_assets import with_shared_scripts
from taskgrove.analysis.publishing.page_files import (
    Beside,
    FileRecord,
    picture_name,
    remove_unnamed,
    with_addresses,
)
from taskgrove.analysis.publishing.page_folder import Folder
from taskgrove.analysis.publishing.page_header import with_header
from taskgrove.analysis.publishing.page_index import Index, rebuild_index, update_index
from taskgrove.analysis.publishing.page_names import (
    LOCK_FILE,
    OWN_FOLDER,
    PAGE_FILE,
    page_parts,
    version_file,
)
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.publishing.page_record import (
    PageRecord,
    VersionRecord,
    as_version,
    read_record,
    write_record,
)
from taskgrove.analysis.publishing.page_references import foreign_addresses
from taskgrove.analysis.publishing.page_thumbnail import kind_of, picture_of
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.summary_plots import draw_page, map_plots, render_figures
from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import AnalysisError, UsageError
from taskgrove.events import PageDetail

#: How large a file beside a page may be, unless the publisher says otherwise.
FILE_LIMIT_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class PublishedPage:
    """A page that was published.

    Attributes:
        display_name: Its place, such as ``scans/my_motor_scan``.
        file: Where it is, an absolute path.
        size_bytes: Its size, without the scripts that it shares with other pages.
        sha256: The hash of its content, in hex.
        published_ns: When, nanoseconds since the epoch, UTC.
        origin: Where it came from; None: not known.
        former: The page that it replaced, under its new name; None: there was none, or none
            is kept.
        foreign: Addresses on the network that its tags load something from; an author's own
            HTML may have such, figures have none.
        files: The files beside it.
        index_trouble: Why the index could not be updated; None: it is up to date. The page is
            published all the same, and the next publication repairs the index.
    """

    display_name: str
    file: Path
    size_bytes: int
    sha256: str
    published_ns: int
    origin: PageOrigin | None
    former: Path | None = None
    foreign: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    index_trouble: str | None = None

    def reference(self) -> dict[str, Any]:
        """Return the data that replace the plots in a result's payload."""
        told = PageReference(
            page=self.display_name,
            file=str(self.file),
            size_bytes=self.size_bytes,
            sha256=self.sha256,
        )
        if self.files:
            told["files"] = [str(self.place_of(file)) for file in self.files]
        return told

    def place_of(self, file: FileRecord) -> Path:
        """Return where a file beside the page is, an absolute path."""
        return self.file.parent / OWN_FOLDER / file.key / file.name

    def detail(self) -> PageDetail:
        """Return the page as the detail of a note of its run."""
        return PageDetail(self.display_name, str(self.file), self.size_bytes, self.sha256)


@dataclass(frozen=True, slots=True)
class PublishedPayload:
    """A payload whose plots were published.

    Attributes:
        payload: The payload, with :meth:`PublishedPage.reference` where each plot was; a plot
            that could not be published is ``{"page": its name, "error": why}``.
        pages: The pages, in order.
        problems: One line for each plot that could not be published, and for each page that
            is not in the index yet.
    """

    payload: Any
    pages: tuple[PublishedPage, ...]
    problems: tuple[str, ...]


class PagePublisher:
    """Publishes summary plots as pages under one root.

    Args:
        root: The folder of all pages; it is made when it is missing, and may be a link. Nothing
            is ever written outside it, and never through a link below it.
        keep_versions: How many former versions of each page are kept; 0: none.
        share_scripts: Keep large scripts once for all pages, under the root. False: in each
            page, which can then be carried elsewhere alone.
        lock_timeout_s: How long to wait for another writer, in seconds.
        file_limit_bytes: How large a file beside a page may be.
        clock: The source of wall-clock time.

    Raises:
        UsageError: ``keep_versions`` or ``lock_timeout_s`` is negative.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        keep_versions: int = 10,
        share_scripts: bool = True,
        lock_timeout_s: float = 30.0,
        file_limit_bytes: int = FILE_LIMIT_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if keep_versions < 0 or not lock_timeout_s >= 0:
            raise UsageError("keep_versions and lock_timeout_s are not negative")
        self.root = Path(root).absolute()
        self._keep_versions = keep_versions
        self._share_scripts = share_scripts
        self._lock_timeout_s = lock_timeout_s
        self._file_limit_bytes = file_limit_bytes
        self._clock = clock

    def publish(
        self,
        plots: ElogSummaryPlots,
        *,
        origin: PageOrigin | None = None,
        parameters: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
    ) -> PublishedPage:
        """Publish plots as their page, in place of the former page of that name.

        Args:
            plots: The plots, best converted already
                (:func:`~taskgrove.analysis.summary_plots.convert_payload`).
            origin: Where they come from; None: not known.
            parameters: The parameters of the analysis, in words, secrets redacted; they stand in
                the head of the page. None: not known.
            folder: To which relative paths of files belong; None: the current folder.

        Raises:
            AnalysisError: The display name cannot be a page, the figures cannot be drawn, a file
                cannot be read, or the page cannot be written; the former page is still there.
        """
        parts = page_parts(plots.display_name)
        drawn = draw_page(plots, folder)
        if isinstance(drawn, bytes):
            drawn = DrawnPage(drawn, ())
        html = render_figures(drawn.html, title=plots.display_name)
        picture = picture_of(html)
        with ExitStack() as stack:
            stack.enter_context(self._writing(plots.display_name))
            root = stack.enter_context(Folder.root(self.root))
            page = stack.enter_context(root.enter(*parts))
            beside = Beside(page, stack, self._file_limit_bytes)
            files = tuple(map(beside.stage, drawn.files))
            now_ns = self._clock.wall_ns()
            data = with_header(
                with_addresses(html, files), plots.display_name, now_ns, origin, parameters, files
            )
            if self._share_scripts:
                data = with_shared_scripts(data, len(parts), root)
            record = PageRecord(
                plots.display_name, now_ns, len(data), hashlib.sha256(data).hexdigest(), origin,
                foreign=foreign_addresses(data), kind=kind_of(html), files=files,
                picture="" if picture is None else picture_name(*picture),
            )  # fmt: skip
            staged = page.stage(data)
            stack.callback(page.remove, staged)
            own = stack.enter_context(root.enter(OWN_FOLDER))
            with own.locked(LOCK_FILE, self._lock_timeout_s):
                beside.keep(None if picture is None else picture.content, record.picture)
                return self._commit(root, page, staged, record)

    def publish_payload(
        self,
        payload: Any,
        *,
        origin: PageOrigin | None = None,
        parameters: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
    ) -> PublishedPayload:
        """Publish every summary plot of a payload; one that fails does not keep back another.

        Args:
            payload: The payload of a result; plots are found in it as by
                :func:`~taskgrove.analysis.summary_plots.collect_plots`.
            origin: Where it comes from; None: not known.
            parameters: As of :meth:`publish`.
            folder: As of :meth:`publish`.
        """
        pages: list[PublishedPage] = []
        problems: list[str] = []
        known: dict[tuple[str, Any], dict[str, Any]] = {}

        def publish(plots: ElogSummaryPlots) -> dict[str, Any]:
            figures = plots.figures
            is_drawn = isinstance(figures, (bytes, DrawnPage))
            key = plots.display_name, figures if is_drawn else id(figures)
            if key in known:  # payload and summary may hold the same plots
                return known[key]
            try:
                page = self.publish(plots, origin=origin, parameters=parameters, folder=folder)
            except AnalysisError as exc:
                problems.append(str(exc))
                known[key] = PageReference(page=plots.display_name, error=str(exc))
            else:
                pages.append(page)
                problems.extend(filter(None, (page.index_trouble,)))
                known[key] = page.reference()
            return known[key]

        changed = map_plots(payload, publish)
        return PublishedPayload(changed, tuple(pages), tuple(problems))

    def rebuild_index(self) -> Index:
        """Make the index anew from the pages that are there.

        Raises:
            AnalysisError: It cannot be written, or the root cannot be read.
        """
        with (
            self._writing("the index"),
            Folder.root(self.root) as root,
            root.enter(OWN_FOLDER) as own,
            own.locked(LOCK_FILE, self._lock_timeout_s),
        ):
            return rebuild_index(root, self._clock.wall_ns())

    def _commit(
        self, root: Folder, folder: Folder, staged: str, record: PageRecord
    ) -> PublishedPage:
        former = read_record(folder, record.display_name)
        kept = None if former is None else self._keep_former(folder, former)
        folder.commit(staged, PAGE_FILE)
        # From here on the page is published; all else can be made anew from it.
        trouble = None
        try:
            versions = () if former is None else former.versions
            if kept is not None:
                versions = (kept, *(one for one in versions if one.file != kept.file))
            record = msgspec.structs.replace(record, versions=self._pruned(folder, versions))
            write_record(folder, record)
            update_index(root, record, record.published_ns)
            folder.sweep()
            remove_unnamed(folder, record.named())
        except (OSError, AnalysisError) as exc:
            trouble = f"the index of {self.root} is not up to date: {exc}"
        return PublishedPage(
            display_name=record.display_name,
            file=folder.path / PAGE_FILE,
            size_bytes=record.size_bytes,
            sha256=record.sha256,
            published_ns=record.published_ns,
            origin=record.origin,
            former=None if kept is None else folder.path / kept.file,
            foreign=record.foreign,
            files=record.files,
            index_trouble=trouble,
        )

    def _keep_former(self, folder: Folder, former: PageRecord) -> VersionRecord | None:
        if self._keep_versions == 0 and not former.strange:
            return None
        name = version_file(former.published_ns)
        if folder.are_same(PAGE_FILE, name):  # a writer was killed after it had kept it
            return as_version(former, name)
        number = 1
        while folder.look(name) is not None:
            number += 1
            name = version_file(former.published_ns).replace(".html", f"-{number}.html")
        return as_version(former, name) if folder.keep(PAGE_FILE, name) else None

    def _pruned(
        self, folder: Folder, versions: tuple[VersionRecord, ...]
    ) -> tuple[VersionRecord, ...]:
        ours = [version for version in versions if not version.strange]
        gone = ours[self._keep_versions :]
        for version in gone:
            folder.remove(version.file)
        return tuple(version for version in versions if version not in gone)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise AnalysisError(
                f"{name} cannot be written below {self.root}: {exc.strerror or exc}",
                file=self.root,
                hint="the pages that were published before are unchanged",
            ) from exc
