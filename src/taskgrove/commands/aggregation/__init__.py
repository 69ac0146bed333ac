"""How the outcomes of many subtasks become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.commands.aggregation.base import AggregationOutcome as AggregationOutcome
    from taskgrove.commands.aggregation.base import CauseLine as CauseLine
    from taskgrove.commands.aggregation.base import Decision as Decision
    from taskgrove.commands.aggregation.base import SubtaskResult as SubtaskResult
    from taskgrove.commands.aggregation.policy import TaskAggregationPolicy as TaskAggregationPolicy
    from taskgrove.commands.aggregation.rules import AggregationRule as AggregationRule
    from taskgrove.commands.aggregation.rules import parse_rule as parse_rule

_LATER = {
    "AggregationOutcome": "taskgrove.commands.aggregation.base",
    "AggregationRule": "taskgrove.commands.aggregation.rules",
    "CauseLine": "taskgrove.commands.aggregation.base",
    "Decision": "taskgrove.commands.aggregation.base",
    "SubtaskResult": "taskgrove.commands.aggregation.base",
    "TaskAggregationPolicy": "taskgrove.commands.aggregation.policy",
    "parse_rule": "taskgrove.commands.aggregation.rules",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
