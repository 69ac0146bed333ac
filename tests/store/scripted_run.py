"""A process that records one run and answers its requests as a test says.

``python -m tests.store.scripted_run RECORD SPILL RUN [HOST]`` begins a run, prints ``ready``,
and takes requests by a script: the verb decides. ``accept`` is answered with the event that it
causes, ``fail`` with an objection; ``skip`` causes its event and is never answered; ``retry`` is
answered once the process hears a line on its input; ``pause`` raises; ``abort`` ends the run. It
prints each request as ``asked VERB ID``, and ``ended`` once its end is kept. Where a HOST is
given, the process takes itself to be on that machine.
"""

from __future__ import annotations

import itertools
import queue
import socket
import sys
import threading
from pathlib import Path

from taskgrove.commands.run_recorder import RunAbout
from taskgrove.events import (
    ComposedDetail,
    NoteDetail,
    Observer,
    SteeringAnswer,
    SteeringObjection,
    SteeringRequest,
)
from taskgrove.events.steering_request import TakeAnswer
from taskgrove.store import Recorder
from tests.store.recording import OK, PATIENCE_S, event


class ScriptedRun:
    """One run that is steered by the script of the module."""

    def __init__(self, recorder: Recorder, run_id: str) -> None:
        self.recorder, self.run_id = recorder, run_id
        self.over = threading.Event()
        self.asked: list[SteeringRequest] = []
        self.waiting: queue.SimpleQueue[tuple[SteeringRequest, TakeAnswer]] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._observe: Observer = recorder.begin_run(run_id, RunAbout(command="root"))
        detail = ComposedDetail("PARALLEL", root=True)
        self._tell(kind="composed", status=None, progress=None, detail=detail)
        self._tell(kind="started", progress=0)
        recorder.take_requests(run_id, self.steer)

    def _tell(self, **fields: object) -> None:
        self._observe(event(self.run_id, next(self._numbers), path="root", **fields))

    def steer(self, request: SteeringRequest, take: TakeAnswer) -> None:
        self.asked.append(request)
        print(f"asked {request.verb} {request.id}", flush=True)
        if request.verb == "pause":
            raise RuntimeError("no brake")
        if request.verb == "fail":
            objection = SteeringObjection(reason="not_held", path=request.path)
            take(SteeringAnswer(request_id=request.id, fate="refused", objections=(objection,)))
        elif request.verb == "retry":
            self.waiting.put((request, take))
        else:
            self._tell(kind="note", detail=NoteDetail(topic="asked", request=request))
            if request.verb != "skip":
                self.answer(request, take)
        if request.verb == "abort":
            self.over.set()

    def answer(self, request: SteeringRequest, take: TakeAnswer) -> None:
        take(SteeringAnswer(request_id=request.id, fate="done", paths=("root",), acted_count=1))


def main(record: str, spill: str, run_id: str, host: str = "") -> None:
    if host:
        socket.gethostname = lambda: host
    with Recorder(record, spill_folder=Path(spill), must_open=False) as recorder:
        run = ScriptedRun(recorder, run_id)

        def hear() -> None:
            for _ in sys.stdin:
                run.answer(*run.waiting.get())

        threading.Thread(target=hear, daemon=True).start()
        print("ready", flush=True)
        run.over.wait()
        kept = threading.Event()
        recorder.end_run(run_id, OK, kept.set)
        assert kept.wait(PATIENCE_S)
        print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
