"""How states look."""

from __future__ import annotations

from typing import get_args

from taskgrove.story.node_state import NodeState
from taskgrove.view.states import LOOKS, TONES, colour_of
from taskgrove.view.terminal_text import ASCII, UNICODE


def test_every_state_has_a_look() -> None:
    states = set(get_args(NodeState))
    assert set(LOOKS) == states
    assert set(UNICODE.marks) == set(ASCII.marks) == states
    assert {colour_of(state) for state in LOOKS} == set(TONES.values())
    assert all(mark.isascii() and len(mark) == 1 for mark in ASCII.marks.values())
