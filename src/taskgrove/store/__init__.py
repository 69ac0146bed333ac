"""The record of every run: what keeps it, reads it, and makes sense of it after a crash.

Importing this package imports no database library; using what needs one raises a
:class:`~taskgrove.errors.MissingExtraError` that names the extra where it is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.recovery.finding_lost import LostRun as LostRun
    from taskgrove.recovery.finding_lost import find_lost as find_lost
    from taskgrove.recovery.finding_lost import lost_runs as lost_runs
    from taskgrove.recovery.lost_run_recovery import recover as recover
    from taskgrove.recovery.resuming import plan_resume as plan_resume
    from taskgrove.recovery.resuming import resume as resume
    from taskgrove.store.history import History as History
    from taskgrove.store.queries.estimate import Estimate as Estimate
    from taskgrove.store.queries.export_jsonl import ExportedRun as ExportedRun
    from taskgrove.store.queries.export_jsonl import read_jsonl as read_jsonl
    from taskgrove.store.queries.run_diff import Difference as Difference
    from taskgrove.store.queries.run_diff import RunDiff as RunDiff
    from taskgrove.store.queries.run_filter import RunFilter as RunFilter
    from taskgrove.store.queries.run_filter import parse_filter as parse_filter
    from taskgrove.store.queries.run_results import ResultRow as ResultRow
    from taskgrove.store.queries.run_results import ResultTable as ResultTable
    from taskgrove.store.queries.run_rows import RequestRow as RequestRow
    from taskgrove.store.queries.run_rows import RunRow as RunRow
    from taskgrove.store.queries.run_rows import RunSummary as RunSummary
    from taskgrove.store.queries.statistics import Statistics as Statistics
    from taskgrove.store.record_desk import RecordDesk as RecordDesk
    from taskgrove.store.recorder import Recorder as Recorder
    from taskgrove.store.store import Store as Store
    from taskgrove.store.verdicts import give_verdict as give_verdict

#: Where each public name is; most need a database library when they are imported.
_LATER = {
    "Difference": "taskgrove.store.queries.run_diff",
    "Estimate": "taskgrove.store.queries.estimate",
    "ExportedRun": "taskgrove.store.queries.export_jsonl",
    "History": "taskgrove.store.history",
    "LostRun": "taskgrove.recovery.finding_lost",
    "RecordDesk": "taskgrove.store.record_desk",
    "Recorder": "taskgrove.store.recorder",
    "RequestRow": "taskgrove.store.queries.run_rows",
    "ResultRow": "taskgrove.store.queries.run_results",
    "ResultTable": "taskgrove.store.queries.run_results",
    "RunDiff": "taskgrove.store.queries.run_diff",
    "RunFilter": "taskgrove.store.queries.run_filter",
    "RunRow": "taskgrove.store.queries.run_rows",
    "RunSummary": "taskgrove.store.queries.run_rows",
    "Statistics": "taskgrove.store.queries.statistics",
    "Store": "taskgrove.store.store",
    "find_lost": "taskgrove.recovery.finding_lost",
    "give_verdict": "taskgrove.store.verdicts",
    "lost_runs": "taskgrove.recovery.finding_lost",
    "parse_filter": "taskgrove.store.queries.run_filter",
    "plan_resume": "taskgrove.recovery.resuming",
    "read_jsonl": "taskgrove.store.queries.export_jsonl",
    "recover": "taskgrove.recovery.lost_run_recovery",
    "resume": "taskgrove.recovery.resuming",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER, extra=("store", "the record of runs"))
