"""What the package brings to a registry."""

from __future__ import annotations

from typing import Final

from taskgrove.analysis.powder.parameters import (
    FitRingsParameters,
    PyfaiIntegrateParameters,
    SummariseParameters,
)
from taskgrove.analysis.registry import AnalysisEntry

_HERE: Final = "taskgrove.analysis.powder"

#: The three analyses, in the order in which they follow each other.
ENTRIES: Final = (
    AnalysisEntry(
        "PyfaiIntegrate",
        PyfaiIntegrateParameters,
        task=f"{_HERE}.integrate:PyfaiIntegrate",
        description="Averages one frame of a powder scan over rings around the beam, with pyFAI.",
    ),
    AnalysisEntry(
        "FitRings",
        FitRingsParameters,
        task=f"{_HERE}.fit:FitRings",
        description="Refines the distance to the detector from the rings of silver behenate.",
    ),
    AnalysisEntry(
        "Summarise",
        SummariseParameters,
        task=f"{_HERE}.summarise:Summarise",
        description="Publishes a page: image with rings, integrated curve, distance by frame.",
    ),
)
