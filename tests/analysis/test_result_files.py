"""Two leaves of a tree never write one file: the second is refused before it starts."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.configuration import load_configuration
from taskgrove.analysis.leaves.result_files import ResultFiles
from taskgrove.analysis.parameters import Parameter, TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry, AnalysisRegistry
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import AnalysisError

ANALYSIS = TaskExecutionType.ANALYSIS


class Append(ThirdPartyParameters):
    """Adds its frame to its file."""

    executable: str = "/bin/sh"
    c: str = 'echo "$1" >> "$0"'
    p_arg1: str = Parameter("out.txt", is_result=True)
    p_arg2: int = 0


class Made(TaskParameters):
    out: Any = Parameter("a.h5", is_result=True)
    frame: int = 0


class Inside(Made):
    run_directory = "frame{{ frame }}"


class Composed(TaskParameters):
    result_from_params = "{{ folder }}/{{ frame }}.h5"
    folder: str = "x"
    frame: int = 0


ENTRIES = [
    AnalysisEntry("Append", Append),
    *(AnalysisEntry(kind.__name__, kind, executable="/bin/true") for kind in (Made, Inside)),
    AnalysisEntry("Composed", Composed, executable="/bin/true"),
]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[AnalysisRunner]:
    registry = AnalysisRegistry()
    registry.register(*ENTRIES)
    with AnalysisRunner(registry, slots=2, work_dir=tmp_path / "work") as made:
        yield made


_numbers = itertools.count()


def leaf(analysis: str, argin: Any = None, target: Any = None) -> LeafTask:
    return LeafTask(f"leaf{next(_numbers)}", target, analysis, argin, ANALYSIS)


def refusals(runner: AnalysisRunner, *leaves: LeafTask) -> list[list[str]]:
    Task("root", subtasks=list(leaves))
    return [runner.preflight(item) for item in leaves]


def test_the_second_leaf_that_names_a_file_is_refused_with_the_name_of_the_first(
    runner: AnalysisRunner, tmp_path: Path
) -> None:
    first, second = leaf("Made", {"frame": 1}), leaf("Made", {"frame": 2})
    assert refusals(runner, first, second) == [
        [],
        [
            f"its result {tmp_path}/work/a.h5 would be written by {first.path} too"
            " (put a value that differs into the name, such as {{ frame }})"
        ],
    ]
    assert runner.preflight(first) == []  # its own file is no other's


@pytest.mark.parametrize(
    ("analysis", "argins"),
    [
        ("Made", [{"out": "a.h5"}, {"out": "b.h5"}]),
        ("Made", [{"out": ""}, {"out": ""}]),
        ("Made", [{"out": None}, {"out": None}]),
        ("Made", [{"out": 5}, {"out": 5}]),
        ("Made", [{"out": "/tmp"}, {"out": "/tmp"}]),
        ("Made", [{"out": "made/"}, {"out": "made/"}]),
        ("Made", [{"out": "/dev/null"}, {"out": "/dev/null"}]),
        ("Inside", [{"frame": 1}, {"frame": 2}]),
        ("Composed", [{"frame": 1}, {"frame": 2}]),
    ],
)
def test_leaves_whose_results_differ_or_are_no_files_are_not_refused(
    runner: AnalysisRunner, analysis: str, argins: list[Any]
) -> None:
    assert refusals(runner, *(leaf(analysis, argin) for argin in argins)) == [[], []]


@pytest.mark.parametrize(
    ("analysis", "argins"),
    [
        ("Made", [{"out": "a.h5"}, {"out": "./b/../a.h5"}]),
        ("Made", [{"out": ["a", "b"]}, {"out": ["c", "b"]}]),
        ("Made", [{"out": Path("a.h5")}, {"out": "a.h5"}]),
        ("Inside", [{"frame": 1}, {"frame": 1}]),
        ("Composed", [{"folder": "y"}, {"folder": "x/../y"}]),
    ],
)
def test_one_file_under_two_names_is_one_file(
    runner: AnalysisRunner, analysis: str, argins: list[Any]
) -> None:
    [first, second] = refusals(runner, *(leaf(analysis, argin) for argin in argins))
    assert first == []
    assert "would be written by" in second[0]


def test_another_tree_may_name_the_same_files(runner: AnalysisRunner) -> None:
    assert refusals(runner, leaf("Made")) == refusals(runner, leaf("Made")) == [[]]
    gc.collect()
    assert not runner._result_files._trees  # a tree that is gone is forgotten


def test_a_leaf_that_names_another_file_lets_go_of_the_first() -> None:
    claims, first, second = ResultFiles(), leaf("Made"), leaf("Made")
    tree = Task("root", subtasks=[first, second])
    claims.claim(first, Made(out="a"), None)
    claims.claim(first, Made(out="b"), None)
    claims.claim(second, Made(out="a"), None)
    with pytest.raises(AnalysisError, match="leaf"):
        claims.claim(second, Made(out="b"), None)
    assert tree.subtasks


def test_without_a_check_before_it_only_the_first_leaf_of_a_run_writes(
    runner: AnalysisRunner, tmp_path: Path
) -> None:
    leaves = [leaf("Append", {"p_arg2": number}) for number in range(5)]
    tree = Task("root", TaskExecutionType.PARALLEL, subtasks=leaves)
    with MainTaskExecutor(8, {ANALYSIS: runner}) as executor:
        handle = executor.submit_main_task(tree)
        assert handle.wait(100)
    assert handle.outcome is not None
    assert handle.outcome.message.count("would be written by") == 4
    assert len((tmp_path / "work/out.txt").read_text().split()) == 1


@pytest.mark.parametrize("where", ["header", "runner"])
def test_each_of_a_fan_out_writes_its_own_file(
    runner: AnalysisRunner, tmp_path: Path, where: str
) -> None:
    text = 'Append: {p_arg1: "{{ work_dir }}/out_{{ p_arg2:03d }}.txt"}'
    work = tmp_path / "work" if where == "runner" else "elsewhere"
    (tmp_path / "c.yaml").write_text(f"header: {{work_dir: {work}}}\n{text}\n")
    entry = {
        "handler": "analysis", "command_name": "Append", "config": str(tmp_path / "c.yaml"),
        "each": {"parameter": "p_arg2", "count": 5},
    }  # fmt: skip
    commands = {"go": {"type": "sequential", "tasks": {"a": entry}}}
    tree = MainTaskComposer("go", commands, None, None).compose()
    with MainTaskExecutor(8, {ANALYSIS: runner}) as executor:
        assert executor.submit_main_task(tree).wait(100)
    files = {item.name: item.read_text() for item in (tmp_path / "work").glob("out_*")}
    assert files == {f"out_{number:03d}.txt": f"{number}\n" for number in range(5)}


def test_the_folder_of_the_runner_reaches_a_configuration_that_was_loaded(
    runner: AnalysisRunner, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(
        'header: {work_dir: elsewhere}\nMade: {out: "{{ work_dir }}/{{ frame }}"}\n'
    )
    target = load_configuration(tmp_path / "c.yaml")
    assert target.header.work_dir == str(Path("elsewhere").absolute())
    one = leaf("Made", {"frame": 3}, target)
    found, header, _ = runner._parameters.of(one, ENTRIES[1], runner._parameters.earlier)
    assert header.work_dir == str(tmp_path / "work")
    assert found.named_results() == [f"{tmp_path}/work/3"]


SPELLINGS = {"a": "a", "./a": "a", "b": "b", "x/../b": "b", "c/d": "c/d", "c//d": "c/d"}


@given(st.lists(st.sampled_from([*SPELLINGS, ""]), max_size=6))
def test_each_file_has_one_leaf(names: list[str]) -> None:
    claims, tree = ResultFiles(), Task("root", TaskExecutionType.PARALLEL)
    owners: set[str] = set()
    for name in names:
        one = leaf("Made")
        one.parent = tree
        file = SPELLINGS.get(name)
        try:
            claims.claim(one, Made(out=name), None)
        except AnalysisError:
            assert file in owners
        else:
            assert file not in owners
            owners |= {file} if file else set()
