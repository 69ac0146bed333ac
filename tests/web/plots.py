"""Runs on record that have published plots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskgrove.analysis.pages import PagePublisher, PublishedPage
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import AnalysisDetail, ComposedDetail
from taskgrove.store import Store
from tests.store.recording import end_and_wait, event, new_recorder

PARAMETERS = {"distance": 0.1, "rings": 5}


def recorded_plots(
    record: Path | Store,
    folder: Path,
    run_id: str,
    figures: Mapping[str, Any],
    *,
    analysis: str = "fit-rings",
    parameters: Mapping[str, Any] = PARAMETERS,
) -> list[PublishedPage]:
    """Publish figures by their display names, and record a run of one leaf that has done so."""
    publisher = PagePublisher(folder / "pages")
    origin = PageOrigin(run_id, "root/fit", analysis, 1, "exp1", 12)
    words = {name: str(value) for name, value in parameters.items()}
    pages = [
        publisher.publish(ElogSummaryPlots(name, figure), origin=origin, parameters=words)
        for name, figure in figures.items()
    ]
    detail = AnalysisDetail(
        analysis=analysis, status="COMPLETED", summary="5 rings", parameters=json.dumps(parameters)
    )
    noted: dict[str, Any] = {"kind": "note", "path": "root/fit", "status": None, "progress": None}
    composed: dict[str, Any] = {**noted, "kind": "composed"}
    done: dict[str, Any] = {
        "kind": "finished", "status": TaskStatus.COMPLETED, "result_code": ResultCode.OK,
        "progress": 100,
    }  # fmt: skip
    root = ComposedDetail("SEQUENTIAL", root=True, children=("fit",))
    told: list[dict[str, Any]] = [
        {**composed, "path": "root", "detail": root},
        {**composed, "detail": ComposedDetail("ANALYSIS", command_name=analysis)},
        {"kind": "started", "path": "root", "progress": 0},
        {"kind": "started", "path": "root/fit", "progress": 0},
        {**noted, "detail": detail},
        *({**noted, "detail": page.detail(), "wall_ns": page.published_ns} for page in pages),
        {**done, "path": "root/fit"},
        {**done, "path": "root"},
    ]
    with new_recorder(record, folder) as recorder:
        experiment = {"experiment": "exp1", "run": "12"}
        observe = recorder.begin_run(run_id, RunAbout(command=analysis, labels=experiment))
        for number, fields in enumerate(told, 1):
            observe(event(run_id, number, **fields))
        end_and_wait(recorder, run_id)
    return pages
