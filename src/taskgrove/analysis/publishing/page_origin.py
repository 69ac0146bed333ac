"""Where a page, or an entry of a logbook, comes from."""

from __future__ import annotations

import msgspec


class PageOrigin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run and the analysis that something comes from.

    Attributes:
        run_id: The run of taskgrove.
        path: The path of the analysis' node in the tree of that run.
        analysis: The name of the analysis.
        wall_ns: When the analysis began, nanoseconds since the epoch, UTC; 0: not known.
        experiment: The experiment, from the header of the configuration; empty: none given.
        experiment_run: The run of data acquisition, from the same place.
    """

    run_id: str = ""
    path: str = ""
    analysis: str = ""
    wall_ns: int = 0
    experiment: str = ""
    experiment_run: int | str = ""
