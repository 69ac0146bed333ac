"""How each state of a node looks: its sign, its style on a terminal, its colour on a page."""

from __future__ import annotations

from typing import Final, NamedTuple

from taskgrove.story.node_state import NodeState


class Look(NamedTuple):
    """How a state looks.

    Attributes:
        mark: Its sign.
        ascii_mark: Its sign where only ASCII can be shown.
        style: Its style on a terminal (names that rich knows).
        tone: The name of its colour on a page, a key of :data:`TONES`.
    """

    mark: str
    ascii_mark: str
    style: str
    tone: str


#: The colours of a page; a report replaces each by a variable of this name.
TONES: Final = {
    "soft": "#777777",
    "calm": "#0b6e99",
    "good": "#1a7f37",
    "warn": "#9a6700",
    "bad": "#cf222e",
    "stop": "#8250df",
}
LOOKS: Final[dict[NodeState, Look]] = {
    "waiting": Look("○", ".", "dim", "soft"),
    "running": Look("●", "*", "cyan", "calm"),
    "completed": Look("✓", "+", "green", "good"),
    "degraded": Look("!", "!", "bold yellow", "warn"),
    "failed": Look("✗", "x", "bold red", "bad"),
    "rejected": Look("✗", "x", "bold red", "bad"),
    "aborted": Look("■", "#", "bold magenta", "stop"),
    "skipped": Look("-", "-", "yellow", "warn"),
    "not found": Look("?", "?", "bold magenta", "stop"),
    "held": Look("◆", "H", "bold yellow", "warn"),
    "undecided": Look("◇", "u", "yellow", "warn"),
    "delayed": Look("↻", "d", "cyan", "calm"),
    "parked": Look("‖", "=", "dim", "soft"),
    "accepted": Look("≈", "~", "bold yellow", "warn"),
    "left out": Look("∅", "o", "yellow", "warn"),
}
STATE_STYLES: Final[dict[str, str]] = {state: look.style for state, look in LOOKS.items()}


def colour_of(state: NodeState) -> str:
    """Return the colour of a state on a page."""
    return TONES[LOOKS[state].tone]
