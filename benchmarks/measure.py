"""How the benchmarks measure: subject and baseline in turn, medians, ratios pair by pair.

A machine's speed drifts, so a subject is never compared with a number from another
minute: each round times the baseline and then the subject, and the ratio quoted is the
median of the rounds' ratios.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: What was measured.
        value: The subject's median, in ``unit``.
        unit: The unit of ``value``.
        ratio: Subject over baseline, median of the rounds; None where there is none.
        baseline: What the ratio is against.
        aim: The most that the ratio (or the value, without a ratio) should be; None: no aim.
        least: The least that it should be; None: no aim of this kind.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    baseline: str = ""
    aim: float | None = None
    least: float | None = None

    def line(self) -> str:
        """Return the row as text."""
        ratio = "" if self.ratio is None else f"× {self.ratio:.2f} of {self.baseline}"
        aim = ""
        judged = self.value if self.ratio is None else self.ratio
        if self.least is not None:
            aim = f"(aim: at least {self.least:g}{', missed' if judged < self.least else ''})"
        if self.aim is not None:
            aim = f"(aim: at most {self.aim:g}{', missed' if judged > self.aim else ''})"
        return f"  {self.name:<58} {self.value:>10.3f} {self.unit:<8} {ratio:<34} {aim}".rstrip()


def paired(
    baseline: Callable[[], float], subject: Callable[[], float], rounds: int = 5
) -> tuple[float, float, float]:
    """Time both in turn and return their medians, and the median ratio.

    Args:
        baseline: Runs the baseline once and returns its time per operation, in seconds.
        subject: The same for the subject.
        rounds: How often each is run.
    """
    base: list[float] = []
    own: list[float] = []
    for _ in range(rounds):
        gc.collect()
        base.append(baseline())
        gc.collect()
        own.append(subject())
    ratios = [mine / raw for mine, raw in zip(own, base, strict=True)]
    return statistics.median(base), statistics.median(own), statistics.median(ratios)
