"""Calls whose outcome is not known: found again, or told as they are; never sent again.

Pure, without TANGO.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.failure import Failure
from taskgrove.tango.client.strangers import Strangers


class Doubt(NamedTuple):
    """A call whose outcome is unknown: it may have been executed.

    Attributes:
        command: The command.
        sent_at: When it was sent (monotonic seconds).
        failure: How the call failed.
    """

    command: LrcCommand
    sent_at: float
    failure: Failure


def unknown_fate(doubt: Doubt) -> str:
    """Return the truth about a call that may have been executed."""
    return (
        f"{doubt.failure.words} when {doubt.command.command_name} was called: "
        "it is not known whether it was executed, and it is not sent again"
    )


def candidates(doubt: Doubt, rivals: Collection[LrcCommand], strangers: Strangers) -> list[str]:
    """Return the ids that the call in doubt can have started.

    Exactly one may be adopted. Calls of one command that are in doubt, or out, cannot be told
    apart, so each of them then has as many candidates as there are, and one more.

    Args:
        doubt: The call.
        rivals: The commands of the device that are in doubt, this one included, or whose call is
            out.
        strangers: The ids that are not followed.
    """
    new = strangers.since(doubt.sent_at, doubt.command.command_name)
    return new + new[: len(_alike(doubt, rivals)) - 1]


def is_called_again(doubt: Doubt, calling: Collection[LrcCommand]) -> bool:
    """Return True while another call of the same command is out."""
    return bool(_alike(doubt, calling))


def _alike(doubt: Doubt, commands: Collection[LrcCommand]) -> list[LrcCommand]:
    name = doubt.command.command_name.lower()
    return [command for command in commands if command.command_name.lower() == name]
