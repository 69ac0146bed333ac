"""The analyses of the package: ``--analyses taskgrove_demo.analyses`` loads them."""

from __future__ import annotations

from typing import Final

from taskgrove.analysis import AnalysisEntry
from taskgrove_demo.powder.parameters import (
    FitRingsParameters,
    PyfaiIntegrateParameters,
    SummariseParameters,
)

#: The three analyses, in the order in which they follow each other.
ENTRIES: Final = (
    AnalysisEntry(
        "PyfaiIntegrate",
        PyfaiIntegrateParameters,
        task="taskgrove_demo.powder.integrate:PyfaiIntegrate",
        description="Averages one frame of a powder scan over rings around the beam, with pyFAI.",
    ),
    AnalysisEntry(
        "FitRings",
        FitRingsParameters,
        task="taskgrove_demo.powder.fit:FitRings",
        description="Refines the distance to the detector from the rings of silver behenate.",
    ),
    AnalysisEntry(
        "Summarise",
        SummariseParameters,
        task="taskgrove_demo.powder.summarise:Summarise",
        description="Publishes a page: image with rings, integrated curve, distance by frame.",
    ),
)
