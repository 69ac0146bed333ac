"""A headless Chromium without a network, driven through a pair of pipes.

It speaks the browser's own debugging protocol (JSON, one message up to each zero byte), so a
test waits for what happens in the page and not for a time, and sees every address that the page
asked for, every error and every message of its console.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What a page may take for one step, in seconds: a guard against hangs, not a measurement.
LIMIT_S = 180.0


def why_no_chromium() -> str | None:
    """Return why no browser can be started, or None when it can."""
    if shutil.which("chromium") is None:
        return "needs `chromium` in the PATH (Debian: apt-get install chromium)"
    return None


@dataclass
class Page:
    """A page that was opened, and what was seen of it."""

    browser: Chromium
    session: str
    target: str
    #: Every address that was asked for, the page's own first.
    requests: list[str] = field(default_factory=list)
    #: Errors of scripts, of the console, of the network and of the content policy.
    errors: list[str] = field(default_factory=list)
    loaded: bool = False
    closed: bool = False
    #: The frames that have a process of their own, as a frame without an origin has.
    frames: list[Page] = field(default_factory=list)

    def foreign(self) -> list[str]:
        """Return the addresses that are neither files nor part of the page itself."""
        own = ("file:", "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(own)]

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        answer = self.browser.call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
            self.session,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true, looked at anew with every frame."""
        wait = (
            "new Promise(done => { const end = Date.now() + %d; const look = () => {"
            " let met = false; try { met = !!(%s); } catch (error) { met = false; }"
            " if (met || Date.now() > end) done(met); else setTimeout(look, 20); }; look(); })"
        )
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                met = self.evaluate(wait % (LIMIT_S * 500, condition))
                break
            except AssertionError as exc:  # a page that goes on to another one is asked there
                if "navigated" not in str(exc) or time.monotonic() > deadline:
                    raise
        if not met:
            state = self.evaluate("`${document.readyState}, ${document.visibilityState}`")
            raise AssertionError(f"never true in the page ({state}): {condition}; {self.errors}")

    def size(self, width: int, height: int) -> None:
        """Give the page the size of a window, in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.call("Emulation.setDeviceMetricsOverride", metrics, self.session)

    def dark(self, dark: bool = True) -> None:
        """Have the page drawn for somebody who prefers dark colours, or light ones."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.browser.call("Emulation.setEmulatedMedia", {"features": features}, self.session)

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        answer = self.browser.call(
            "Page.captureScreenshot",
            {"format": "png", "captureBeyondViewport": True},
            self.session,
        )
        return base64.b64decode(answer["data"])

    def frame(self) -> Page:
        """Return the newest frame that has a process of its own, once there is one."""
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        self.browser.call("Target.setAutoAttach", attach, self.session)
        self.browser.read_until(lambda: bool(self.frames))
        frame = self.frames[-1]
        for domain in ("Network", "Runtime", "Log"):
            self.browser.call(f"{domain}.enable", {}, frame.session)
        return frame

    def close(self) -> None:
        """Close the page; closing it twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self.browser.call("Target.closeTarget", {"targetId": self.target})


class Chromium:
    """A browser process; ``close`` ends it and all its helpers."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="taskgrove-chromium-"))
        command = [
            "chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
            # A page that the browser takes for hidden is never drawn.
            "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
            "--disable-background-timer-throttling",
            "--mute-audio", f"--user-data-dir={self._folder}", "about:blank",
        ]  # fmt: skip
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Out of the way of the numbers 3 and 4, which the browser wants them to have.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs_in, theirs_out)]
        program = (
            f"import os, sys; os.dup2({high[0]}, 3); os.dup2({high[1]}, 4);"
            " os.execvp(sys.argv[1], sys.argv[1:])"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._folder)},
            pass_fds=high,
            start_new_session=True,
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._numbers = iter(range(1, 1_000_000_000))
        self._buffer = bytearray()
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._in, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The process that started all the others."""
        return self._process.pid

    def open(self, url: str) -> Page:
        """Open an address and return its page when it is loaded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        session = self.call("Target.attachToTarget", attach)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", {}, session)
        page.size(1000, 800)
        self.call("Page.bringToFront", {}, session)
        page.loaded = False
        self.call("Page.navigate", {"url": url}, session)
        self.read_until(lambda: page.loaded)
        return page

    def read_until(self, is_met: Callable[[], bool]) -> None:
        """Read what the browser tells until a condition holds."""
        deadline = time.monotonic() + LIMIT_S
        while not is_met():
            self._read(deadline)

    def call(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        """Send one command and return its answer; what happens meanwhile is noted."""
        number = self._write(method, params, session)
        deadline = time.monotonic() + LIMIT_S
        while number not in self._answers:
            self._read(deadline)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _write(self, method: str, params: dict[str, Any], session: str | None) -> int:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        return number

    def close(self) -> None:
        """End the browser and everything that it started."""
        self._selector.close()
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(LIMIT_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, deadline: float) -> None:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError("Chromium does not answer")
        data = os.read(self._in, 1 << 20)
        if not data:
            raise ConnectionError(f"Chromium has ended: {self._process.poll()}")
        self._buffer += data
        *messages, self._buffer = self._buffer.split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        page = self._pages.get(message.get("sessionId", ""))
        if page is None:
            return
        params = message["params"]
        match message["method"]:
            case "Target.attachedToTarget" if params["targetInfo"]["type"] == "iframe":
                session, target = params["sessionId"], params["targetInfo"]["targetId"]
                frame = self._pages[session] = Page(self, session, target)
                page.frames.append(frame)
            case "Page.javascriptDialogOpening":
                page.errors.append(f"a dialog: {params['message'][:200]}")
                self._write("Page.handleJavaScriptDialog", {"accept": False}, page.session)
            case "Page.loadEventFired":
                page.loaded = True
            case "Network.requestWillBeSent":
                page.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                page.errors.append(json.dumps(params["exceptionDetails"])[:2000])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                page.errors.append(json.dumps(params["args"])[:2000])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                page.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
