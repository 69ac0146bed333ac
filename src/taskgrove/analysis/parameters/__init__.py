"""Parameters of analyses: their models, and how they become command lines and files."""

from __future__ import annotations

from taskgrove.analysis.parameters.argv import render_argv as render_argv
from taskgrove.analysis.parameters.base import TaskParameters as TaskParameters
from taskgrove.analysis.parameters.base import TemplateConfig as TemplateConfig
from taskgrove.analysis.parameters.base import TemplateParameters as TemplateParameters
from taskgrove.analysis.parameters.base import ThirdPartyParameters as ThirdPartyParameters
from taskgrove.analysis.parameters.describe import ParameterDoc as ParameterDoc
from taskgrove.analysis.parameters.describe import describe_parameters as describe_parameters
from taskgrove.analysis.parameters.field import Parameter as Parameter
from taskgrove.analysis.parameters.header import AnalysisHeader as AnalysisHeader
from taskgrove.analysis.parameters.templates import render_template as render_template
