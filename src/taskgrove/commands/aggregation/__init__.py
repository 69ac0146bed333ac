"""How the outcomes of many subtasks become one."""

from taskgrove.commands.aggregation.base import AggregationOutcome as AggregationOutcome
from taskgrove.commands.aggregation.base import CauseLine as CauseLine
from taskgrove.commands.aggregation.base import Decision as Decision
from taskgrove.commands.aggregation.base import SubtaskResult as SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy as TaskAggregationPolicy
from taskgrove.commands.aggregation.rules import AggregationRule as AggregationRule
from taskgrove.commands.aggregation.rules import parse_rule as parse_rule
