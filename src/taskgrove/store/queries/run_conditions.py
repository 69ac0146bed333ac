"""A filter of runs as SQL over ``runs r``."""

from __future__ import annotations

from typing import Any

from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.queries.run_outcome import OUTCOME_SQL


def command_condition(reader: Reader, pattern: str) -> tuple[str, list[Any]]:
    """Return a condition on ``runs r``, and its parameters: the command has a name.

    The run of one analysis is also found by the names of the analysis and of its leaf.

    Args:
        reader: Reads the store.
        pattern: The name, with signs as in a shell.
    """
    condition, parameter = reader.glob("r.command", pattern)
    analysis, _ = reader.glob("a.analysis", pattern)
    root, _ = reader.glob("p.path", pattern)
    of_one_analysis = (
        "r.leaf_count = 1 AND r.run_key IN (SELECT a.run_key FROM analyses a"  # noqa: S608
        " JOIN nodes n ON n.run_key = a.run_key AND n.node_number = 0"
        f" JOIN paths p ON p.path_key = n.path_key WHERE {analysis} OR {root})"
    )
    return f"({condition} OR ({of_one_analysis}))", [parameter] * 3


def conditions_of(reader: Reader, which: RunFilter) -> tuple[str, list[Any]]:
    """Return a filter as a WHERE clause over ``runs r``, and its parameters.

    Args:
        reader: Reads the store.
        which: The filter; its limit is not part of the clause.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    if which.command is not None:
        condition, values = command_condition(reader, which.command)
        parts.append(condition)
        parameters += values
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
    if which.analysis is not None:
        condition, parameter = reader.glob("a.analysis", which.analysis)
        parts.append(
            "EXISTS (SELECT 1 FROM analyses a WHERE a.run_key = r.run_key"  # noqa: S608
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
