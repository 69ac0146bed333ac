"""Analyses that tests run in processes of their own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from taskgrove.analysis.parameters.base import TaskParameters, ThirdPartyParameters
from taskgrove.analysis.plain.plain_words import MOST_BUFFERS
from taskgrove.analysis.results import ElogSummaryPlots, TaskResult, TaskStatus
from taskgrove.analysis.task import AnalysisTask


class NoParameters(TaskParameters):
    """Nothing."""


class Mode(Enum):
    FAST = "fast"
    EXACT = "exact"


class Region(BaseModel):
    low: float = 0.0
    high: float = 1.0


class SampleParameters(TaskParameters):
    n: int = 3
    text: str = ""
    folder: Path | None = None
    mode: Mode = Mode.FAST
    region: Region = Region()


class Script(ThirdPartyParameters):
    """A shell script as a third-party program."""

    executable: str = "/bin/sh"
    c: str = "true"


class Count(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        for number in range(self.parameters.n):
            self.report_progress(100 * (number + 1) / self.parameters.n, f"step {number + 1}")
        self.log.info("counted to %d", self.parameters.n)
        return {"n": self.parameters.n, "mode": self.parameters.mode.name}


class SumsUp(AnalysisTask[SampleParameters]):
    """Gives a summary of values of many kinds; one of them has no plain form."""

    def run(self) -> Any:
        import numpy as np

        summary = {"hit rate": np.float64(5.5), (1, 2): 10**5_000, "nul": "a\0b", "deep": [{}]}
        if self.parameters.n == 4:
            summary["stranger"] = object()
        return self.result(1, summary)


class Trivial(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        return None


class Raises(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        raise ValueError(self.parameters.text or "frame 12: no peaks above 5 sigma")


def doubled(value: Any = None, levels: int = 22) -> Any:
    """Return a value of few lists, each in two places; with 60 levels, no reader would end."""
    for _ in range(levels):
        value = [value, value]
    return value


class GivesDoubled(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        return {"frames": doubled()}


class RaisesDoubled(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        raise ValueError("frame 12", doubled())


class SumsUpDoubled(AnalysisTask[NoParameters]):
    def run(self) -> Any:
        return self.result(1, {"frames": doubled(), "n": 5})


class SaysFailed(AnalysisTask[SampleParameters]):
    def run(self) -> TaskResult:
        return self.result([1, 2], "too noisy to be of use", status=TaskStatus.FAILED)


class Waits(AnalysisTask[SampleParameters]):
    """Writes ``ready`` when it waits, and says on SIGTERM that it heard."""

    def run(self) -> Any:
        try:
            self.report_progress(1, "ready")
            while True:
                time.sleep(0.05)
        finally:
            if self.parameters.folder is not None:
                (self.parameters.folder / "cleaned").write_text("yes")


class Ignores(AnalysisTask[SampleParameters]):
    """Ignores SIGTERM."""

    def run(self) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.report_progress(1, "ready")
        while True:
            time.sleep(0.05)


class HoldsTheInterpreter(AnalysisTask[SampleParameters]):
    """Sends no heartbeat: the process sleeps in C without letting another thread run."""

    def run(self) -> Any:
        import ctypes

        self.report_progress(1, "ready")
        ctypes.PyDLL(None).sleep(60)


class Sleeps(AnalysisTask[SampleParameters]):
    """Quiet for a while after it is ready, but alive: the guard thread sends heartbeats."""

    def run(self) -> Any:
        self.report_progress(1, "ready")
        time.sleep(self.parameters.n / 10)
        return "slept"


class LeavesSigtermToAnother(AnalysisTask[NoParameters]):
    """Hangs in one system call; SIGTERM goes to another thread, as it may after a stop."""

    def run(self) -> Any:
        other = threading.Thread(target=threading.Event().wait, daemon=True)
        other.start()
        hand_on = threading.Timer(0.2, signal.pthread_kill, (other.ident, signal.SIGTERM))
        hand_on.start()
        time.sleep(600)


class EndsWithoutResult(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        sys.stdout.flush()
        os._exit(int(self.parameters.text or 0))


class ExitsBySystemExit(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        sys.exit(0)


class ExitsOneAfterResult(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        import atexit

        atexit.register(os._exit, 1)
        return {"good": True}


class HangsAfterResult(AnalysisTask[SampleParameters]):
    """A thread that is not a daemon keeps the process after its result, and says so."""

    def run(self) -> Any:
        threading.Thread(target=self._hang).start()
        return {"good": True}

    def _hang(self) -> None:
        threading.main_thread().join()  # which has seen the result acknowledged
        print("hangs", flush=True)
        time.sleep(60)


class KillsItself(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        os.kill(os.getpid(), int(self.parameters.text))
        time.sleep(60)


class Chatty(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        for number in range(self.parameters.n):
            self.report_progress(None, str(number))
        return self.parameters.n


class Logs(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        logging.getLogger("some.library").warning("careful")
        self.log.info("mine, with half a letter: %s", "\ud800")
        print("on stdout")
        sys.stderr.write("on stderr, no line end")
        return None


class Payload(AnalysisTask[SampleParameters]):
    """Returns what the text says."""

    def run(self) -> Any:
        import numpy as np

        match self.parameters.text:
            case "arrays":
                large = np.arange(400_000, dtype="<f8").reshape(400, 1000)
                return {"large": large, "turned": large.T, "small": np.arange(5, dtype=">i2")}
            case "plots":
                return [ElogSummaryPlots("scans/my_motor_scan", "<p>drawn</p>")]
            case "lock":
                return {"it": threading.Lock()}
            case "wrong":
                return {"rings": "many"}
            case "deep":
                deep: list[Any] = []
                for _ in range(5000):
                    deep = [deep]
                return {"deep": deep}
            case "turned in itself":
                turned: list[Any] = [ElogSummaryPlots("scans/a", "<p>drawn</p>")]
                turned.append(turned)
                return turned
            case "many arrays":
                return [np.full(100, number) for number in range(MOST_BUFFERS + 10)]
            case "huge list":
                return ["x" * (1 << 20)] * 65
        return {"rings": 5}


class ForksDaemon(AnalysisTask[NoParameters]):
    """Forks, as a pool of workers does, without another program: every descriptor is inherited."""

    def run(self) -> int:
        read_end, write_end = os.pipe()
        if os.fork() == 0:
            os.setsid()
            daemon = os.fork()
            if daemon:
                os.write(write_end, str(daemon).encode())
                os._exit(0)
            time.sleep(600)
            os._exit(0)
        return int(os.read(read_end, 20))


class ForkComesBack(AnalysisTask[SampleParameters]):
    """A fork that returns, or raises, from ``run`` as if it were the analysis."""

    def run(self) -> str:
        pid = os.fork()
        if pid == 0:
            if self.parameters.text:
                raise ValueError(self.parameters.text)
            return "of the fork"
        os.waitpid(pid, 0)
        return "of the analysis"


class LeavesProcesses(AnalysisTask[SampleParameters]):
    """Leaves a child in its group and one that has detached itself; both hold its stdout."""

    def run(self) -> Any:
        plain = subprocess.Popen(["/bin/sleep", "60"])
        detached = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
        return [plain.pid, detached.pid]


class WritesToChannel(AnalysisTask[SampleParameters]):
    """Writes bytes of its own to the channel."""

    def run(self) -> Any:
        import gc

        from taskgrove.analysis.channel.child_channel import ChildChannel

        (channel,) = [item for item in gc.get_objects() if type(item) is ChildChannel]
        self.report_progress(1, "ready")
        data = bytes.fromhex(self.parameters.text)
        channel._socket.sendall(data)
        if self.parameters.n == 0:
            os._exit(0)
        if self.parameters.n == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


class FillsFolder(AnalysisTask[SampleParameters]):
    def run(self) -> Any:
        with open("data.bin", "wb", buffering=0) as file:
            for _ in range(64):
                file.write(bytes(1 << 20))


class Ranks(AnalysisTask[SampleParameters]):
    """Every rank reports; only that of rank 0 counts."""

    def run(self) -> Any:
        from taskgrove.analysis.channel.child_channel import rank_of

        rank = rank_of(os.environ)
        if self.parameters.text == f"fail {rank}":
            raise RuntimeError("lost a panel")
        self.report_progress(50, f"rank {rank}")
        self.log.info("here")
        return {"rank": rank}


class ImportsNothing(AnalysisTask[Any]):
    def run(self) -> Any:
        return sorted(sys.modules)


class Sums(AnalysisTask[SampleParameters]):
    """Gives a summary that is a dict."""

    def run(self) -> TaskResult:
        return self.result([1, 2, 3], {"photons": 12, "rate": 0.5})  # type: ignore[arg-type]


class CleansUpLoudly(AnalysisTask[SampleParameters]):
    """Reports from threads, from the hook of its cancellation, and while it cleans up."""

    def on_cancel(self) -> None:
        self.report_progress(50, "heard")

    def run(self) -> Any:
        over = threading.Event()

        def chat() -> None:
            while not over.is_set():
                self.report_progress(None, "from a thread")

        thread = threading.Thread(target=chat)
        try:
            thread.start()
            self.report_progress(1, "ready")
            while True:
                self.report_progress(None, "from the main thread")
        finally:
            over.set()
            thread.join()
            self.report_progress(90, "cleaning")
            self.log.info("cleaned")

    def after_run(self) -> None:
        self.log.info("after")


class StagesInOrder(AnalysisTask[SampleParameters]):
    def before_run(self) -> None:
        self.log.info("before")

    def run(self) -> Any:
        self.log.info("run")
        raise KeyError("lost")

    def after_run(self) -> None:
        self.log.info("after")
