"""Compose, execute, track and aggregate task trees, with one truthful outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.commands.aggregation.base import AggregationOutcome as AggregationOutcome
    from taskgrove.commands.aggregation.base import Decision as Decision
    from taskgrove.commands.aggregation.base import SubtaskResult as SubtaskResult
    from taskgrove.commands.aggregation.policy import TaskAggregationPolicy as TaskAggregationPolicy
    from taskgrove.commands.command_map import load_command_map as load_command_map
    from taskgrove.commands.execution.run_handle import RunHandle as RunHandle
    from taskgrove.commands.main_task_composer import MainTaskComposer as MainTaskComposer
    from taskgrove.commands.main_task_executor import MainTaskExecutor as MainTaskExecutor
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

#: Where each public name is; it is imported when it is first asked for.
_LATER = {
    "AggregationOutcome": "taskgrove.commands.aggregation.base",
    "BaseTask": "taskgrove.commands.task",
    "CommandError": "taskgrove.errors",
    "Decision": "taskgrove.commands.aggregation.base",
    "HealthState": "taskgrove.control_model",
    "LeafTask": "taskgrove.commands.task",
    "MainTaskComposer": "taskgrove.commands.main_task_composer",
    "MainTaskExecutor": "taskgrove.commands.main_task_executor",
    "MapError": "taskgrove.errors",
    "ResultCode": "taskgrove.control_model",
    "RunHandle": "taskgrove.commands.execution.run_handle",
    "SubtaskResult": "taskgrove.commands.aggregation.base",
    "Task": "taskgrove.commands.task",
    "TaskAggregationPolicy": "taskgrove.commands.aggregation.policy",
    "TaskEvent": "taskgrove.events",
    "TaskExecutionType": "taskgrove.commands.task",
    "TaskStatus": "taskgrove.control_model",
    "TaskTracker": "taskgrove.commands.task_tracker",
    "TaskgroveError": "taskgrove.errors",
    "as_task_callback": "taskgrove.commands.task_tracker",
    "load_command_map": "taskgrove.commands.command_map",
    "run": "taskgrove.facade",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
