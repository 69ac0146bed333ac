"""The demo's fourth act: a scan writes an HDF5 file, and analyses find out the distance.

Everything is kept in one new folder: the map, the configuration, the file of the scan, what the
analyses wrote, and the page. The scan is simulated, so the distance that it was made with is
known, and the act fails if the analyses do not find it.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.analyses import AnalysisOptions, labels_of
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.recording import Recording, about_shown
from taskgrove.cli.run import Shown, show_run
from taskgrove.cli.session import MapSession
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.command_map import load_command_map
from taskgrove.control_model import ResultCode
from taskgrove.view.terminal_text import duration_text

if TYPE_CHECKING:
    from taskgrove.tango.simulator import SimulatedFleet

TITLE: Final = "a scan and its analyses"
LOOK_AT: Final = (
    "Look at pyfai-integrate: one process for each frame of a powder scan, two at a time on two "
    "processors. Two frames show no rings; eight of ten are enough, so the run goes on, and is "
    "degraded. The others give the distance to the detector."
)
_COMMAND: Final = "powder_scan"
_MAP: Final = "powder.yaml"
_CONFIGURATION: Final = "powder_analyses.yaml"
#: Frames in which no beam hits the sample.
_EMPTY_FRAMES: Final = (3, 7)
#: How long a frame is exposed, in seconds at speed 1.
_EXPOSURE_S: Final = 0.1
#: How long the detector takes to be configured, in seconds at speed 1.
_CONFIGURE_S: Final = 1.0
#: How near the refined distance must be to the true one.
_TOLERANCE: Final = 0.01
#: What the act needs besides the devices, by the names that are imported.
_NEEDED: Final = ("numpy", "h5py", "pyFAI", "scipy", "matplotlib", "jinja2", "psutil")


class ScanManager:
    """The component manager of the act: it has the method that takes the scan.

    Args:
        file: Where the scan is written.
        exposure_s: How long a frame is exposed, in seconds.
    """

    def __init__(self, file: Path, exposure_s: float) -> None:
        self._file = file
        self._exposure_s = exposure_s

    def take_scan(
        self,
        frames: int,
        task_callback: Callable[..., object],
        task_abort_event: threading.Event,
    ) -> tuple[ResultCode, str]:
        """Expose frame after frame, and write them into one HDF5 file.

        Args:
            frames: How many.
            task_callback: Hears the progress.
            task_abort_event: Ends the scan; no file is written then.
        """
        from taskgrove.analysis.powder.simulation import (  # noqa: PLC0415 - an extra
            SimulatedScan,
            take_scan,
        )

        def after_frame(taken: int) -> bool:
            task_callback(progress=round(100 * taken / frames))
            return not task_abort_event.wait(self._exposure_s)

        scan = SimulatedScan(frames=frames, empty_frames=_EMPTY_FRAMES)
        if not take_scan(scan, self._file, after_frame=after_frame):
            return ResultCode.ABORTED, "the scan was stopped; no file was written"
        return ResultCode.OK, f"{frames} frames in {self._file.name}"


def missing_packages() -> list[str]:
    """Return what of the extra ``demo`` is not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def perform_scan(terminal: Terminal, record: Recording, *, speed: float) -> tuple[Shown, list[str]]:
    """Run the act; return how it ended, and how that differs from what it should end like.

    Args:
        terminal: Where it is shown.
        record: Keeps the record of it, or none.
        speed: The devices go this many times as fast.
    """
    from taskgrove.tango.simulator import SimulatedFleet, device_names  # noqa: PLC0415 - an extra

    folder = _new_folder()
    command_map = load_command_map(folder / _MAP)
    terminal.say("Starting one TANGO device server, the detector …", "dim")
    settings = {"duration_s": _CONFIGURE_S}
    names = device_names(command_map.components)
    with SimulatedFleet(names, speed=speed, settings=settings) as fleet:
        began = time.monotonic()
        shown = _run(terminal, record, fleet, folder, _EXPOSURE_S / speed)
        terminal.say_explanation(shown.words)
        terminal.say(f"The run took {duration_text(time.monotonic() - began)}.", "dim")
        record.say_how_to_see(terminal, shown.run_id, well=False)
    if shown.interrupts:
        return shown, []
    differs = differences(shown, folder)
    if not differs:
        _say_result(terminal, folder)
    return shown, differs


def differences(shown: Shown, folder: Path) -> list[str]:
    """Return how the act's outcome differs from what it should be."""
    if shown.words.outcome != "degraded":
        return [f"it ended {shown.words.outcome}, and should have ended degraded"]
    found, true = _distances(folder)
    if abs(found["distance_mm"] - true) > _TOLERANCE * true:
        return [f"the distance found is {found['distance_mm']:.2f} mm, and is {true:.2f} mm"]
    page = _page(folder)
    return [] if page.is_file() else [f"there is no page {page}"]


def _run(
    terminal: Terminal,
    record: Recording,
    fleet: SimulatedFleet,
    folder: Path,
    exposure_s: float,
) -> Shown:
    command_map = load_command_map(folder / _MAP)
    frames = _frames_of(command_map.command(_COMMAND).tasks)
    with MapSession(
        command_map,
        ScanManager(folder / "scan.h5", exposure_s),
        reader=DeviceReader("the demo"),
        addresses=fleet.trls,
        analyses=AnalysisOptions(pages=str(folder / "pages"), read_record=False),
    ) as session:
        task = session.compose(_COMMAND, {"take_scan": frames, "resource_manager": {"scan": 1}})
        session.preflight(task)
        about = about_shown(_COMMAND, {"demo": TITLE, **labels_of(task)})
        return show_run(terminal, session, task, record, about, at_once=fleet.stop)


def _frames_of(tasks: dict[str, Any]) -> int:
    return int(tasks["integrate"].each.count)


def _new_folder() -> Path:
    """Return a new folder with the map and the configuration in it."""
    folder = Path(tempfile.mkdtemp(prefix="taskgrove-demo-"))
    shipped = resources.files("taskgrove.cli").joinpath("maps")
    (folder / _MAP).write_text(shipped.joinpath(_MAP).read_text("utf-8"), "utf-8")
    configuration = shipped.joinpath(_CONFIGURATION).read_text("utf-8")
    line = next(line for line in configuration.splitlines() if "work_dir: ." in line)
    configuration = configuration.replace(line, f"  work_dir: {json.dumps(str(folder))}")
    (folder / _CONFIGURATION).write_text(configuration, "utf-8")
    return folder


def _distances(folder: Path) -> tuple[dict[str, Any], float]:
    from taskgrove.analysis.powder.fit import read_fit  # noqa: PLC0415 - an extra
    from taskgrove.analysis.powder.scan_file import read_info  # noqa: PLC0415 - an extra

    true = read_info(folder / "scan.h5").true_distance_mm
    assert true is not None
    return read_fit(folder / "fit.json"), true


def _page(folder: Path) -> Path:
    return folder / "pages" / "powder" / "agbh" / "report.html"


def _say_result(terminal: Terminal, folder: Path) -> None:
    found, true = _distances(folder)
    terminal.say(
        f"Distance found: {found['distance_mm']:.2f} ± {found['error_mm']:.2f} mm;"
        f" true: {true:.2f} mm; the scan's file says {found['believed_distance_mm']:.0f} mm."
    )
    terminal.say(f"Its page: {_page(folder).as_uri()}")
    terminal.say(f"All its files: {folder}", "dim")
