"""The record that the documentation shows: eight runs of one command on four devices."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

from taskgrove.store.store import Store
from taskgrove.testing import Script
from tests.store.kept_runs import START, keep_beams

#: What fails in which run.
FAILING = {
    3: {"pst-beam-02": Script.fails("no lock on the pulsar")},
    5: {"pst-beam-02": Script.fails("no lock on the pulsar")},
    6: {"cbf-subarray-01": Script.fails("band 5b is not calibrated")},
}
_SUFFIXES = ("6c1f09aa", "e20b7d31", "0f9a4c58", "b7715e02", "93d8aa10", "41c6f7de", "d05b2397",
             "7ae1904b")  # fmt: skip


def write_example(file: Path) -> None:
    """Write the record into a new file."""
    chance = random.Random(7)
    with Store.open(file) as store:
        for number, suffix in enumerate(_SUFFIXES):
            start = START + timedelta(minutes=10 * number)
            beams = {f"pst-beam-0{beam}": chance.uniform(8.0, 12.0) for beam in (1, 2, 3)}
            group = max(beams.values()) + 0.1
            cbf = chance.uniform(4.0, 5.0)
            durations = beams | {
                "cbf-subarray-01": cbf,
                "configure_pst": group,
                "configure": cbf + (0.1 if number == 6 else group),
            }
            band = "5b" if number in (5, 6) else "5a"
            keep_beams(
                store,
                f"{start:%Y%m%dT%H%M%SZ}-{suffix}",
                start=start,
                scripts=FAILING.get(number),
                durations=durations,
                source={
                    "kind": "map",
                    "file": "/maps/csp.yaml",
                    "command": "configure",
                    "argin": {"cbf": {"band": band}},
                },
                argv=["taskgrove", "run", "/maps/csp.yaml", "configure"],
                versions={"python": "3.11.2", "taskgrove": "0.1.0"},
                labels={"shift": "night"} if number < 4 else {},
            )
