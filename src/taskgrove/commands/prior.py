"""What is known of leaves before a run begins: ends to take over, work to pick up again.

A resumed run takes over the ends of leaves that completed in an earlier run; a recovered one
takes over every end on record and attaches to what still runs (SPEC S7.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from taskgrove.control_model import TaskStatus


@dataclass(frozen=True, slots=True)
class PriorEnd:
    """An end that is taken over: the leaf is not started.

    Attributes:
        status: The final status.
        result: The result, in any form of SPEC S2.1.
        note: Why, as a sentence for people (``reused from run 2026…``); empty: nothing is said.
        fields: Further fields of ``TaskTracker.update_task``: ``devices``, ``failed_devices``,
            ``health_state``, ``skipped``, ...
        recorded: The end stands in this run's record already (recovery): it is taken over
            without an event.
    """

    status: TaskStatus
    result: Any = None
    note: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class PriorWork:
    """Work that runs outside already: the leaf is attached to, not started.

    Attributes:
        outside_id: The id that was recorded when it started (a command id, ``pid:start``).
        outside_kind: ``command``, ``process`` or ``job``.
        attempt: The attempt that it belongs to, from 1.
    """

    outside_id: str
    outside_kind: str = "command"
    attempt: int = 1


Prior: TypeAlias = PriorEnd | PriorWork
