"""Published pages of all runs, the newest first: one query, and no event is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.reading import Reader

#: The description of an analysis comes directly before its pages.
_LAST: Final = (
    "(SELECT MAX(b.sequence) FROM analyses b WHERE b.run_key = g.run_key"
    " AND b.path_key = g.path_key AND b.sequence < g.sequence)"
)
#: The pages are chosen first: the rest is looked up for few of them.
_SELECT: Final = (
    "SELECT r.run_id, r.command, g.sequence, p.path, g.display_name, g.file, g.size_bytes,"  # noqa: S608
    " g.sha256, g.wall_ns, a.analysis, a.experiment, a.experiment_run"
    " FROM (SELECT * FROM pages g{where}{order} LIMIT ?) g"
    " JOIN runs r ON r.run_key = g.run_key JOIN paths p ON p.path_key = g.path_key"
    f" LEFT JOIN analyses a ON a.run_key = g.run_key AND a.sequence = {_LAST}"
    "{order}"
)
_ORDER: Final = " ORDER BY g.wall_ns DESC, g.run_key DESC, g.sequence DESC"
_OF_ANALYSIS: Final = (
    "EXISTS (SELECT 1 FROM analyses c WHERE c.run_key = g.run_key"  # noqa: S608 - no value in it
    f" AND c.sequence = {_LAST} AND LOWER(c.analysis) LIKE ? ESCAPE '!')"
)


@dataclass(frozen=True, slots=True)
class PublishedPageRow:
    """One published page, with the run and the analysis that it comes from.

    Attributes:
        run_id: The run.
        command: Its command.
        sequence: The number of the event that tells of the page.
        path: The path of its leaf.
        display_name: The page's place, such as ``scans/my_motor_scan``.
        file: Where it was written.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
        wall_ns: When, UTC, nanoseconds since the epoch.
        analysis: The analysis' name, or None.
        experiment: The experiment of its configuration, or None.
        experiment_run: The experiment's run, or None.
    """

    run_id: str
    command: str
    sequence: int
    path: str
    display_name: str
    file: str
    size_bytes: int
    sha256: str
    wall_ns: int
    analysis: str | None
    experiment: str | None
    experiment_run: str | None


def newest_pages(
    reader: Reader, *, run_key: int | None, named: str, place: str, limit: int
) -> Listing[PublishedPageRow]:
    """Return published pages, the newest first.

    Args:
        reader: Reads the record.
        run_key: Of this run only; None: of all.
        named: A part of the page's place, or the name of its analysis, in upper or lower case;
            empty: any.
        place: The whole place of the page; empty: any.
        limit: How many at most.
    """
    conditions: list[str] = []
    values: list[object] = []
    if run_key is not None:
        conditions.append("g.run_key = ?")
        values.append(run_key)
    if named:
        like = "%" + named.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        conditions.append(f"(LOWER(g.display_name) LIKE ? ESCAPE '!' OR {_OF_ANALYSIS})")
        values += [like, like]
    if place:
        conditions.append("g.display_name = ?")
        values.append(place)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = reader.rows(_SELECT.format(where=where, order=_ORDER), (*values, limit))
    return Listing(PublishedPageRow(*row) for row in rows)
