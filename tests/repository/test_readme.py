"""The README's Python prints what the README shows, and its map is a valid one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from taskgrove.commands.command_map import load_command_map

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def test_the_python_prints_what_is_shown(tmp_path: Path) -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout in blocks("")
    assert len([line for line in code.splitlines() if line]) <= 12


def test_the_maps_are_valid(tmp_path: Path) -> None:
    commands = []
    for text in blocks("yaml"):
        path = tmp_path / "map.yaml"
        path.write_text(text, encoding="utf-8")
        commands += load_command_map(path).commands
    assert commands == ["measure", "powder_scan"]
