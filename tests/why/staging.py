"""A stage for failures: simulated devices, real processes, and the events of what went wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import CommandError
from taskgrove.events import TaskEvent, decode_event
from taskgrove.story.run_story import RunStory, story_of_events
from taskgrove.tango import DeviceRunner
from taskgrove.tango.simulator import SimulatedFleet
from taskgrove.testing import EventLog
from taskgrove.view.why import Why, why
from tests.cli.command_line import PATIENCE_S, environment, start
from tests.untold_causes import untold_causes

GUARD_S = 200.0
#: For what never stops when it is asked to.
SHORT_GRACE_S = 0.4
SEQUENTIAL, PARALLEL = TaskExecutionType.SEQUENTIAL, TaskExecutionType.PARALLEL

CBF = "low-cbf/subarray/01"
PSS = "low-pss/subarray/01"
BEAMS = [f"low-pst/beam/{number:02d}" for number in range(1, 17)]
#: Devices to be harmed; each is used by one failure only.
MORTAL = ["low-cbf/subarray/91", "low-cbf/subarray/92", "low-cbf/subarray/93"]
#: Devices that hang for ever once they were told to: a limit does not abort a device.
HANGING = ["low-pst/beam/81", "low-cbf/subarray/82"]
NARROW = "low-cbf/processor/01"


@dataclass(slots=True)
class Ended:
    """A run that was staged."""

    story: RunStory
    explanation: Why

    @property
    def sentence(self) -> str:
        """The first line, with what did not fit into it."""
        line = self.explanation.sentence
        assert len(line) < 300
        told = line.partition("; next: ")[0]
        end = f"next: {self.explanation.next_step}" if self.explanation.next_step else ""
        return "; ".join(part for part in (told, *self.explanation.also, end) if part)


def unexpected(sentence: str, words: Sequence[str]) -> list[str]:
    """Return the expected words that a sentence lacks, and its clauses that hold none of them."""
    covered = [
        (sentence.index(word), sentence.index(word) + len(word))
        for word in words
        if word in sentence
    ]
    found = [f"missing: {word}" for word in words if word not in sentence]
    at = 0
    for clause in sentence.split("; "):
        if not any(begin < at + len(clause) and at < end for begin, end in covered):
            found.append(f"not expected: {clause}")
        at += len(clause) + 2
    return found


class Stage:
    """One fleet for all failures, and a fresh executor for each."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self.fleet = fleet

    def leaf(self, device: str, command: str = "Configure", **fields: Any) -> LeafTask:
        domain, family, member = device.split("/")
        name = fields.pop("name", f"{domain.partition('-')[2]}-{family}-{member}")
        argin = fields.pop("argin", {"id": 1})
        return LeafTask(name, self.fleet.trl(device), command, argin, **fields)

    def beams(self, devices: Sequence[str] = BEAMS, name: str = "configure_pst", **fields: Any):
        return Task(name, PARALLEL, subtasks=[self.leaf(device) for device in devices], **fields)

    def fault(self, device: str, fault: str | None, command: str = "Configure") -> None:
        self.fleet.set_fault(device, command, *([] if fault is None else [fault]))

    def run(
        self,
        root: Task,
        meanwhile: Callable[[RunHandle, EventLog], object] | None = None,
        *,
        end: bool = True,
        workers: int = 32,
        grace_s: float = GUARD_S,
        **settings: float,
    ) -> Ended:
        """Run a tree on the devices, do something meanwhile, and return what why says of it."""
        log = EventLog()
        runner = DeviceRunner(poll_interval_s=0.2, **settings)
        runners = {TaskExecutionType.DEVICE: runner}
        try:
            with MainTaskExecutor(workers, runners=runners, grace_s=grace_s) as executor:
                handle = executor.submit_main_task(root, observers=[log])
                if meanwhile is not None:
                    meanwhile(handle, log)
                if not end:
                    story = story_of_events(log.events, now_ns=time.time_ns())
                    handle.abort("the stage closes")
                assert handle.wait(GUARD_S)
        finally:
            runner.close()
        assert untold_causes(log.events) == []
        if end:
            story = story_of_events(log.events, now_ns=time.time_ns())
            story = replace(story, map_file="map.yaml", can_resume=True)
        return Ended(story, why(story))


def sequence(name: str, *steps: Any, skip: bool = True, **fields: Any) -> Task:
    return Task(name, SEQUENTIAL, skip, subtasks=steps, **fields)


def root(name: str, *steps: Any, skip: bool = True, **fields: Any) -> Task:
    return sequence(name, *steps, skip=skip, is_root=True, **fields)


def parallel(name: str, *steps: Any, **fields: Any) -> Task:
    return Task(name, PARALLEL, subtasks=steps, **fields)


class Manager:
    """A component manager with methods that fail in their own ways."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def check_lock(self) -> Any:
        raise RuntimeError("oscillator 3 is not locked")

    def deaf(self) -> Any:
        self.let_go.wait(GUARD_S)
        return 0, "woke up"

    def fine(self) -> Any:
        return 0, "fine"

    def unwell(self) -> Any:
        return 3, "only 3 of 8 fibres are connected"

    def takes_a_while(self, task_abort_event: threading.Event) -> Any:
        task_abort_event.wait(1.7)
        return 0, "done"


def method(manager: Manager, name: str, **fields: Any) -> LeafTask:
    return LeafTask(
        fields.pop("name", name), manager, name, None, TaskExecutionType.INTERNAL, **fields
    )


def running(path: str) -> Callable[[EventLog], object]:
    """Return what waits until the leaf at ``path`` has reported progress."""

    def wait(log: EventLog) -> object:
        return log.wait_for(path=path, where=lambda event: bool(event.progress), timeout_s=GUARD_S)

    return wait


def refused_before(command_map: Any, command: str, manager: Any) -> Ended:
    """Return what why says of a command that its guards refuse."""
    try:
        MainTaskComposer(command, command_map, manager, None, None).compose()
    except CommandError as error:
        from taskgrove.control_model import ResultCode, TaskStatus

        story = RunStory(
            run_id="",
            command=command,
            state="final",
            nodes=(),
            now_ns=time.time_ns(),
            message=str(error),
            status=TaskStatus.REJECTED,
            result_code=ResultCode(error.result_code),
        )
        return Ended(story, why(story))
    raise AssertionError("it was composed")


def killed_runner(place: Path, *arguments: str, until: Callable[[TaskEvent], bool]) -> Ended:
    """Run and record a command, kill -9 its process at an event, and explain what is on record."""
    from taskgrove.store.history import History
    from taskgrove.view.record_view import story_of_record

    database = str(place / "runs.db")
    with start(*arguments, cwd=place, env=environment(TASKGROVE_DB=database)) as process:
        assert process.stdout is not None
        assert any(until(decode_event(line)) for line in process.stdout)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    with History.open(database) as history:
        run = history.find("last")
        nodes = history.nodes(run)
    story = story_of_record(run, nodes, now_ns=run.last_ns + 125 * 1_000_000_000)
    return Ended(story, why(story))
