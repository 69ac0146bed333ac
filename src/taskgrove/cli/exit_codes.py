"""The exit codes of the command line."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from taskgrove.commands.aggregation.base import AggregationOutcome


class ExitCode(IntEnum):
    """Exit codes, the same for every verb."""

    OK = 0
    """All went well."""
    FAILED = 1
    """The command failed, or a request was refused; or the tool itself failed, and says so."""
    USAGE = 2
    """Wrong options, a bad map, an optional part that is not installed: nothing was started."""
    DEGRADED = 3
    """The command completed in a degraded state."""
    REJECTED = 4
    """The whole command was refused: before anything ran, or because its correlator refused."""
    ABORTED = 5
    """The command was aborted, by Ctrl-C, on request or by a device."""
    TOO_LATE = 6
    """A request to a live run came too late: the step or the run had ended, or its runner is gone.
    """
    NO_ANSWER = 7
    """A request was not answered in time, and stands; or a run was not watched to its end."""


#: One paragraph for ``--help``.
EXIT_CODES_HELP: Final = (
    "Exit codes: 0 OK, 1 failed, 2 usage or bad map, 3 degraded, 4 rejected, 5 aborted."
    " Of requests to a live run: 0 done, 1 refused, 6 too late, 7 no answer in time."
)

_OF_STATE: Final[dict[str, ExitCode]] = {
    "completed": ExitCode.OK,
    "degraded": ExitCode.DEGRADED,
    "rejected": ExitCode.REJECTED,
    "aborted": ExitCode.ABORTED,
}


def exit_code_of(outcome: AggregationOutcome) -> ExitCode:
    """Return the exit code of a run's outcome; every other outcome is a failure."""
    from taskgrove.story.node_state import state_of  # noqa: PLC0415 - slow

    state = state_of(outcome.status, outcome.result_code, outcome.health_state)
    return _OF_STATE.get(state, ExitCode.FAILED)
