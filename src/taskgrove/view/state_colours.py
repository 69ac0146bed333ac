"""How the states of nodes are coloured on a page."""

from __future__ import annotations

from typing import Final

#: How a state is coloured on a page.
COLOURS: Final = {
    "waiting": "#777777",
    "running": "#0b6e99",
    "completed": "#1a7f37",
    "degraded": "#9a6700",
    "failed": "#cf222e",
    "rejected": "#cf222e",
    "aborted": "#8250df",
    "skipped": "#9a6700",
    "not found": "#8250df",
}
