"""LUTE's test tasks: their parameters, and what runs each.

``taskgrove analyse test.yaml TestSocket --analyses lute_tests`` runs one of them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from taskgrove.analysis.parameters import Parameter, TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry

PROGRAMS = Path(__file__).parent / "programs"


class CompoundVar(BaseModel):
    int_var: int = 1
    dict_var: dict[str, str] = {"a": "b"}


class TestParameters(TaskParameters):
    float_var: float = Parameter(0.01, description="A number.")
    str_var: str = Parameter("test", description="A text.")
    compound_var: CompoundVar = Parameter(description="A whole number, and texts by name.")
    throw_error: bool = Parameter(False, description="Whether it fails.")


class TestSocketParameters(TaskParameters):
    array_size: int = Parameter(10_000, description="Numbers in each array.")
    num_arrays: int = Parameter(10, description="How many arrays are given back.")


class TestWriteOutputParameters(TaskParameters):
    outfile_name: str = Parameter("test_output.txt", description="The file in the work folder.")
    num_vals: int = Parameter(100, description="How many numbers are written.", ge=0)


class TestReadOutputParameters(TaskParameters):
    in_file: str = Parameter(
        "{{ earlier.TestWriteOutput.payload }}", description="The file; by default the newest."
    )


class TestBinaryParameters(ThirdPartyParameters):
    executable: str = str(PROGRAMS / "threads")
    p_arg1: int = Parameter(1, description="How many threads.")


class TestBinaryErrParameters(ThirdPartyParameters):
    executable: str = str(PROGRAMS / "threads_err")
    p_arg1: int = Parameter(1, description="How many threads.")


class TestUnresponsiveParameters(TaskParameters):
    pass


ENTRIES = [
    AnalysisEntry("Test", TestParameters, task="lute_tests_tasks:Test"),
    AnalysisEntry("TestSocket", TestSocketParameters, task="lute_tests_tasks:TestSocket"),
    AnalysisEntry(
        "TestWriteOutput", TestWriteOutputParameters, task="lute_tests_tasks:TestWriteOutput"
    ),
    AnalysisEntry(
        "TestReadOutput", TestReadOutputParameters, task="lute_tests_tasks:TestReadOutput"
    ),
    AnalysisEntry("TestBinary", TestBinaryParameters),
    AnalysisEntry("TestBinaryErr", TestBinaryErrParameters),
    AnalysisEntry(
        "TestUnresponsive", TestUnresponsiveParameters, task="lute_tests_tasks:TestUnresponsive"
    ),
]
