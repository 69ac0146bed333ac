"""Tables of states: all of them are whole, and what is final stays."""

from __future__ import annotations

import re
from enum import Enum, auto
from importlib import import_module
from pathlib import Path

import pytest

from taskgrove.moves import IGNORE, REFUSE, Answer, step, table_of

SOURCE = Path(__file__).parents[2] / "src"

#: Each module that holds a table.
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if re.search(r"^MOVES\b.*= table_of\(", path.read_text(), re.MULTILINE)
)


class Lamp(Enum):
    """A lamp."""

    DARK = auto()
    LIT = auto()
    BROKEN = auto()


class Switch(Enum):
    """What is asked of a lamp."""

    ON = auto()
    BREAK = auto()


ROWS = {
    Lamp.DARK: {Switch.ON: Lamp.LIT, Switch.BREAK: Lamp.BROKEN},
    Lamp.LIT: {Switch.ON: IGNORE, Switch.BREAK: Lamp.BROKEN},
    Lamp.BROKEN: {Switch.ON: REFUSE, Switch.BREAK: IGNORE},
}


def test_a_table_is_read_by_state_and_request() -> None:
    moves = table_of(Lamp, Switch, ROWS)
    assert moves[Lamp.DARK, Switch.ON] is Lamp.LIT
    assert moves[Lamp.BROKEN, Switch.ON] is REFUSE
    assert len(moves) == 6


def test_a_table_with_an_empty_cell_cannot_be_made() -> None:
    rows = {**ROWS, Lamp.LIT: {Switch.ON: IGNORE}}
    with pytest.raises(ValueError, match=r"no cell for \(LIT, BREAK\)"):
        table_of(Lamp, Switch, rows)


@pytest.mark.parametrize("module", MODULES)
def test_every_state_is_reached_and_some_state_is_final(module: str) -> None:
    moves = import_module(module).MOVES
    states = type(next(iter(moves))[0])
    reached = {cell for cell in moves.values() if not isinstance(cell, Answer)}
    assert set(states) - reached <= {next(iter(states))}, "no move leads there"
    final = {
        state
        for state in states
        if all(isinstance(cell, Answer) for (at, _), cell in moves.items() if at is state)
    }
    assert final


def test_a_step_moves_ignores_or_refuses_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    moves = table_of(Lamp, Switch, ROWS)
    assert step(moves, Lamp.DARK, Switch.ON, "lamp 1") is Lamp.LIT
    assert step(moves, Lamp.LIT, Switch.ON, "lamp 1") is Lamp.LIT
    assert not caplog.records
    assert step(moves, Lamp.BROKEN, Switch.ON, "lamp 1") is Lamp.BROKEN
    assert caplog.messages == ["lamp 1: ON is refused in the state BROKEN"]
