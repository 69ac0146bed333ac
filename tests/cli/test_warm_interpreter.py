"""A command line in a warm interpreter does what one in a fresh interpreter does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import PATIENCE_S, Forked, Started, environment, start, taskgrove

MAP = """
look: {type: sequential, tasks: {one: {handler: internal, command_name: look}}}
die: {type: sequential, tasks: {one: {handler: internal, command_name: die}}}
"""

MANAGER = """
import atexit
import json
import os
import signal
import sys
from pathlib import Path


class Manager:
    def look(self):
        umask = os.umask(0)
        os.umask(umask)
        seen = {
            "argv": sys.argv[1:3], "program": Path(sys.argv[0]).name, "path": sys.path[0],
            "cwd": os.getcwd(), "umask": umask, "input": sys.stdin.read(),
            "environment": {name: os.environ[name] for name in os.environ if name != "LC_CTYPE"},
            "changed": getattr(json, "changed", False),
            "encodings": [sys.stdin.encoding, sys.stdout.encoding, sys.stderr.encoding],
            "errors": [sys.stdin.errors, sys.stdout.errors, sys.stderr.errors],
            "flags": str(sys.flags), "warnings": sys.warnoptions,
            "ignored": [n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN],
            "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:3],
        }
        Path("seen.json").write_text(json.dumps(seen))
        atexit.register(Path("at_exit").write_text, "")
        # What the next command line must not see.
        json.changed = True
        os.environ["CHANGED"] = "yes"
        os.umask(0)
        return 0, "seen"

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""

OPTIONS = ("--manager", "site_manager:Manager", "--no-record")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    return tmp_path


def seen(here: Path, *, fresh: bool) -> dict[str, Any]:
    before = os.umask(0o027)
    try:
        env = environment(OWN="ä")
        done = taskgrove(
            "run", "map.yaml", "look", *OPTIONS, cwd=here, env=env, input="given ü", fresh=fresh
        )
    finally:
        os.umask(before)
    assert done.returncode == 0, done
    (here / "at_exit").unlink()
    found: dict[str, Any] = json.loads((here / "seen.json").read_text())
    return found


def test_a_command_line_finds_what_a_fresh_one_finds_and_leaves_nothing(here: Path) -> None:
    expected = seen(here, fresh=True)
    assert (expected["umask"], expected["input"]) == (0o027, "given ü")
    assert expected["cwd"] == expected["path"] == str(here)
    for _ in range(2):
        assert seen(here, fresh=False) == expected


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "map.yaml", "die", *OPTIONS), -signal.SIGKILL),
        (("run", "nosuch.yaml", "look"), 2),
        (("nosuch",), 2),
        (("run", "map.yaml", "look", "--manager", "--no-record"), 2),
    ],
)
def test_the_end_and_the_words_are_those_of_a_fresh_one(
    here: Path, arguments: tuple[str, ...], code: int
) -> None:
    fresh, warm = (taskgrove(*arguments, cwd=here, fresh=fresh) for fresh in (True, False))
    assert (warm.returncode, warm.stdout, warm.stderr) == (code, fresh.stdout, fresh.stderr)
    assert fresh.returncode == code


def test_a_traceback_is_told_as_by_a_fresh_one(here: Path) -> None:
    words = ("--debug", "run", "nosuch.yaml", "look")
    fresh, warm = (taskgrove(*words, cwd=here, fresh=fresh) for fresh in (True, False))
    assert warm.returncode == fresh.returncode != 0
    for done in (fresh, warm):
        assert "Traceback (most recent call last):\n" in done.stderr
    assert warm.stderr.splitlines()[-1] == fresh.stderr.splitlines()[-1]


@pytest.mark.parametrize("fresh", [True, False])
def test_what_is_started_is_a_child_that_runs_beside(here: Path, fresh: bool) -> None:
    words, options = ("run", "map.yaml"), {"cwd": here, "fresh": fresh, "stdin": subprocess.PIPE}
    with start(*words, "look", *OPTIONS, **options) as looks:
        assert type(looks) is (Started if fresh else Forked)
        assert f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{looks.pid}/status").read_text()
        with start(*words, "die", *OPTIONS, **options) as dies:
            dies.communicate(timeout=PATIENCE_S)
            assert dies.returncode == -signal.SIGKILL
        done = taskgrove(*words, "nosuch", *OPTIONS, cwd=here)
        assert done.returncode == 4
        assert looks.poll() is None
        output, errors = looks.communicate("given ü", timeout=PATIENCE_S)
    assert (looks.returncode, errors) == (0, "")
    assert "look completed" in output
    assert json.loads((here / "seen.json").read_text())["input"] == "given ü"
