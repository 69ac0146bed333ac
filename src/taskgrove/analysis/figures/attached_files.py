"""Files among figures: each is published beside the page, and named on it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from taskgrove.analysis.drawn_page import AttachedFile
from taskgrove.analysis.results import check_display_name
from taskgrove.errors import AnalysisError

#: A page has so many files at most.
MOST_FILES: Final = 100
_DEEPEST: Final = 10


def without_files(
    figures: Any, folder: str | Path | None = None
) -> tuple[Any, tuple[AttachedFile, ...]]:
    """Return figures without the paths among them, and the files that these name.

    Args:
        figures: Figures, as of :class:`~taskgrove.analysis.results.ElogSummaryPlots`.
        folder: To which relative paths belong; None: the current folder.

    Raises:
        AnalysisError: A file is not there, is no regular file, or has a name that no link can
            show; or there are too many.
    """
    found: dict[str, AttachedFile] = {}
    rest = _rest(figures, "", Path(folder or ".").absolute(), found, 0)
    if len(found) > MOST_FILES:
        raise AnalysisError(
            f"a page has {MOST_FILES} files at most, not {len(found)}",
            hint="pack them into one archive",
        )
    if not found:
        return figures, ()
    # A document of an author's own stays the whole page: in a frame it could not read its files.
    is_alone = isinstance(rest, list) and len(rest) == 1
    return (rest[0] if is_alone else rest), tuple(found.values())


def _rest(value: Any, label: str, folder: Path, found: dict[str, AttachedFile], depth: int) -> Any:
    if isinstance(value, PurePath):
        one = _attached(folder / value, label)
        found.setdefault(one.file, one)
        return None
    if depth > _DEEPEST:  # refused when it is drawn
        return value
    if isinstance(value, Mapping):
        kept = {key: _rest(item, str(key), folder, found, depth + 1) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None} or None
    if isinstance(value, (list, tuple)):
        items = [_rest(item, label, folder, found, depth + 1) for item in value]
        return [item for item in items if item is not None] or None
    return value


def _attached(file: PurePath, label: str) -> AttachedFile:
    try:
        status = os.stat(file)
        check_display_name(file.name)
    except (OSError, ValueError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise _no_file(file, said or str(exc)) from exc
    if not stat.S_ISREG(status.st_mode):
        raise _no_file(file, "it is no regular file", hint="pack a folder into an archive")
    if not os.access(file, os.R_OK):
        raise _no_file(file, "it may not be read")
    return AttachedFile(str(file), label)


def _no_file(file: PurePath, said: str, hint: str | None = None) -> AnalysisError:
    return AnalysisError(f"the file {str(file)!r} cannot be published: {said}", hint=hint)
