"""Ids of commands that this client has not started, or whose reply has not come yet.

Events of a command arrive before the call that started it has returned, so the facts of an
unknown id are kept, bounded in count and age, until a reply names the id. When a reply was lost,
the ids that appeared since show which command the call has started.

Threads: used on the client's dispatcher thread only.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from taskgrove.tango.client.protocol import CommandFacts, command_name_of

#: Ids that are remembered of one device.
IDS_LIMIT: Final = 1024
#: Facts that are kept of one id.
FACTS_LIMIT: Final = 32
#: How long the facts of an id are kept, in seconds.
FACTS_AGE_S: Final = 60.0


@dataclass(slots=True)
class _Stranger:
    seen_at: float
    facts: list[CommandFacts] = field(default_factory=list)


class Strangers:
    """The unknown ids of one device, oldest first."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, _Stranger] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def see(self, command_id: str, seen_at: float | None = None) -> None:
        """Remember that an id exists, and since when (monotonic seconds; None means now)."""
        stranger = self._find(command_id)
        if seen_at is not None:
            stranger.seen_at = min(stranger.seen_at, seen_at)

    def remember(self, facts: CommandFacts) -> None:
        """Keep facts of an id, in order; a repetition is kept once."""
        kept = self._find(facts.command_id).facts
        if kept and kept[-1] == facts:
            return
        if len(kept) >= FACTS_LIMIT:
            # Statuses and results matter more than another percent of progress.
            spare = next((i for i, item in enumerate(kept) if item.status is None), 0)
            del kept[spare]
        kept.append(facts)

    def claim(self, command_id: str) -> list[CommandFacts]:
        """Return the facts of an id that is followed from now on, and forget the id."""
        stranger = self._ids.pop(command_id, None)
        return stranger.facts if stranger is not None else []

    def since(self, instant: float, command_name: str) -> list[str]:
        """Return the ids of a command that were first seen at ``instant`` or later."""
        wanted = command_name.lower()
        return [
            command_id
            for command_id, stranger in self._ids.items()
            if stranger.seen_at >= instant and command_name_of(command_id).lower() == wanted
        ]

    def _find(self, command_id: str) -> _Stranger:
        now = time.monotonic()
        stranger = self._ids.get(command_id)
        if stranger is None:
            stranger = self._ids[command_id] = _Stranger(now)
            if len(self._ids) > IDS_LIMIT:
                self._ids.popitem(last=False)
        elif stranger.facts and now - stranger.seen_at > FACTS_AGE_S:
            stranger.facts.clear()
        return stranger
