"""Integrated curves: how they are made, and the files in which they wait for the next analysis.

A frame is averaged over rings around the beam by pyFAI's histogram engine, the one behind
``AzimuthalIntegrator`` for ``method=("no", "histogram", "cython")``. It is called directly,
because for an upright detector the geometry is four lines, and the integrator's own modules cost
a process 1.2 s of imports; a test holds both against each other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import AnalysisError, MissingExtraError
from taskgrove_demo.powder.geometry import Geometry
from taskgrove_demo.powder.scan_file import require_h5py

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Bins on either side whose median is taken for the background at a bin.
_BACKGROUND_BINS: Final = 30


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """The azimuthal average of a frame.

    Attributes:
        frame: Its number, from 0.
        q: Scattering vectors, in 1/nm, rising; computed with ``geometry``.
        intensity: Mean counts per pixel, corrected for the solid angle.
        sigma: Standard deviation of each, from the counts.
        geometry: The geometry that it was integrated with.
        position_mm: Where the sample stood.
    """

    frame: int
    q: NDArray[np.float64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    geometry: Geometry
    position_mm: float


def integrate(
    counts: NDArray[np.int32], geometry: Geometry, bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return q (1/nm), mean intensity and its standard deviation, for each bin.

    Args:
        counts: The frame; negative counts are pixels that do not work.
        geometry: Of the detector.
        bins: How many bins there are from the beam to the farthest corner.

    Raises:
        MissingExtraError: pyFAI is not installed.
    """
    import numpy as np  # noqa: PLC0415 - an extra

    try:
        from pyFAI.containers import ErrorModel  # noqa: PLC0415 - an extra
        from pyFAI.ext.histogram import histogram1d_engine  # noqa: PLC0415
    except ImportError as exc:
        raise MissingExtraError("demo", "azimuthal integration with pyFAI") from exc
    radii = geometry.radii_mm((counts.shape[0], counts.shape[1]))
    done = histogram1d_engine(
        radial=geometry.q(radii),
        npt=bins,
        raw=counts.astype(np.float32),
        solidangle=np.cos(geometry.two_theta(radii)) ** 3,
        mask=(counts < 0).astype(np.int8),
        empty=np.nan,
        error_model=ErrorModel.POISSON,
    )
    filled = np.asarray(done.count) > 0
    return (
        np.asarray(done.position, dtype=float)[filled],
        np.asarray(done.intensity, dtype=float)[filled],
        np.asarray(done.sem, dtype=float)[filled],
    )


def significances(curve: Curve) -> NDArray[np.float64]:
    """Return how many standard deviations each bin stands above the background around it."""
    import numpy as np  # noqa: PLC0415 - an extra

    half = min(_BACKGROUND_BINS, (len(curve.q) - 1) // 2)
    padded = np.pad(curve.intensity, half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    excess = curve.intensity - np.median(windows, axis=1)
    # A bin in which nothing was counted has no spread of its own.
    spread = np.where(curve.sigma > 0, curve.sigma, np.inf)
    return np.asarray(excess / spread)


def count_peaks(curve: Curve, min_sigma: float) -> int:
    """Return how many peaks stand higher than ``min_sigma`` above the background."""
    import numpy as np  # noqa: PLC0415 - an extra

    high = np.concatenate(([False], significances(curve) > min_sigma))
    return int(np.count_nonzero(high[1:] & ~high[:-1]))


def curve_file(folder: Path, frame: int) -> Path:
    """Return where the curve of a frame is kept."""
    return folder / f"frame-{frame:05d}.h5"


def write_curve(curve: Curve, folder: Path) -> Path:
    """Write a curve, whole or not at all, and return its file.

    Raises:
        AnalysisError: The folder cannot be written to.
    """
    file = curve_file(folder, curve.frame)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with require_h5py().File(part, "w") as out:
            out.attrs["default"] = "curve"
            group = out.create_group("curve")
            group.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": ["q"]})
            for name in ("q", "intensity", "sigma"):
                group[name] = getattr(curve, name)
            group["q"].attrs["units"] = "1/nm"
            for name in ("distance_mm", "wavelength_angstrom", "pixel_mm", "centre_x", "centre_y"):
                group.attrs[name] = getattr(curve.geometry, name)
            group.attrs["frame"] = curve.frame
            group.attrs["position_mm"] = curve.position_mm
        os.replace(part, file)
    except OSError as exc:
        raise AnalysisError(
            f"the curve of frame {curve.frame} cannot be written: {exc}", file=file
        ) from exc
    finally:
        part.unlink(missing_ok=True)
    return file


def read_curves(folder: Path) -> list[Curve]:
    """Return the curves of a folder, by the number of their frame.

    Raises:
        AnalysisError: There is none, or one cannot be read.
    """
    files = sorted(folder.glob("frame-*.h5"))
    if not files:
        raise AnalysisError(
            f"{folder} holds no integrated frame", hint="run the analysis PyfaiIntegrate first"
        )
    return [_read_curve(file) for file in files]


def _read_curve(file: Path) -> Curve:
    try:
        with require_h5py().File(file, "r") as data:
            group: Any = data["curve"]
            attrs = group.attrs
            names = ("distance_mm", "wavelength_angstrom", "pixel_mm", "centre_x", "centre_y")
            return Curve(
                int(attrs["frame"]),
                group["q"][()],
                group["intensity"][()],
                group["sigma"][()],
                Geometry(*(float(attrs[name]) for name in names)),
                float(attrs["position_mm"]),
            )
    except (OSError, KeyError) as exc:
        raise AnalysisError(f"{file} is no integrated frame: {exc}", file=file) from exc
