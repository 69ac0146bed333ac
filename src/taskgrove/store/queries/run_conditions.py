"""A filter of runs as SQL over ``runs r``."""

from __future__ import annotations

from typing import Any

from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.queries.run_outcome import OUTCOME_SQL


def conditions_of(reader: Reader, which: RunFilter) -> tuple[str, list[Any]]:
    """Return a filter as a WHERE clause over ``runs r``, and its parameters.

    Args:
        reader: Reads the store.
        which: The filter; its limit is not part of the clause.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    if which.command is not None:
        condition, parameter = reader.glob("r.command", which.command)
        parts.append(condition)
        parameters.append(parameter)
    if which.outcomes:
        parts.append(f"({' OR '.join(OUTCOME_SQL[word] for word in which.outcomes)})")
    if which.since_ns is not None:
        parts.append("r.created_ns >= ?")
        parameters.append(which.since_ns)
    if which.until_ns is not None:
        parts.append("r.created_ns < ?")
        parameters.append(which.until_ns)
    if which.device is not None:
        condition, parameter = reader.glob("d.device", which.device)
        parts.append(
            "EXISTS (SELECT 1 FROM nodes d WHERE d.run_key = r.run_key"  # noqa: S608
            f" AND {condition})"
        )
        parameters.append(parameter)
    for name, value in which.labels.items():
        if reader.dialect == "postgresql":
            parts.append("(r.labels::json ->> ?::text) = ?")
        else:
            parts.append(
                "EXISTS (SELECT 1 FROM json_each(r.labels) l WHERE l.key = ? AND l.value = ?)"
            )
        parameters += [name, value]
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), parameters
