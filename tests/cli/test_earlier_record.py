"""Results of earlier analyses: which run of the record gives them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from taskgrove.cli import earlier
from taskgrove.cli.earlier import EarlierRecord
from taskgrove.events import AnalysisDetail
from taskgrove.store.store import Store
from tests.store.kept_runs import beams, every_minute, keep, ran, retimed

LABELS = {"experiment": "mfx100", "run": "7"}


def kept(store: Store, minute: int, analysis: str, status: str = "COMPLETED") -> str:
    run_id = f"run-{minute}"
    events = retimed(ran(beams(1), run_id=run_id), every_minute(minute))
    index, leaf = next(
        (i, e) for i, e in enumerate(events) if e.path.endswith("pst-beam-01") and e.detail
    )
    composed = msgspec.structs.replace(leaf.detail, execution="ANALYSIS")
    events[index] = msgspec.structs.replace(leaf, detail=composed)
    detail = AnalysisDetail(analysis=analysis, status=status, payload=f'{{"n": {minute}}}')
    last = events[-1].sequence + 1
    events.append(msgspec.structs.replace(leaf, sequence=last, kind="note", detail=detail))
    keep(store, events, labels=LABELS)
    return run_id


def test_many_newer_runs_of_other_analyses_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier, "_LOOKED_AT", 2)
    with Store.open(tmp_path / "runs.db") as store:
        wanted = kept(store, 0, "Calibrate")
        kept(store, 1, "Calibrate", "FAILED")
        for minute in range(2, 5):
            kept(store, minute, "Fit")
    found = EarlierRecord(str(tmp_path / "runs.db"))
    assert found("mfx100", "7", "Calibrate", "payload.n") == 0
    assert found.run_of("mfx100", "7", "Calibrate") == wanted
    assert found.run_of("mfx100", "8", "Calibrate") is None
    with pytest.raises(LookupError, match=r"no completed Merge of .*mfx100, run 7; there are: Fit"):
        found("mfx100", "7", "Merge", "payload")
