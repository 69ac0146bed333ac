"""The command line against real device servers, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskgrove.events import decode_event
from taskgrove.view.snapshot import RunView
from tests.cli.command_line import PATIENCE_S, ROOT, environment, read_until, start, taskgrove
from tests.cli.terminals import on_a_terminal, see
from tests.web.page_process import ask, cookie_of

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

MAP = """
configure:
  type: parallel
  tasks:
    cbf: {command_name: Configure, reject_missing: true}
    pst:
      command_name: Configure
      allowed_states: {attr_name: adminMode, attr_value: [ONLINE]}
guarded:
  type: parallel
  tasks:
    cbf:
      command_name: Configure
      reject_missing: true
      allowed_states: {attr_name: adminMode, attr_value: [OFFLINE]}
unknown:
  type: parallel
  tasks:
    cbf: {command_name: NoSuchCommand}
components:
  cbf: low-cbf/subarray/01
  pst: [low-pst/beam/01, low-pst/beam/02, low-pst/beam/03]
simulator:
  faults:
    low-pst/beam/02: {Configure: 'fail,message=no [bold]clock[/]'}
"""
ARGIN = "{cbf: {id: 1}, pst: {id: 1}}"
RUN = ("run", "map.yaml", "configure", "--argin", "argin.yaml")


@contextmanager
def simulated(folder: Path, speed: str) -> Iterator[None]:
    """Devices, and a map with their addresses; a command takes 2 s at the speed 1."""
    (folder / "plain.yaml").write_text(MAP)
    with start(
        "simulate", "plain.yaml", "--write-map", "map.yaml", "--speed", speed, cwd=folder
    ) as process:
        try:
            read_until(process.stdout, "SimSetFault")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Stopping the devices." in words


@pytest.fixture(scope="module")
def shared_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("devices")
    with simulated(folder, "5"):
        yield folder / "map.yaml"


@pytest.fixture
def devices(tmp_path: Path, shared_devices: Path) -> Path:
    """A directory with the map of devices that run."""
    (tmp_path / "argin.yaml").write_text(ARGIN)
    shutil.copy(shared_devices, tmp_path)
    return tmp_path


@pytest.fixture
def slow_devices(tmp_path: Path) -> Iterator[Path]:
    """A directory with the map of devices whose commands are never over before an interrupt."""
    (tmp_path / "argin.yaml").write_text(ARGIN)
    with simulated(tmp_path, "0.1"):
        yield tmp_path


def test_a_degraded_run_and_its_words(devices: Path) -> None:
    done = taskgrove(*RUN, cwd=devices)
    assert done.returncode == 3, done
    assert "configure completed DEGRADED (PST success 2/3): " in done.stdout
    assert 'on low-pst/beam/02 reported that Configure failed: "no [bold]clock[/]"' in done.stdout
    assert done.stderr == ""


def test_events_of_devices_are_json_lines(devices: Path) -> None:
    done = taskgrove(*RUN, "--json", cwd=devices)
    view = RunView().apply_all(decode_event(line) for line in done.stdout.splitlines())
    beam = view.node("configure/configure_pst/pst-beam-02")
    assert beam is not None
    assert beam.state == "failed"
    assert beam.outside_id is not None
    assert "PST success 2/3" in done.stderr


def test_ctrl_c_aborts_the_command_on_the_devices(slow_devices: Path) -> None:
    with start(*RUN, "--json", cwd=slow_devices) as process:
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(decode_event(line))
            if events[-1].progress and len(events) > 8:
                break
        process.send_signal(signal.SIGINT)
        events += [decode_event(line) for line in process.stdout]
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 5, errors
    told = {event.detail.topic for event in events if event.kind == "note"}  # type: ignore[union-attr]
    assert {"abort-asked", "abort-acknowledged"} <= told
    assert "Ctrl-C: aborting the command on the devices" in errors


def test_argin_that_the_command_does_not_take_is_rejected_before_any_call(devices: Path) -> None:
    done = taskgrove(*RUN[:3], "--json", cwd=devices)
    assert done.returncode == 4, done
    assert done.stdout == ""
    assert "cbf-subarray-01 on low-cbf/subarray/01 was not called" in done.stderr
    assert "hint: --argin FILE gives arguments" in done.stderr


def test_conditions_are_read_from_the_devices(devices: Path) -> None:
    done = taskgrove("run", "map.yaml", "guarded", cwd=devices)
    assert done.returncode == 4
    assert (
        "guarded was rejected: cbf-subarray-01 on low-cbf/subarray/01 does not allow Configure in"
        ' its present state: "adminMode is ONLINE; allowed: OFFLINE"'
    ) in done.stdout
    told = taskgrove("why", "last", "--json", cwd=devices)
    found = json.loads(told.stdout)
    assert found["sentence"] in done.stdout
    assert (found["first"]["kind"], found["first"]["device"]) == (
        "not_allowed", "low-cbf/subarray/01",
    )  # fmt: skip
    done = taskgrove("compose", "map.yaml", "configure", "--argin", "argin.yaml", cwd=devices)
    assert done.returncode == 0, done.stderr
    assert "pst-beam-03 Configure on low-pst/beam/03 on abort: Abort is sent" in " ".join(
        done.stdout.split()
    )


def test_a_command_that_a_device_does_not_have_is_rejected(devices: Path) -> None:
    done = taskgrove("run", "map.yaml", "unknown", cwd=devices)
    assert done.returncode == 4
    assert "has no command NoSuchCommand" in done.stdout
    assert json.loads(taskgrove("why", "--json", cwd=devices).stdout)["sentence"] in done.stdout


def test_a_correlator_that_does_not_answer_rejects_the_command_by_its_name(devices: Path) -> None:
    text = (devices / "map.yaml").read_text()
    gone = re.sub(r":\d+/low-cbf/subarray/01#", ":9/low-cbf/subarray/01#", text)
    (devices / "map.yaml").write_text(gone)
    done = taskgrove(*RUN, cwd=devices)
    assert done.returncode == 4, done
    assert "cbf-subarray-01 on low-cbf/subarray/01 could not be reached" in done.stdout
    assert "start the server of low-cbf/subarray/01" in done.stdout
    found = json.loads(taskgrove("why", "last", "--json", cwd=devices).stdout)
    assert found["sentence"] in done.stdout
    assert found["first"]["kind"] == "unreachable"
    assert found["blocked"] == ["configure/configure_pst"]


def test_doctor_reaches_them(devices: Path) -> None:
    done = taskgrove("doctor", "map.yaml", cwd=devices)
    assert done.returncode == 0
    assert "4 of 4 devices answer." in done.stdout


def test_a_missing_device_is_skipped_or_rejects_as_the_map_says(devices: Path) -> None:
    text = (devices / "map.yaml").read_text()
    address = next(line for line in text.splitlines() if "low-pst/beam/03#" in line)
    gone = "- tango://127.0.0.1:9/low-pst/beam/03#dbase=no"
    (devices / "map.yaml").write_text(text.replace(address.strip(), gone))
    done = taskgrove(*RUN, cwd=devices)
    assert done.returncode == 3, done
    assert "PST success 1/3, 1 left out: no answer" in done.stdout
    assert "127.0.0.1:9" in done.stdout
    note = next(line for line in done.stdout.splitlines() if line.startswith("note: "))
    assert "pst-beam-03 (low-pst/beam/03): left out: no answer" in note


@pytest.mark.thorough  # the smoke tests of CI run the demonstration, too
def test_the_demo_ends_as_it_should(tmp_path: Path) -> None:
    done = taskgrove("demo", "--speed", "3", cwd=tmp_path, env=environment(TMPDIR=str(tmp_path)))
    assert done.returncode == 0, done
    first, second, third, fourth = done.stdout.split("\nAct ")[1:]
    assert "configure completed: nothing failed" in first
    assert "configure completed DEGRADED (PST success 14/16): first, " in second
    for device in ("low-pst/beam/03", "low-pst/beam/11"):
        assert f" on {device}: " in second
    assert "on low-cbf/subarray/01 lost its server while Configure was running" in third
    assert "powder_scan completed DEGRADED (quorum 0.8 of 10: 8 succeeded, 8 needed; " in fourth
    assert "frame 3: no peaks above 5 sigma" in fourth
    assert "Distance found: 412.70 ± 0.01 mm; true: 412.70 mm" in fourth
    page = Path(re.search(r"Its page: file://(\S+)", fourth)[1])  # type: ignore[index]
    assert page.is_relative_to(tmp_path)
    assert "AgBh powder" in page.read_text(encoding="utf-8")
    assert done.stderr == ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(
        r"^```\n(configure completed DEGRADED.*?)^```$", readme, re.MULTILINE | re.DOTALL
    )
    assert shown
    head, *lines = shown[1].splitlines()
    second = re.sub(r"\d{8}T\d{6}Z-\w{8}", "20261130T091208Z-1c02b7e4", second)
    said, *rest = second[second.index("configure completed") :].splitlines()
    # Either beam may be the first.
    assert said.partition("): ")[0] == head.partition("): ")[0]
    assert sorted(rest[: len(lines)]) == sorted(lines), "the README shows what the demo says"
    end = fourth[fourth.index("Why, and what next") :]
    assert "configure failed: subsystems/cbf-subarray-01 on low-cbf/subarray/01" in end
    typed = re.findall(
        r"^(?:\$|  )? *(taskgrove .*)$", end[end.index("Type next:") :], re.MULTILINE
    )
    assert [line.split()[1] for line in typed] == ["runs", "runs", "serve"]
    typed.append(re.search(r"^\$ (.*)$", end, re.MULTILINE)[1])  # type: ignore[index]
    for line in typed:
        if line != "taskgrove serve":
            again = taskgrove(*shlex.split(line)[1:], cwd=tmp_path)
            assert again.returncode == 0, again
            assert "configure" in again.stdout or "powder_scan" in again.stdout


def test_the_demo_serves_its_page_on_a_terminal_until_a_key_is_pressed(tmp_path: Path) -> None:
    # In a folder with spaces in its name, and with a record of its own.
    place = tmp_path / "a folder"
    place.mkdir()
    words = ("demo", "--act", "2", "--speed", "20", "--no-live", "--db", "my runs.db")
    with on_a_terminal(place, *words) as (process, terminal):
        told = see(terminal, "until a key is pressed")
        link = re.search(r"http://127\.0\.0\.1:(\d+)/enter/[\w-]+", told)
        assert link is not None
        port = int(link[1])
        (run,) = ask(port, "/api/runs", cookie=cookie_of(port, link[0])).data["runs"]
        assert run["outcome"] == "degraded"
        assert f"taskgrove runs show {run['run_id']} --db '{place}/my runs.db'" in told
        os.write(terminal, b"q")
        assert process.wait(PATIENCE_S) == 0
    with pytest.raises(OSError, match="refused"):
        ask(port, "/api/runs")


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_simulated_devices_end_when_the_terminal_closes(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "go: {type: parallel, tasks: {cbf: {command_name: Scan}}}\n"
        "components: {cbf: low-cbf/subarray/01}\n"
    )
    with start(
        "simulate", "one.yaml", "--write-map", "the map.yaml", "--log", "log.jsonl", cwd=tmp_path
    ) as process:
        told = read_until(process.stdout, "SimSetFault")
        assert "Every invocation is appended to log.jsonl." in told
        line = "echo '{\"cbf\": {\"id\": 1}}' | taskgrove run 'the map.yaml' go --argin -"
        assert line in told
        done = taskgrove(
            "run", "the map.yaml", "go", "--argin", "-", cwd=tmp_path, input='{"cbf": {"id": 1}}'
        )
        assert done.returncode == 0, done
        (scan,) = (tmp_path / "log.jsonl").read_text().splitlines()[-1:]
        assert '"command":"Scan"' in scan
        assert '"status":"COMPLETED","result_code":"OK"' in scan
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Stopping the devices." in words
    assert errors == ""


@pytest.mark.thorough
def test_the_demo_says_when_an_act_ends_otherwise(tmp_path: Path) -> None:
    program = (
        "from taskgrove_demo import acts\n"
        "acts.TELESCOPE_ACTS[1].faults.clear()\n"
        "from taskgrove.__main__ import main\n"
        "main()"
    )
    done = _python(program, "demo", "--act", "2", "--speed", "20", cwd=tmp_path)
    assert done.returncode == 1, done
    assert "act 2: it ended completed, and should have ended degraded" in done.stdout


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_ctrl_c_ends_the_demo_and_all_its_processes(tmp_path: Path) -> None:
    # Its commands take 4 s at the speed 1: here they are still under way, however busy the machine.
    with start("demo", "--act", "1", "--speed", "0.1", cwd=tmp_path) as process:
        read_until(process.stdout, "configure: started")
        process.send_signal(signal.SIGINT)
        words, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5, errors
    assert "configure was aborted: interrupted by Ctrl-C" in words
    assert "All device servers are stopped." in words


def test_ctrl_c_while_the_devices_start_leaves_nothing_behind(tmp_path: Path) -> None:
    with start("demo", cwd=tmp_path) as process:
        read_until(process.stdout, "Starting 18")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert errors == "Interrupted.\n"


def _python(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_an_interrupt_while_a_device_hangs_ends_like_any_other(tmp_path: Path) -> None:
    """The end of the process does not break off the call: that would look like a crash."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(PATIENCE_S)
        name = f"tango://127.0.0.1:{mute.getsockname()[1]}/low-cbf/subarray/01#dbase=no"
        (tmp_path / "map.yaml").write_text(MAP.replace("low-cbf/subarray/01", f'"{name}"', 1))
        with start("doctor", "map.yaml", cwd=tmp_path) as process:
            connection, _ = mute.accept()
            process.send_signal(signal.SIGINT)
            words, errors = process.communicate(timeout=PATIENCE_S)
        connection.close()
    assert process.returncode == 5, words + errors
    assert "Interrupted." in words + errors
    assert "Traceback" not in errors
