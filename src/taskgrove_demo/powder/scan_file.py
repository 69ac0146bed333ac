"""The file of a scan: frames of a detector and the geometry they were taken with, as HDF5.

The layout follows NeXus, so that its viewers show the frames::

    /entry                                NXentry
        title, start_time
        /instrument                       NXinstrument
            /beam/incident_wavelength     NXbeam, ångström
            /detector                     NXdetector: distance, pixel sizes, beam centre
        /sample/name                      NXsample
        /data                             NXdata: data[frame, y, x], sample_x[frame]
        /simulation                       NXcollection, in simulated files: what is true
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import AnalysisError, MissingExtraError
from taskgrove_demo.powder.geometry import Geometry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DETECTOR: Final = "/entry/instrument/detector"
_WAVELENGTH: Final = "/entry/instrument/beam/incident_wavelength"
_FRAMES: Final = "/entry/data/data"
_POSITIONS: Final = "/entry/data/sample_x"
_TRUTH: Final = "/entry/simulation/distance"
#: What a length of the file is multiplied with to give millimetres.
_IN_MM: Final = {"m": 1000.0, "mm": 1.0, "um": 0.001, "µm": 0.001}


@dataclass(frozen=True, slots=True)
class ScanInfo:
    """What a scan's file says beside its frames.

    Attributes:
        title: Of the scan.
        frame_count: How many frames it has.
        shape: Rows and columns of a frame.
        geometry: As it was believed to be when the scan was taken.
        positions_mm: Where the sample stood, for each frame.
        true_distance_mm: The distance that made the frames, in a simulated file; else None.
    """

    title: str
    frame_count: int
    shape: tuple[int, int]
    geometry: Geometry
    positions_mm: tuple[float, ...]
    true_distance_mm: float | None


def require_h5py() -> Any:
    """Return the module h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("demo", "reading the file of a scan") from exc
    return h5py


def read_info(file: Path) -> ScanInfo:
    """Return what the file of a scan says beside its frames.

    Raises:
        AnalysisError: It is not there, or is no file of a scan; the error says what it lacks.
    """
    with _opened(file) as scan:
        frames = _item(scan, file, _FRAMES)
        if len(frames.shape) != 3:
            raise AnalysisError(
                f"{file}: {_FRAMES} has {len(frames.shape)} dimensions, not frame, y and x",
                file=file,
            )
        geometry = Geometry(
            _millimetres(scan, file, f"{_DETECTOR}/distance"),
            float(_item(scan, file, _WAVELENGTH)[()]),
            _millimetres(scan, file, f"{_DETECTOR}/x_pixel_size"),
            float(_item(scan, file, f"{_DETECTOR}/beam_center_x")[()]),
            float(_item(scan, file, f"{_DETECTOR}/beam_center_y")[()]),
        )
        title = _item(scan, file, "/entry/title")[()]
        return ScanInfo(
            title.decode() if isinstance(title, bytes) else str(title),
            int(frames.shape[0]),
            (int(frames.shape[1]), int(frames.shape[2])),
            geometry,
            tuple(float(value) for value in _item(scan, file, _POSITIONS)[()]),
            _millimetres(scan, file, _TRUTH) if _TRUTH in scan else None,
        )


def read_frame(file: Path, frame: int) -> NDArray[np.int32]:
    """Return one frame, counts by row and column.

    Raises:
        AnalysisError: There is no such frame, or no such file.
    """
    with _opened(file) as scan:
        frames = _item(scan, file, _FRAMES)
        if not 0 <= frame < frames.shape[0]:
            raise AnalysisError(
                f"{file} has no frame {frame}",
                file=file,
                hint=f"it has {frames.shape[0]} frames, counted from 0",
            )
        counts: NDArray[np.int32] = frames[frame]
        return counts


def _opened(file: Path) -> Any:
    if not file.is_file():
        raise AnalysisError(
            f"there is no file {file.absolute()}", file=file, hint="has the scan been taken?"
        )
    try:
        return require_h5py().File(file, "r")
    except OSError as exc:
        raise AnalysisError(f"{file} cannot be read as HDF5: {exc}", file=file) from exc


def _item(scan: Any, file: Path, name: str) -> Any:
    if name not in scan:
        raise AnalysisError(
            f"{file} holds no {name}", file=file, hint="this is not the file of a scan"
        )
    return scan[name]


def _millimetres(scan: Any, file: Path, name: str) -> float:
    item = _item(scan, file, name)
    unit = item.attrs.get("units", "m")
    word = unit.decode() if isinstance(unit, bytes) else str(unit)
    if word not in _IN_MM:
        raise AnalysisError(
            f"{file}: {name} is in {word!r}", file=file, hint=f"known units: {', '.join(_IN_MM)}"
        )
    return float(item[()]) * _IN_MM[word]
