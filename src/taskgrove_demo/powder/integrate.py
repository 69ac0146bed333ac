"""PyfaiIntegrate: the azimuthal integration of one frame."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from taskgrove.analysis import AnalysisTask, TaskStatus
from taskgrove_demo.powder.curves import Curve, count_peaks, integrate, write_curve
from taskgrove_demo.powder.parameters import PyfaiIntegrateParameters
from taskgrove_demo.powder.scan_file import read_frame, read_info


class PyfaiIntegrate(AnalysisTask[PyfaiIntegrateParameters]):
    """Integrates one frame with pyFAI and writes its curve; fails when it shows no peak."""

    def before_run(self) -> None:
        """Keep what pyFAI's libraries say of themselves out of the log."""
        logging.getLogger("numexpr").setLevel(logging.WARNING)

    def run(self) -> Any:
        """Return the curve's file and how many peaks it has."""
        given = self.parameters
        info = read_info(given.scan_file)
        geometry = info.geometry
        if given.distance is not None:
            geometry = replace(geometry, distance_mm=given.distance)
        counts = read_frame(given.scan_file, given.frame)
        self.report_progress(30, f"frame {given.frame}: {int(counts.sum())} counts")
        q, intensity, sigma = integrate(counts, geometry, given.bins)
        curve = Curve(given.frame, q, intensity, sigma, geometry, info.positions_mm[given.frame])
        peaks = count_peaks(curve, given.min_sigma)
        if not peaks:
            return self.result(
                None,
                f"frame {given.frame}: no peaks above {given.min_sigma:g} sigma",
                status=TaskStatus.FAILED,
            )
        self.report_progress(80, f"frame {given.frame}: {peaks} peaks")
        file = write_curve(curve, given.output_dir)
        return self.result(
            {"file": file, "frame": given.frame, "peaks": peaks},
            f"frame {given.frame}: {peaks} peaks above {given.min_sigma:g} sigma",
        )
