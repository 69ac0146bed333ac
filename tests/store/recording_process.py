"""A process that records runs, to be killed, starved or left alone by a test.

``python -m tests.store.recording_process RECORD SPILL PREFIX RUNS EVENTS`` records that many
runs, side by side, and prints each line only once what it tells is on record: ``begun RUN``,
``kept RUN SEQUENCE`` for events that observers were told, ``ended RUN``, ``trouble TEXT``. With
``EVENTS`` written ``50+`` the runs do not end: it waits to be killed.
"""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path

from taskgrove.commands.run_recorder import RunAbout
from taskgrove.events import TaskEvent
from taskgrove.store import Recorder
from tests.store.recording import OK, life


def main(record: str, spill: str, prefix: str, runs: str, events: str) -> None:
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def speak() -> None:
        while (line := said.get()) is not None:
            print(line, flush=True)

    speaker = threading.Thread(target=speak)
    speaker.start()
    with Recorder(
        record,
        spill_folder=Path(spill),
        on_trouble=lambda text: said.put(f"trouble {text}"),
        must_open=False,
    ) as recorder:
        lives = {}
        of_run: list[TaskEvent] = []
        for number in range(int(runs)):
            run_id = f"{prefix}-{number}"
            of_run = life(run_id, progress=int(events.removesuffix("+")))
            recorder.forward(run_id, lambda e: said.put(f"kept {e.run_id} {e.sequence}"))
            lives[run_id] = (recorder.begin_run(run_id, RunAbout(command="process")), of_run)
            said.put(f"begun {run_id}")
        goes_on = events.endswith("+")
        for number in range(len(of_run) - goes_on):
            for observe, own in lives.values():
                observe(own[number])
        if goes_on:
            threading.Event().wait()
        ends = []
        for run_id in lives:
            ended = threading.Event()
            ends.append(ended)

            def tell(run_id: str = run_id, ended: threading.Event = ended) -> None:
                said.put(f"ended {run_id}")
                ended.set()

            recorder.end_run(run_id, OK, tell)
        for ended in ends:
            ended.wait()
    said.put(None)
    speaker.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
