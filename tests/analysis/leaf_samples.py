"""Analyses that tests run as leaves of a tree."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry, AnalysisRegistry
from taskgrove.analysis.results import ElogSummaryPlots, TaskStatus
from taskgrove.analysis.task import AnalysisTask


class FrameParameters(TaskParameters):
    frame: int = 0
    bad: tuple[int, ...] = ()


class CheckFrame(AnalysisTask[FrameParameters]):
    def run(self) -> Any:
        frame = self.parameters.frame
        self.report_progress(50, f"frame {frame}")
        if frame in self.parameters.bad:
            text = f"frame {frame}: no peaks above 5 sigma"
            return self.result(None, text, status=TaskStatus.FAILED)
        return self.result({"frame": frame}, f"frame {frame}: 8 peaks")


class WaitParameters(TaskParameters):
    place: Path
    deaf: bool = False


class Wait(AnalysisTask[WaitParameters]):
    """Makes a file when it waits; a deaf one cannot be asked to end."""

    def run(self) -> Any:
        if self.parameters.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.parameters.place.touch()
        self.report_progress(10, "ready")
        while True:
            time.sleep(0.02)
            if not self.parameters.place.exists():
                return "let go"


class Warn(AnalysisTask[FrameParameters]):
    def run(self) -> Any:
        for number in range(self.parameters.frame):
            self.log.warning("warning %d", number)
        raise ValueError("too many warnings")


class Draw(AnalysisTask[FrameParameters]):
    def run(self) -> Any:
        return ElogSummaryPlots("scans/one", f"<p>frame {self.parameters.frame}</p>")


class Vanish(AnalysisTask[FrameParameters]):
    """Ends without a word."""

    def run(self) -> Any:
        os._exit(0)


class Undecided(AnalysisTask[FrameParameters]):
    """Gives a result that is no end."""

    def run(self) -> Any:
        return self.result(None, "still at it", status=TaskStatus.RUNNING)


class ShellParameters(ThirdPartyParameters):
    """``frame`` is handed over as the script's first argument."""

    executable: str = "/bin/sh"
    c: str = "true"
    p_arg1: str = "script"
    p_arg2: int = 0


ENTRIES = [
    AnalysisEntry("CheckFrame", FrameParameters, task=CheckFrame, description="Looks at a frame."),
    AnalysisEntry("Wait", WaitParameters, task=Wait),
    AnalysisEntry("Warn", FrameParameters, task=Warn),
    AnalysisEntry("Draw", FrameParameters, task=Draw),
    AnalysisEntry("Vanish", FrameParameters, task=Vanish),
    AnalysisEntry("Undecided", FrameParameters, task=Undecided),
    AnalysisEntry("Shell", ShellParameters),
]


def registry() -> AnalysisRegistry:
    """Return a registry of these analyses alone."""
    made = AnalysisRegistry()
    made.register(*ENTRIES)
    return made
