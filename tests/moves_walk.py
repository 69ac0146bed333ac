"""Walks every cell of a table of states with a real state machine."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from taskgrove.moves import Answer, Table

State = TypeVar("State", bound=Enum)
Request = TypeVar("Request", bound=Enum)


def walk_cells(
    moves: Table[State, Request],
    reach: Callable[[State], Any],
    ask: Callable[[Any, Request], object],
    state_of: Callable[[Any], State],
    refused: Callable[[Any], int],
) -> None:
    """Bring a new machine into each state, ask each request, and compare with the cell.

    Args:
        moves: The table.
        reach: Makes a machine that is in the state.
        ask: Makes the request.
        state_of: Reads the state field.
        refused: How many requests the machine has refused so far.
    """
    for (state, request), cell in moves.items():
        machine = reach(state)
        where = f"({state.name}, {request.name})"
        assert state_of(machine) is state, where
        before = refused(machine)
        ask(machine, request)
        expected = state if isinstance(cell, Answer) else cell
        assert state_of(machine) is expected, where
        assert refused(machine) - before == (1 if cell is Answer.REFUSE else 0), where
