"""What the page about the record says of keeping it is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskgrove.redaction import Redaction
from taskgrove.store.recorder import PATIENCE_S, SPILL_LIMIT_BYTES
from taskgrove.store.recording import inbox
from taskgrove.store.recording.lease import HEARTBEAT_S
from taskgrove.store.recording.spill import MEMORY_LIMIT_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "record.md").read_text(encoding="utf-8")
KEEPING = PAGE.partition("\n## Reading the record\n")[0]
SECRETS = KEEPING.partition("\n### Secrets\n")[2]
SNIPPETS = re.findall(
    r"^```python\n(.*?)^```$\n\n^```\n(.*?)^```$", KEEPING, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("text", "shown"), SNIPPETS, ids=["one-argument", "recorder"])
def test_a_snippet_prints_what_is_shown(tmp_path: Path, text: str, shown: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (shown, "")
    assert (tmp_path / "runs.db").stat().st_size


def test_the_figures_are_those_of_the_code() -> None:
    assert f"at most {inbox.GATHER_S * 1000:g} ms" in KEEPING
    assert f"at most {SPILL_LIMIT_BYTES // 2**20} MiB" in KEEPING
    assert f"at most {MEMORY_LIMIT_BYTES // 2**20} MiB" in KEEPING
    assert (PATIENCE_S, HEARTBEAT_S) == (5.0, 2.0)
    assert "longer than five seconds" in KEEPING
    assert "heartbeat every two seconds" in KEEPING


def test_the_names_that_are_told_are_redacted_or_not_as_told() -> None:
    rule = Redaction()
    words = SECRETS.partition("It is a secret's")[2].partition("`AUTHOR`")[0]
    names = re.findall(r"`([^`]+)`", words)
    assert len(names) >= 18
    for name in names:
        assert rule.is_secret(name.replace(" ", "_")), name
    exempt = SECRETS.partition("`AUTHOR`")[2].partition(" are not.")[0]
    for name in ["AUTHOR", *re.findall(r"`([^`]+)`", exempt)]:
        assert not rule.is_secret(name), name
    changed = Redaction.from_environment({"TASKGROVE_REDACT": "beam_code,shift_*"})
    assert changed.is_secret("SHIFT_PIN")
