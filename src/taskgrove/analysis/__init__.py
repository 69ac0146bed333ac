"""Analyses: programs that are described, supervised, and whose results are published (seed 004)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner as AnalysisRunner
    from taskgrove.analysis.configuration import Configuration as Configuration
    from taskgrove.analysis.configuration import load_configuration as load_configuration
    from taskgrove.analysis.executor import AnalysisExecutor as AnalysisExecutor
    from taskgrove.analysis.hooks import Hooks as Hooks
    from taskgrove.analysis.logbook import HttpLogbook as HttpLogbook
    from taskgrove.analysis.logbook import Logbook as Logbook
    from taskgrove.analysis.pages import PagePublisher as PagePublisher
    from taskgrove.analysis.pages import PublishedPage as PublishedPage
    from taskgrove.analysis.parameters import AnalysisHeader as AnalysisHeader
    from taskgrove.analysis.parameters import Parameter as Parameter
    from taskgrove.analysis.parameters import TaskParameters as TaskParameters
    from taskgrove.analysis.parameters import TemplateConfig as TemplateConfig
    from taskgrove.analysis.parameters import TemplateParameters as TemplateParameters
    from taskgrove.analysis.parameters import ThirdPartyParameters as ThirdPartyParameters
    from taskgrove.analysis.payload_store import load_payload as load_payload
    from taskgrove.analysis.payload_store import store_payload as store_payload
    from taskgrove.analysis.plain.json_form import dump_json as dump_json
    from taskgrove.analysis.plain.json_form import load_json as load_json
    from taskgrove.analysis.publishing.page_origin import PageOrigin as PageOrigin
    from taskgrove.analysis.registry import REGISTRY as REGISTRY
    from taskgrove.analysis.registry import AnalysisEntry as AnalysisEntry
    from taskgrove.analysis.registry import AnalysisRegistry as AnalysisRegistry
    from taskgrove.analysis.results import DescribedAnalysis as DescribedAnalysis
    from taskgrove.analysis.results import ElogSummaryPlots as ElogSummaryPlots
    from taskgrove.analysis.results import TaskResult as TaskResult
    from taskgrove.analysis.results import TaskStatus as TaskStatus
    from taskgrove.analysis.running.analysis_events import AnalysisEvent as AnalysisEvent
    from taskgrove.analysis.running.environment import AnalysisEnvironment as AnalysisEnvironment
    from taskgrove.analysis.running.handle import AnalysisHandle as AnalysisHandle
    from taskgrove.analysis.running.outcome import AnalysisOutcome as AnalysisOutcome
    from taskgrove.analysis.schemas import check_payload as check_payload
    from taskgrove.analysis.schemas import register_schema as register_schema
    from taskgrove.analysis.summary_plots import render_figures as render_figures
    from taskgrove.analysis.task import AnalysisTask as AnalysisTask
    from taskgrove.analysis.tasklets import TaskletContext as TaskletContext

#: Where each public name is; importing this package imports no numpy.
_LATER = {
    "AnalysisEntry": "taskgrove.analysis.registry",
    "AnalysisEnvironment": "taskgrove.analysis.running.environment",
    "AnalysisEvent": "taskgrove.analysis.running.analysis_events",
    "AnalysisExecutor": "taskgrove.analysis.executor",
    "AnalysisHandle": "taskgrove.analysis.running.handle",
    "AnalysisHeader": "taskgrove.analysis.parameters",
    "AnalysisOutcome": "taskgrove.analysis.running.outcome",
    "AnalysisRegistry": "taskgrove.analysis.registry",
    "AnalysisRunner": "taskgrove.analysis.analysis_runner",
    "AnalysisTask": "taskgrove.analysis.task",
    "Configuration": "taskgrove.analysis.configuration",
    "DescribedAnalysis": "taskgrove.analysis.results",
    "ElogSummaryPlots": "taskgrove.analysis.results",
    "Hooks": "taskgrove.analysis.hooks",
    "HttpLogbook": "taskgrove.analysis.logbook",
    "Logbook": "taskgrove.analysis.logbook",
    "PageOrigin": "taskgrove.analysis.publishing.page_origin",
    "PagePublisher": "taskgrove.analysis.pages",
    "Parameter": "taskgrove.analysis.parameters",
    "PublishedPage": "taskgrove.analysis.pages",
    "REGISTRY": "taskgrove.analysis.registry",
    "TaskParameters": "taskgrove.analysis.parameters",
    "TaskResult": "taskgrove.analysis.results",
    "TaskStatus": "taskgrove.analysis.results",
    "TaskletContext": "taskgrove.analysis.tasklets",
    "TemplateConfig": "taskgrove.analysis.parameters",
    "TemplateParameters": "taskgrove.analysis.parameters",
    "ThirdPartyParameters": "taskgrove.analysis.parameters",
    "check_payload": "taskgrove.analysis.schemas",
    "dump_json": "taskgrove.analysis.plain.json_form",
    "load_configuration": "taskgrove.analysis.configuration",
    "load_json": "taskgrove.analysis.plain.json_form",
    "load_payload": "taskgrove.analysis.payload_store",
    "register_schema": "taskgrove.analysis.schemas",
    "render_figures": "taskgrove.analysis.summary_plots",
    "store_payload": "taskgrove.analysis.payload_store",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER, extra=("analysis", "analyses"))
