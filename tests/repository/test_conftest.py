"""What tests/conftest.py does for every test, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INNER = """
import os
import pytest
from hypothesis import settings

def test_environment_is_clean():
    assert not [name for name in os.environ if name.startswith(("TASKGROVE_", "TANGO_HOST"))]
    assert "FORCE_COLOR" not in os.environ
    assert os.environ["KEPT"] == "yes"

def test_every_run_tries_other_examples_and_says_how_to_try_them_again():
    assert not settings.default.derandomize
    assert settings.default.print_blob
    assert settings.default.deadline is None

@pytest.mark.root
def test_that_cuts_connections():
    raise AssertionError("not skipped")
"""


@pytest.fixture
def inner_run(tmp_path: Path) -> str:
    """Return what pytest prints for INNER, under the real conftest, without `ss` on the path."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    root\n    database\n")
    environment = {
        "PATH": os.fspath(tmp_path),
        "PYTHONPATH": os.fspath(ROOT),
        "TASKGROVE_ANYTHING": "1",
        "TANGO_HOST": "elsewhere:10000",
        "FORCE_COLOR": "1",
        "KEPT": "yes",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-rsf"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_environment_is_cleaned_and_skips_have_plain_reasons(inner_run: str) -> None:
    assert "2 passed, 1 skipped" in inner_run
    reasons = ("needs root, to cut TCP connections", "needs `ss` (Debian: iproute2)")
    assert any(reason in inner_run for reason in reasons)
