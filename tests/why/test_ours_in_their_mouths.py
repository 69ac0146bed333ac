"""Devices, methods and programs that say what taskgrove says elsewhere are quoted, and no more."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.task import LeafTask
from tests.cli.command_line import environment, taskgrove
from tests.why.staging import CBF, Stage, root
from tests.why.test_typed_causes import OURS

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

from taskgrove.tango.simulator import SimulatedFleet  # noqa: E402 - it needs tango

#: What is advised only where it is our own finding.
NOT_ADVISED = ("timeout", "start the server", "command_name", "correct", "restart")
SAYINGS = [text for text in OURS if "\n" not in text]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with SimulatedFleet([CBF], settings={"duration_s": 0.05, "spread": 0.0}) as fleet:
        yield Stage(fleet)


@pytest.mark.parametrize("said", SAYINGS)
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ({"kind": "fail"}, {"reported"}),
        ({"kind": "fail", "abnormal": True}, {"reported"}),
        ({"kind": "reject", "how": "code"}, {"refused"}),
        ({"kind": "reject", "how": "exception"}, {"refused"}),
        ({"kind": "raise"}, {"raised", "reported"}),
    ],
)
def test_a_device(stage: Stage, fault: dict[str, object], kinds: set[str], said: str) -> None:
    stage.fleet.set_fault(CBF, "Configure", {**fault, "message": said})
    ended = stage.run(root("configure", stage.leaf(CBF, timeout=60)))
    stage.fault(CBF, None)
    found = ended.explanation
    assert found.first is not None
    assert found.first.kind in kinds
    assert said in found.sentence
    assert not [word for word in NOT_ADVISED if word in found.next_step], found.next_step


@pytest.mark.parametrize("said", SAYINGS)
def test_a_method(stage: Stage, said: str) -> None:
    def tells() -> tuple[int, str]:
        return 3, said

    def raises() -> None:
        raise RuntimeError(said)

    for function, kind in ((tells, "reported"), (raises, "raised")):
        ended = stage.run(root("configure", LeafTask.from_callable(function, name="step")))
        assert ended.explanation.first is not None
        assert ended.explanation.first.kind == kind
        assert said in ended.sentence
        next_step = ended.explanation.next_step
        assert not [word for word in NOT_ADVISED if word in next_step], next_step


def test_programs(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    (tmp_path / "prog.py").write_text(
        "from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters\n\n\n"
        "class Shell(ThirdPartyParameters):\n"
        '    executable: str = "/bin/sh"\n'
        '    p_arg1: str = "job.sh"\n'
        "    p_arg2: int = 0\n\n\n"
        'ENTRIES = [AnalysisEntry("ShellRun", Shell)]\n'
    )
    (tmp_path / "c.yaml").write_text("header: {experiment: e, run: 1, work_dir: .}\nShellRun: {}\n")
    sayings = [*SAYINGS, "unresponsive for 5 s", "killed by SIGKILL", "exit status 0: all well"]
    lines = [f"{n}) echo {shlex.quote(said)} >&2;;" for n, said in enumerate(sayings)]
    (tmp_path / "job.sh").write_text("\n".join(["case $1 in", *lines, "esac", "exit 4\n"]))
    (tmp_path / "map.yaml").write_text(
        "scan:\n  type: parallel\n  tasks:\n    a: {handler: analysis, command_name: ShellRun,"
        f" config: c.yaml, each: {{parameter: p_arg2, count: {len(sayings)}}}}}\n"
    )
    env = environment(TASKGROVE_DB=str(tmp_path / "runs.db"))
    words = ("run", "map.yaml", "scan", "--analyses", "prog", "--no-live")
    assert taskgrove(*words, cwd=tmp_path, env=env).returncode == 1
    found = json.loads(taskgrove("why", "--json", cwd=tmp_path, env=env).stdout)
    assert {group["kind"] for group in found["groups"]} == {"exited"}
    told = [words for group in found["groups"] for words in (group["told"] or [group["cause"]])]
    assert sorted(told) == sorted(sayings)
    assert not [word for word in NOT_ADVISED if word in found["next_step"]], found["next_step"]
