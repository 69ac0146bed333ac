"""Each way in which an analysis does not end well gives a cause of its kind: real processes."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.task import NodePlaces
from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, ChainLink, Place, TaskEvent
from tests.analysis.analysis_runs import until
from tests.analysis.test_analysis_runner import GUARD_S, Bench, cause_of, leaf, shell


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(slots=2, work_dir=tmp_path / "work", grace_s=0.5)
    yield made
    made.close()


def ended(bench: Bench, step: LeafTask, **options: Any) -> Cause:
    bench.run(step, **options)
    return cause_of(bench, f"root/{step.name}")


def stopped(bench: Bench, step: LeafTask, place: Path, act: Callable[[RunHandle], object]) -> Cause:
    """Run a leaf that makes a file when it is ready, act then, and return its cause."""
    handle = bench.submit(step)
    until(place.exists)
    act(handle)
    assert handle.wait(GUARD_S)
    return cause_of(bench, f"root/{step.name}")


def in_its_output(cause: Cause, words: str) -> None:
    assert cause.output_file is not None
    assert os.path.isabs(cause.output_file)
    assert words in Path(cause.output_file).read_text()


# -- programs that ran ----------------------------------------------------------------------------


def test_an_exit_status(bench: Bench) -> None:
    cause = ended(bench, shell("echo reading; echo no peaks in frame 12 >&2; exit 2"))
    assert (cause.kind, cause.return_code) == ("exited", 2)
    assert (cause.said, cause.last_lines) == ("no peaks in frame 12", ("no peaks in frame 12",))
    assert cause.program == "/bin/sh"
    in_its_output(cause, "no peaks in frame 12")


def test_the_file_is_that_of_the_stream_that_says_why(bench: Bench) -> None:
    cause = ended(bench, shell("echo ERROR: no mask; echo bye >&2; exit 2"))
    assert cause.said == "ERROR: no mask"
    in_its_output(cause, "ERROR: no mask")


def test_a_signal(bench: Bench) -> None:
    cause = ended(bench, shell("echo frame 12; kill -SEGV $$"))
    assert (cause.kind, cause.return_code, cause.signal) == ("signalled", -11, "SIGSEGV")
    in_its_output(cause, "frame 12")


def test_an_exception_with_what_led_to_it(bench: Bench) -> None:
    cause = ended(bench, leaf("Warn"))
    assert cause.kind == "raised"
    assert cause.chain == (ChainLink("ValueError", "too many warnings"),)
    assert cause.said == ""


def test_a_failure_that_the_analysis_reports(bench: Bench) -> None:
    cause = ended(bench, leaf("CheckFrame", {"frame": 3, "bad": [3]}))
    assert (cause.kind, cause.said) == ("reported", "frame 3: no peaks above 5 sigma")


def test_an_end_without_a_result(bench: Bench) -> None:
    cause = ended(bench, leaf("Vanish"))
    assert (cause.kind, cause.return_code) == ("no_result", 0)


def test_a_result_that_is_no_end(bench: Bench) -> None:
    assert ended(bench, leaf("Undecided")).kind == "unreadable"


def test_a_limit_of_its_own_keeps_what_it_wrote(bench: Bench) -> None:
    cause = ended(bench, shell("echo at frame 7 >&2; sleep 60", timeout=1.0))
    assert (cause.kind, cause.limit_s, cause.limit_owner) == ("timed_out", 1.0, "root/shell")
    assert cause.last_lines == ("at frame 7",)
    assert cause.outside_id
    in_its_output(cause, "at frame 7")


def test_a_limit_of_the_configuration_tells_where_it_is_written(
    bench: Bench, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"header: {{work_dir: '{tmp_path}', task_timeout: 1}}\n")
    step = leaf("Shell", {"c": "sleep 60"})
    step.target = str(config)
    cause = ended(bench, step)
    assert (cause.kind, cause.limit_s, cause.limit_owner) == ("timed_out", 1.0, str(config))
    assert cause.place == Place(str(config), 1, "task_timeout")


def test_no_sign_of_life(bench: Bench, tmp_path: Path) -> None:
    step = leaf("Wait", {"place": str(tmp_path / "ready")}, settings={"heartbeat_s": 0.5})
    handle = bench.submit(step)
    until(lambda: bool(bench.pids()))
    with suppress(ProcessLookupError):  # where its first sign of life came too late by itself
        os.kill(bench.pids()[0], signal.SIGSTOP)
    assert handle.wait(GUARD_S)
    cause = cause_of(bench, f"root/{step.name}")
    assert (cause.kind, cause.limit_s) == ("unresponsive", 0.5)


def test_an_abort_tells_the_reason(bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "ready"
    step = shell(f"echo at frame 7; touch {place}; sleep 60")
    cause = stopped(bench, step, place, lambda handle: handle.abort("the beam is off"))
    assert (cause.kind, cause.said) == ("aborted", "the beam is off")
    in_its_output(cause, "at frame 7")


def test_what_waits_for_a_place_is_not_started(bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "ready"
    first, second = (shell(f"touch {place}; sleep 60", name) for name in ("a", "b"))
    handle = bench.submit(first, second, shell("true", "c"))
    until(place.exists)
    handle.abort("the beam is off")
    assert handle.wait(GUARD_S)
    cause = cause_of(bench, "root/c")
    assert (cause.kind, cause.said) == ("not_started", "the beam is off")


def test_a_process_whose_executor_was_lost(bench: Bench) -> None:
    work = PriorWork("2147483646:1", "process", status=TaskStatus.IN_PROGRESS)
    cause = ended(bench, shell("true"), prior={"root/shell": work})
    assert (cause.kind, cause.outside_id) == ("no_result", "2147483646:1")


# -- programs that never ran ----------------------------------------------------------------------


def test_a_program_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "indexer").touch()
    cause = ended(bench, leaf("Shell", {"executable": str(tmp_path / "indexr")}))
    assert (cause.kind, cause.errno_name) == ("not_launched", "ENOENT")
    assert cause.program == str(tmp_path / "indexr")
    assert cause.nearest == str(tmp_path / "indexer")


def test_a_program_that_may_not_be_executed(bench: Bench, tmp_path: Path) -> None:
    tool = tmp_path / "tool.sh"
    tool.write_text("#!/bin/sh\n")
    cause = ended(bench, leaf("Shell", {"executable": str(tool)}))
    assert (cause.kind, cause.errno_name) == ("not_launched", "EACCES")
    assert cause.program == str(tool)


def test_an_interpreter_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text("#!/opt/none/python3 -u\n")
    tool.chmod(0o755)
    cause = ended(bench, leaf("Shell", {"executable": str(tool)}))
    assert (cause.kind, cause.program) == ("not_launched", "/opt/none/python3")


def test_a_key_that_is_not_known(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("header: {experiment: e}\nCheckFrame:\n  bad: []\n  frme: 3\n")
    step = LeafTask("check", str(file), "CheckFrame", None, shell("").task_type)
    cause = ended(bench, step)
    assert cause.kind == "misconfigured"
    assert cause.place == Place(str(file), 4, "CheckFrame.frme")
    assert cause.nearest == "frame"
    (refusal,) = bench.runner.preflight(step)
    assert refusal.cause == cause
    assert "frme" in refusal


def test_an_analysis_that_is_not_known(bench: Bench) -> None:
    step = leaf("Shel")
    step.places = NodePlaces(command=Place("map.yaml", 3, "command_name"))
    cause = ended(bench, step)
    assert (cause.kind, cause.nearest) == ("misconfigured", "Shell")
    assert cause.place == Place("map.yaml", 3, "command_name")


def test_a_wrong_value_is_mended_where_it_was_given(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("header: {experiment: e}\nCheckFrame:\n  frame: twelve\n")
    kind = shell("").task_type
    step = LeafTask("check", str(file), "CheckFrame", None, kind)
    assert ended(bench, step).place == Place(str(file), 3, "CheckFrame.frame")
    given = LeafTask("given", str(file), "CheckFrame", {"frame": "x"}, kind)
    given.places = NodePlaces(own=Place("map.yaml", 3), argin=Place("map.yaml", 5, "argin"))
    assert ended(bench, given).place == Place("map.yaml", 5, "argin")
    setting = leaf("CheckFrame", name="setting", settings={"heartbeat_s": -1})
    setting.places = given.places
    cause = ended(bench, setting)
    assert (cause.kind, cause.place) == ("misconfigured", Place("map.yaml", 3))


def test_a_program_is_mended_where_it_is_named(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("header: {task_timeout: 7}\nShell:\n  c: 'true'\n  executable: /none/sh\n")
    step = LeafTask("shell", str(file), "Shell", None, shell("").task_type)
    assert ended(bench, step).place == Place(str(file), 4, "Shell.executable")


def test_a_tasklet_that_raises(bench: Bench, tmp_path: Path) -> None:
    def before(_context: Any) -> None:
        raise OSError("no cave")

    entry = bench.runner.registry.get("Shell")
    bench.runner.registry._entries["Shell"] = dataclasses.replace(entry, before=(before,))
    cause = ended(bench, shell("true"))
    assert cause.kind == "raised"
    assert cause.chain == (ChainLink("OSError", "no cave"),)


def test_every_end_that_is_not_good_has_a_cause(bench: Bench) -> None:
    bench.run(
        shell("exit 1", "a"), shell("kill $$", "b"), leaf("Vanish", name="c"),
        leaf("None", name="d"), shell("sleep 60", "e", timeout=0.1), leaf("Shell", 7, "f"),
        shell("true", "g"),
    )  # fmt: skip
    ends: list[TaskEvent] = [
        event for event in bench.events if event.kind == "finished" and event.path != "root"
    ]
    told = {event.path: event.detail.cause is not None for event in ends}  # type: ignore[union-attr]
    assert told == {f"root/{name}": name != "g" for name in "abcdefg"}
