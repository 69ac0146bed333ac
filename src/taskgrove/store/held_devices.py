"""The devices that runs of a record hold, and a person's release of one.

Threads: any thread may call any function here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskgrove.commands.device_names import device_key
from taskgrove.commands.task import device_name_of
from taskgrove.errors import UsageError, nearest
from taskgrove.events.device_holder import DeviceHolder
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.history import History
from taskgrove.store.recording.device_holds import holder_of
from taskgrove.store.recording.statements import DROP_HOLD
from taskgrove.store.store import Store
from taskgrove.store.verdicts import WHY_LIMIT, give_verdict

_RUN: Final = "SELECT run_key FROM runs WHERE run_id = ?"
_KEYS: Final = "SELECT device_key FROM device_holds ORDER BY device_key"


def held_devices(store: Store) -> list[DeviceHolder]:
    """Return the devices that no run may take at the moment, each with the run that holds it."""
    return [holder for _, holder in _held(store)]


def release_device(store: Store, device: str, *, why: str, who: str | None = None) -> DeviceHolder:
    """Free a device that a run holds which is over, or was lost; return that run.

    The record keeps the reason, as a note on the run.

    Args:
        store: The record, open for writing.
        device: The name of the device, in any spelling.
        why: Why the device may be used, in words; they are required.
        who: Who says so; None takes the user of this process.

    Raises:
        UsageError: No run holds the device, or a run that lives does; or no reason was given.
        StoreError: The record cannot be read or written.
    """
    if not why.strip() or len(why) > WHY_LIMIT:
        raise UsageError("a release needs its reason", hint="--why 'the receiver was restarted'")
    held = _held(store)
    wanted = {device_key(device)}
    names = {(device_name_of(it.device) or it.device).lower(): (key, it) for key, it in held}
    found = next(((key, it) for key, it in held if key in wanted), None)
    found = found or names.get((device_name_of(device) or device).lower())
    if found is None:
        close = nearest(device, [it.device for _, it in held])
        known = ", ".join(it.device for _, it in held) or "none"
        hint = f"did you mean {close!r}?" if close else f"held are: {known}"
        raise UsageError(f"no run holds {device}", hint=hint)
    key, holder = found
    if holder.state == "runs":
        line = quoted_line(store.location, "abort", holder.run_id)
        raise UsageError(f"{holder.device} is held: run {holder.run_id} is at work", hint=line)
    root = History(store).nodes(holder.run_id)[0].path
    give_verdict(
        store, holder.run_id, root, "note", why=f"{holder.device} released: {why}", who=who
    )
    with store.writing() as cursor:
        run = cursor.row(_RUN, (holder.run_id,))
        if run is not None:  # else it was pruned, and its hold with it
            cursor.execute(DROP_HOLD, (key, run[0]))
    return holder


def _held(store: Store) -> Sequence[tuple[str, DeviceHolder]]:
    with store.writing() as cursor:
        keys = [key for (key,) in cursor.rows(_KEYS)]
        found = [(key, holder_of(cursor, key)) for key in keys]
    return [(key, holder) for key, holder in found if holder is not None]
