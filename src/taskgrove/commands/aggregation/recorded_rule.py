"""A rule of which the record keeps the words only.

Threads: a rule is immutable; any thread may use it.
"""

from __future__ import annotations

from taskgrove.commands.aggregation.rules import AggregationRule, RuleContext, Verdict
from taskgrove.commands.aggregation.tally import Tally
from taskgrove.errors import UsageError


class RecordedRule(AggregationRule):
    """A program's own class of rule, as the record tells it: by its words.

    Args:
        label: The words.
    """

    __slots__ = ("_label",)

    def __init__(self, label: str) -> None:
        self._label = label

    @property
    def label(self) -> str:
        """The words that the record keeps."""
        return self._label

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        """Refuse to decide.

        Raises:
            UsageError: Always; the tracker makes a failure of it that says so.
        """
        del tally
        raise UsageError(
            f"the rule {self._label!r} of {context.task_name!r} belongs to the program that made"
            " the run"
        )
