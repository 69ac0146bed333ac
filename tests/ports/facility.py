"""Five analyses of a beamline, as a package of a facility brings them.

``taskgrove analyse facility.yaml MergePartialator --analyses facility`` runs one of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, PositiveFloat, ValidationInfo, field_validator

from taskgrove.analysis.parameters import (
    Parameter,
    TaskParameters,
    TemplateConfig,
    ThirdPartyParameters,
)
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.tasklets import TaskletContext

HERE = Path(__file__).parent
#: Prepares a shell for the programs below, as the setup script of a facility does.
SETUP = str(HERE / "setup.sh")


# -- a program with validators, flags and a template file -----------------------------------------


class MergePartialatorParameters(ThirdPartyParameters):
    """CrystFEL's partialator, with the options that this beamline changes."""

    long_flags_use_eq = True

    executable: str = "partialator"
    lute_template_cfg: TemplateConfig = TemplateConfig(
        template_name="custom_split.txt", output_path="split.txt"
    )
    in_file: str = Parameter(
        "{{ earlier.IndexCrystFEL.out_file }}",
        description="The stream; by default that of the newest indexing.",
        flag_type="-", rename_param="i",
    )  # fmt: skip
    out_file: str = Parameter(
        "", description="The merged reflections.", flag_type="-", rename_param="o", is_result=True
    )
    symmetry: str = Parameter(description="The point group.", flag_type="--")
    niter: int | None = Parameter(
        None, description="Cycles of scaling.", flag_type="-", rename_param="n", ge=0
    )
    nthreads: int = Parameter(1, description="Threads.", flag_type="-", rename_param="j", ge=1)
    model: Literal["xsphere", "unity", "offset", "ggpm"] = Parameter("unity", flag_type="--")
    max_adu: PositiveFloat | None = Parameter(None, flag_type="--", rename_param="max-adu")
    no_pr: bool = Parameter(False, flag_type="--", rename_param="no-pr")
    custom_split: str = Parameter("split.txt", flag_type="--", rename_param="custom-split")

    @field_validator("in_file")
    @classmethod
    def _is_a_stream(cls, in_file: str) -> str:
        if not in_file.endswith(".stream"):
            raise ValueError("the input of partialator is a .stream file")
        return in_file

    @field_validator("out_file")
    @classmethod
    def _beside_the_stream(cls, out_file: str, info: ValidationInfo) -> str:
        stream = info.data.get("in_file", "")
        return out_file or os.path.splitext(os.path.basename(stream))[0] + ".hkl"


class IndexCrystFELParameters(ThirdPartyParameters):
    """CrystFEL's indexamajig, cut down to what the next step needs."""

    executable: str = "indexamajig"
    in_file: str = Parameter(flag_type="-", rename_param="i")
    out_file: str = Parameter(flag_type="-", rename_param="o", is_result=True)


class CompareHKLParameters(ThirdPartyParameters):
    """A program that takes several files where LUTE splits one text at its spaces."""

    executable: str = "compare_hkl"
    in_files: Annotated[list[str], BeforeValidator(lambda text: text.split())] = Parameter(
        description="Two files, in one text.", flag_type="", list_style="values"
    )
    symmetry: str = Parameter(flag_type="--")


# -- a program with several outputs, and a page with files beside it ------------------------------


class DimpleSolveParameters(ThirdPartyParameters):
    """CCP4's dimple: three values by place, then flags; two files are its result."""

    result_from_params = "{{ out_dir }}/final.mtz;{{ out_dir }}/final.pdb"

    executable: str = "dimple"
    in_file: str = Parameter(description="The reflections.", flag_type="")
    pdb: str = Parameter(description="The starting model.", flag_type="")
    out_dir: str = Parameter(description="The folder of the results.", flag_type="")
    mr_when_r: PositiveFloat = Parameter(0.4, flag_type="--", rename_param="mr-when-r")
    slow: bool = Parameter(False, flag_type="--")
    img_format: Literal["png", "jpeg", "none"] = Parameter("none", flag_type="-", rename_param="f")


def density_page(context: TaskletContext) -> None:
    """Publish a page about the structure, with the density map and the model beside it."""
    assert context.result is not None
    folder = (context.work_dir or Path.cwd()) / context.parameters.out_dir
    words = (folder / "dimple.log").read_text().splitlines()[-1]
    files = {"density map": folder / "final.mtz", "model": folder / "final.pdb"}
    page = ElogSummaryPlots("structures/lyso", {"result": words, "files": files})
    context.set_payload([context.result.payload, page])
    context.set_summary(words)


# -- a program that reads a file, which a template makes ------------------------------------------


class Detector(BaseModel):
    name: str
    adc: PositiveFloat = 40.0


class RunCheetahParameters(ThirdPartyParameters):
    """A hit finder with a file of its own, made from typed data."""

    executable: str = "cheetah"
    config_file: str = Parameter("cheetah.ini", flag_type="")
    lute_template_cfg: TemplateConfig = TemplateConfig(
        template_name="cheetah.ini", output_path="cheetah.ini"
    )
    detectors: list[Detector] = Parameter(description="The detectors, for the template.")


class PhilParameters(BaseModel):
    dispatch_index: bool = True
    spotfinder_d_min: PositiveFloat = 3.0


class IndexCCTBXXFELParameters(ThirdPartyParameters):
    """A program that works with the file as it is, where no ``phil_parameters`` are given."""

    executable: str = "cctbx.xfel.process"
    in_file: str = Parameter(flag_type="")
    phil_file: str = Parameter("index.phil", flag_type="")
    lute_template_cfg: TemplateConfig = TemplateConfig(
        template_name="index.phil", output_path="index.phil"
    )
    phil_parameters: PhilParameters | None = None


# -- a page with plots that stretch, and an analysis in another interpreter -----------------------


class PlotScanParameters(TaskParameters):
    motor: str = "sample_x"
    positions: list[float]
    counts: list[float]


class FindPeaksParameters(TaskParameters):
    trace: list[float]
    threshold: float = Parameter(5.0, description="Least height of a peak.", gt=0)
    out_file: str = Parameter("peaks.csv", is_result=True)


ENTRIES = [
    AnalysisEntry("PlotScan", PlotScanParameters, task="facility_plots:PlotScan"),
    AnalysisEntry("FindPeaks", FindPeaksParameters, task="facility_peaks:FindPeaks"),
    AnalysisEntry("IndexCrystFEL", IndexCrystFELParameters, source=SETUP),
    AnalysisEntry(
        "MergePartialator", MergePartialatorParameters, source=SETUP,
        environment={"OMP_NUM_THREADS": "1"}, template_dir=HERE / "templates",
    ),
    AnalysisEntry("CompareHKL", CompareHKLParameters, source=SETUP),
    AnalysisEntry(
        "IndexCCTBXXFEL", IndexCCTBXXFELParameters, source=SETUP, template_dir=HERE / "templates"
    ),
    AnalysisEntry("DimpleSolve", DimpleSolveParameters, source=SETUP, after=[density_page]),
    AnalysisEntry(
        "RunCheetah", RunCheetahParameters, source=SETUP, template_dir=HERE / "templates"
    ),
]  # fmt: skip
