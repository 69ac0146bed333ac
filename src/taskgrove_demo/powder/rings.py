"""The distance to the detector, from the rings of silver behenate in an integrated curve.

First the distance is searched roughly, by how much intensity stands where rings would be; then
each ring's radius is fitted, a bell on a sloping background, and all radii together give the
distance and its uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import AnalysisError, MissingExtraError
from taskgrove_demo.powder.curves import Curve
from taskgrove_demo.powder.geometry import ring_angle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Steps of the rough search.
_SEARCH_STEPS: Final = 401
#: Part of the space between two rings in which one of them is fitted, on either side.
_WINDOW: Final = 0.4
#: A fitted ring counts when its height is this many of its standard deviations.
_MIN_HEIGHT_SIGMA: Final = 3.0
#: Largest standard deviation of a distance, as a part of it: beyond, rings were taken for others.
_MOST_ERROR: Final = 0.01


@dataclass(frozen=True, slots=True)
class Ring:
    """One fitted ring.

    Attributes:
        order: From 1, the innermost.
        radius_mm: Its radius on the detector.
        radius_error_mm: Standard deviation of that.
        distance_mm: The distance that this ring alone gives.
    """

    order: int
    radius_mm: float
    radius_error_mm: float
    distance_mm: float


@dataclass(frozen=True, slots=True)
class Refined:
    """A refined distance.

    Attributes:
        distance_mm: The distance.
        error_mm: Standard deviation of it.
        rings: The rings that it was made of.
    """

    distance_mm: float
    error_mm: float
    rings: tuple[Ring, ...]


def refine_distance(curve: Curve, *, rings: int = 5, search: float = 0.2) -> Refined:
    """Return the distance that the rings of a curve tell.

    Args:
        curve: An integrated frame, or the mean of several.
        rings: How many rings are fitted at most, from the innermost.
        search: How wrong the curve's own distance may be, as a part of it, 0 to 0.3: beyond that
            one order would be taken for another.

    Raises:
        AnalysisError: Fewer than two rings can be fitted, or those that are fitted are others than
            they are taken for: the curve's own distance is too wrong.
        MissingExtraError: SciPy is not installed.
    """
    radius = curve.geometry.radius_of(curve.q)
    angles = _angles_inside(curve, radius, rings, search)
    rough = _rough_distance(curve, radius, angles, search)
    found = []
    for order, angle in enumerate(angles, 1):
        ring = _fit_ring(curve, radius, order, angle, rough)
        if ring is not None:
            found.append(ring)
    if len(found) < 2:
        raise AnalysisError(
            f"{len(found)} of {len(angles)} rings of silver behenate can be fitted",
            hint="two are needed: look at the frames, or widen the search",
        )
    refined = _combined(found)
    # Twice the true distance, or half of it, would have rings at every second place.
    is_multiple = math.gcd(*(ring.order for ring in found)) > 1
    if is_multiple or refined.error_mm > _MOST_ERROR * refined.distance_mm:
        told = ", ".join(f"ring {ring.order}: {ring.distance_mm:.0f} mm" for ring in found)
        raise AnalysisError(
            f"the rings do not agree on a distance ({told})",
            hint=f"is it more than {search:.0%} away from {curve.geometry.distance_mm:g} mm?",
        )
    return refined


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of curves that were integrated alike, weighted by their errors.

    Raises:
        AnalysisError: They were integrated with different bins or geometries.
    """
    import numpy as np  # noqa: PLC0415 - an extra

    first = curves[0]
    for curve in curves:
        if curve.geometry != first.geometry or len(curve.q) != len(first.q):
            raise AnalysisError(
                f"frame {curve.frame} was integrated in another way than frame {first.frame}",
                hint="integrate all frames again with the same parameters",
            )
    intensity = np.mean([curve.intensity for curve in curves], axis=0)
    variance = np.sum([curve.sigma**2 for curve in curves], axis=0) / len(curves) ** 2
    return replace(first, intensity=intensity, sigma=np.sqrt(variance))


def _angles_inside(
    curve: Curve, radius: NDArray[np.float64], rings: int, search: float
) -> list[float]:
    """Return the angles of the rings that lie on the detector, however wrong the distance is."""
    angles: list[float] = []
    farthest = curve.geometry.distance_mm * (1 + search)
    for order in range(1, rings + 1):
        try:
            angle = ring_angle(order, curve.geometry.wavelength_angstrom)
        except ValueError:  # no such ring at this wavelength
            break
        if farthest * math.tan(angle) > float(radius[-1]):
            break
        angles.append(angle)
    return angles


def _rough_distance(
    curve: Curve, radius: NDArray[np.float64], angles: Sequence[float], search: float
) -> float:
    import numpy as np  # noqa: PLC0415 - an extra

    believed = curve.geometry.distance_mm
    tried = believed * np.linspace(1 - search, 1 + search, _SEARCH_STEPS)
    # The innermost rings are the highest; a logarithm lets the others have their say.
    height = np.log1p(np.clip(curve.intensity, 0, None))
    score = np.zeros(_SEARCH_STEPS)
    for angle in angles:
        ring = tried * math.tan(angle)
        gap = tried * math.tan(angles[0]) / 2  # half-way to the next ring there is background
        score += np.interp(ring, radius, height)
        score -= np.interp(ring - gap, radius, height) / 2
        score -= np.interp(ring + gap, radius, height) / 2
    return float(tried[int(np.argmax(score))])


def _bell(
    x: NDArray[np.float64], height: float, centre: float, width: float, level: float, slope: float
) -> NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415 - an extra

    bell: NDArray[np.float64] = height * np.exp(-0.5 * ((x - centre) / width) ** 2)
    return bell + level + slope * (x - centre)


def _fit_ring(
    curve: Curve, radius: NDArray[np.float64], order: int, angle: float, distance_mm: float
) -> Ring | None:
    """Return the ring fitted, or None where none stands out."""
    import numpy as np  # noqa: PLC0415 - an extra

    expected = distance_mm * math.tan(angle)
    reach = _WINDOW * expected / order
    inside = (np.abs(radius - expected) < reach) & (curve.sigma > 0)
    if np.count_nonzero(inside) < 8:
        return None
    x, y, sigma = radius[inside], curve.intensity[inside], curve.sigma[inside]
    level = float(np.median(y))
    start = (float(y.max()) - level, float(x[int(np.argmax(y))]), reach / 6, level, 0.0)
    fitted = _least_squares(x, y, sigma, start, reach)
    if fitted is None:
        return None
    (height, centre, *_), (height_error, error, *_) = fitted
    if not (height > _MIN_HEIGHT_SIGMA * height_error and abs(centre - expected) < reach):
        return None
    return Ring(order, centre, error, centre / math.tan(angle))


def _least_squares(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: NDArray[np.float64],
    start: tuple[float, ...],
    reach: float,
) -> tuple[list[float], list[float]] | None:
    """Return the values of a bell and their standard deviations, or None where none fits."""
    import numpy as np  # noqa: PLC0415 - an extra

    try:
        from scipy.optimize import curve_fit  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        raise MissingExtraError("demo", "fitting rings") from exc
    low = [0.0, float(x[0]), reach / 100, -np.inf, -np.inf]
    high = [np.inf, float(x[-1]), reach, np.inf, np.inf]
    try:
        values, covariance = curve_fit(
            _bell, x, y, p0=start, sigma=sigma, absolute_sigma=True, bounds=(low, high),
            x_scale=[max(abs(start[0]), 1e-6), reach, reach, max(abs(start[3]), 1e-6), 1.0],
        )  # fmt: skip
    except (RuntimeError, ValueError):  # it does not converge, or the start is out of bounds
        return None
    errors: Any = np.sqrt(np.diag(covariance))
    if not np.all(np.isfinite(errors)):
        return None
    return [float(v) for v in values], [float(v) for v in errors]


def _combined(rings: Sequence[Ring]) -> Refined:
    weights = [(ring.radius_mm / (ring.radius_error_mm * ring.distance_mm)) ** 2 for ring in rings]
    total = math.fsum(weights)
    mean = math.fsum(w * ring.distance_mm for w, ring in zip(weights, rings, strict=True)) / total
    spread = math.fsum(
        w * (ring.distance_mm - mean) ** 2 for w, ring in zip(weights, rings, strict=True)
    )
    # Rings that disagree more than their errors allow make the whole less certain.
    stretch = max(1.0, math.sqrt(spread / (len(rings) - 1)))
    return Refined(mean, stretch / math.sqrt(total), tuple(rings))
