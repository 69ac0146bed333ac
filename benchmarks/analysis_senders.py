"""What the programs at the other end of the measured channels do."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.task import AnalysisTask

#: Size of the array, in bytes.
ARRAY_BYTES = 64 << 20


class NoParameters(TaskParameters):
    """Nothing."""


class BurstParameters(TaskParameters):
    count: int


class Trivial(AnalysisTask[NoParameters]):
    """Does nothing, and says what its process has imported."""

    def run(self) -> Any:
        return sorted(sys.modules)


class Burst(AnalysisTask[BurstParameters]):
    def run(self) -> Any:
        for number in range(self.parameters.count):
            self.report_progress(None, str(number))


def _array() -> Any:
    import numpy as np

    return np.random.default_rng(1).random(ARRAY_BYTES // 8)


def send_burst_by_pipe(end: Connection, count: int) -> None:
    for number in range(count):
        end.send({"percent": None, "message": str(number)})
    end.recv()


def send_arrays_by_pipe(end: Connection) -> None:
    array = _array()
    while end.recv():
        end.send(array)


def send_by_channel(what: str, count: int) -> None:
    """Send what is asked for over the channel of the environment."""
    import os

    from taskgrove.analysis.channel.channel_messages import Acknowledged, Progress, Result
    from taskgrove.analysis.channel.child_channel import ChildChannel
    from taskgrove.analysis.plain.form import to_plain

    channel = ChildChannel(os.environ)
    if what == "burst":
        for number in range(count):
            channel.send(Progress(None, str(number)))
        channel.wait_for(Acknowledged)
        return
    array = _array()
    for _ in range(count):
        channel.wait_for(Acknowledged)
        buffers: list[memoryview] = []
        plain = to_plain(array, buffers=buffers)
        channel.send(Result("COMPLETED", "", plain, None, None), buffers)
    channel.wait_for(Acknowledged)


if __name__ == "__main__":
    send_by_channel(sys.argv[1], int(sys.argv[2]))
