"""What the page about the record shows of reading it is what the verbs and Python print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.cli.runs import runs
from taskgrove.store.store import Store
from tests.store.example_record import write_example
from tests.store.test_run_results import LEAF, described, kept

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
READING = PAGE.partition("\n## Reading the record\n")[2]
REFERENCE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("\n## runs\n")[2]
SHELL = re.findall(r"^```\n\$ taskgrove (.*?)\n(.*?)^```$", READING, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(
    r"^```python\n(.*?)^```$\n\n^```\n(.*?)^```$", READING, re.MULTILINE | re.DOTALL
)
LIMIT_S = 60


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("record") / "runs.db"
    write_example(file)
    return str(file)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three runs of one analysis, of which the first failed."""
    file = tmp_path_factory.mktemp("results") / "runs.db"
    given: list[tuple[str, Any]] = [
        ("20261121T081200Z-5b20c9e1", None),
        ("20261121T081500Z-93d1aa40", {"rings": 4, "fit": {"distance": 0.1029, "ok": True}}),
        ("20261121T082000Z-1c0e77f2", {"rings": 5, "fit": {"distance": 0.1032, "ok": True}}),
    ]
    with Store.open(file) as store:
        for minute, (run_id, payload) in enumerate(given):
            status = "FAILED" if payload is None else "COMPLETED"
            told = described(payload, analysis="FitRings", status=status)
            kept(store, run_id, minute, (LEAF, told))
    return str(file)


def test_the_page_shows_every_verb_that_prints() -> None:
    shown = {words.split()[1] for words, _ in SHELL}
    assert shown == {"list", "show", "diff", "stats", "results", "prune"}
    assert len(PYTHON) == 4


@pytest.mark.parametrize(("words", "shown"), SHELL, ids=[words for words, _ in SHELL])
def test_a_verb_prints_what_is_shown(example: str, results: str, words: str, shown: str) -> None:
    db = results if words.startswith("runs results") else example
    done = CliRunner().invoke(app, shlex.split(words), env={"TASKGROVE_DB": db})
    assert done.exit_code == 0, done.output
    assert done.stdout == shown


@pytest.mark.parametrize(("text", "shown"), PYTHON, ids=["rows", "frames", "requests", "exports"])
def test_a_snippet_prints_what_is_shown(
    example: str, tmp_path: Path, text: str, shown: str
) -> None:
    if "to_frame" in text:
        pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=tmp_path,
        env={**os.environ, "TASKGROVE_DB": example, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == shown


def commands() -> list[Any]:
    context = click.Context(runs)
    return [runs.get_command(context, name) for name in runs.list_commands(context)]


@pytest.mark.parametrize("verb", commands(), ids=lambda verb: str(verb.name))
def test_every_verb_and_option_has_help_and_is_in_the_reference(verb: Any) -> None:
    section = REFERENCE.partition("\n## ")[0]
    assert verb.help
    assert f"taskgrove runs {verb.name}" in section
    for parameter in verb.params:
        assert getattr(parameter, "help", None), f"{verb.name} {parameter.name}"
        if parameter.opts[0].startswith("--"):
            assert parameter.opts[0] in section, f"{verb.name} {parameter.opts[0]}"
