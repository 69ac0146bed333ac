"""The faults of events: lost, doubled or out of order."""

from __future__ import annotations

from taskgrove.tango.server.job import LedgerUpdate
from taskgrove.tango.server.ledger import Push
from taskgrove.tango.simulation.faults import EVENT_FAULTS, Fault, FaultKind


class EventScrambler:
    """Decides which events of each change of one command are sent.

    Threads: called by the thread that sends the command's events, one at a time: for the first
    changes the thread that submits, before the worker knows of the command.

    Args:
        faults: The faults of the call; only those of its events matter here.
    """

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = tuple(fault for fault in faults if fault.kind in EVENT_FAULTS)
        self._held: list[Push] = []

    def __bool__(self) -> bool:
        """True when there is anything to do."""
        return bool(self._faults)

    def __call__(self, update: LedgerUpdate) -> list[Push]:
        """Return the events to send for ``update``, in the order to send them."""
        pushes = list(update.pushes)
        final = update.status is not None and update.status.is_final
        for fault in self._faults:
            if not _concerns(fault, update, final=final):
                continue
            if fault.kind is FaultKind.LOSE:
                pushes = []
            elif fault.kind is FaultKind.DUPLICATE:
                pushes = pushes * 2
            elif not self._held and not final:
                self._held = pushes
                return []
        pushes += self._held
        self._held = []
        return pushes


def _concerns(fault: Fault, update: LedgerUpdate, *, final: bool) -> bool:
    if fault.kind is FaultKind.REORDER and fault.events == "final":
        # The change before the end is held back, so that the end overtakes it.
        return update.status is None or final
    return {"all": True, "final": final, "progress": update.status is None}[fault.events]
