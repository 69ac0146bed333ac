"""``taskgrove analyse --explain``: what was read and from where, with nothing started."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from taskgrove.analysis import analysis_runner
from taskgrove.analysis.registry import AnalysisRegistry
from taskgrove.cli.app import app
from taskgrove.store.history import History

ANALYSES = """
from taskgrove.analysis.parameters import Parameter, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry


class ShellParameters(ThirdPartyParameters):
    executable: str = "/bin/sh"
    c: str = Parameter("touch ran", flag_type="-")
    tag: str = Parameter("none", flag_type="--")
    api_token: str = Parameter("", flag_type="--")


ENTRIES = [AnalysisEntry("Shell", ShellParameters, grace_s=1.5, environment={"OMP": "4"})]
"""
CONFIGURATION = """\
header:
  experiment: mfx100
  run: 7
  task_timeout: 60
base: lyso
Shell:
  tag: "{{ base }}_{{ run:04d }}_{{ $SITE }}"
  c: touch {{ tag }}
"""
DOUBLED = """\
experiment: mfx100
---
Shell:
  tag: first
  tag: second
"""
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    (tmp_path / "explained_analyses.py").write_text(ANALYSES)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    (tmp_path / "doubled.yaml").write_text(DOUBLED)
    monkeypatch.setattr(analysis_runner, "REGISTRY", AnalysisRegistry())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TASKGROVE_DB", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("SITE", "hutch")

    def made(*words: str) -> SimpleNamespace:
        words = ("analyse", *words, "--analyses", "explained_analyses")
        monkeypatch.setattr(sys, "argv", ["taskgrove", *words])
        done = CliRunner().invoke(app, words)
        return SimpleNamespace(code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    yield made
    sys.modules.pop("explained_analyses", None)


def squeezed(text: str) -> list[str]:
    """Return lines without the spaces between columns."""
    return [re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]


def test_each_value_is_told_with_its_place(call: Call, tmp_path: Path) -> None:
    done = call("site.yaml", "Shell", "--explain", "--grace", "2")
    assert done.code == 0, done
    lines = squeezed(done.stdout)
    for line in (
        "experiment | mfx100 | site.yaml:2 (header)",
        "executable | /bin/sh | default",
        "tag | lyso_0007_hutch | site.yaml:7 (section Shell): {{ base }}_{{ run:04d }}_{{ $SITE }}",
        "{{ base }} | lyso | site.yaml:5 (base)",
        "{{ run:04d }} | 7 | site.yaml:3 (header)",
        "{{ $SITE }} | hutch | environment",
        "timeout_s | 60 | site.yaml:4 (header)",
        "grace_s | 2.0 | command line",
        "$OMP | 4 | entry of the analysis",
        "/bin/sh -c 'touch lyso_0007_hutch' --tag lyso_0007_hutch",
        "Nothing was started.",
    ):
        assert line in lines, done.stdout
    assert not (tmp_path / "runs.db").exists()
    assert not list(tmp_path.glob("lyso*"))


def test_programs_get_the_same_as_json(call: Call) -> None:
    done = call("site.yaml", "Shell", "--explain", "--json", "--set", "c=exit 0", "--timeout", "5")
    told = json.loads(done.stdout)
    assert (told["analysis"], told["file"]) == ("Shell", "site.yaml")
    tag = next(item for item in told["parameters"] if item["name"] == "tag")
    assert tag["value"] == "lyso_0007_hutch"
    assert tag["place"] == {"file": "site.yaml", "line": 7, "key": "Shell.tag"}
    assert [item["kind"] for item in tag["used"]] == ["variable", "header", "environment"]
    given = next(item for item in told["parameters"] if item["name"] == "c")
    assert (given["value"], given["kind"], given["place"]) == ("exit 0", "given", None)
    assert told["process"][0] == {
        "name": "timeout_s", "value": 5.0, "kind": "given", "place": None, "written": "",
        "run": None, "used": [],
    }  # fmt: skip
    assert told["command"] == ["/bin/sh", "-c", "exit 0", "--tag", "lyso_0007_hutch"]


def test_a_doubled_key_is_a_warning_there_too(call: Call) -> None:
    done = call("doubled.yaml", "Shell", "--explain", "--json")
    told = json.loads(done.stdout)
    (warning,) = told["warnings"]
    assert "doubled.yaml:5" in warning
    assert "line 4" in warning
    assert "the last one counts" in warning
    assert next(it for it in told["parameters"] if it["name"] == "tag")["value"] == "second"


def test_a_command_line_that_cannot_be_made_is_told_beside_the_rest(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "odd.yaml").write_text("header: {}\nShell: {more: {a: 1}}\n")
    done = call("odd.yaml", "Shell", "--explain", "--json")
    told = json.loads(done.stdout)
    assert (done.code, told["command"]) == (0, [])
    assert "'more' is a dict, which cannot be one argument" in told["problem"]
    done = call("odd.yaml", "Shell", "--explain")
    assert "'more' is a dict, which cannot be one argument" in done.stdout
    assert "Nothing was started." in done.stdout


def test_secrets_are_shown_nowhere(call: Call) -> None:
    for how in (("--json",), ()):
        done = call("site.yaml", "Shell", "--explain", *how, "--set", "api_token=hunter2secret")
        assert done.code == 0, done
        assert "hunter2secret" not in done.stdout + done.stderr


def test_what_is_wrong_is_said_as_before_a_run(call: Call) -> None:
    done = call("site.yaml", "Shel", "--explain")
    assert done.code == 2
    assert "did you mean 'Shell'?" in done.stderr


def test_the_record_keeps_where_parameters_came_from(call: Call) -> None:
    assert call("site.yaml", "Shell", "--set", "c=exit 0").code == 0
    with History.open() as history:
        (described,) = history.analyses("last")
    origins = {item.name: item for item in described.detail.origins}
    assert (origins["tag"].kind, origins["tag"].place.line) == ("section", 7)
    assert [item.kind for item in origins["tag"].used] == ["variable", "header", "environment"]
    assert origins["c"].kind == "given"
