"""Tables of states: which answer each request gets in each state of a state machine.

A state machine has one state field and one table ``MOVES``. Each cell of the table holds a move
(the next state), ``IGNORE`` (a duplicate: nothing happens) or ``REFUSE`` (the request is logged
with the story of the node). A table with an empty cell cannot be made.

Threads: a table is never changed after it was made.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias, TypeVar

_LOGGER = logging.getLogger(__name__)


class Answer(Enum):
    """What happens to a request that moves nothing."""

    IGNORE = "ignore"
    """The request is a duplicate, or too late to matter: nothing happens."""
    REFUSE = "refuse"
    """The request does not fit the state: it is logged, and whoever asked is told."""


IGNORE: Final = Answer.IGNORE
REFUSE: Final = Answer.REFUSE

State = TypeVar("State", bound=Enum)
Request = TypeVar("Request", bound=Enum)

Table: TypeAlias = Mapping[tuple[State, Request], State | Answer]


def table_of(
    states: type[State],
    requests: type[Request],
    rows: Mapping[State, Mapping[Request, State | Answer]],
) -> Table[State, Request]:
    """Return the table of a state machine, keyed by ``(state, request)``.

    Args:
        states: Every state.
        requests: Every request.
        rows: The cells: for each state a row, with a cell for each request.

    Raises:
        ValueError: A cell is missing; the message names the cells.
    """
    missing = [
        f"({state.name}, {request.name})"
        for state in states
        for request in requests
        if request not in rows.get(state, {})
    ]
    if missing:
        raise ValueError(f"no cell for {', '.join(missing)}")
    return {(state, request): rows[state][request] for state in states for request in requests}


def row_of(requests: type[Request], *cells: State | Answer) -> dict[Request, State | Answer]:
    """Return a row of a table, with its cells in the order of the requests."""
    return dict(zip(requests, cells, strict=True))


def step(moves: Table[State, Request], state: State, request: Request, who: object) -> State:
    """Return the state after a request; a request that is refused is logged.

    Args:
        moves: The table.
        state: The state before.
        request: The request.
        who: The machine, for the log.
    """
    cell = moves[state, request]
    if not isinstance(cell, Answer):
        return cell
    if cell is REFUSE:
        _LOGGER.error("%s: %s is refused in the state %s", who, request.name, state.name)
    return state
