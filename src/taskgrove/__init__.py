"""Compose, execute, track and aggregate task trees, with one truthful outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskgrove.commands.aggregation.base import AggregationOutcome as AggregationOutcome
from taskgrove.commands.aggregation.base import Decision as Decision
from taskgrove.commands.aggregation.base import SubtaskResult as SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy as TaskAggregationPolicy
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

if TYPE_CHECKING:
    from taskgrove.commands.command_map import load_command_map as load_command_map
    from taskgrove.commands.main_task_composer import MainTaskComposer as MainTaskComposer

__version__ = "0.1.0"

# Command maps need pydantic, which is as slow to import as all the rest together; whoever
# builds trees in Python does not wait for it.
_LATER = {
    "MainTaskComposer": "taskgrove.commands.main_task_composer",
    "load_command_map": "taskgrove.commands.command_map",
}


def __getattr__(name: str) -> Any:
    """Import what reads command maps when it is first asked for."""
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'taskgrove' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - rarely needed

    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
