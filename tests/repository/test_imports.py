"""What an import brings along, and what the packages show."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import taskgrove
import taskgrove.analysis
import taskgrove.store

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "taskgrove"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [path for path in MODULES if path.name == "__init__.py"]

#: What belongs to an extra: none of it may come with the core.
EXTRAS = {
    "alembic", "dask", "distributed", "h5py", "matplotlib", "numpy", "panel", "psutil", "pytest",
    "click", "rich", "sqlalchemy", "starlette", "tango", "typer", "uvicorn",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        "import taskgrove",
        "import taskgrove.testing",
        "import taskgrove.view.snapshot",
        "import taskgrove.analysis",
        "import taskgrove.store",
        "import taskgrove; taskgrove.MainTaskExecutor, taskgrove.run",
    ],
)
def test_the_core_brings_no_extra_along(statement: str) -> None:
    assert modules_after(statement) & EXTRAS == set()


def test_every_folder_with_code_is_a_room() -> None:
    folders = {path.parent for path in MODULES}
    assert folders == {room.parent for room in ROOMS}


def re_exports(nodes: list[ast.stmt]) -> list[ast.stmt]:
    """Check that imports are written `X as X`; return the other statements."""
    others = []
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            others += re_exports(node.body)
        elif not isinstance(node, ast.ImportFrom):
            others.append(node)
        elif node.module not in ("__future__", "typing", "taskgrove.lazy_exports"):
            assert node.level == 0, "imports are absolute"
            assert [(alias.name, alias.asname) for alias in node.names] == [
                (alias.name, alias.name) for alias in node.names
            ], "a re-export is written `X as X`"
    return others


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_rooms_only_re_export(room: Path) -> None:
    tree = ast.parse(room.read_text(encoding="utf-8"))
    # Names whose import is slow, or needs an extra, are imported when they are asked for.
    allowed = {"_LATER", "(__getattr__, __dir__)"}
    if room.parent == PACKAGE:
        allowed.add("__version__")
    for node in re_exports(tree.body[1:]):
        if isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
        else:
            name = getattr(node, "name", ast.unparse(node))
        assert name in allowed, f"line {node.lineno} computes something"


@pytest.mark.parametrize("package", [taskgrove, taskgrove.analysis, taskgrove.store])
def test_what_is_imported_later_is_what_type_checkers_see(package: ModuleType) -> None:
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == package._LATER
    assert set(seen) <= set(dir(package))
    assert all(hasattr(package, name) for name in seen)
    with pytest.raises(AttributeError, match="has no attribute 'MainTaskComposr'"):
        package.MainTaskComposr  # noqa: B018


def test_the_public_names_are_there() -> None:
    expected = {
        "AggregationOutcome", "BaseTask", "CommandError", "HealthState", "LeafTask",
        "MainTaskComposer", "MainTaskExecutor", "MapError", "ResultCode", "RunHandle",
        "SubtaskResult", "Task", "TaskAggregationPolicy", "TaskEvent", "TaskExecutionType",
        "TaskStatus", "TaskTracker", "TaskgroveError", "as_task_callback", "load_command_map",
        "run",
    }  # fmt: skip
    assert {name for name in expected if hasattr(taskgrove, name)} == expected


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert taskgrove.__version__ == project["version"]


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
