"""Published plots as the page shows them, as plain data: the JSON twin of both of its views.

Threads: any thread may call any function; each reads the record and the pages' folders anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from taskgrove.analysis.describing import words_of_parameters
from taskgrove.analysis.publishing.page_names import OWN_FOLDER
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.store.history import History
from taskgrove.store.queries.published_pages import PublishedPageRow
from taskgrove.web.kept_pages import KeptPage, kept_page
from taskgrove.web.page_keys import SHOWN, PageKeys
from taskgrove.web.page_requests import read_limit

#: How many plots a list shows, and at most.
LIST_PLOTS: Final = 60
MOST_PLOTS: Final = 1_000
#: The parameters of the list, as in the address of the page.
PARAMETERS: Final = ("run", "name", "limit")


def list_of_plots(
    history: History, keys: PageKeys, given: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return published plots, the newest first.

    Args:
        history: The record.
        keys: Makes the addresses of pictures.
        given: The parameters of the address, each with its values.

    Raises:
        UsageError: A parameter is unknown, or its value cannot be read.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    for name in given:
        if name not in PARAMETERS:
            raise UsageError(
                f"there is no parameter {name!r}",
                hint=did_you_mean(name, PARAMETERS) or f"allowed: {', '.join(PARAMETERS)}",
            )
    run, named, limit_text = (_last(given, name) for name in PARAMETERS)
    limit = read_limit(limit_text, LIST_PLOTS, MOST_PLOTS)
    found = history.newest_pages(run or None, named=named, limit=limit + 1)
    return {
        "plots": [_plain(row, kept_page(row), keys) for row in found[:limit]],
        "has_more": len(found) > limit,
        "is_narrow": bool(run or named),
    }


def one_plot(history: History, keys: PageKeys, run: str, sequence: int) -> dict[str, Any]:
    """Return one published plot: where it is shown, where it comes from, and what is beside it.

    Raises:
        UnknownRunError: There is no such run.
        UsageError: The run has no such plot.
        StoreError: The record cannot be read.
    """
    of_run = history.newest_pages(run, limit=MOST_PLOTS)
    row = next((one for one in of_run if one.sequence == sequence), None)
    if row is None:
        raise UsageError(f"run {run} has no plot {sequence}", hint="its page lists all it has")
    kept = kept_page(row)
    analyses = [one for one in history.analyses(row.run_id) if one.path == row.path]
    described = next((one for one in reversed(analyses) if one.sequence < sequence), None)
    return {
        "plot": _plain(row, kept, keys),
        "frame": "" if kept is None else _address(row, keys, kept.file),
        "foreign": [] if kept is None else list(kept.foreign),
        "files": [] if kept is None else _files(row, kept, keys),
        "summary": "" if described is None else described.summary,
        "parameters": {} if described is None else words_of_parameters(described.detail.parameters),
        "beside": _beside(of_run, row),
        "newer": _newer(history, row),
    }


def _beside(of_run: list[PublishedPageRow], row: PublishedPageRow) -> list[dict[str, Any]]:
    """Return the plots of the same run in order, of each place the newest, or the one at hand."""
    places = {one.display_name: one for one in reversed(of_run)} | {row.display_name: row}
    return [
        {"sequence": one.sequence, "display_name": name, **_place(name)}
        for name, one in places.items()
    ]


def _newer(history: History, row: PublishedPageRow) -> dict[str, Any] | None:
    """Return the plot that took the place of this one, if there is one."""
    for one in history.newest_pages(place=row.display_name, limit=LIST_PLOTS):
        if one.file == row.file and one.wall_ns > row.wall_ns:
            return {"run_id": one.run_id, "sequence": one.sequence, "published_ns": one.wall_ns}
    return None


def _plain(row: PublishedPageRow, kept: KeptPage | None, keys: PageKeys) -> dict[str, Any]:
    picture = ""
    if kept is not None and kept.picture:
        picture = _address(row, keys, f"{OWN_FOLDER}/{kept.picture}")
    return {
        "run_id": row.run_id,
        "command": row.command,
        "sequence": row.sequence,
        "path": row.path,
        "display_name": row.display_name,
        **_place(row.display_name),
        "published_ns": row.wall_ns,
        "size_bytes": row.size_bytes,
        "analysis": row.analysis,
        "experiment": row.experiment,
        "experiment_run": row.experiment_run,
        "is_kept": kept is not None,
        "kind": "" if kept is None else kept.kind,
        "picture": picture,
    }


def _files(row: PublishedPageRow, kept: KeptPage, keys: PageKeys) -> list[dict[str, Any]]:
    return [
        {
            "name": file.name,
            "label": file.label,
            "size_bytes": file.size_bytes,
            "address": _address(row, keys, "") + file.address,
        }
        for file in kept.files
    ]


def _place(display_name: str) -> dict[str, str]:
    tab, _, name = display_name.rpartition("/")
    return {"tab": tab, "name": name}


def _address(row: PublishedPageRow, keys: PageKeys, file: str) -> str:
    key = keys.key_of(row.run_id, row.sequence)
    return f"{SHOWN}{key}/{quote(row.display_name)}/{quote(file)}"


def _last(given: Mapping[str, list[str]], name: str) -> str:
    values = [text.strip() for text in given.get(name, ()) if text.strip()]
    return values[-1] if values else ""
