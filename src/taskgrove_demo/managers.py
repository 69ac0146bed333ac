"""The component managers of the demonstration: their methods are what internal steps call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskgrove import ResultCode


class Telescope:
    """The component manager of the telescope."""

    def check_configuration(
        self, configuration: dict[str, Any], task_abort_event: threading.Event
    ) -> tuple[ResultCode, str]:
        """Check the configuration before any device is called.

        Args:
            configuration: The argument of the step.
            task_abort_event: Set when the command is aborted.
        """
        if task_abort_event.is_set():
            return ResultCode.ABORTED, "stopped before the configuration was checked"
        beams = configuration.get("beams")
        if not isinstance(beams, int) or not 1 <= beams <= 16:
            return ResultCode.FAILED, f"beams is {beams!r}, allowed is 1 to 16"
        return ResultCode.OK, f"scan {configuration.get('scan_id')} with {beams} beams"


class Beamline:
    """The component manager of the beamline."""

    def take_scan(
        self,
        scan: dict[str, Any],
        task_callback: Callable[..., object],
        task_abort_event: threading.Event,
    ) -> tuple[ResultCode, str]:
        """Expose frame after frame, and write them into one HDF5 file.

        Args:
            scan: ``file``, the number of ``frames``, the ``empty_frames`` in which no beam hits
                the sample, and ``exposure_s``, the seconds that each frame takes.
            task_callback: Called with the progress.
            task_abort_event: Ends the scan; no file is written then.
        """
        from taskgrove_demo.powder.simulation import (  # noqa: PLC0415 - an extra
            SimulatedScan,
            take_scan,
        )

        file, frames = Path(scan["file"]), int(scan["frames"])

        def after_frame(taken: int) -> bool:
            task_callback(progress=round(100 * taken / frames))
            return not task_abort_event.wait(scan["exposure_s"])

        simulated = SimulatedScan(frames=frames, empty_frames=tuple(scan["empty_frames"]))
        if not take_scan(simulated, file, after_frame=after_frame):
            return ResultCode.ABORTED, "the scan was stopped; no file was written"
        return ResultCode.OK, f"{frames} frames in {file.name}"
