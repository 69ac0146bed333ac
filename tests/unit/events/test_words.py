"""Words from outside become one line, and a cause of nobody but the one who said them."""

from __future__ import annotations

import logging
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT
from taskgrove.commands.aggregation.plain_values import text_of
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.events import exception_line, exception_text, loggable, one_line
from taskgrove.events.foreign_values import readable
from taskgrove.testing import EventLog, FakeDeviceRunner
from taskgrove.testing.fake_device_runner import Script

PRINTED = """DevFailed[
DevError[
    desc = KeyError: 'resources'
  origin = Traceback (most recent call last):
  File "dish.py", line 40, in Configure
    resources["resources"]
KeyError: 'resources'
  reason = PyDs_PythonError
severity = ERR]

DevError[
    desc = Failed to execute command_inout on device mid-dish/dish/0001, command Configure
  origin = void Tango::Connection::command_inout()
  reason = API_CommandFailed
severity = ERR]
]"""


class DevError:
    def __init__(self, reason: str, desc: str) -> None:
        self.reason, self.desc = reason, desc


class DevFailed(Exception):  # noqa: N818 - the name that TANGO has
    pass


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no lock", "no lock"),
        ("no lock\n- low-cbf/subarray/01: on fire", "no lock; low-cbf/subarray/01: on fire"),
        ("Causes:\n- a: b\n\n- c", "a: b; c"),
        ("Causes: it is cold", "it is cold"),
        ("Task x failed\nCauses:\n- a", "Task x failed; a"),
        ("-5 is out of range", "-5 is out of range"),
        ("  - a\r\n  - b  ", "a; b"),
        ("\x1b[31mError:\x1b[0m bad.h5 is missing", "Error: bad.h5 is missing"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x9b1mbold\x1b(B", "link bold"),
        ("a\u2028b\x00c\u202ed", "a; b c d"),
        ("", ""),
        ("\n \n", ""),
        (PRINTED, "DevFailed: KeyError: 'resources' (PyDs_PythonError, mid-dish/dish/0001)"),
        (f"beam 3: {PRINTED} again",
         "beam 3: DevFailed: KeyError: 'resources' (PyDs_PythonError, mid-dish/dish/0001) again"),
        ("DevFailed[ of my own ]", "DevFailed[ of my own ]"),
    ],
)  # fmt: skip
def test_a_text_becomes_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_of_a_long_text_the_first_and_the_last_lines_are_kept() -> None:
    text = "\n".join(["the first", *(f"line {n}" for n in range(2000)), "the last"])
    line = one_line(text, MESSAGE_LIMIT)
    assert line.startswith("the first; line 0; ")
    assert line.endswith("; line 1999; the last")
    assert len(line) <= MESSAGE_LIMIT
    lines = one_line("\n".join(["x" * 5000, "y" * 5000]), MESSAGE_LIMIT)
    assert re.fullmatch("x+ … y+", lines)
    assert len(lines) <= MESSAGE_LIMIT


@given(
    st.text(st.characters() | st.sampled_from("\n\r-\x1a\x1b[]:; C"))
    | st.lists(st.sampled_from(["Causes:", "-", " ", "\n", "\x1a", "x"])).map("".join)
)
def test_a_line_is_one_line_and_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert not line.startswith(("- ", "Causes:"))
    assert one_line(line) == line


@pytest.mark.parametrize(
    "text",
    [
        "DevError[ desc = " + "\n" * 60_000,
        "DevFailed[" * 6_000 + "DevError[",
        "DevFailed[DevError[ desc = a\n" + " origin = b\n" * 6_000 + "]",
        "\x1b]" * 60_000,
        "\x1b[" + "0" * 200_000,
        "- " * 60_000,
        "device " * 60_000,
    ],
)
def test_hostile_texts_take_no_long_time(text: str) -> None:
    assert "\n" not in one_line(text)  # the guard against hangs would end it


def raised(exc: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise exc from cause
    except BaseException as caught:
        return caught


def test_an_exception_is_told_by_its_parts() -> None:
    dev_failed = DevFailed(
        DevError("PyDs_PythonError", "KeyError: 'resources'\n"),
        DevError("API_CommandFailed", "Failed to execute command on device low-pst/beam/01, x"),
    )
    lines = {
        "KeyError: 'gain'": KeyError("gain"),
        "ValueError": ValueError(),
        "ValueError: 1 error; gain; should be an integer": ValueError(
            "1 error\ngain\n  should be an integer\n"
        ),
        "DevFailed: KeyError: 'resources' (PyDs_PythonError, low-pst/beam/01)": dev_failed,
        "RuntimeError: frame 12, because KeyError: 'distance'": raised(
            RuntimeError("frame 12"), raised(OSError("between"), KeyError("distance"))
        ),
        "ExceptionGroup: OSError: sx; ValueError: a; ValueError: b": ExceptionGroup(
            "of a task group",
            [OSError("sx"), ExceptionGroup("inner", [ValueError("a"), ValueError("b")])],
        ),
    }
    for line, exc in lines.items():
        assert exception_line(exc) == line
    noted = ValueError("x")
    noted.add_note("while reading\nframe 3")
    assert exception_line(noted) == "ValueError: x; while reading; frame 3"
    many = ExceptionGroup("many", [ValueError(str(n)) for n in range(50)])
    assert exception_line(many).endswith("ValueError: 19; … and 30 more")


def test_an_exception_is_told_whatever_its_class_does() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

        @property
        def args(self) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    own = HostileError()
    own.__cause__ = own
    assert exception_line(own) == "HostileError: <its text raised SystemExit>"
    deep: BaseException = ValueError("0")
    for number in range(1, 3000):
        deep = raised(ValueError(str(number)), deep)
    assert exception_line(deep) == "ValueError: 2999, because ValueError: 0"


FORGED = "no lock\n- low-cbf/subarray/01: correlator is on fire"


def run(*leaves: LeafTask, scripts: dict[str, Script] | None = None) -> tuple[str, EventLog]:
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner(scripts or {})}
    tree = Task("configure", TaskExecutionType.PARALLEL, subtasks=leaves, is_root=True)
    with MainTaskExecutor(2, runners) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        handle.wait()
    assert handle.outcome is not None
    return handle.outcome.message, log


def test_a_device_makes_no_cause_that_names_another_one() -> None:
    script = Script.fails(FORGED, abnormal=True)
    leaf = LeafTask("beam", "low-pst/beam/01", "Scan")
    message, log = run(leaf, scripts={"beam": script})
    assert [line for line in message.splitlines() if line.startswith("- ")] == [
        "- low-pst/beam/01: no lock; low-cbf/subarray/01: correlator is on fire"
    ]
    (end,) = [e for e in log.select(kind="finished") if e.path == "configure/beam"]
    assert end.failed_devices in ((), ("low-pst/beam/01",))
    assert end.detail.cause.said == FORGED


def test_each_step_that_fails_has_one_cause() -> None:
    def calibrate(number: int) -> None:
        raise ValueError(f"1 error for Parameters\ngain\n  is {number}")

    def tells(number: int) -> tuple[int, str]:
        return 3, f"Causes:\n- beam-9: {number}"

    leaves = [LeafTask.from_callable(calibrate, n, name=f"beam-{n}") for n in (1, 2)]
    leaves.append(LeafTask.from_callable(tells, 3, name="beam-3"))
    message, _ = run(*leaves)
    assert sorted(line for line in message.splitlines() if line.startswith("- ")) == [
        "- beam-1 - ValueError: 1 error for Parameters; gain; is 1",
        "- beam-2 - ValueError: 1 error for Parameters; gain; is 2",
        "- beam-3 - beam-9: 3",
    ]


def test_the_causes_of_a_tree_that_a_step_runs_stay_its_causes() -> None:
    def inner() -> object:
        with MainTaskExecutor(1) as executor:
            tree = Task(
                "inner",
                subtasks=[
                    LeafTask.from_callable(lambda: (3, "a"), name="one"),
                    LeafTask.from_callable(lambda: (3, "b"), name="two"),
                ],
                is_root=True,
            )
            handle = executor.submit_main_task(tree)
            handle.wait()
            return handle.outcome

    message, _ = run(LeafTask.from_callable(inner, name="outer"))
    assert [line for line in message.splitlines() if line.startswith("- ")] == [
        "- one - a",
        "- two - b",
    ]


@dataclass
class Pair:
    first: Any
    second: Any


def doubled(levels: int = 18) -> Any:
    """Return a list that is printed in many places; with 60 levels, printing it never ends."""
    value: Any = ["no lock", 3]
    for _ in range(levels):
        value = [value, value]
    return value


def raised_with(value: Any) -> list[Any]:
    return [
        ValueError(value),
        ValueError("queue", {"args": value}),
        KeyError(value),
        ValueError(ValueError(value)),
        ValueError(deque([value])),
        ValueError(Pair(value, value)),
        SystemExit(value),
    ]


@pytest.mark.parametrize("place", range(7))
def test_an_exception_raised_with_what_has_no_end_is_told_in_part(place: int) -> None:
    exc = raised_with(doubled())[place]
    outer = RuntimeError("no")
    outer.__cause__ = exc
    for told in (exception_text(exc), exception_line(exc), exception_line(outer)):
        assert 0 < len(told) < 70_000
    assert text_of(exc).startswith(f"{type(exc).__name__}: ")
    assert len(readable({"error": exc})) < 70_000
    record = logging.LogRecord("", 40, "", 1, "text", (), None)
    for one in (exc, outer, ExceptionGroup("some", [outer])):
        shown = loggable(one)
        record.exc_info = (type(shown), shown, None)
        story = logging.Formatter().format(record)
        assert type(exc).__name__ in story
        assert len(story) < 70_000
        record.exc_text = None


@pytest.mark.parametrize("place", range(7))
def test_an_exception_raised_with_a_small_value_keeps_its_words(place: int) -> None:
    exc = raised_with([1, (2, "a")])[place]
    assert exception_text(exc) == str(exc)
    assert loggable(exc) is exc
