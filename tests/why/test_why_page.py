"""The page about why says what is true: its snippet runs, its table has every kind of cause."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from taskgrove.events import CauseKind
from taskgrove.view.why.cause_kinds import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "why.md").read_text("utf-8")
LIMIT_S = 60


def test_the_snippet_prints_what_is_shown(tmp_path: Path) -> None:
    found = re.search(r"^```python\n(.*?)^```\n\n```\n(.*?)^```", PAGE, re.M | re.S)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", found[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == found[2]


def test_every_kind_of_cause_is_in_the_table_with_its_words() -> None:
    rows = PAGE.split("| cause |")[1].split("\n\n")[0].splitlines()[2:]
    told = {row.split("|")[1].strip(): row.split("|")[2] for row in rows}
    assert set(told) == {f"`{kind}`" for kind in get_args(CauseKind)}
    assert set(KINDS) == set(get_args(CauseKind))
    for kind, row in KINDS.items():
        begins = row.deed.split("{")[0].strip()
        assert begins in told[f"`{kind}`"], kind


def test_shown_words_fit_eighty_columns() -> None:
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S):
        if not block.startswith("observe failed"):
            assert all(len(line) <= 80 for line in block.splitlines()), block
