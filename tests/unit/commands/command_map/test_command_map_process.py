"""How the process of an analysis is started and watched, as a map says it (SPEC S6.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.command_map import command_map_json_schema, load_command_map
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import LeafTask
from taskgrove.errors import MapError
from tests.schema_check import accepts


def a_map(**keys: Any) -> dict[str, Any]:
    entry = {"handler": "analysis", "command_name": "Index", **keys}
    return {"scan": {"type": "sequential", "tasks": {"index": entry}}}


def leaves(given: Any) -> list[LeafTask]:
    root = MainTaskComposer("scan", given, None, None).compose()
    return [node for _, node in root.walk() if isinstance(node, LeafTask)]


def test_what_a_map_says_comes_to_its_leaves() -> None:
    keys = {"launcher": "mpirun -n 4", "heartbeat": 30, "grace": 0, "source": "/opt/setup.sh"}
    [leaf] = leaves(a_map(**keys))
    assert leaf.settings == {
        "launcher": ("mpirun", "-n", "4"),
        "heartbeat_s": 30,
        "grace_s": 0,
        "source": "/opt/setup.sh",
    }
    [bare] = leaves(a_map())
    assert bare.settings == {}
    [without] = leaves(a_map(launcher=[]))
    assert without.settings == {"launcher": ()}, "which is other than nothing said"


def test_every_leaf_of_each_has_it() -> None:
    made = leaves(a_map(launcher=["srun"], each={"parameter": "frame", "count": 3}))
    assert [leaf.settings for leaf in made] == [{"launcher": ("srun",)}] * 3


def test_a_script_stands_beside_its_map(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(
        "scan: {type: sequential, tasks: {analysis: {command_name: Index, source: env/setup.sh}}}"
    )
    [leaf] = leaves(load_command_map(path))
    assert leaf.settings == {"source": str(tmp_path / "env/setup.sh")}


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({"lancher": "mpirun"}, "lancher", "did you mean 'launcher'?"),
        ({"launcher": "mpirun 'x"}, "launcher", "no closing quotation"),
        ({"launcher": "mpirun $N"}, "launcher", "no shell reads the launcher"),
        ({"launcher": 4}, "launcher", "a program and its arguments, such as mpirun -n 4"),
        ({"launcher": ["mpirun", 4]}, "launcher", "a launcher is a text"),
        ({"heartbeat": 0}, "heartbeat", "seconds greater than 0"),
        ({"heartbeat": "30 s"}, "heartbeat", "seconds greater than 0"),
        ({"grace": -1}, "grace", "seconds from 0"),
        ({"source": ""}, "source", "a file's name"),
        ({"source": 5}, "source", "a file's name"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(keys: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(MapError) as raised:
        load_command_map(a_map(**keys))
    assert any(
        f"scan.tasks.index.{place}:" in problem and words in problem
        for problem in raised.value.problems
    ), raised.value.problems
    if "$" not in str(keys) and "'" not in str(keys.get("launcher", "")):
        assert not accepts(command_map_json_schema(), a_map(**keys))


def test_only_an_analysis_has_a_launcher() -> None:
    wrong = a_map(handler="internal", launcher="mpirun")
    with pytest.raises(MapError, match="unknown key 'launcher'"):
        load_command_map(wrong)


def test_the_schema_knows_it() -> None:
    for launcher in ("mpirun -n 4", ["mpirun", "-n", "4"], ""):
        keys = {"launcher": launcher, "heartbeat": 3, "grace": 0, "source": "a.sh"}
        assert accepts(command_map_json_schema(), a_map(**keys))
