"""The reference pages say what is true: their snippets run, and their tables are complete."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
import yaml

import taskgrove
import taskgrove.testing
from taskgrove import LeafTask, MainTaskComposer, ResultCode, Task, TaskExecutionType, TaskStatus
from taskgrove.commands.command_map import DEFAULT_LIMITS, AllowedStates, parse_command_map
from taskgrove.commands.command_map.entry import MAX_VALUE_DEPTH
from taskgrove.commands.command_map.map_conditions import STEP_KEYS, WaitCondition
from taskgrove.commands.command_map.map_models import (
    ENTRY_CLASSES,
    KEYWORDS,
    SECTIONS,
    SIMULATOR_KEYS,
    CompositeEntry,
    DeviceStepEntry,
    keys_of,
)
from taskgrove.events import (
    SCHEMA_VERSION,
    AnalysisDetail,
    Cause,
    CauseKind,
    ChainLink,
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
)
from taskgrove.events.cause import Reading
from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.doubt import Doubt, unknown_fate
from taskgrove.tango.client.failure import Failure, FailureKind
from taskgrove.tango.server.dialect import Dialect
from taskgrove.tango.simulation.fault_text import parse_fault
from taskgrove.tango.simulation.faults import Fault, FaultKind
from taskgrove.tango.simulation.simulator_settings import SIMULATED_COMMANDS, SimulatorSettings

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("command-map", "devices", "library", "ska-devices")
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in NAMES}
MAPS, DEVICES, LIBRARY, SKA = PAGES.values()
LIMIT_S = 120
#: Settings of the simulator whose default is no value.
_TOLD_IN_WORDS = {"dialect", "durations_s", "results", "attributes", "commands"}
_FENCED = re.compile(
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$(?:\n\n^```\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a page, and the plain block that follows it at once, if any."""

    language: str
    text: str
    shown: str | None


def blocks(page: str, language: str) -> list[Block]:
    found = [Block(*match.groups()) for match in _FENCED.finditer(page)]
    return [block for block in found if block.language == language]


def snippets() -> Iterable[Any]:
    for name, page in PAGES.items():
        for number, block in enumerate(blocks(page, "python")):
            marks = [pytest.mark.tango] if "taskgrove.tango" in block.text else []
            yield pytest.param(block, id=f"{name}-{number}", marks=marks)


def coded(page: str) -> set[str]:
    """Return every word that stands in code font."""
    return set(re.findall(r"`([^`\n]+)`", page))


def table(page: str, head: str) -> dict[str, list[str]]:
    """Return the other cells of each row of the table whose first column is called ``head``."""
    rows = page.split(f"\n| {head} |", 1)[1].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return {row[0]: row[1:] for row in cells}


def words(cells: Iterable[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


# -- what stands in fenced blocks ---------------------------------------------------------------


@pytest.mark.parametrize("block", list(snippets()))
def test_a_snippet_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    if "taskgrove.tango" in block.text:
        pytest.importorskip("tango")
    done = run("-W", "error", "-c", block.text, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == block.shown


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_valid_or_wrong_as_shown(name: str, tmp_path: Path) -> None:
    for block in blocks(PAGES[name], "yaml"):
        if block.shown is None or not block.shown.startswith("error:"):
            assert parse_command_map(block.text).commands
            continue
        pytest.importorskip("click")
        (tmp_path / "map.yaml").write_text(block.text, encoding="utf-8")
        done = run("-m", "taskgrove", "compose", "map.yaml", "configure", cwd=tmp_path)
        assert (done.stderr, done.returncode) == (block.shown, 2)


def test_the_arguments_are_bound_as_said() -> None:
    class Manager:
        def check_lock(self, argin: object) -> None: ...

    command_map = parse_command_map(blocks(SKA, "yaml")[0].text)
    manager = Manager()
    manager.components = command_map.components  # type: ignore[attr-defined]
    (arguments,) = blocks(SKA, "json")
    root = MainTaskComposer(
        "configure", command_map, manager, None, json.loads(arguments.text)
    ).compose()
    found = {node.name: node.argin for _, node in root.walk() if isinstance(node, LeafTask)}
    assert found == {
        "check_lock": 3,
        "cbf-subarray-01": {"band": "5a"},
        "pst-beam-02": {"beam": "b"},
        "gains": {"gain": 2},
    }


# -- command-map.md -----------------------------------------------------------------------------


def test_every_key_of_a_map_is_explained() -> None:
    composite = set(table(MAPS.split("## Commands and composites")[1], "key"))
    assert composite == {f"`{key}`" for key in keys_of(CompositeEntry)}
    handler = words(table(MAPS.split("## Steps")[1], "key"))
    fields = {key for cls in (*ENTRY_CLASSES.values(), DeviceStepEntry) for key in keys_of(cls)}
    assert handler == fields
    assert words(table(MAPS, "keyword")) == set(KEYWORDS)
    steps = MAPS.split("## Steps of devices")[1]
    assert set(STEP_KEYS) == {key.strip("`").split(":")[0] for key in table(steps, "key")}
    assert words(table(steps, "key of a condition")) == set(WaitCondition.model_fields)
    assert set(SECTIONS) < words(table(MAPS, "section"))
    assert set(AllowedStates.model_fields) < coded(MAPS)


def test_the_keys_of_a_kind_are_those_of_its_entries() -> None:
    owners = {
        key: cells[0]
        for keys, cells in table(MAPS.split("## Steps")[1], "key").items()
        for key in words([keys])
    }
    for keyword, cls in {**ENTRY_CLASSES, "device": DeviceStepEntry}.items():
        kinds = {"all", "device steps" if keyword == "device" else "handlers"}
        if keyword not in ("internal", "analysis"):
            kinds.add("devices")
        told = {
            key for key, of in owners.items() if kinds & set(of.split(", ")) or f"`{keyword}`" in of
        }
        assert told == set(keys_of(cls)), keyword


def test_every_setting_of_the_simulator_is_explained_with_its_default() -> None:
    rows = table(MAPS.split("## Simulator")[1], "key")
    assert words(rows) == set(SIMULATOR_KEYS)
    assert set(Dialect.__struct_fields__) < words(rows["`dialect`"])
    own = SimulatorSettings()
    for key, (default, _) in rows.items():
        names = words([key]) & set(SimulatorSettings.__struct_fields__) - _TOLD_IN_WORDS
        values = [value.strip("` ") for value in default.split(",")]
        for name, value in zip(sorted(names, key=key.index), values, strict=False):
            actual = getattr(own, name)
            assert value == (str(actual).lower() if actual is False else f"{actual:g}"
                             if isinstance(actual, float) else str(actual)), name  # fmt: skip


def test_the_limits_of_a_map_are_as_said() -> None:
    limits = DEFAULT_LIMITS
    said = (
        f"{limits.max_bytes // 2**20} MiB, {limits.max_depth} levels of nesting,"
        f" {limits.max_nodes:,} values and {limits.max_aliases:,} aliases;"
        f" an argument has {MAX_VALUE_DEPTH} levels"
    )
    assert said in MAPS


# -- library.md ---------------------------------------------------------------------------------


def test_every_field_of_an_event_is_explained() -> None:
    rows = table(LIBRARY, "field of `TaskEvent`")
    details = {"composed", "started", "finished", "note", "analysis", "page", "cause"}
    assert words(rows) - details == set(TaskEvent.__struct_fields__)
    assert rows["`schema`"] == [f"version of this schema: {SCHEMA_VERSION}"]
    for detail in (ComposedDetail, StartedDetail, FinishedDetail, AnalysisDetail, PageDetail):
        cell = rows[f"`detail`: `{detail.__struct_config__.tag}`"]
        assert words(cell) == set(detail.__struct_fields__)
    parts = (Cause, ChainLink, Reading)
    fields = {field for part in parts for field in part.__struct_fields__}
    assert words(rows["`cause`"]) == fields | set(get_args(CauseKind))
    topics = set(re.findall(r"``([\w-]+)``", str(NoteDetail.__doc__)))
    assert words(rows["`detail`: `note`"]) == topics | set(NoteDetail.__struct_fields__)


def test_every_double_is_named() -> None:
    doubles = {name for name in vars(taskgrove.testing) if name[0].isupper()} - {"FakeCall"}
    assert doubles <= coded(LIBRARY)


class _Target:
    def __init__(self, value: object) -> None:
        self.value = value

    def answer(self) -> object:
        return self.value


ANY_VALUE = ({"gain": 2}, [1, 2, 3], b"x", 42, 3.5, object())


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (None, ResultCode.OK, ""),
        (True, ResultCode.OK, ""),
        (False, ResultCode.FAILED, ""),
        (ResultCode.REJECTED, ResultCode.REJECTED, ""),
        ((ResultCode.FAILED, "no lock"), ResultCode.FAILED, "no lock"),
        ((3, "no lock"), ResultCode.FAILED, "no lock"),
        ("tuned", ResultCode.OK, "tuned"),
        ('[3, "no lock"]', ResultCode.FAILED, "no lock"),
    ],
)
def test_what_is_returned_means_what_is_said(value: object, code: ResultCode, message: str) -> None:
    method = LeafTask("leaf", _Target(value), "answer", None, TaskExecutionType.INTERNAL)
    for leaf in (method, LeafTask.from_callable(lambda: value, name="leaf")):
        root = Task("root", subtasks=[leaf])
        taskgrove.run(root)
        record = root.tracker.subtasks["leaf"]
        assert (record.status, record.result_code) == (TaskStatus.COMPLETED, code)
        assert record.message == message


@pytest.mark.parametrize("value", ANY_VALUE, ids=lambda value: type(value).__name__)
def test_a_function_may_return_any_value_and_a_method_may_not(value: object) -> None:
    function = LeafTask.from_callable(lambda: value, name="leaf")
    assert taskgrove.run(Task("root", subtasks=[function])).result_code is ResultCode.OK
    method = LeafTask("leaf", _Target(value), "answer", None, TaskExecutionType.INTERNAL)
    assert taskgrove.run(Task("root", subtasks=[method])).result_code is not ResultCode.OK


# -- devices.md ---------------------------------------------------------------------------------


def test_every_time_of_the_client_is_told_with_its_default() -> None:
    rows = table(DEVICES, "`DeviceRunner(…)`")
    told = {name.strip("`"): float(cells[0]) for name, cells in rows.items()}
    own = LrcSettings()
    assert told == {name: getattr(own, name) for name in LrcSettings.__dataclass_fields__}


def test_every_fault_and_every_parameter_is_explained() -> None:
    faults = table(DEVICES, "fault")
    assert words(faults) == {kind.value for kind in FaultKind}
    parameters = table(DEVICES, "parameter")
    fields = {field.name: field.default for field in msgspec.structs.fields(Fault)}
    assert words(parameters) == set(fields) - {"kind"}
    assert words(cells[1] for cells in faults.values()) == set(fields) - {"kind", "times"}
    for names, (_, default) in parameters.items():
        for name in words([names]):
            value = fields[name]
            if isinstance(value, (float, str)) and value != "":
                assert default.strip("`") == (f"{value:g}" if isinstance(value, float) else value)


def test_a_call_whose_fate_is_unknown_is_told_as_the_page_says() -> None:
    command = LrcCommand("low-pst/beam/01", "Configure", lambda update: None)
    failure = Failure(FailureKind.BROKEN, "", "CORBA: it broke")
    fate = unknown_fate(Doubt(command, 0.0, failure))
    _, colon, words_on_fate = fate.partition(": ")
    assert colon
    assert f"`…: {words_on_fate}`" in DEVICES


def test_the_ways_to_write_a_fault_are_read() -> None:
    line = DEVICES.split("A fault is written ")[1].split("\n")[0]
    forms = re.findall(r"`([^`]+)`", line)
    written = [parse_fault(yaml.safe_load(form) if form[0] == "{" else form) for form in forms]
    assert [fault.kind.value for fault in written] == ["hang", "hang", "fail", "fail", "fail"]
    assert (written[1].at, written[1].times, written[2].message) == (20, 1, "no lock")
    assert written[3] == written[4] == Fault(kind=FaultKind.FAIL, at=20)
    assert set(SIMULATED_COMMANDS) < coded(DEVICES)


#: A fault of the page → what makes it quick, and the cause that the page quotes for it.
QUICK = {
    "hang": ("", "timed out after"),
    "stall": (",for_s=0.2", ""),
    "restart": (",for_s=0.5", "Configure was lost with the server: "),
    "crash": (
        "",
        "Configure did not end: its server is gone: nothing answers at its address,"
        " connecting was refused twice",
    ),
    "raise": ("", "Unhandled exception during execution: "),
    "garbage": ("", "unknown result code: the integer 42: ?"),
}


#: What else happens to a device → how its leaf ends, and the cause that the page quotes.
OTHERS = {
    "late": ("REJECTED", "Command is not allowed"),
    "misnamed": ("REJECTED", "the device has no command Confgure; did you mean Configure?"),
    "gone": (
        "FAILED",
        "cannot be reached, Configure was not sent: no server answers at its address (tried ",
    ),
}


@pytest.mark.tango
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_faults_end_as_the_page_says() -> None:
    pytest.importorskip("tango")
    from taskgrove.tango.simulator import SimulatedFleet

    rows = {fault.strip("`"): cells[2] for fault, cells in table(DEVICES, "fault").items()}
    devices = {word: f"test/{word}/01" for word in rows}
    faults = {
        device: {"Configure": word + QUICK.get(word, ("", ""))[0]}
        for word, device in devices.items()
    }
    devices |= {word: f"test/{word}/01" for word in OTHERS}
    faults[devices["late"]] = {"Configure": "reject,how=late"}
    with SimulatedFleet(devices.values(), faults=faults, settings={"duration_s": 0.3}) as fleet:
        fleet.kill(devices["gone"])
        leaves = [
            LeafTask(word, fleet.trl(device),
                     "Confgure" if word == "misnamed" else "Configure", {},
                     timeout=5.0 if word == "hang" else LIMIT_S)
            for word, device in devices.items()
        ]  # fmt: skip
        root = Task("root", TaskExecutionType.PARALLEL, subtasks=leaves)
        taskgrove.run(root, max_workers=4)
    ended = root.tracker.subtasks
    for word, told in rows.items():
        record = ended[word]
        assert record.status is not None
        assert record.result_code is not None
        said = f"{record.status.name}, {record.result_code.name}"
        assert told.startswith(said), (word, record.message)
        cause = QUICK.get(word, ("", ""))[1]
        assert cause in record.message
        assert cause in DEVICES or word == "hang"
    for word, (status, cause) in OTHERS.items():
        record = ended[word]
        assert record.status is TaskStatus[status]
        assert cause in record.message
        assert cause in DEVICES


@pytest.mark.tango
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_the_commands_of_the_round_trip_work(tmp_path: Path) -> None:
    pytest.importorskip("tango")
    pytest.importorskip("click")
    (block,) = (block for block in blocks(DEVICES, "yaml"))
    assert block.shown is not None
    simulate, echo, follow = block.shown.splitlines()
    outcome = DEVICES.split("exits with 3 and says:\n\n```\n")[1].split("```")[0]
    (tmp_path / "map.yaml").write_text(block.text, encoding="utf-8")
    arguments = re.fullmatch(r"echo '(.*)' > arguments.json", echo)
    assert arguments is not None
    (tmp_path / "arguments.json").write_text(arguments[1], encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", *simulate.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as simulator:
        assert simulator.stdout is not None
        try:
            for line in simulator.stdout:
                if "simulated.yaml" in line:
                    break
            done = run("-m", *follow.split(), cwd=tmp_path)
        finally:
            simulator.send_signal(signal.SIGINT)
            simulator.communicate(timeout=LIMIT_S)
    assert (done.returncode, simulator.returncode) == (3, 0)
    run_id = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
    assert re.sub(run_id, "RUN", outcome) in re.sub(run_id, "RUN", done.stdout)
