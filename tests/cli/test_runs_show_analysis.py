"""``taskgrove runs show`` of analyses: all that the record keeps, and the end of the output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from taskgrove.analysis import analysis_runner
from taskgrove.analysis.registry import AnalysisRegistry
from taskgrove.cli.app import app

ANALYSES = """
from taskgrove.analysis.parameters import Parameter, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry


def found(context):
    context.set_payload({"rings": 5, "fit": {"distance": 0.1032}})
    context.set_summary({"quality": "good"})


class FitParameters(ThirdPartyParameters):
    executable: str = "./fit.sh"
    tag: str = Parameter("none", flag_type="--")
    api_token: str = Parameter("", flag_type="--")


ENTRIES = [AnalysisEntry("FitRings", FitParameters, after=[found])]
"""
PROGRAM = """#!/bin/sh
for number in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "line $number"; done
printf 'first\\rsecond\\n\\033[31mred\\033[0m\\n'
"""
CONFIGURATION = """\
header: {experiment: mfx100, run: 7, work_dir: work}
base: lyso
FitRings:
  tag: "{{ base }}_{{ run:04d }}"
"""
MAP = """
fit:
  type: sequential
  tasks:
    one: {handler: analysis, command_name: FitRings, config: site.yaml}
    two: {handler: analysis, command_name: FitRings, config: site.yaml, argin: {tag: given}}
"""
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    (tmp_path / "shown_analyses.py").write_text(ANALYSES)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/fit.sh").write_text(PROGRAM)
    (tmp_path / "work/fit.sh").chmod(0o755)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(analysis_runner, "REGISTRY", AnalysisRegistry())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TASKGROVE_DB", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def made(*words: str, code: int = 0) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["taskgrove", *words])
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, (done.output, done.exception)
        return SimpleNamespace(stdout=done.stdout, stderr=done.stderr)

    yield made
    sys.modules.pop("shown_analyses", None)


def squeezed(text: str) -> list[str]:
    return [re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]


def test_one_analysis_is_shown_whole(call: Call, tmp_path: Path) -> None:
    call(
        "analyse", "site.yaml", "FitRings", "--analyses", "shown_analyses",
        "--set", "api_token=hunter2secret",
    )  # fmt: skip
    shown = call("runs", "show", "last").stdout
    lines = squeezed(shown)
    for line in (
        "summary.quality: good",
        "payload.rings: 5",
        "payload.fit.distance: 0.1032",
        "tag | lyso_0007 | site.yaml:4 (section FitRings): {{ base }}_{{ run:04d }}",
        "{{ base }} | lyso | site.yaml:2 (base)",
        "executable | ./fit.sh | default",
        "api_token | <redacted> | command line",
        f"code: no commit yet, with changes that are not committed: {tmp_path}/work/fit.sh",
        f"in: {tmp_path}/work",
    ):
        assert line in lines, shown
    assert f"config | {tmp_path}/site.yaml" in lines
    assert "hunter2secret" not in shown
    end = shown.partition("Last lines of ")[2].splitlines()
    assert [line.strip() for line in end[1:]] == [
        *(f"line {number}" for number in range(6, 13)), "first", "second", "red",
    ]  # fmt: skip
    (file,) = (tmp_path / "work").glob("FitRings-*.out")
    file.unlink()
    assert (
        f"{file} cannot be read: No such file or directory" in call("runs", "show", "last").stdout
    )


def test_of_several_each_is_shown_by_its_node(call: Call) -> None:
    call("run", "map.yaml", "fit", "--analyses", "shown_analyses")
    shown = call("runs", "show", "last").stdout
    assert "--node PATH' shows an analysis: its result, parameters and output." in shown
    assert "Parameters:" not in shown
    two = squeezed(call("runs", "show", "last", "--node", "fit/two").stdout)
    assert "payload.rings: 5" in two
    assert "tag | given | map.yaml:6 (given there)" in two
    plain = json.loads(call("runs", "show", "last", "--json").stdout)
    (leaf,) = (node for node in plain["nodes"] if node["path"] == "fit/two")
    assert leaf["analysis"]["code"]["dirty"] is True
    assert leaf["analysis"]["origins"][1]["kind"] == "given"
