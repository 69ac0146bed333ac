"""Installed packages bring analyses by entry points; the demonstration's come only when named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import environment, taskgrove

MODULE = """
from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters


class SayParameters(ThirdPartyParameters):
    executable: str = "/bin/echo"
    p_arg1: str = "hello"


ENTRIES = [AnalysisEntry("Summarise", SayParameters, description="Says a word.")]
"""
CONFIGURATION = "header: {experiment: e, run: 1, work_dir: .}\nSummarise: {p_arg1: from beamline}\n"


@pytest.fixture
def beamline(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who installed the package of a beamline."""
    installed = tmp_path / "installed"
    about = installed / "beamline-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: beamline\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[taskgrove.analyses]\nbeamline = beamline:ENTRIES\n")
    (installed / "beamline.py").write_text(MODULE)
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    return environment(PYTHONPATH=str(installed))


def test_an_installed_package_brings_its_analyses(tmp_path: Path, beamline: dict[str, str]) -> None:
    listed = taskgrove("analyse", "--list", cwd=tmp_path, env=beamline)
    assert "Says a word." in listed.stdout, listed
    done = taskgrove("analyse", "config.yaml", "Summarise", "--no-live", cwd=tmp_path, env=beamline)
    assert done.returncode == 0, done
    assert "from beamline" in done.stdout


def test_a_name_of_the_demonstration_is_free(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    listed = taskgrove("analyse", "--list", "--analyses", "mine", cwd=tmp_path)
    assert listed.returncode == 0, listed
    assert "Says a word." in listed.stdout
    assert "FitRings" not in listed.stdout


def test_the_analyses_of_the_demonstration_come_when_they_are_named(tmp_path: Path) -> None:
    listed = taskgrove("analyse", "--list", "--analyses", "taskgrove_demo.analyses", cwd=tmp_path)
    assert listed.returncode == 0, listed
    assert all(name in listed.stdout for name in ("PyfaiIntegrate", "FitRings", "Summarise"))
