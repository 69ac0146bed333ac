"""The page about parameters says what is true: its samples run and print what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskgrove.analysis import substitution
from taskgrove.analysis.parameters import AnalysisHeader
from tests.repository.test_docs_pages import DOCS, Block, blocks, run

PAGE = (DOCS / "analysis-parameters.md").read_text(encoding="utf-8")
SAMPLES = [block for block in blocks(PAGE, "python") if block.shown is not None]
FILES = {
    match[1]: block.text
    for block in blocks(PAGE, "python") + blocks(PAGE, "yaml")
    if (match := re.match(r"# (\S+)\n", block.text))
}


def test_every_sample_is_a_file_or_shows_what_it_prints() -> None:
    everything = len(blocks(PAGE, "python")) + len(blocks(PAGE, "yaml"))
    assert len(SAMPLES) + len(FILES) == everything
    assert set(FILES) == {"beamline.py", "peaks.yaml", "wrong.yaml"}


@pytest.mark.parametrize("block", SAMPLES, ids=range(len(SAMPLES)))
def test_a_sample_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run("-X", "utf8", "-c", block.text, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == block.shown


def test_every_key_of_the_header_is_named() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("- The header has")]
    assert set(re.findall(r"`(\w+)`", line)) == set(AnalysisHeader.model_fields) - {"lute_version"}


def test_every_form_of_placeholder_in_the_table_is_one() -> None:
    rows = PAGE.split("| in a text |")[1].split("\n\n")[0].splitlines()[2:]
    forms = [form for row in rows for form in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(forms) == 9
    for form in forms:
        assert substitution.parse(form)
