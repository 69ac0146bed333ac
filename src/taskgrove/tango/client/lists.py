"""The poll of a device: its lists of commands, and single commands by id.

Threads: one poll of a device at a time; any thread.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from taskgrove.tango.client.failure import FailureKind, classify
from taskgrove.tango.client.protocol import (
    V1_LISTS,
    V2_LISTS,
    CommandFacts,
    decode_event,
    decode_list,
    decode_status,
)

#: At most so many ids are asked for one by one in a poll.
CHECKS_LIMIT: Final = 50
#: The command that returns the status of one command by its id.
CHECK_COMMAND: Final = "CheckLongRunningCommandStatus"


class Snapshot(NamedTuple):
    """The result of a poll.

    Attributes:
        facts: The facts of the device's lists.
        checked: The facts of ids that no list holds, as the device answered for each.
        readable: True when at least one list could be read.
    """

    facts: list[CommandFacts]
    checked: dict[str, CommandFacts]
    readable: bool


class CommandLists:
    """Reads a device's lists; an attribute that the device lacks is asked for once."""

    def __init__(self, tango: Any) -> None:
        self._tango = tango
        self._missing: set[str] = set()

    def forget(self) -> None:
        """Forget which attributes the device lacks: its version may have changed."""
        self._missing.clear()

    def read(self, proxy: Any, protocol: int, ids: tuple[str, ...]) -> Snapshot:
        """Return the states of the device's commands.

        Args:
            proxy: The device's proxy.
            protocol: The protocol version that it serves.
            ids: Commands that are waited for.

        Raises:
            DevFailed: The device cannot be reached.
        """
        facts: list[CommandFacts] = []
        readable = False
        for slots in (V2_LISTS, V1_LISTS) if protocol >= 2 else (V1_LISTS,):
            more, found = self._read(proxy, slots)
            readable = readable or found
            facts += more
            known = {item.command_id for item in facts if item.status is not None}
            if readable and known.issuperset(ids):
                return Snapshot(facts, {}, True)
        checked = {}
        for command_id in [uid for uid in ids if uid not in known][:CHECKS_LIMIT]:
            answer = self._check(proxy, command_id)
            if answer is not None:
                checked[command_id] = answer
        return Snapshot(facts, checked, readable)

    def _read(self, proxy: Any, slots: tuple[str, ...]) -> tuple[list[CommandFacts], bool]:
        wanted = [slot for slot in slots if slot not in self._missing]
        facts: list[CommandFacts] = []
        readable = False
        for value in proxy.read_attributes(wanted) if wanted else ():
            if value.has_failed:
                if value.get_err_stack()[0].reason == "API_AttrNotFound":
                    self._missing.add(value.name)
                continue
            readable = readable or value.name in (*V2_LISTS, V1_LISTS[0])
            decode = decode_list if value.name in V2_LISTS else decode_event
            facts += decode(value.name, value.value)
        return facts, readable

    def _check(self, proxy: Any, command_id: str) -> CommandFacts | None:
        if CHECK_COMMAND in self._missing:
            return None
        try:
            status = decode_status(proxy.command_inout(CHECK_COMMAND, command_id))
        except self._tango.DevFailed as exc:
            failure = classify(exc)
            if failure.kind is not FailureKind.RAISED:
                raise
            if failure.reason == "API_CommandNotFound":
                self._missing.add(CHECK_COMMAND)
            return None
        return None if status is None else CommandFacts(command_id, status)
