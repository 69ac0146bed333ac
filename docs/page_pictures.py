"""Pictures of the page: runs of the demo in a real Chromium, as an operator sees them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.tango.simulator import SimulatedFleet
from taskgrove.web.entrance import Entrance
from taskgrove.web.serving import PageServer
from taskgrove_demo.acts import CONFIGURATION, TELESCOPE_ACTS, Demo
from tests.analysis.chromium import Chromium, Page

#: The window, in pixels, and whether it is for somebody who prefers dark colours, by look.
LOOKS = {
    "light": (1280, 760, False),
    "dark": (1280, 760, True),
    "wide": (2200, 1000, False),
    "narrow": (420, 860, False),
    "narrow-dark": (420, 860, True),
}
CBF = "low-cbf/subarray/01"
TELESCOPE = {"duration_s": 4.0, "spread": 0.4}
#: The pictures that the documentation shows, and in which look.
KEPT = {"live": "light", "held": "dark", "history": "light", "plot": "light", "failed": "narrow"}
#: How many runs went well before: enough for the usual duration.
EARLIER = 6


class Scenes:
    """A record that fills with runs of the demo, its page, and a browser that looks.

    Args:
        folder: Where the record is.
        pictures: Where pictures are written to.
    """

    def __init__(self, folder: Path, pictures: Path) -> None:
        self.record = folder / "runs.db"
        self._pictures = pictures
        self._kept = contextlib.ExitStack()
        store = self._kept.enter_context(Store.open(self.record))
        self._server = PageServer(History(store), Entrance(os.urandom(32)))
        self._server.start()
        self._kept.callback(self._server.stop)
        self._browser = Chromium()
        self._kept.callback(self._browser.close)
        self._page = self._browser.open(self._server.new_link())
        hidden = {"hidden": True}
        self._browser.call("Emulation.setScrollbarsHidden", hidden, self._page.session)
        self.demo = Demo(self._run, lambda *_: None)

    def close(self) -> None:
        """End the browser and the server."""
        self._kept.close()

    def _run(self, *words: str) -> int:
        return self.started(*words).wait()

    def started(self, *words: str) -> subprocess.Popen[str]:
        """Start the command line on the record, and return its process."""
        command = [sys.executable, "-m", "taskgrove", *words, "--db", str(self.record)]
        return subprocess.Popen(  # noqa: S603 - our own words
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def configure(self, *options: str) -> subprocess.Popen[str]:
        """Start the command ``configure`` of the demo."""
        argin = self.demo.folder / "configure.json"
        argin.write_text(json.dumps(CONFIGURATION), "utf-8")
        return self.started(
            "run", str(self.demo.folder / "demo.yaml"), "configure", "--argin", str(argin),
            "--manager", "taskgrove_demo.managers:Telescope", "--max-workers", "4", "--no-live",
            "--by", "ann", *options,
        )  # fmt: skip

    def scan(self) -> None:
        """Run the scan of the demo, with its analyses and its page of plots."""
        self.demo.play(4)

    def show(self, path: str, until: str) -> Page:
        """Open an address of the page, and wait until something is true in it."""
        page = self._page
        self._browser.call("Page.navigate", {"url": f"{self._server.address}{path}"}, page.session)
        while True:
            try:
                page.wait_for(f"location.pathname + location.search === {path!r} && ({until})")
                return page
            except AssertionError as exc:
                if "navigated" not in str(exc) and "context" not in str(exc):
                    raise

    def newest(self, outcome: str) -> str:
        """Return the path of the newest run once the page shows it with an outcome."""
        page = self.show(
            "/", f"document.querySelector('td.outcome').textContent.includes('{outcome}')"
        )
        return f"/runs/{page.evaluate('document.querySelector(`[data-run]`).dataset.run')}"

    def take(
        self, name: str, looks: tuple[str, ...] = tuple(LOOKS), *, drawn_ms: int = 120
    ) -> None:
        """Take pictures of what is shown; a plot in a frame needs longer until it is drawn."""
        for look in looks:
            width, height, dark = LOOKS[look]
            self._page.size(width, height)
            self._page.dark(dark)
            frame = (
                f"new Promise(done => requestAnimationFrame(() => setTimeout(done, {drawn_ms})))"
            )
            self._page.evaluate(frame)
            write_small(self._page.picture(), self._pictures / f"{name}-{look}.png")


def write_small(picture: bytes, file: Path) -> None:
    """Write a picture with so few colours that it is small."""
    with Image.open(io.BytesIO(picture)) as whole:
        whole.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(file, optimize=True)


@contextlib.contextmanager
def staged(folder: Path, pictures: Path) -> Iterator[Scenes]:
    """Give the scenes of a record, and end what they started."""
    made = Scenes(folder, pictures)
    try:
        yield made
    finally:
        made.close()


def with_tree(state: str) -> str:
    """Return the condition that a tree is shown, and a line of it in a state."""
    return f"document.querySelector('.line[data-state={state}]') && document.querySelector('#why')"


def clicked(page: Page, element: str, until: str) -> None:
    """Click an element, and wait until something is true."""
    page.evaluate(f"document.querySelector({element!r}).click()")
    page.wait_for(until)


def take_pictures(folder: Path, pictures: Path) -> None:
    """Take the pictures of every view.

    Args:
        folder: An empty folder for the record.
        pictures: Where they are written to.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    with staged(folder, pictures) as scenes:
        scenes.show("/", "document.querySelector('code')")
        scenes.take("empty", ("light", "narrow"))
        with scenes.demo.devices("demo.yaml", TELESCOPE) as fleet:
            for device in fleet.devices:
                fleet.set_fault(device, "Configure")
            for _ in range(EARLIER):
                assert scenes.configure().wait() == 0
            set_faults(fleet, TELESCOPE_ACTS[1].faults)
            live_and_degraded(scenes)
            set_faults(fleet, {CBF: "fail,at=30,message=the clock is not locked"})
            held(scenes)
            set_faults(fleet, TELESCOPE_ACTS[2].faults)
            failed(scenes)
        scenes.scan()
        scenes.show("/", "document.querySelectorAll('[data-run]').length > 3")
        scenes.take("history")
        plots(scenes)


def set_faults(fleet: SimulatedFleet, faults: Mapping[str, str]) -> None:
    """Let devices fail, and no others."""
    for device in fleet.devices:
        fleet.set_fault(device, "Configure", *([faults[device]] if device in faults else []))


def live_and_degraded(scenes: Scenes) -> None:
    """Two beams fail while others still run; then the end of that run, and one of its beams."""
    with scenes.configure() as run:
        page = scenes.show(scenes.newest("running"), with_tree("failed"))
        page.wait_for("document.querySelectorAll('.line[data-state=running]').length > 3")
        scenes.take("live")
        run.wait()
    page.wait_for("document.querySelector('h1').textContent.includes('degraded')")
    scenes.take("degraded")
    clicked(page, "#timeline", "document.querySelector('.tree .bar > .work')")
    scenes.take("timeline")
    clicked(page, "#timeline", "!document.querySelector('.bar')")
    clicked(page, ".line[data-state=failed]", "document.querySelector('.node .cause')")
    scenes.take("step")


def held(scenes: Scenes) -> None:
    """A step that waits for a decision, and the question that a button asks."""
    with scenes.configure("--hold") as run:
        page = scenes.show(scenes.newest("running"), with_tree("held"))
        clicked(page, ".line[data-state=held]", "document.querySelector('[data-act=retry]')")
        page.wait_for("document.querySelectorAll('.lists details').length > 2")  # the words follow
        scenes.take("held")
        clicked(page, "[data-act=retry]", "document.querySelector('dialog[open] textarea')")
        scenes.take("retry", ("light", "narrow"))
        run.terminate()
        run.wait()


def failed(scenes: Scenes) -> None:
    """The correlator is killed."""
    scenes.configure().wait()
    scenes.show(scenes.newest("failed"), with_tree("failed"))
    scenes.take("failed")


def plots(scenes: Scenes) -> None:
    """The index of published plots, and one of them."""
    page = scenes.show("/plots", "document.querySelector('.card')")
    scenes.take("plots")
    clicked(page, ".card", "document.querySelector('iframe.plot, .plot')")
    # A frame of another origin does not tell that it is drawn.
    scenes.take("plot", ("light", "dark", "narrow"), drawn_ms=4_000)


def keep(pictures: Path, images: Path) -> None:
    """Copy the pictures that the documentation shows."""
    for name, look in KEPT.items():
        shutil.copy(pictures / f"{name}-{look}.png", images / f"page-{name}.png")
