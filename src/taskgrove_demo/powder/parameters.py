"""The parameters of the three analyses of a powder scan."""

from __future__ import annotations

from pathlib import Path

from taskgrove.analysis import Parameter, TaskParameters


class PyfaiIntegrateParameters(TaskParameters):
    """Azimuthal integration of one frame of a scan."""

    scan_file: Path = Parameter(description="The HDF5 file of the scan (NeXus layout).")
    frame: int = Parameter(description="Which frame is integrated, counted from 0.", ge=0)
    output_dir: Path = Parameter(
        description="The folder that the curve is written to, as frame-00012.h5."
    )
    bins: int = Parameter(
        500, description="Bins of the curve, from the beam to the farthest corner.", ge=50, le=20000
    )
    distance: float | None = Parameter(
        None,
        description="Distance from sample to detector; left out: the value of the scan's file.",
        unit="mm",
        gt=0,
    )
    min_sigma: float = Parameter(
        5.0,
        description="A frame without a peak this high above its background fails.",
        unit="sigma",
        gt=0,
    )


class FitRingsParameters(TaskParameters):
    """Refinement of the detector distance from the rings of silver behenate."""

    integrated_dir: Path = Parameter(
        description="The folder with the curves that PyfaiIntegrate wrote."
    )
    output_file: Path = Parameter(
        description="The file that the fit is written to, as JSON.", is_result=True
    )
    rings: int = Parameter(
        5, description="How many rings are fitted at most, from the innermost.", ge=2, le=20
    )
    search: float = Parameter(
        0.15,
        description="How wrong the distance may be that the frames were integrated with,"
        " as a part of it.",
        ge=0,
        le=0.3,
    )


class SummariseParameters(TaskParameters):
    """A page about the scan: an image with its rings, the curve, the distance by frame."""

    scan_file: Path = Parameter(description="The HDF5 file of the scan.")
    integrated_dir: Path = Parameter(description="The folder with the integrated frames.")
    fit_file: Path = Parameter(description="The file that FitRings wrote.")
    display_name: str = Parameter(
        "powder/agbh",
        description="Where the page is shown: its name, after the names of its tabs.",
        min_length=1,
    )
