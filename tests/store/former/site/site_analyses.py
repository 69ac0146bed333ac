"""The analyses of the map beside it."""

import time
from pathlib import Path
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.task import AnalysisTask


class CountParameters(TaskParameters):
    frames: int = 3
    label: str = "none"
    token: str = ""


class CountFrames(AnalysisTask[CountParameters]):
    def run(self) -> Any:
        if Path("lamp-off").exists() and self.parameters.frames == 2:
            raise ValueError("frame 2: no peaks above 5 sigma")
        self.report_progress(50, "half of the frames")
        words = f"{self.parameters.frames} frames of {self.parameters.label}"
        return self.result({"frames": self.parameters.frames}, words)


class NoParameters(TaskParameters):
    """Nothing."""


class SecondTime(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        if not Path("tried").exists():
            Path("tried").touch()
            raise OSError("the detector is busy")
        return {"tries": 2}


class DrawParameters(TaskParameters):
    frames: int = 3


class DrawFrames(AnalysisTask[DrawParameters]):
    def run(self) -> Any:
        if Path("lamp-off").exists():
            raise RuntimeError("nothing to draw: the lamp is off")
        page = ElogSummaryPlots("run7/frames", b"<html><body>three frames</body></html>")
        self.log.info("drawn")
        return self.result({"frames": self.parameters.frames, "plots": page}, "frames drawn")


class Waits(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        Path("begun").touch()
        while Path("slow").exists():
            time.sleep(0.05)
        return {"waited": True}


class Words(ThirdPartyParameters):
    executable: str = "/bin/sh"
    c: str = "echo first; echo second >&2"


ENTRIES = [
    AnalysisEntry("CountFrames", CountParameters, task="site_analyses:CountFrames"),
    AnalysisEntry("SecondTime", NoParameters, task="site_analyses:SecondTime"),
    AnalysisEntry("DrawFrames", DrawParameters, task="site_analyses:DrawFrames"),
    AnalysisEntry("Waits", NoParameters, task="site_analyses:Waits"),
    AnalysisEntry("ListWords", Words),
]
