"""Percentiles by nearest rank: every number quoted is one that was measured.

The ``p``-th percentile of ``n`` values is the one at rank ``ceil(p / 100 × n)`` of the
sorted values, counted from 1, at least 1. Nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence


def rank_of(percent: int, count: int) -> int:
    """Return the rank of a percentile, counted from 1.

    Args:
        percent: The percentile, 0..100.
        count: How many values there are, from 1.
    """
    return max(1, -(-percent * count // 100))


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return a percentile of values that are sorted already.

    Args:
        ordered: The values in ascending order; at least one.
        percent: The percentile, 0..100.
    """
    return ordered[rank_of(percent, len(ordered)) - 1]
