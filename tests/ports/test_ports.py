"""Analyses that come from LUTE run as they did there, typed as docs/coming-from-lute.md says."""

from __future__ import annotations

import re
import shutil
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgrove.analysis.plain.json_form import load_json
from taskgrove.analysis.results import DescribedAnalysis, TaskStatus
from tests.analysis.test_other_python import other_pythons
from tests.cli.command_line import environment, taskgrove

HERE = Path(__file__).parent


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the packages, programs and configurations of the ports."""
    return Path(
        shutil.copytree(
            HERE, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__", "test_*")
        )
    )


def typed(site: Path, *words: str) -> Any:
    return taskgrove(*words, cwd=site, env=environment(TASKGROVE_DB=str(site / "runs.db")))


def described(site: Path, *words: str, exit_code: int = 0) -> DescribedAnalysis:
    """Run an analysis and return its description."""
    done = typed(site, "analyse", *words, "--json")
    assert done.returncode == exit_code, done
    found = load_json(done.stdout)
    assert isinstance(found, DescribedAnalysis)
    return found


def of_lute(site: Path, name: str, *more: str, exit_code: int = 0) -> DescribedAnalysis:
    words = ("test.yaml", name, "--analyses", "lute_tests", *more)
    return described(site, *words, exit_code=exit_code)


def of_facility(site: Path, name: str, *more: str) -> DescribedAnalysis:
    words = ("facility.yaml", name, "--analyses", "facility", "--pages", "pages", *more)
    return described(site, *words)


# -- LUTE's test tasks ----------------------------------------------------------------------------


def test_the_simplest_task(site: Path) -> None:
    result = of_lute(site, "Test").task_result
    assert (result.task_status, result.summary) == (TaskStatus.COMPLETED, "it ended")
    assert result.payload == {"twice": 1.0, "int_var": 10, "dict_var": {"a": "b"}}


def test_a_task_that_raises(site: Path) -> None:
    result = of_lute(site, "Test", "--set", "throw_error=yes", exit_code=1).task_result
    assert result.task_status is TaskStatus.FAILED
    assert result.summary == "RuntimeError: the test was asked to fail"


def test_arrays_arrive_whole(site: Path) -> None:
    payload = of_lute(site, "TestSocket").task_result.payload
    for number, array in enumerate(payload):
        np.testing.assert_array_equal(array, np.full(20_000, float(number)))
    assert len(payload) == 3


def test_a_reader_finds_what_a_writer_left(site: Path) -> None:
    refused = typed(site, "analyse", "test.yaml", "TestReadOutput", "--analyses", "lute_tests")
    assert refused.returncode == 2
    assert "TestReadOutput.in_file" in refused.stderr
    assert "run TestWriteOutput first" in refused.stderr
    file = of_lute(site, "TestWriteOutput").task_result.payload
    assert file == str(site / "work" / "out_r0007.txt")
    assert of_lute(site, "TestReadOutput").task_result.payload == {"values": 14, "sum": 13.0}


def test_a_program(site: Path) -> None:
    result = of_lute(site, "TestBinary").task_result
    assert result.task_status is TaskStatus.COMPLETED


def test_a_program_that_fails(site: Path) -> None:
    result = of_lute(site, "TestBinaryErr", exit_code=1).task_result
    assert result.summary == "exit status 3: Error: thread 1 of 4 has lost its buffer"


def test_a_quiet_task_is_ended_by_its_limit_alone(site: Path) -> None:
    more = ("--heartbeat", "5", "--timeout", "0.5")
    result = of_lute(site, "TestUnresponsive", *more, exit_code=1).task_result
    assert result.task_status is TaskStatus.TIMEDOUT


@pytest.mark.parametrize(
    ("command", "exit_code", "said"),
    [
        (
            "chain", 1,
            ["write: completed", "both/read: completed", "both/binary: completed", "err: failed",
             "last: skipped - err failed"],
        ),
        (
            "tree", 1,
            ["test: completed", "children/binary: completed", "children/err: failed",
             "children/arrays/read: completed", "children/arrays: completed"],
        ),
        ("sweep", 0, [f"socket/socket-00{number}: completed" for number in (1, 2, 3, 4)]),
    ],
)  # fmt: skip
def test_a_workflow_is_a_command_map(
    site: Path, command: str, exit_code: int, said: list[str]
) -> None:
    done = typed(site, "run", "workflows.yaml", command, "--analyses", "lute_tests")
    assert done.returncode == exit_code, done
    for words in said:
        assert f"{command}/{words}" in done.stdout


# -- those of a facility --------------------------------------------------------------------------


def test_a_page_of_panel(site: Path) -> None:
    pytest.importorskip("panel")
    result = of_facility(site, "PlotScan").task_result
    values, page = result.summary
    assert values == {"best position": 2.0}
    assert (page["page"], page["file"]) == (
        "scans/sample_x", str(site / "pages" / "scans" / "sample_x" / "report.html")
    )  # fmt: skip
    assert "stretch_both" in Path(page["file"]).read_text(encoding="utf-8")


def test_partialator_with_validators_and_a_template(site: Path) -> None:
    of_facility(site, "IndexCrystFEL")
    found = of_facility(site, "MergePartialator")
    assert found.task_result.payload == "lyso_r0012.hkl"
    assert found.task_env["CRYSTFEL_VERSION"] == "0.10.2"
    of_facility(site, "CompareHKL")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("in_file=lyso.lst", "the input of partialator is a .stream file"),
        ("model=unitty", "did you mean 'unity'?"),
        ("niter=-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_parameter_of_partialator(site: Path, given: str, why: str) -> None:
    words = ("facility.yaml", "MergePartialator", "--analyses", "facility", "--set", given)
    done = typed(site, "analyse", "--set", "in_file=a.stream", *words)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (site / "work").exists()


def test_dimple_with_two_results_and_files_beside_its_page(site: Path) -> None:
    files, page = of_facility(site, "DimpleSolve").task_result.payload
    assert files == "solved/final.mtz;solved/final.pdb"
    file = Path(page["file"])
    words = file.read_text(encoding="utf-8")
    assert "R/Rfree 0.19/0.23" in words
    linked = [file.parent / link for link in re.findall(r'href="([^"]*final[^"]*)"', words)]
    assert [place.name for place in linked] == ["final.mtz", "final.pdb"]
    for place in linked:
        assert place.read_bytes() == (site / "work" / "solved" / place.name).read_bytes()


def test_a_program_with_a_nested_model_for_its_template(site: Path) -> None:
    of_facility(site, "IndexCCTBXXFEL")
    written = (site / "work" / "index.phil").read_text()
    assert written == "dispatch.index=True\nspotfinder.filter.d_min=2.5\n"
    (site / "work" / "index.phil").write_text("by hand\n")
    done = of_facility(site, "IndexCCTBXXFEL", "--set", "phil_parameters=null")
    assert done.task_result.task_status is TaskStatus.COMPLETED
    assert (site / "work" / "index.phil").read_text() == "by hand\n"


def test_a_program_whose_file_a_template_makes(site: Path) -> None:
    words = ("analyse", "facility.yaml", "RunCheetah", "--analyses", "facility")
    told = '[{"name": "jungfrau", "adc": 35.5}, {"name": "epix 1", "adc": 40.0}]'
    assert told in typed(site, *words, "--explain").stdout
    done = typed(site, *words)
    assert done.returncode == 0, done
    assert f"  detectors: {told}\n" in done.stdout
    assert "adc=35.5" in (site / "work" / "cheetah.ini").read_text()


@pytest.mark.parametrize("python", ["bare", *other_pythons()[:1]])
def test_an_analysis_in_another_interpreter(site: Path, tmp_path: Path, python: str) -> None:
    if python == "bare":
        venv.create(tmp_path / "psana", symlinks=True)
        python = str(tmp_path / "psana" / "bin" / "python")
    prefix = Path(python).parents[1]
    result = of_facility(site, "FindPeaks", "--python", python).task_result
    assert result.payload["peaks"] == [2, 4]
    assert result.payload["ran_in"] == str(prefix) != sys.prefix
    assert (site / "work" / "peaks.csv").read_text() == "2,7.5\n4,9.0\n"
