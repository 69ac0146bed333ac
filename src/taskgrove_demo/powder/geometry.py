"""Where the rings of silver behenate fall on a flat detector.

Silver behenate (AgBh) is the calibrant of small angles: its lamellae stand 58.380 Å apart
(doi:10.1107/S0021889899012388), so that its rings are the orders of one spacing. Radii on the
detector and the distance to it determine each other; that is how a distance is refined.

Pure functions of numbers and arrays; lengths in millimetres, wavelengths in ångström, scattering
vectors q in 1/nm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Distance of the lamellae of silver behenate, in ångström.
AGBH_SPACING_ANGSTROM: Final = 58.380


@dataclass(frozen=True, slots=True)
class Geometry:
    """A flat detector that stands upright in the beam.

    Attributes:
        distance_mm: From the sample to the detector, above 0.
        wavelength_angstrom: Of the beam, above 0.
        pixel_mm: Edge of a square pixel, above 0.
        centre_x: Where the beam would hit, in pixels from the edge of the first column.
        centre_y: The same from the edge of the first row.
    """

    distance_mm: float
    wavelength_angstrom: float
    pixel_mm: float
    centre_x: float
    centre_y: float

    def radii_mm(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return how far the centre of each pixel is from that of the beam, in mm."""
        import numpy as np  # noqa: PLC0415 - an extra

        rows, columns = shape
        y = (np.arange(rows) + 0.5 - self.centre_y) * self.pixel_mm
        x = (np.arange(columns) + 0.5 - self.centre_x) * self.pixel_mm
        radii: NDArray[np.float64] = np.hypot(y[:, np.newaxis], x[np.newaxis, :])
        return radii

    def two_theta(self, radius_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scattering angle of each radius, in radians."""
        import numpy as np  # noqa: PLC0415 - an extra

        return np.arctan2(radius_mm, self.distance_mm)

    def q(self, radius_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scattering vector of each radius, in 1/nm."""
        import numpy as np  # noqa: PLC0415 - an extra

        return 40.0 * math.pi / self.wavelength_angstrom * np.sin(self.two_theta(radius_mm) / 2)

    def radius_of(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the radius of each scattering vector (1/nm), in mm."""
        import numpy as np  # noqa: PLC0415 - an extra

        half = np.arcsin(q * self.wavelength_angstrom / (40.0 * math.pi))
        radius: NDArray[np.float64] = self.distance_mm * np.tan(2 * half)
        return radius


def ring_angle(order: int, wavelength_angstrom: float) -> float:
    """Return the scattering angle of a ring of silver behenate, in radians.

    Args:
        order: From 1, which is the innermost.
        wavelength_angstrom: Of the beam.

    Raises:
        ValueError: No such ring exists at this wavelength.
    """
    return 2 * math.asin(order * wavelength_angstrom / (2 * AGBH_SPACING_ANGSTROM))


def ring_radius_mm(order: int, geometry: Geometry) -> float:
    """Return the radius of a ring on the detector, in mm; see :func:`ring_angle`."""
    return geometry.distance_mm * math.tan(ring_angle(order, geometry.wavelength_angstrom))
