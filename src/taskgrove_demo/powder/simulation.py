"""A simulated scan of a powder: an HDF5 file of frames, made from a geometry that is known.

What an analysis refines can so be compared with what is true. Counts are drawn from a Poisson
distribution with a seed of their own for each frame: the same settings give the same file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskgrove_demo.powder.geometry import AGBH_SPACING_ANGSTROM, Geometry, ring_radius_mm
from taskgrove_demo.powder.scan_file import require_h5py

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SimulatedScan:
    """Settings of a simulated scan.

    Attributes:
        frames: How many frames are taken, from 1.
        size: Rows, and columns, of a frame, in pixels.
        distance_mm: The true distance to the detector.
        believed_distance_mm: The distance that the file claims, as a wrong ruler would.
        wavelength_angstrom: Of the beam.
        pixel_mm: Edge of a pixel.
        offset_x: How far the beam is right of the middle of the frame, in pixels.
        offset_y: How far it is below.
        counts: Height of the innermost ring above the background, in counts per pixel.
        background: Counts per pixel that are everywhere.
        ring_width_mm: Standard deviation of a ring's profile.
        empty_frames: Numbers of frames, from 0, in which no beam hit the sample.
        seed: Of the noise.
    """

    frames: int = 16
    size: int = 512
    distance_mm: float = 412.7
    believed_distance_mm: float = 420.0
    wavelength_angstrom: float = 1.0
    pixel_mm: float = 0.172
    offset_x: float = 6.3
    offset_y: float = -4.1
    counts: float = 40.0
    background: float = 6.0
    ring_width_mm: float = 0.32
    empty_frames: tuple[int, ...] = ()
    seed: int = 1

    @property
    def true_geometry(self) -> Geometry:
        """The geometry that makes the frames."""
        return self._geometry(self.distance_mm)

    @property
    def believed_geometry(self) -> Geometry:
        """The geometry that the file claims."""
        return self._geometry(self.believed_distance_mm)

    def _geometry(self, distance_mm: float) -> Geometry:
        middle = self.size / 2
        return Geometry(
            distance_mm,
            self.wavelength_angstrom,
            self.pixel_mm,
            middle + self.offset_x,
            middle + self.offset_y,
        )


def expected_counts(scan: SimulatedScan) -> NDArray[np.float64]:
    """Return the mean counts of each pixel of a frame with a sample in the beam."""
    import numpy as np  # noqa: PLC0415 - an extra

    geometry = scan.true_geometry
    radii = geometry.radii_mm((scan.size, scan.size))
    image: NDArray[np.float64] = scan.background * (1 + 2 * np.exp(-radii / 12.0))
    farthest = float(radii.max())
    last = math.ceil(2 * AGBH_SPACING_ANGSTROM / scan.wavelength_angstrom)
    for order in range(1, last):
        radius = ring_radius_mm(order, geometry)
        if radius > farthest + 5 * scan.ring_width_mm:
            break
        height = scan.counts / order**1.2
        image += height * np.exp(-0.5 * ((radii - radius) / scan.ring_width_mm) ** 2)
    # A pixel at an angle is seen under a smaller solid angle.
    image *= np.cos(geometry.two_theta(radii)) ** 3
    return image


def draw_frame(scan: SimulatedScan, expected: NDArray[np.float64], frame: int) -> NDArray[np.int32]:
    """Return the counts of one frame.

    Args:
        scan: The settings.
        expected: What :func:`expected_counts` gave.
        frame: Its number, from 0.
    """
    import numpy as np  # noqa: PLC0415 - an extra

    random = np.random.default_rng((scan.seed, frame))
    mean: Any = scan.background if frame in scan.empty_frames else expected
    return random.poisson(mean, expected.shape).astype(np.int32)


def take_scan(
    scan: SimulatedScan,
    file: Path,
    *,
    after_frame: Callable[[int], bool] | None = None,
) -> bool:
    """Take the scan and write its file, whole or not at all.

    Args:
        scan: The settings.
        file: Where the file is written; its folder must be there. An older one is replaced.
        after_frame: Called with how many frames have been taken; False ends the scan.

    Returns:
        True when the file was written, False when ``after_frame`` ended the scan.

    Raises:
        MissingExtraError: h5py is not installed.
        OSError: The file cannot be written.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        with require_h5py().File(part, "w") as out:
            frames = _write_head(out, scan)
            expected = expected_counts(scan)
            for number in range(scan.frames):
                frames[number] = draw_frame(scan, expected, number)
                if after_frame is not None and not after_frame(number + 1):
                    return False
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return True


def _write_head(out: Any, scan: SimulatedScan) -> Any:
    """Write everything but the frames; return the empty data set that they go into."""
    import numpy as np  # noqa: PLC0415 - an extra

    believed = scan.believed_geometry
    out.attrs["default"] = "entry"
    entry = _group(out, "entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["title"] = "AgBh powder, simulated"
    entry["start_time"] = datetime.now(UTC).isoformat()
    instrument = _group(entry, "instrument", "NXinstrument")
    beam = _group(instrument, "beam", "NXbeam")
    _number(beam, "incident_wavelength", scan.wavelength_angstrom, "angstrom")
    detector = _group(instrument, "detector", "NXdetector")
    _number(detector, "distance", believed.distance_mm / 1000, "m")
    for axis in "xy":
        _number(detector, f"{axis}_pixel_size", scan.pixel_mm / 1000, "m")
    _number(detector, "beam_center_x", believed.centre_x, "pixel")
    _number(detector, "beam_center_y", believed.centre_y, "pixel")
    sample = _group(entry, "sample", "NXsample")
    sample["name"] = "silver behenate"
    truth = _group(entry, "simulation", "NXcollection")
    _number(truth, "distance", scan.distance_mm / 1000, "m")
    truth["seed"] = scan.seed
    truth["empty_frames"] = np.array(scan.empty_frames, dtype=np.int32)
    data = _group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    data.attrs["axes"] = ["sample_x", ".", "."]
    positions = data.create_dataset("sample_x", data=np.arange(scan.frames) * 0.05)
    positions.attrs["units"] = "mm"
    shape = (scan.frames, scan.size, scan.size)
    return data.create_dataset(
        "data", shape, np.int32, chunks=(1, *shape[1:]), compression="gzip", compression_opts=1
    )


def _group(parent: Any, name: str, kind: str) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _number(parent: Any, name: str, value: float, units: str) -> None:
    parent[name] = value
    parent[name].attrs["units"] = units
