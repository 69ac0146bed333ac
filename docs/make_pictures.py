"""Makes the pictures of the documentation from real runs of the demo: ``make screenshots``.

It starts the demo's eighteen simulated devices, waits until two beams have failed while others
still run, and writes what the terminal shows at that moment to ``docs/images/live-tree.svg``. Then
it takes pictures of every view of the page, in ``build/screenshots``; the best go to
``docs/images``, too.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.follow import EventQueue
from taskgrove.cli.run_session import MapSession
from taskgrove.cli.simulate import demo_map
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.command_map import load_command_map
from taskgrove.tango.simulator import SimulatedFleet, device_names
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import UNICODE
from taskgrove.view.tree_lines import fold_text, format_line, name_width
from taskgrove.view.tree_text import build_lines
from taskgrove_demo.acts import CONFIGURATION, TELESCOPE_ACTS
from taskgrove_demo.managers import Telescope

PICTURE = Path(__file__).parent / "images" / "live-tree.svg"
SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
WIDTH = 96


def picture_tree() -> None:
    """Run the second act of the demo and keep one moment of it."""
    command_map = load_command_map(demo_map())
    settings = {"duration_s": 4.0, "spread": 0.4}
    with SimulatedFleet(device_names(command_map.components), settings=settings) as fleet:
        for device, fault in TELESCOPE_ACTS[1].faults.items():
            fleet.set_fault(device, "Configure", fault)
        with MapSession(
            command_map,
            Telescope(),
            reader=DeviceReader("the demo"),
            addresses=fleet.trls,
            max_workers=4,
        ) as session:
            task = session.compose("configure", CONFIGURATION)
            events, view = EventQueue(), RunView()
            handle = session.submit(task, [events])
            while not handle.wait(0.02):
                view.apply_all(events.drain())
                if view.leaf_tally["failed"] == 2 and view.leaf_tally["running"]:
                    break
            picture = draw(view, time.monotonic())
            handle.wait()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture, "utf-8")


def picture_page() -> None:
    """Take the pictures of the page."""
    from page_pictures import keep, take_pictures  # noqa: PLC0415 - needs the root in the path

    with tempfile.TemporaryDirectory(prefix="taskgrove-") as folder:
        take_pictures(Path(folder), SCREENSHOTS)
    keep(SCREENSHOTS, PICTURE.parent)


def draw(view: RunView, now_s: float) -> str:
    """Return the tree as an SVG that loads nothing from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    os.environ["FORCE_COLOR"] = "1"
    terminal = Terminal()
    lines = build_lines(view, now_s=now_s)
    names = name_width(lines, WIDTH)
    for line in lines:
        console.print(Text.from_ansi(terminal.coded(format_line(line, WIDTH, names, UNICODE))))
    tally = fold_text("leaves", view.leaf_tally)
    console.print(Text.from_ansi(terminal.coded([(tally, "dim")])))
    svg = console.export_svg(title="taskgrove demo")
    return re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the browser is that of the tests
    picture_tree()
    picture_page()
