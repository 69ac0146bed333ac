"""The analyses of a powder scan against a scan whose distance is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taskgrove.analysis.results import ElogSummaryPlots, TaskResult, TaskStatus
from taskgrove.errors import AnalysisError
from taskgrove_demo.analyses import ENTRIES
from taskgrove_demo.powder.curves import (
    Curve,
    count_peaks,
    integrate,
    read_curves,
    write_curve,
)
from taskgrove_demo.powder.fit import FitRings, read_fit
from taskgrove_demo.powder.geometry import Geometry, ring_angle, ring_radius_mm
from taskgrove_demo.powder.integrate import PyfaiIntegrate
from taskgrove_demo.powder.parameters import (
    FitRingsParameters,
    PyfaiIntegrateParameters,
    SummariseParameters,
)
from taskgrove_demo.powder.rings import mean_curve, refine_distance
from taskgrove_demo.powder.scan_file import read_frame, read_info
from taskgrove_demo.powder.simulation import (
    SimulatedScan,
    draw_frame,
    expected_counts,
    take_scan,
)
from taskgrove_demo.powder.summarise import Summarise


def curve_of(scan: SimulatedScan, frame: int = 0) -> Curve:
    counts = draw_frame(scan, expected_counts(scan), frame)
    q, intensity, sigma = integrate(counts, scan.believed_geometry, 500)
    return Curve(frame, q, intensity, sigma, scan.believed_geometry, 0.0)


# ------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("seed", "counts", "true_mm", "believed_mm"),
    [
        (1, 40.0, 412.7, 420.0),
        (2, 400.0, 380.0, 420.0),
        (3, 40.0, 490.0, 420.0),
        (4, 8.0, 412.7, 412.7),
        (5, 4.0, 355.0, 410.0),
        (6, 20.0, 250.0, 235.0),
    ],
)
def test_the_refined_distance_is_the_one_that_made_the_image(
    seed: int, counts: float, true_mm: float, believed_mm: float
) -> None:
    scan = SimulatedScan(
        seed=seed, counts=counts, distance_mm=true_mm, believed_distance_mm=believed_mm
    )
    refined = refine_distance(curve_of(scan))
    assert refined.distance_mm == pytest.approx(true_mm, rel=0.01)
    assert refined.distance_mm == pytest.approx(true_mm, abs=6 * refined.error_mm)
    assert len(refined.rings) >= 2


def test_many_frames_make_the_distance_more_certain() -> None:
    scan = SimulatedScan(seed=11, counts=6.0)
    curves = [curve_of(scan, frame) for frame in range(6)]
    alone, together = refine_distance(curves[0]), refine_distance(mean_curve(curves))
    assert together.error_mm < alone.error_mm
    assert together.distance_mm == pytest.approx(scan.distance_mm, rel=0.001)


def test_the_curve_is_that_of_the_integrator_of_pyfai() -> None:
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    scan = SimulatedScan(seed=5)
    geometry, pixel = scan.believed_geometry, scan.pixel_mm / 1000
    counts = draw_frame(scan, expected_counts(scan), 0)
    reference = AzimuthalIntegrator(
        dist=geometry.distance_mm / 1000,
        poni1=geometry.centre_y * pixel,
        poni2=geometry.centre_x * pixel,
        pixel1=pixel,
        pixel2=pixel,
        wavelength=scan.wavelength_angstrom * 1e-10,
    ).integrate1d(
        counts,
        500,
        unit="q_nm^-1",
        method=("no", "histogram", "cython"),
        error_model="poisson",
        correctSolidAngle=True,
    )
    q, intensity, sigma = integrate(counts, geometry, 500)
    np.testing.assert_allclose(q, reference.radial, rtol=1e-3)
    np.testing.assert_allclose(
        intensity, np.interp(q, reference.radial, reference.intensity), rtol=0.02, atol=0.02
    )
    assert sigma[100] == pytest.approx(
        float(np.interp(q[100], reference.radial, reference.sigma)), rel=0.1
    )


def test_a_ring_and_its_distance_determine_each_other() -> None:
    geometry = Geometry(400.0, 1.0, 0.172, 256.0, 256.0)
    radius = ring_radius_mm(2, geometry)
    q = geometry.q(np.array([radius]))
    assert q[0] == pytest.approx(2 * 2 * np.pi / 5.8380)  # 1/nm
    assert geometry.radius_of(q)[0] == pytest.approx(radius)
    with pytest.raises(ValueError, match=r"domain|range"):  # the words are those of Python
        ring_angle(200, 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_only_a_frame_with_rings_has_peaks(seed: int) -> None:
    scan = SimulatedScan(seed=seed, counts=8.0, empty_frames=(1,))
    assert count_peaks(curve_of(scan, 0), 5.0) >= 4
    assert count_peaks(curve_of(scan, 1), 5.0) == 0


def test_what_shows_no_rings_has_no_distance() -> None:
    scan = SimulatedScan(seed=3, empty_frames=(0,))
    with pytest.raises(AnalysisError, match="of 5 rings of silver behenate can be fitted"):
        refine_distance(curve_of(scan))


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize("believed_mm", [240.0, 330.0, 600.0, 800.0])
def test_a_distance_that_is_too_wrong_is_not_refined_to_another_wrong_one(
    believed_mm: float,
) -> None:
    scan = SimulatedScan(distance_mm=412.7, believed_distance_mm=believed_mm)
    with pytest.raises(AnalysisError, match=r"do not agree on a distance \(ring"):
        refine_distance(curve_of(scan), search=0.15)


def test_a_scan_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    scan, file = SimulatedScan(frames=3, size=64, empty_frames=(2,)), tmp_path / "scan.h5"
    assert not take_scan(scan, file, after_frame=lambda taken: taken < 2)
    assert list(tmp_path.iterdir()) == []
    assert take_scan(scan, file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.h5"]
    info = read_info(file)
    assert (info.frame_count, info.shape) == (3, (64, 64))
    assert info.geometry.distance_mm == pytest.approx(420.0)
    assert info.true_distance_mm == pytest.approx(412.7)
    assert info.geometry == scan.believed_geometry
    again = draw_frame(scan, expected_counts(scan), 1)
    np.testing.assert_array_equal(read_frame(file, 1), again)
    with pytest.raises(AnalysisError, match="has no frame 3"):
        read_frame(file, 3)


def test_what_is_no_scan_is_refused_by_name(tmp_path: Path) -> None:
    import h5py

    with pytest.raises(AnalysisError, match="there is no file"):
        read_info(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("this is text")
    with pytest.raises(AnalysisError, match="cannot be read as HDF5"):
        read_info(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(AnalysisError, match="holds no /entry/data/data"):
        read_info(tmp_path / "empty.h5")
    take_scan(SimulatedScan(frames=1, size=16), tmp_path / "inch.h5")
    with h5py.File(tmp_path / "inch.h5", "r+") as scan:
        scan["/entry/instrument/detector/distance"].attrs["units"] = "inch"
    with pytest.raises(AnalysisError, match="is in 'inch'"):
        read_info(tmp_path / "inch.h5")


def test_curves_come_back_as_they_were_written(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="holds no integrated frame"):
        read_curves(tmp_path)
    written = curve_of(SimulatedScan(seed=2, size=128), 12)
    file = write_curve(written, tmp_path / "deep" / "er")
    assert file.name == "frame-00012.h5"
    [read] = read_curves(file.parent)
    assert (read.frame, read.geometry) == (12, written.geometry)
    np.testing.assert_array_equal(read.intensity, written.intensity)
    other = curve_of(SimulatedScan(seed=2, size=128, believed_distance_mm=400.0), 13)
    with pytest.raises(AnalysisError, match="frame 13 was integrated in another way"):
        mean_curve([read, other])


# ------------------------------------------------------------------------------ the analyses


def test_the_chain_finds_the_distance_and_draws_a_page(tmp_path: Path) -> None:
    file, curves = tmp_path / "scan.h5", tmp_path / "curves"
    take_scan(SimulatedScan(frames=4, empty_frames=(2,), seed=9), file)
    results: list[TaskResult] = []
    for frame in range(4):
        given = PyfaiIntegrateParameters(scan_file=file, frame=frame, output_dir=curves)
        results.append(PyfaiIntegrate(given).run())
    assert [result.task_status for result in results] == [
        TaskStatus.COMPLETED, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.COMPLETED,
    ]  # fmt: skip
    assert results[2].summary == "frame 2: no peaks above 5 sigma"
    fit_file = tmp_path / "fit.json"
    fitted = FitRings(FitRingsParameters(integrated_dir=curves, output_file=fit_file)).run()
    assert fitted.payload["distance_mm"] == pytest.approx(412.7, rel=0.001)
    assert [item["frame"] for item in fitted.payload["frames"]] == [0, 1, 3]
    assert read_fit(fit_file) == fitted.payload
    summed = Summarise(
        SummariseParameters(scan_file=file, integrated_dir=curves, fit_file=fit_file)
    ).run()
    assert isinstance(summed.payload, ElogSummaryPlots)
    assert list(summed.payload.figures) == ["Distance", "Curve", "Image"]
    assert summed.summary.endswith("3 of 4 frames")


def test_another_distance_may_be_given_for_the_integration(tmp_path: Path) -> None:
    file = tmp_path / "scan.h5"
    take_scan(SimulatedScan(frames=1, seed=9), file)
    given = PyfaiIntegrateParameters(scan_file=file, frame=0, output_dir=tmp_path, distance=400.0)
    PyfaiIntegrate(given).run()
    assert read_curves(tmp_path)[0].geometry.distance_mm == 400.0


def test_a_file_that_is_no_fit_is_refused(tmp_path: Path) -> None:
    for name, text in (("none.json", None), ("bad.json", "{"), ("other.json", "[1]")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(AnalysisError, match=name):
            read_fit(tmp_path / name)


def test_the_entries_name_classes_that_are_there() -> None:
    import importlib

    for entry in ENTRIES:
        assert isinstance(entry.task, str)
        module, _, name = entry.task.partition(":")
        assert getattr(importlib.import_module(module), name).__name__ == entry.name
        assert entry.description
