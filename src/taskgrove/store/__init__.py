"""The record of every run: what keeps it, reads it, and makes sense of it after a crash.

Importing this package imports no database library; using what needs one raises a
:class:`~taskgrove.errors.MissingExtraError` that names the extra where it is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.store.estimate import Estimate as Estimate
    from taskgrove.store.export_jsonl import ExportedRun as ExportedRun
    from taskgrove.store.export_jsonl import read_jsonl as read_jsonl
    from taskgrove.store.history import History as History
    from taskgrove.store.lost import LostRun as LostRun
    from taskgrove.store.lost import find_lost as find_lost
    from taskgrove.store.lost import lost_runs as lost_runs
    from taskgrove.store.recorder import Recorder as Recorder
    from taskgrove.store.recovery import recover as recover
    from taskgrove.store.resuming import plan_resume as plan_resume
    from taskgrove.store.resuming import resume as resume
    from taskgrove.store.run_diff import Difference as Difference
    from taskgrove.store.run_diff import RunDiff as RunDiff
    from taskgrove.store.run_filter import RunFilter as RunFilter
    from taskgrove.store.run_filter import parse_filter as parse_filter
    from taskgrove.store.run_rows import RunRow as RunRow
    from taskgrove.store.run_rows import RunSummary as RunSummary
    from taskgrove.store.statistics import Statistics as Statistics
    from taskgrove.store.store import Store as Store
    from taskgrove.store.verdicts import give_verdict as give_verdict

#: Where each public name is; most need SQLAlchemy when they are imported.
_LATER = {
    "Difference": "taskgrove.store.run_diff",
    "Estimate": "taskgrove.store.estimate",
    "ExportedRun": "taskgrove.store.export_jsonl",
    "History": "taskgrove.store.history",
    "LostRun": "taskgrove.store.lost",
    "Recorder": "taskgrove.store.recorder",
    "RunDiff": "taskgrove.store.run_diff",
    "RunFilter": "taskgrove.store.run_filter",
    "RunRow": "taskgrove.store.run_rows",
    "RunSummary": "taskgrove.store.run_rows",
    "Statistics": "taskgrove.store.statistics",
    "Store": "taskgrove.store.store",
    "find_lost": "taskgrove.store.lost",
    "give_verdict": "taskgrove.store.verdicts",
    "lost_runs": "taskgrove.store.lost",
    "parse_filter": "taskgrove.store.run_filter",
    "plan_resume": "taskgrove.store.resuming",
    "read_jsonl": "taskgrove.store.export_jsonl",
    "recover": "taskgrove.store.recovery",
    "resume": "taskgrove.store.resuming",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER, extra=("store", "the record of runs"))
