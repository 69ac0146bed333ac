"""Summarise: a page about a powder scan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from taskgrove.analysis import AnalysisTask, ElogSummaryPlots
from taskgrove.errors import MissingExtraError
from taskgrove_demo.powder.curves import Curve, read_curves
from taskgrove_demo.powder.fit import read_fit
from taskgrove_demo.powder.geometry import Geometry, ring_angle
from taskgrove_demo.powder.parameters import SummariseParameters
from taskgrove_demo.powder.rings import mean_curve
from taskgrove_demo.powder.scan_file import ScanInfo, read_frame, read_info

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Counts at which the colours of the image end, as a share of all pixels below them.
_BRIGHTEST: Final = 0.998
_RING_COLOUR: Final = "#ff7f0e"
_CURVE_COLOUR: Final = "#1f4e79"


@dataclass(frozen=True, slots=True)
class _Story:
    """All that the page tells of."""

    info: ScanInfo
    curves: list[Curve]
    merged: Curve
    fit: dict[str, Any]

    @property
    def refined(self) -> Geometry:
        return replace(self.info.geometry, distance_mm=self.fit["distance_mm"])

    @property
    def orders(self) -> list[int]:
        return [ring["order"] for ring in self.fit["rings"]]


class Summarise(AnalysisTask[SummariseParameters]):
    """Draws the image with its rings, the integrated curve and the distance by frame."""

    def run(self) -> Any:
        """Return the page, with the numbers as its summary."""
        given = self.parameters
        curves = read_curves(given.integrated_dir)
        story = _Story(
            read_info(given.scan_file), curves, mean_curve(curves), read_fit(given.fit_file)
        )
        figures = {}
        for number, (name, draw) in enumerate(_TABS.items()):
            figures[name] = draw(self, story)
            self.report_progress(90 * (number + 1) / len(_TABS), f"drawn: {name}")
        fit = story.fit
        return self.result(
            ElogSummaryPlots(given.display_name, figures),
            f"distance {fit['distance_mm']:.2f} ± {fit['error_mm']:.2f} mm,"
            f" {len(curves)} of {story.info.frame_count} frames",
        )

    def draw_image(self, story: _Story) -> Figure:
        """Return the first good frame, with the rings where the refined distance puts them."""
        import numpy as np  # noqa: PLC0415 - an extra

        frame = story.curves[0].frame
        counts = read_frame(self.parameters.scan_file, frame)
        geometry = story.refined
        figure, axes = _figure(6.4, 5.4)
        shown = axes.imshow(
            np.log1p(np.clip(counts, 0, None)),
            cmap="viridis",
            vmax=math.log1p(float(np.quantile(counts, _BRIGHTEST))),
            extent=(0, counts.shape[1], counts.shape[0], 0),
        )
        turn = np.linspace(0, 2 * math.pi, 361)
        for order in story.orders:
            radius = math.tan(ring_angle(order, geometry.wavelength_angstrom))
            pixels = geometry.distance_mm * radius / geometry.pixel_mm
            axes.plot(
                geometry.centre_x + pixels * np.cos(turn),
                geometry.centre_y + pixels * np.sin(turn),
                color=_RING_COLOUR,
                linewidth=0.9,
                linestyle=(0, (6, 5)),
            )
        axes.plot(geometry.centre_x, geometry.centre_y, "+", color=_RING_COLOUR)
        axes.set(
            title=f"{story.info.title}: frame {frame}, rings at {geometry.distance_mm:.1f} mm",
            xlabel="x (pixels)",
            ylabel="y (pixels)",
            xlim=(0, counts.shape[1]),
            ylim=(counts.shape[0], 0),
        )
        figure.colorbar(shown, ax=axes, label="log(1 + counts)")
        return figure

    def draw_curve(self, story: _Story) -> Figure:
        """Return the mean curve over the refined q, with the orders of silver behenate."""
        merged, refined = story.merged, story.refined
        q = refined.q(merged.geometry.radius_of(merged.q))
        figure, axes = _figure(7.6, 4.6)
        axes.semilogy(q, merged.intensity, color=_CURVE_COLOUR, linewidth=1.2, label="mean curve")
        for order in story.orders:
            place = 4 * math.pi * 10 / refined.wavelength_angstrom
            place *= math.sin(ring_angle(order, refined.wavelength_angstrom) / 2)
            axes.axvline(
                place,
                color=_RING_COLOUR,
                linewidth=0.9,
                linestyle="--",
                label="AgBh, refined" if order == 1 else None,
            )
            axes.annotate(
                f"00{order}",
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -12),
                textcoords="offset points",
                fontsize=8,
                color=_RING_COLOUR,
            )
        axes.set(
            title=f"Azimuthal average of {len(story.curves)} frames",
            xlabel="q (1/nm)",
            ylabel="counts per pixel",
        )
        axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.92))
        return figure

    def draw_distances(self, story: _Story) -> Figure:
        """Return the distance that each frame alone gives, and that of all together."""
        fit, frames = story.fit, story.fit["frames"]
        figure, axes = _figure(7.6, 4.6)
        axes.errorbar(
            [item["frame"] for item in frames],
            [item["distance_mm"] for item in frames],
            yerr=[item["error_mm"] for item in frames],
            fmt="o",
            color=_CURVE_COLOUR,
            capsize=3,
            markersize=4,
            label="one frame",
        )
        mean, error = fit["distance_mm"], fit["error_mm"]
        axes.axhline(mean, color=_RING_COLOUR, label=f"all frames: {mean:.2f} ± {error:.2f} mm")
        axes.axhspan(mean - error, mean + error, color=_RING_COLOUR, alpha=0.2)
        if story.info.true_distance_mm is not None:
            axes.axhline(
                story.info.true_distance_mm,
                color="black",
                linestyle=":",
                label=f"true: {story.info.true_distance_mm:.2f} mm",
            )
        missing = sorted(set(range(story.info.frame_count)) - {item["frame"] for item in frames})
        for number, frame in enumerate(missing):
            axes.axvline(
                frame, color="#bbbbbb", linewidth=5, alpha=0.5, zorder=0,
                label="no distance" if not number else None,
            )  # fmt: skip
        axes.set(
            title=f"Distance to the detector; the file says {fit['believed_distance_mm']:.1f} mm",
            xlabel="frame",
            ylabel="distance (mm)",
        )
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.legend(loc="best", fontsize=8)
        return figure


_TABS: Final = {
    "Distance": Summarise.draw_distances,
    "Curve": Summarise.draw_curve,
    "Image": Summarise.draw_image,
}


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches, which needs no display."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("plots", "drawing the summary of a scan") from exc
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()
