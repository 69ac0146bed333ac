"""What a verb imports: a quick verb waits for no library that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from taskgrove.cli.app import VERBS
from taskgrove.cli.declared import command_of
from taskgrove.cli.runs import RUNS_VERBS
from taskgrove.store import History, Store
from tests.cli.command_line import MANAGER, MAP, PATIENCE_S, environment
from tests.store.kept_runs import keep_beams

#: None of them is needed to read a record, and each costs as much as a whole verb may.
SLOW = {"alembic", "asyncio", "numpy", "pydantic", "rich", "sqlalchemy", "tango", "typer", "yaml"}
PROGRAM = """
import atexit, json, os, runpy, sys
def tell():
    with open(os.environ["IMPORTED"], "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(tell)
runpy.run_module("taskgrove", run_name="__main__", alter_sys=True)
"""
ANALYSES = """
from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters
ENTRIES = [AnalysisEntry("true", ThirdPartyParameters)]
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("record") / "runs.db"
    with Store.open(file) as store:
        keep_beams(store, "run-1")
    return str(file)


def imported(tmp_path: Path, *words: str) -> set[str]:
    """Return the modules that a verb has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env=environment(IMPORTED=str(tmp_path / "imported")),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == (6 if words[0] == "retry" else 0), done.stderr  # its run has ended
    return set(json.loads((tmp_path / "imported").read_text("utf-8")))


@pytest.mark.parametrize(
    "words",
    [
        *[("--help",), ("version",), ("runs", "list"), ("runs", "show", "last"), ("why",)],
        *[("watch", "last"), ("retry", "last", "configure/x", "--yes")],
    ],
    ids=" ".join,
)
def test_a_quick_verb_imports_no_slow_library(
    tmp_path: Path, record: str, words: tuple[str, ...]
) -> None:
    named = () if words[0] in ("--help", "version") else ("--db", record)
    found = imported(tmp_path, *words, *named)
    assert not SLOW & found
    if not named:
        assert "sqlite3" not in found


@pytest.mark.parametrize(
    "words",
    [
        ("run", "map.yaml", "good", "--manager", "site_manager:Manager"),
        ("analyse", "c.yaml", "true", "--analyses", "site_analyses"),
    ],
    ids=lambda words: words[0],
)
def test_a_verb_that_records_imports_no_library_of_migrations(
    tmp_path: Path, record: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "site_analyses.py").write_text(ANALYSES)
    (tmp_path / "c.yaml").write_text("header: {}\n'true': {executable: /bin/true}\n")
    monkeypatch.chdir(tmp_path)
    found = imported(tmp_path, *words, "--db", record)
    assert not {"alembic", "asyncio", "sqlalchemy"} & found
    with History.open(record) as history:
        assert history.find("last").state == "final"


def test_the_help_of_a_group_imports_no_verb(tmp_path: Path) -> None:
    places = {verb.place for below in VERBS.values() for verb in below.values()}
    modules = {f"taskgrove.cli.{place.partition(':')[0]}" for place in places}
    assert not modules & imported(tmp_path, "--help")


@pytest.mark.parametrize("table", [VERBS, RUNS_VERBS], ids=["taskgrove", "runs"])
def test_every_verb_of_a_table_is_there_and_its_line_fits(table: object) -> None:
    from importlib import import_module

    for below in table.values():  # type: ignore[attr-defined]
        for name, verb in below.items():
            module, _, attribute = verb.place.partition(":")
            found = getattr(import_module(f"taskgrove.cli.{module}"), attribute)
            if callable(found) and not hasattr(found, "commands"):
                assert command_of(name, found).help
            assert verb.help.endswith(".")
            assert len(verb.help) <= 65
