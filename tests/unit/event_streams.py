"""Hand-made events of a run, for the tests of what surfaces show."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    StartedDetail,
    TaskEvent,
)

RUN_ID = "run-1"


class Stream:
    """Events with rising numbers and times: one millisecond apart."""

    def __init__(self, run_id: str = RUN_ID) -> None:
        self.run_id = run_id
        self.events: list[TaskEvent] = []

    def add(self, path: str, kind: Any, **fields: Any) -> None:
        number = len(self.events) + 1
        self.events.append(
            TaskEvent(
                run_id=self.run_id,
                sequence=number,
                path=path,
                kind=kind,
                monotonic_s=100 + number / 1000,
                wall_ns=number * 1_000_000,
                **fields,
            )
        )

    def composed(
        self, path: str, execution: Any, children: tuple[str, ...] = (), **fields: Any
    ) -> None:
        self.add(path, "composed", detail=ComposedDetail(execution, children, **fields))

    def running(self, path: str, progress: int = 0, **fields: Any) -> None:
        self.add(path, "started", status=TaskStatus.IN_PROGRESS, progress=progress, **fields)

    def ended(
        self,
        path: str,
        status: TaskStatus = TaskStatus.COMPLETED,
        code: ResultCode = ResultCode.OK,
        message: str = "",
        *,
        detail: FinishedDetail | None = None,
        **fields: Any,
    ) -> None:
        self.add(
            path,
            "finished",
            status=status,
            result_code=code,
            progress=100,
            message=message,
            detail=detail or FinishedDetail(),
            **fields,
        )

    def note(self, path: str, topic: str, text: str = "") -> None:
        self.add(path, "note", message=text, detail=NoteDetail(topic))


def beam_run(
    beams: int = 16,
    *,
    failed: Collection[int] = (),
    running: Collection[int] = (),
    words: str = "band 3 not locked",
) -> list[TaskEvent]:
    """Return a run of one correlator and some beams; of those, some failed, some still run."""
    stream = Stream()
    names = tuple(f"pst-beam-{number:02d}" for number in range(1, beams + 1))
    group = "configure/configure_pst"
    stream.composed("configure", "SEQUENTIAL", ("cbf-subarray-01", "configure_pst"), root=True)
    stream.composed("configure/cbf-subarray-01", "DEVICE", target="low-cbf/subarray/01")
    stream.composed(group, "PARALLEL", names)
    for number, name in enumerate(names, 1):
        stream.composed(f"{group}/{name}", "DEVICE", target=f"mid-pst/beam/{number:02d}")
    stream.running("configure")
    stream.running("configure/cbf-subarray-01")
    stream.ended("configure/cbf-subarray-01")
    stream.running(group)
    for number, name in enumerate(names, 1):
        path, device = f"{group}/{name}", f"mid-pst/beam/{number:02d}"
        started = StartedDetail("command", f"17_{number}_Configure")
        stream.running(path, detail=started)
        if number in failed:
            stream.ended(
                path,
                code=ResultCode.FAILED,
                message=f"{device}: {words}",
                failed_devices=(device,),
            )
        elif number in running:
            stream.add(path, "progress", status=TaskStatus.IN_PROGRESS, progress=40)
        else:
            stream.ended(path, devices=(device,))
    if not running:
        _end(stream, group, beams, failed, words)
    return stream.events


def _end(stream: Stream, group: str, beams: int, failed: Collection[int], words: str) -> None:
    if not failed:
        stream.ended(group)
        stream.ended("configure", message="Task configure completed OK")
        return
    good = beams - len(failed)
    causes = [f"- mid-pst/beam/{number:02d}: {words}" for number in sorted(failed)]
    devices = tuple(f"mid-pst/beam/{number:02d}" for number in sorted(failed))
    line = f"PST success {good}/{beams} → DEGRADED"
    stream.ended(
        group,
        code=ResultCode.FAILED,
        message="\n".join(["Causes:", *causes]),
        health_state="DEGRADED",
        failed_devices=devices,
        detail=FinishedDetail("PST group", good, None, beams, line),
    )
    causes.insert(0, f"- configure_pst - PST success {good}/{beams}")
    stream.ended(
        "configure",
        code=ResultCode.FAILED,
        message="\n".join(["Task configure completed in DEGRADED state.", "Causes:", *causes]),
        health_state="DEGRADED",
        failed_devices=devices,
        detail=FinishedDetail("default", 1, None, 2, "1 of 2 succeeded → DEGRADED"),
    )
