"""A map with every kind of step on the C++ device TangoTest, which knows nothing of taskgrove."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.run_session import MapSession
from taskgrove.commands.command_map import parse_command_map
from taskgrove.control_model import ResultCode
from taskgrove.errors import CommandError
from taskgrove.testing import EventLog
from tests.free_port import free_port
from tests.tango.lrc_process import GUARD_S, eventually

TANGO_TEST = Path("/usr/lib/tango/TangoTest")

pytestmark = [
    pytest.mark.tango,
    pytest.mark.skipif(
        not TANGO_TEST.exists(), reason="needs the C++ device TangoTest (Debian: tango-test)"
    ),
]

MAP = """
components: {{test: {trl}}}
go:
  type: sequential
  skip_subtasks: true
  tasks:
    echo: {{device: test, command_name: DevString, argin: hello}}
    double: {{device: test, command_name: DevVarDoubleArray, argin: [1, 2.5]}}
    text: {{device: test, write: {{attribute: string_scalar, value: ready}}}}
    list: {{device: test, write: {{attribute: long_spectrum, value: [1, 2, 3]}}}}
    image: {{device: test, write: {{attribute: string_image, value: [[a, b], [c, d]]}}}}
    running: {{device: test, wait: {{attribute: State, value: RUNNING}}, timeout: {limit}}}
    number:
      device: test
      wait: {{attribute: long_scalar, min: -1e9, max: 1e9}}
      timeout: {limit}
    there: {{device: test, expect: {{attribute: Status, value: The device is in RUNNING state.}}}}
    skipped:
      device: test
      command_name: DevDouble
      argin: 1.5
      skip_if: {{attribute: State, value: RUNNING}}
wrong:
  type: sequential
  tasks:
    a: {{device: test, command_name: DevDuble, argin: 1.5}}
    b: {{device: test, command_name: DevDouble, argin: x}}
    c: {{device: test, write: {{attribute: State, value: "ON"}}}}
    d: {{device: test, expect: {{attribute: ampli, value: 1}}}}
    e: {{device: test, wait: {{attribute: long_scalr, value: 1}}}}
"""


@pytest.fixture(scope="module")
def trl() -> Iterator[str]:
    port = free_port()
    command = [TANGO_TEST, "steps", "-nodb", "-dlist", "sys/tg_test/1"]
    with subprocess.Popen(
        [*command, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"], stdout=subprocess.DEVNULL
    ) as process:
        name = f"tango://127.0.0.1:{port}/sys/tg_test/1#dbase=no"
        try:
            eventually(lambda: DeviceReader().ping(name).answers, "TangoTest answers")
            yield name
        finally:
            process.kill()


@pytest.fixture
def session(trl: str) -> Iterator[MapSession]:
    command_map = parse_command_map(MAP.format(trl=trl, limit=GUARD_S))
    with MapSession(command_map, reader=DeviceReader()) as made:
        yield made


def test_a_map_drives_it(session: MapSession) -> None:
    task = session.compose("go")
    session.preflight(task)
    log = EventLog()
    handle = session.submit(task, [log])
    assert handle.wait(GUARD_S)
    ends = {event.path: event for event in log.select(kind="finished")}
    assert {
        path: end.message for path, end in ends.items() if end.result_code != ResultCode.OK
    } == {}
    assert ends["go/running"].message == "sys/tg_test/1: State is RUNNING"
    assert ends["go/skipped"].message == "sys/tg_test/1: nothing to do: State is RUNNING"


def test_all_that_is_wrong_is_told_before_anything_is_called(session: MapSession) -> None:
    with pytest.raises(CommandError) as caught:
        session.preflight(session.compose("wrong"))
    said = caught.value.reasons
    assert [line.partition(":")[0] for line in said] == [f"wrong/{name}" for name in "abcde"]
    for line, words in zip(
        said,
        (
            "did you mean DevDouble?",
            "takes DevDouble (a number), not str 'x'",
            "State cannot be written",
            "ampli cannot be read",
            "did you mean long_scalar?",
        ),
        strict=True,
    ):
        assert words in line
