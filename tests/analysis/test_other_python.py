"""First-party analyses in another Python interpreter, which has none of our packages."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import venv
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from taskgrove import LeafTask, TaskExecutionType
from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.registry import AnalysisEntry, AnalysisRegistry
from taskgrove.analysis.results import ElogSummaryPlots, TaskStatus
from taskgrove.analysis.running.interpreter import places_for
from taskgrove.analysis.running.process_settings import ProcessSettings
from taskgrove.analysis.running.supervisor import default_supervisor
from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.errors import AnalysisError, UsageError
from tests.analysis.analysis_runs import GUARD_S, Heard
from tests.repository.test_old_python import old_modules

_MODULE = """
import sys, time
from taskgrove.analysis import AnalysisTask, ElogSummaryPlots

__version__ = "4.2"

class There(AnalysisTask):
    def run(self):
        given = self.parameters
        self.report_progress(50, "half")
        self.log.warning("said there")
        mode = getattr(given.mode, "value", given.mode)
        if mode == "raise":
            try:
                1 / 0
            except ZeroDivisionError as exc:
                raise ValueError("bad frame") from exc
        if mode == "wait":
            while True:
                time.sleep(0.01)
        return self.result({
            "prefix": sys.prefix,
            "version": sys.version.split()[0],
            "lows": [region.low for region in given.regions],
            "ours": sorted(
                module.__file__ for name, module in sys.modules.items()
                if name.partition(".")[0] == "taskgrove"
            ),
            "has": sorted({"msgspec", "pydantic"} & set(sys.modules)),
            "plots": ElogSummaryPlots("there/one", {"tab": "<p>drawn there</p>", "more": ["text"]}),
            "long": "x" * 300_000,
            "blob": given.blob[::-1],
            "numbers": [-1, -40, 300, 70_000, 2**40, -2**40, 1.5, None, True],
        }, "done there")
"""


#: So large that it goes by shared memory.
_BLOB = bytes(2 << 20) + b"end"


class Mode(Enum):
    FINE = "fine"
    RAISE = "raise"
    WAIT = "wait"


class Region(BaseModel):
    low: float = 0.5


class ThereParameters(TaskParameters):
    mode: Mode = Mode.FINE
    regions: tuple[Region, ...] = (Region(), Region(low=2))
    blob: bytes = b""


def other_pythons() -> list[str]:
    """Return the interpreters of other versions that this machine has."""
    own = sys.version_info[1]
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = []
    for minor in (minor for minor in range(9, 20) if minor != own):
        name = f"python3.{minor}"
        places = [*sorted(root.glob(f"3.{minor}.*/bin/{name}")), shutil.which(name)]
        for place in places:
            if place is not None and _runs(str(place)):
                found.append(str(place))
                break
    return found


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.fixture(autouse=True)
def ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what watches over the analyses end with each of them: nobody waits for another one."""
    monkeypatch.setattr(default_supervisor(), "_linger_s", 0.0)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without any package."""
    folder = tmp_path_factory.mktemp("bare") / "env"
    venv.create(folder, symlinks=True)
    return folder


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The place of an analysis that needs nothing but taskgrove."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "runs_there.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    return "runs_there:There"


def _executor(
    module: str, tmp_path: Path, mode: Mode = Mode.FINE, **settings: Any
) -> AnalysisExecutor:
    entry = AnalysisEntry("There", ThereParameters, task=module)
    return AnalysisExecutor(
        entry, ThereParameters(mode=mode, blob=_BLOB), work_dir=tmp_path / "work", **settings
    )


@pytest.mark.parametrize("python", ["bare", *other_pythons()])
def test_an_analysis_in_an_interpreter_without_our_packages(
    python: str, bare: Path, module: str, tmp_path: Path
) -> None:
    program = str(bare / "bin" / "python") if python == "bare" else python
    heard = Heard()
    executor = _executor(module, tmp_path, python=program, hooks={"log": heard, "progress": heard})
    executor.check_start()
    handle = executor.start()
    result = handle.result(GUARD_S).task_result

    assert result.task_status is TaskStatus.COMPLETED, result
    assert handle.outcome is not None
    versions = handle.outcome.detail.versions
    assert versions["python"] == result.payload["version"]
    assert versions["runs_there"] == "4.2"
    assert result.summary == "done there"
    payload = result.payload
    assert payload["has"] == []
    unread = set(map(Path, payload["ours"])) - set(old_modules())
    assert {file.name for file in unread} <= {"foreign_values.py", "words.py"}  # see pyproject.toml
    assert payload["lows"] == [0.5, 2.0]
    assert payload["numbers"] == [-1, -40, 300, 70_000, 2**40, -(2**40), 1.5, None, True]
    assert len(payload["long"]) == 300_000
    assert payload["blob"] == _BLOB[::-1]
    assert isinstance(payload["plots"], ElogSummaryPlots)
    assert b"drawn there" in payload["plots"].figures
    if python == "bare":
        assert payload["prefix"] == str(bare)
    assert "half" in heard.texts("progress")
    assert any("said there" in text for text in heard.texts("log"))


@pytest.mark.parametrize("python", ["bare", *other_pythons()])
def test_a_failure_there_tells_its_exceptions(
    python: str, bare: Path, module: str, tmp_path: Path
) -> None:
    program = str(bare / "bin" / "python") if python == "bare" else python
    executor = _executor(module, tmp_path, Mode.RAISE, python=program)
    result = executor.start().result(GUARD_S).task_result
    assert result.task_status is TaskStatus.FAILED
    assert result.summary == "ValueError: bad frame, because ZeroDivisionError: division by zero"


@pytest.mark.parametrize("python", ["bare", *other_pythons()[:1]])
def test_a_cancelled_analysis_there(python: str, bare: Path, module: str, tmp_path: Path) -> None:
    program = str(bare / "bin" / "python") if python == "bare" else python
    heard = Heard()
    executor = _executor(module, tmp_path, Mode.WAIT, python=program, hooks={"log": heard})
    handle = executor.start()
    heard.wait_for("log", "said there")
    handle.cancel("enough")
    assert handle.result(GUARD_S).task_result.task_status is TaskStatus.CANCELLED


def test_a_sourced_script_that_activates_an_environment(
    bare: Path, module: str, tmp_path: Path
) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(f". {bare}/bin/activate\n")
    executor = _executor(module, tmp_path, source=script)
    executor.check_start()
    result = executor.start().result(GUARD_S).task_result
    assert result.payload["prefix"] == str(bare)


def test_a_sourced_script_that_activates_none(module: str, tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text("export COLOUR=blue\n")
    result = _executor(module, tmp_path, source=script).start().result(GUARD_S).task_result
    assert result.payload["prefix"] == sys.prefix


def test_where_the_other_interpreter_told_nothing_no_version_of_python_is_known(
    bare: Path, tmp_path: Path
) -> None:
    python = str(bare / "bin" / "python")
    handle = _executor("tests.no_such:Thing", tmp_path, python=python).start()
    assert handle.result(GUARD_S).task_result.task_status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "python" not in handle.outcome.detail.versions


# -- what is told before anything starts ----------------------------------------------------------


def test_what_the_other_interpreter_lacks_is_told_before(bare: Path, tmp_path: Path) -> None:
    python = str(bare / "bin" / "python")
    executor = _executor("tests.analysis.sample_tasks:Returns", tmp_path, python=python)
    with pytest.raises(AnalysisError, match=r"cannot run in .*No module named 'pydantic'"):
        executor.check_start()


@pytest.mark.parametrize("fault", ["import missing_there", "1 / 0"])
def test_a_class_of_parameters_that_cannot_be_had_there(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values without their class do where a module is missing; any other fault is told before."""
    code = tmp_path / "code"
    code.mkdir()
    (code / f"runs_with_{len(fault)}.py").write_text(_MODULE)
    (code / f"given_{len(fault)}.py").write_text(
        f"import sys\nif sys.prefix != {sys.prefix!r}:\n    {fault}\n"
        "from taskgrove.analysis.parameters import TaskParameters\n"
        "class Given(TaskParameters):\n    mode: str = 'fine'\n    blob: bytes = b''\n"
        "    regions: list[float] = []\n"
    )
    monkeypatch.syspath_prepend(code)
    venv.create(tmp_path / "half", symlinks=True)
    (packages,) = (tmp_path / "half" / "lib").glob("python3*/site-packages")
    (packages / "pydantic-2.10.3.dist-info").mkdir()
    metadata = packages / "pydantic-2.10.3.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: pydantic\nVersion: 2.10.3\n")
    given = importlib.import_module(f"given_{len(fault)}").Given
    entry = AnalysisEntry("There", given, task=f"runs_with_{len(fault)}:There")
    python = str(tmp_path / "half" / "bin" / "python")
    executor = AnalysisExecutor(entry, given(), work_dir=tmp_path / "work", python=python)
    if fault == "1 / 0":
        with pytest.raises(AnalysisError, match=r"cannot run in .*ZeroDivisionError"):
            executor.check_start()
        return
    executor.check_start()
    assert executor.start().result(GUARD_S).task_result.summary == "done there"


def test_an_interpreter_that_is_none(module: str, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="cannot be used as a Python interpreter") as caught:
        _executor(module, tmp_path, python="/bin/ls").check_start()
    assert "bin/python" in str(caught.value.hint)


def test_an_interpreter_that_is_not_there(module: str, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="there is no Python interpreter"):
        _executor(module, tmp_path, python=str(tmp_path / "python")).check_start()


def test_an_old_interpreter_is_told(module: str, tmp_path: Path) -> None:
    old = tmp_path / "python-of-old"
    old.write_text('#!/bin/sh\necho \'{"version": [3, 6, 15], "missing": null}\'\n')
    old.chmod(0o755)
    with pytest.raises(AnalysisError, match=r"is Python 3\.6\.15; an analysis runs in Python 3\.9"):
        _executor(module, tmp_path, python=str(old)).check_start()


def test_a_program_has_no_python(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="no Python of ours runs it"):
        AnalysisEntry("ls", ThereParameters, executable="/bin/ls", python="/usr/bin/python3")
    registry = AnalysisRegistry()
    registry.register(AnalysisEntry("ls", ThereParameters, executable="/bin/ls"))
    leaf = LeafTask(
        "ls", None, "ls", None, TaskExecutionType.ANALYSIS, settings={"python": "/usr/bin/python3"}
    )
    with (
        AnalysisRunner(registry) as runner,
        pytest.raises(AnalysisError, match="no Python of ours"),
    ):
        runner.check(leaf)


def test_python_is_a_text() -> None:
    with pytest.raises(AnalysisError, match="it is the path of an interpreter"):
        AnalysisEntry("There", ThereParameters, task="a:B", python=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no setting 'pyton'"):
        ProcessSettings.of({"pyton": "x"})


# -- where it is said ------------------------------------------------------------------------------


def test_the_entry_of_a_map_names_an_interpreter(bare: Path, module: str, tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(bare / "bin" / "python")
    file = tmp_path / "map.yaml"
    file.write_text(
        "measure:\n  type: sequential\n  tasks:\n"
        "    analysis: {command_name: There, python: ./python}\n"
    )
    tree = MainTaskComposer("measure", load_command_map(file), None, None).compose()
    (leaf,) = tree.subtasks
    assert isinstance(leaf, LeafTask)
    assert leaf.settings == {"python": str(tmp_path / "python")}


# -- what another interpreter is lent --------------------------------------------------------------


def test_our_libraries_are_not_on_the_path_of_another_interpreter() -> None:
    path, carried = places_for("/other/python", "pydantic.main:BaseModel", "tests.analysis:X", "")
    assert not [place for place in path if place.endswith("site-packages")]
    assert set(carried) == {"pydantic"}
    assert places_for(None, "pydantic.main:BaseModel")[1] == {}
