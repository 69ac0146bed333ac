"""Tables of pandas, as tables of the page."""

from __future__ import annotations

from typing import Final

import pandas as pd

from taskgrove.analysis.figures.part import Part, unsupported

#: Of a longer or wider table the middle is left out.
MOST_ROWS: Final = 1_000
MOST_COLUMNS: Final = 100


def render(obj: object, label: str) -> Part:  # noqa: ARG001 - a table has its own names
    """Return a DataFrame or a Series as a part."""
    if isinstance(obj, pd.Series):
        obj = obj.to_frame()
    if not isinstance(obj, pd.DataFrame):
        raise unsupported(obj, "give a DataFrame or a Series")
    table = obj.to_html(border=0, max_rows=MOST_ROWS, max_cols=MOST_COLUMNS, show_dimensions=False)
    return Part(f'<div class="table">{table}</div>')
