"""The four acts: each sets up simulated devices, runs a command, and compares its exit code.

Each command is the ``taskgrove run`` that you would type, on a map with the addresses of the
simulated devices. All files are kept in one new folder.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from taskgrove import load_command_map
from taskgrove.errors import MissingExtraError
from taskgrove.tango.simulator import SimulatedFleet, device_names

#: Calls ``taskgrove`` with the words of a command line, and returns its exit code.
CommandLine = Callable[..., int]
#: Prints a line in a style.
Say = Callable[[str, str], None]

_ABORTED: Final = 5
_ENDS: Final = {0: "completed", 1: "failed", 3: "degraded", 4: "rejected", _ABORTED: "aborted"}

#: How long a simulated command takes at speed 1, in seconds, and how much devices differ.
_TELESCOPE: Final = {"duration_s": 4.0, "spread": 0.4}
_BEAMLINE: Final = {"duration_s": 1.0}
#: What the telescope's command is given: by keyword for devices, by name for internal steps.
CONFIGURATION: Final[dict[str, Any]] = {
    "check_configuration": {"scan_id": 1, "beams": 16},
    "cbf": {"scan_id": 1, "channels": 13824},
    "pss": {"scan_id": 1, "candidates": 1000},
    "pst": {"scan_id": 1, "mode": "PULSAR_TIMING"},
}
#: How long a frame is exposed, in seconds at speed 1.
_EXPOSURE_S: Final = 0.1
#: How near the refined distance must be to the true one, as a share of it.
_TOLERANCE: Final = 0.01
#: What the scan needs besides the devices, by the names that are imported.
_NEEDED: Final = ("numpy", "h5py", "pyFAI", "scipy", "matplotlib", "jinja2", "psutil")


@dataclass(frozen=True, slots=True)
class Act:
    """One run of the demonstration.

    Attributes:
        title: What happens.
        look_at: What to look at.
        ends: How it should end.
        faults: What goes wrong, by device; the faults of an earlier act are gone.
    """

    title: str
    look_at: str
    ends: str
    faults: Mapping[str, str]


#: The acts with the telescope.
TELESCOPE_ACTS: Final = (
    Act(
        "all is well",
        "Look at the beams: they run side by side, each at its own pace, and their group ends "
        "when the last of them does.",
        "completed",
        {},
    ),
    Act(
        "two beams fail",
        "Look at low-pst/beam/03 and low-pst/beam/11: they fail, also when they are tried again. "
        "The sum of their group makes the command degraded, not failed, and both causes come up.",
        "degraded",
        {
            "low-pst/beam/03": "fail,at=60,message=receiver 3 is not locked",
            "low-pst/beam/11": "fail,at=35,message=no room on the disk",
        },
    ),
    Act(
        "the correlator is killed",
        "Look at low-cbf/subarray/01: its process gets a kill -9 in the middle of its command. "
        "Without the correlator nothing can be observed, so the command fails, and does not hang.",
        "failed",
        {"low-cbf/subarray/01": "crash,at=30"},
    ),
)
SCAN: Final = Act(
    "a scan and its analyses",
    "Look at pyfai-integrate: one process for each frame of a powder scan, two at a time on two "
    "processors. Two frames show no rings; eight of ten are enough, so the run goes on, and is "
    "degraded. The others give the distance to the detector.",
    "degraded",
    {},
)
_ACT_COUNT: Final = len(TELESCOPE_ACTS) + 1


class Demo:
    """Plays acts.

    Args:
        taskgrove: Calls the command line.
        say: Prints a line.
        speed: The devices go this many times as fast.
        options: Further options of ``taskgrove run``.
    """

    def __init__(
        self, taskgrove: CommandLine, say: Say, *, speed: float = 1.0, options: tuple[str, ...] = ()
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskgrove-demo-"))
        for map_file in resources.files("taskgrove_demo").joinpath("maps").iterdir():
            (self.folder / map_file.name).write_text(map_file.read_text("utf-8"), "utf-8")
        self._taskgrove = taskgrove
        self._say = say
        self._speed = speed
        self._options = options

    def play(self, only: int | None = None) -> int:
        """Play one act, or all; return the exit code.

        Args:
            only: The number of the act, from 1.

        Raises:
            MissingExtraError: It is the scan's, and the extra ``demo`` is not installed.
        """
        wanted = [only] if only else list(range(1, _ACT_COUNT + 1))
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing and only == _ACT_COUNT:
            raise MissingExtraError("demo", f"act {_ACT_COUNT} ({', '.join(missing)})")
        differs: list[str] = []
        code = 0
        acts = [(n, act) for n, act in enumerate(TELESCOPE_ACTS, 1) if n in wanted]
        if acts:
            with self.devices("demo.yaml", _TELESCOPE) as fleet:
                for number, act in acts:
                    if code != _ABORTED:
                        code = self._telescope_act(fleet, number, act, differs)
        if code != _ABORTED and _ACT_COUNT in wanted and not missing:
            with self.devices("powder.yaml", _BEAMLINE):
                code = self._scan(differs)
        elif code != _ABORTED and _ACT_COUNT in wanted:
            hint = "pip install 'taskgrove[demo]'"
            self._say(f"Act {_ACT_COUNT} is left out, it needs {', '.join(missing)}: {hint}", "dim")
        self._say(f"All files: {self.folder}", "dim")
        if code == _ABORTED:
            return _ABORTED
        if differs:
            self._say("The demo did not end as it should:", "bold red")
            for line in differs:
                self._say(f"- {line}", "")
        return 1 if differs else 0

    @contextmanager
    def devices(self, name: str, settings: Mapping[str, float]) -> Iterator[SimulatedFleet]:
        """Start the devices of a map, and write their addresses into it.

        Args:
            name: The map's file.
            settings: Of the simulated devices.
        """
        command_map = load_command_map(self.folder / name)
        names = device_names(command_map.components)
        many = "s, each a process of its own" if len(names) > 1 else ""
        self._say(f"Starting {len(names)} TANGO device server{many} …", "dim")
        with SimulatedFleet(names, speed=self._speed, settings=dict(settings)) as fleet:
            whole = command_map.to_dict()
            whole["components"] = fleet.components(whole["components"])
            text = yaml.safe_dump(whole, sort_keys=False)
            (self.folder / name).write_text(text, "utf-8")
            yield fleet
        self._say("All device servers are stopped.", "dim")

    def _telescope_act(
        self, fleet: SimulatedFleet, number: int, act: Act, differs: list[str]
    ) -> int:
        for device in fleet.devices:
            faults = [act.faults[device]] if device in act.faults else []
            fleet.set_fault(device, "Configure", *faults)
        return self._run(
            number, act, differs, "demo.yaml", "configure", "Telescope", CONFIGURATION,
            "--max-workers", "4",
        )  # fmt: skip

    def _scan(self, differs: list[str]) -> int:
        code = self._run(
            _ACT_COUNT, SCAN, differs, "powder.yaml", "powder_scan", "Beamline",
            {
                "take_scan": {
                    "file": str(self.folder / "scan.h5"), "frames": 10, "empty_frames": [3, 7],
                    "exposure_s": _EXPOSURE_S / self._speed,
                },
                "resource_manager": {"scan": 1},
            },
            "--analyses", "taskgrove_demo.analyses", "--work-dir", str(self.folder),
            "--pages", str(self.folder / "pages"),
        )  # fmt: skip
        if not differs and code != _ABORTED:
            differs += self._judge_distance()
        return code

    def _run(
        self,
        number: int,
        act: Act,
        differs: list[str],
        map_file: str,
        command: str,
        manager: str,
        argin: Mapping[str, Any],
        *options: str,
    ) -> int:
        self._say(f"\nAct {number} of {_ACT_COUNT}: {act.title}", "bold underline")
        self._say(act.look_at, "")
        arguments = self.folder / f"{command}.json"
        arguments.write_text(json.dumps(argin, indent=1), "utf-8")
        began = time.monotonic()
        code = self._taskgrove(
            "run", str(self.folder / map_file), command, "--argin", str(arguments),
            "--manager", f"taskgrove_demo.managers:{manager}", *options, *self._options,
        )  # fmt: skip
        self._say(f"The run took {time.monotonic() - began:.1f} s.", "dim")
        ended = _ENDS.get(code, f"with exit code {code}")
        if ended != act.ends:
            differs.append(f"act {number}: it ended {ended}, and should have ended {act.ends}")
        return code

    def _judge_distance(self) -> list[str]:
        """Print the distance that the analyses found; return how the result is wrong."""
        from taskgrove_demo.powder.fit import read_fit  # noqa: PLC0415 - an extra
        from taskgrove_demo.powder.scan_file import read_info  # noqa: PLC0415 - an extra

        fit = read_fit(self.folder / "fit.json")
        found, true = fit["distance_mm"], read_info(self.folder / "scan.h5").true_distance_mm
        assert true is not None
        self._say(
            f"Distance found: {found:.2f} ± {fit['error_mm']:.2f} mm; true: {true:.2f} mm; "
            f"the scan's file says {fit['believed_distance_mm']:.0f} mm.",
            "",
        )
        page = self.folder / "pages" / "powder" / "agbh" / "report.html"
        if not page.is_file():
            return [f"there is no page {page}"]
        self._say(f"Its page: {page.as_uri()}", "")
        if abs(found - true) > _TOLERANCE * true:
            return [f"the distance found is {found:.2f} mm, and is {true:.2f} mm"]
        return []
