"""Compose, execute, track and aggregate task trees, with one truthful outcome."""

from __future__ import annotations

from taskgrove.commands.aggregation.base import AggregationOutcome as AggregationOutcome
from taskgrove.commands.aggregation.base import Decision as Decision
from taskgrove.commands.aggregation.base import SubtaskResult as SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy as TaskAggregationPolicy
from taskgrove.commands.command_map import load_command_map as load_command_map
from taskgrove.commands.main_task_executor import MainTaskExecutor as MainTaskExecutor
from taskgrove.commands.main_task_executor import RunHandle as RunHandle
from taskgrove.commands.task import BaseTask as BaseTask
from taskgrove.commands.task import LeafTask as LeafTask
from taskgrove.commands.task import Task as Task
from taskgrove.commands.task import TaskExecutionType as TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker as TaskTracker
from taskgrove.commands.task_tracker import as_task_callback as as_task_callback
from taskgrove.control_model import HealthState as HealthState
from taskgrove.control_model import ResultCode as ResultCode
from taskgrove.control_model import TaskStatus as TaskStatus
from taskgrove.errors import CommandError as CommandError
from taskgrove.errors import MapError as MapError
from taskgrove.errors import TaskgroveError as TaskgroveError
from taskgrove.events import TaskEvent as TaskEvent
from taskgrove.facade import run as run

__version__ = "0.1.0"
