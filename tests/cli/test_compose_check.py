"""``compose --check`` on real servers: every finding with its line, and nothing is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import taskgrove
from tests.free_port import free_port

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

from tests.tango.lrc_process import LrcServer  # noqa: E402 - needs PyTango

SCRIPT = Path(__file__).parents[1] / "tango" / "servers" / "attribute_devices.py"

MAP = """\
components:
  motor: {trl}
  dead: tango://127.0.0.1:{port}/x01/dead/01#dbase=no
  gone: {gone}
commands:
  fine:
    type: sequential
    tasks:
      a: {{device: motor, command_name: Double, argin: 1.5}}
      b: {{device: motor, write: {{attribute: scalar_DevLong, value: 3}}}}
      c: {{device: motor, wait: {{attribute: State, value: "ON"}}}}
  part:
    type: sequential
    tasks:
      a: {{device: motor, command_name: Double, argin: 1.5}}
      d: {{device: dead, command_name: Double, argin: 1.5, reject_missing: false}}
  closed:
    type: sequential
    tasks:
      a: {{device: motor, command_name: Double, argin: 1.5}}
      b:
        device: motor
        command_name: Double
        argin: 1.5
        reject_missing: false
        allowed_states: {{attr_name: State, attr_value: [FAULT]}}
  wrong:
    type: sequential
    tasks:
      a: {{device: motor, command_name: Duble, argin: 1.5}}
      b:
        device: motor
        command_name: Double
        argin: far
      c: {{device: motor, wait: {{attribute: limitted, value: 1}}}}
      d: {{device: motor, write: {{attribute: pushed, value: 1}}}}
      e: {{device: motor, expect: {{attribute: only_written, value: 1}}}}
      f: {{device: dead, command_name: Double, argin: 1.5}}
      g: {{device: gone, command_name: Double, argin: 1.5}}
      h:
        device: motor
        command_name: Double
        argin: 1.5
        allowed_states: {{attr_name: State, attr_value: [FAULT]}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LrcServer]:
    with LrcServer(1, script=SCRIPT, class_name="AttributeDevice") as process:
        yield process


@pytest.fixture
def place(server: LrcServer, tmp_path: Path) -> Path:
    gone = server.trl().replace("test/1", "test/9")
    text = MAP.format(trl=server.trl(), port=free_port(), gone=gone)
    (tmp_path / "m.yaml").write_text(text)
    return tmp_path


def test_every_finding_is_told_with_its_line_and_nothing_is_called(
    server: LrcServer, place: Path
) -> None:
    before = server.read("written")
    done = taskgrove("compose", "m.yaml", "wrong", "--check", cwd=place)
    assert done.returncode == 4, done.stderr
    *lines, last = done.stdout.splitlines()
    wanted = (
        ("m.yaml:30", "wrong/a (lrc/test/1): ", "no command Duble; did you mean Double?"),
        ("m.yaml:34", "wrong/b (lrc/test/1): ", "takes DevDouble (a number), not str 'far'"),
        ("m.yaml:35", "wrong/c (lrc/test/1): ", "no attribute limitted; did you mean limited?"),
        ("m.yaml:36", "wrong/d (lrc/test/1): ", "pushed cannot be written"),
        ("m.yaml:37", "wrong/e (lrc/test/1): ", "only_written cannot be read"),
        ("m.yaml:38", "wrong/f (x01/dead/01): ", "no server answers at its address"),
        ("m.yaml:4", "wrong/g (lrc/test/9): ", "did you mean lrc/test/1?"),
        ("m.yaml:40", "wrong/h (lrc/test/1): ", "State is ON; allowed: FAULT"),
    )
    assert len(lines) == len(wanted)
    for line, (where, step, said) in zip(lines, wanted, strict=True):
        assert line.startswith(f"{where}: {step}")
        assert said in line
    assert last == "8 leaves checked: 8 findings; nothing was called or written."
    assert server.read("written") == before


@pytest.mark.parametrize(
    ("command", "code", "kinds"),
    [("fine", 0, []), ("part", 3, ["unreachable"]), ("closed", 0, ["guard"])],
)
def test_the_exit_code_tells_how_a_run_would_begin(
    place: Path, command: str, code: int, kinds: list[str]
) -> None:
    done = taskgrove("compose", "m.yaml", command, "--check", "--json", cwd=place)
    assert done.returncode == code, done.stderr
    told = json.loads(done.stdout)
    assert told["command"] == command
    assert [item["kind"] for item in told["findings"]] == kinds
    assert not any(item["rejects"] for item in told["findings"])
    for item in told["findings"]:
        assert item["file"] == "m.yaml"
        assert item["line"] is not None


def test_a_check_without_devices_is_none(place: Path) -> None:
    done = taskgrove("compose", "m.yaml", "fine", "--check", "--offline", cwd=place)
    assert done.returncode == 2
    assert "--check asks devices" in done.stderr
