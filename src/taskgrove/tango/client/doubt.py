"""Calls whose outcome is not known: found again, or told as they are; never sent again.

Pure, without TANGO.
"""

from __future__ import annotations

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


def candidates(doubt: Doubt, doubts: list[Doubt], strangers: Strangers) -> list[str]:
    """Return the ids that the call in doubt can have started.

    Exactly one may be adopted. Two calls of one command in doubt cannot be told apart, so
    each of them then has as many candidates as there are, and one more.
    """
    name = doubt.command.command_name.lower()
    new = strangers.since(doubt.sent_at, name)
    rivals = [item for item in doubts if item.command.command_name.lower() == name]
    return new + new[: len(rivals) - 1]
