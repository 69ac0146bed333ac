"""The page on recovery: its programs run, and its options are those of the verbs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from taskgrove.cli.app import app
from tests.cli.command_line import PATIENCE_S, ROOT, environment

PAGE = (ROOT / "docs" / "recovery.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$(?:\n\n^```\n(.*?)^```$)?", PAGE, re.M | re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_programs_of_the_page_run_and_say_what_it_shows(number: int, tmp_path: Path) -> None:
    program, shown = BLOCKS[number]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_verbs_and_options_of_the_page_exist() -> None:
    verbs = {name: app.get_command(click.Context(app), name) for name in app.list_commands(None)}
    for verb, rest in re.findall(r"(?<!from )taskgrove (\w+)((?: --?[\w-]+)*)", PAGE):
        known = {option for item in verbs[verb].params for option in item.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known
    named = set(re.findall(r"`(--[\w-]+)", PAGE.partition("## Resume")[2].partition("## Verd")[0]))
    options = {option for item in verbs["resume"].params for option in item.opts}
    assert named <= options
    assert {"--redo", "--yes", "--dry-run", "--use-file", "--no-conditions"} <= named
