"""FitRings: the distance to the detector, from all integrated frames together and one by one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taskgrove.analysis import AnalysisTask
from taskgrove.errors import AnalysisError
from taskgrove_demo.powder.curves import read_curves
from taskgrove_demo.powder.parameters import FitRingsParameters
from taskgrove_demo.powder.rings import Refined, mean_curve, refine_distance


class FitRings(AnalysisTask[FitRingsParameters]):
    """Fits the rings of silver behenate and refines the distance to the detector."""

    def run(self) -> Any:
        """Return the refined distance, its rings, and what each frame alone gives."""
        given = self.parameters
        curves = read_curves(given.integrated_dir)
        merged = mean_curve(curves)
        refined = refine_distance(merged, rings=given.rings, search=given.search)
        self.report_progress(30, f"all frames: {_told(refined)}")
        frames = []
        for number, curve in enumerate(curves, 1):
            alone = self._one(curve, given)
            if alone is not None:
                frames.append(
                    {
                        "frame": curve.frame,
                        "position_mm": curve.position_mm,
                        "distance_mm": alone.distance_mm,
                        "error_mm": alone.error_mm,
                    }
                )
            self.report_progress(30 + 65 * number / len(curves))
        fit = {
            "distance_mm": refined.distance_mm,
            "error_mm": refined.error_mm,
            "believed_distance_mm": merged.geometry.distance_mm,
            "rings": [asdict(ring) for ring in refined.rings],
            "frames": frames,
        }
        _write(given.output_file, fit)
        return self.result(fit, f"distance {_told(refined)} from {len(curves)} frames")

    def _one(self, curve: Any, given: FitRingsParameters) -> Refined | None:
        try:
            return refine_distance(curve, rings=given.rings, search=given.search)
        except AnalysisError as exc:
            # One weak frame does not spoil the mean; whoever reads the log sees it.
            self.log.warning("frame %d: %s", curve.frame, exc.message)
            return None


def _told(refined: Refined) -> str:
    return f"{refined.distance_mm:.2f} ± {refined.error_mm:.2f} mm"


def _write(file: Path, fit: dict[str, Any]) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(fit, indent=1), "utf-8")
        os.replace(part, file)
    except OSError as exc:
        raise AnalysisError(f"the fit cannot be written: {exc}", file=file) from exc
    finally:
        part.unlink(missing_ok=True)


def read_fit(file: Path) -> dict[str, Any]:
    """Return a fit that was written by :class:`FitRings`.

    Raises:
        AnalysisError: It is not there, or is no fit.
    """
    try:
        fit = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise AnalysisError(
            f"{file} cannot be read: {exc}", file=file, hint="run the analysis FitRings first"
        ) from exc
    if not isinstance(fit, dict) or "distance_mm" not in fit:
        raise AnalysisError(f"{file} is no fit of FitRings", file=file)
    return fit
