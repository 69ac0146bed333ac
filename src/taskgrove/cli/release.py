"""``taskgrove release``: the devices that runs hold, and a person's release of one."""

from __future__ import annotations

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.store.held_devices import held_devices, release_device
from taskgrove.view.terminal_text import safe_text


@verb
def release(
    device: opt.HeldDevice = None,
    why: opt.ReleaseWhy = "",
    by: opt.By = None,
    db: opt.Database = None,
) -> int:
    """Free a device that an ended or lost run still holds; without a name, list those devices.

    An exclusive device stays held while work of a run may go on there. Make sure that the device
    is idle: the next run begins at once. The record keeps the reason.
    """
    terminal = Terminal()
    with history_of_runs(db) as history:
        if device is None:
            held = held_devices(history.store)
            for holder in held:
                terminal.say(safe_text(holder.held_words))
            if not held:
                terminal.say("No run holds a device.")
            return ExitCode.OK
        holder = release_device(history.store, device, why=why, who=by)
    terminal.say(safe_text(f"{holder.device} is free; run {holder.run_id} held it."))
    return ExitCode.OK
