"""Steps that a composer, or an operator, left out of a command: they belong to its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

#: ``selection``: the arguments do not name it; ``guard``: a condition on it does not hold;
#: ``fault``: it does not answer, is unknown, or cannot be read; ``operator``: a person said so.
LeftOutKind: TypeAlias = Literal["selection", "guard", "fault", "operator"]


class LeftOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that is no part of the tree, though the map names it.

    Attributes:
        name: The name of the step, as a leaf of the tree would have it.
        device: Its device, or None.
        kind: The kind of the reason.
        reason: Why, in a few words: ``no answer``.
        path: Where it would stand in the tree.
        said: Further known facts, such as the text of an error; may be empty.
        branch: The branch that is left out because of it, and counts for it; empty where the
            step counts for itself.
    """

    name: str
    device: str | None
    kind: LeftOutKind
    reason: str
    path: str = ""
    said: str = ""
    branch: str = ""

    @property
    def is_by_operator(self) -> bool:
        """Whether a person left it out of a run that had begun."""
        return self.kind == "operator"

    @property
    def counts(self) -> bool:
        """Whether it counts in the sum of the task that it is left out of."""
        return self.kind == "fault" and not self.branch

    @property
    def why(self) -> str:
        """The reason with all that is known."""
        return f"{self.reason}: {self.said}" if self.said else self.reason


def told_reasons(left_out: Iterable[LeftOut]) -> str:
    """Return how many were left out and why: ``4 left out: no answer``; empty for none."""
    counted = Counter(item.reason for item in left_out)
    if not counted:
        return ""
    reasons = ", ".join(
        reason if len(counted) == 1 else f"{count} {reason}" for reason, count in counted.items()
    )
    return f"{counted.total()} left out: {reasons}"
