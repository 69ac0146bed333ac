"""Configure documents of the Low and Mid CSP, unmodified, with the maps that are shipped."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("tango")

from taskgrove.cli.app import app
from taskgrove.commands.command_map import load_command_map
from taskgrove.store.history import History
from taskgrove.tango.simulator import invocations_of, run_simulator

SHIPPED = resources.files("taskgrove_demo").joinpath("maps")


def as_logged(argument: dict[str, Any]) -> str:
    """Return an argument as the log of invocations keeps it."""
    text = json.dumps(argument)
    return f"{text[:200]}… sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(("telescope", "beams"), [("low", [1, 3]), ("mid", [2])])
def test_each_subsystem_gets_its_part_and_cbf_the_addresses_of_the_beams(
    telescope: str, beams: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGROVE_DB", str(tmp_path / "runs.db"))
    document_file = SHIPPED.joinpath(f"csp_{telescope}_configure.json")
    document = json.loads(document_file.read_text())
    shipped = load_command_map(Path(str(SHIPPED.joinpath(f"csp_{telescope}.yaml"))))
    simulator = {**shipped.simulator, "duration_s": 0.05, "devices_per_process": 3}
    log, live = tmp_path / "log.jsonl", tmp_path / "live.json"
    with run_simulator(shipped.components, simulator, log=log) as fleet:
        components = fleet.components(shipped.components)
        live.write_text(json.dumps({**shipped.to_dict(), "components": components}))
        words = ["run", str(live), "Configure", "--argin", str(document_file)]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    common = document["common"]
    expected: dict[str, Any] = {
        f"{telescope}-pst/beam/{item['beam_id']:02}": common | item
        for item in document["pst"]["beam"]
    }
    addresses = shipped.simulator["results"]["Configure"]["addresses"]
    expected[f"{telescope}-cbf/subarray/01"] = {
        **common,
        **document[f"{telescope}cbf"],
        "interface": document["interface"],
        "pst_addresses": {f"pst-beam-{number:02}": addresses for number in beams},
    }
    if "pss" in document:
        expected[f"{telescope}-pss/subarray/01"] = common | document["pss"]
    with History.open() as history:
        nodes = history.nodes("last")
    assert {it.composed.target: it.argin for it in nodes if it.is_leaf and it.composed} == expected
    sent = {it.device: it.argin for it in invocations_of(log)}
    assert sent == {device: as_logged(argument) for device, argument in expected.items()}
