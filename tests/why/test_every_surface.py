"""A failure has one cause and one next step, at the end of ``run`` and wherever it is told later.

Each staging says beforehand what is true. The next step is then followed: what is wrong is mended,
and the last command is typed as it is printed.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.command_line import environment, taskgrove

pytest.importorskip("sqlalchemy")

LONGEST = 300
CBF, BEAMS = "low-cbf/subarray/01", ["low-pst/beam/01", "low-pst/beam/02"]
RUN = ("map.yaml", "configure")
HEAD = "header: {experiment: e, run: 1, work_dir: work}\n"
ANALYSES = """
from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters


class Tool(ThirdPartyParameters):
    executable: str = "/bin/sh"
    p_arg1: str = "job.sh"


ENTRIES = [AnalysisEntry("ToolRun", Tool)]
"""


class Site:
    """A folder in which an operator works, with a record of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment(TASKGROVE_DB=str(folder / "runs.db"), COLUMNS="200")

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name.replace("_", ".")).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def type(self, *words: str) -> tuple[int, str]:
        done = taskgrove(*words, cwd=self.folder, env=self.environment)
        return done.returncode, done.stdout + done.stderr


class Staged(NamedTuple):
    """A failure.

    Attributes:
        run: What is typed after ``taskgrove run``.
        cause: What is true of it: in the first line, before the next step.
        step: What the next step names.
        mend: Does what the next step says.
        failed: How many leaves failed.
    """

    run: tuple[str, ...]
    cause: tuple[str, ...]
    step: tuple[str, ...]
    mend: Callable[[], object]
    failed: int = 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def squeezed(text: str) -> str:
    """Return a text without what differs between surfaces: blanks, line breaks, tags."""
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s", "", html.unescape(text))


def parts_of(action: dict[str, Any]) -> Iterator[str]:
    """Yield what an action names."""
    if "argv" in action:
        yield shlex.join(action["argv"])
    if "place" in action:
        place = action["place"]
        yield place["file"] + (f":{place['line']}" if "line" in place else "")
    yield from (action[key] for key in ("device", "path", "method") if key in action)


def is_one_truth(site: Site, staged: Staged) -> None:
    code, told = site.type("run", *staged.run, "--no-live")
    assert code in (1, 3, 4), told
    found = json.loads(site.type("why", "--json")[1])
    head, _, _ = found["sentence"].partition("; next: ")
    assert len(found["sentence"]) < LONGEST
    for words in staged.cause:
        assert words in head
    for words in staged.step:
        assert words in found["next_step"]
    assert sum(len(group["paths"]) for group in found["groups"]) == staged.failed
    site.type("runs", "export", "last", "--output", "page.html")
    surfaces = {
        "run": told,
        "why": site.type("why")[1],
        "runs show": site.type("runs", "show", "last")[1],
        "page": (site.folder / "page.html").read_text(),
    }
    for name, text in surfaces.items():
        shown = squeezed(text)
        assert squeezed(found["sentence"]) in shown, name
        for part in (part for action in found["actions"] for part in parts_of(action)):
            assert squeezed(part) in shown, (name, part)
    staged.mend()
    [*_, last] = found["actions"]
    words = shlex.split(shlex.join(last["argv"]))
    assert words[:2] == ["taskgrove", "resume"]
    code, told = site.type(*words[1:], "--yes", "--no-live")
    assert code == 0, told


# -- steps ----------------------------------------------------------------------------------------

GOOD = "class Bench:\n    def gain(self): return 0, 'ok'\n    def phase(self): return 0, 'ok'\n"


def bench(site: Site, body: str, kind: str = "sequential", options: str = "") -> tuple[str, ...]:
    site.write(
        bench_py=f"import time\n\n\nclass Bench:\n{body}",
        map_yaml=f"""
tune:
  type: {kind}
  tasks:
    a: {{handler: internal, command_name: gain{options}}}
    b: {{handler: internal, command_name: phase}}
""",
    )
    return ("map.yaml", "tune", "--manager", "bench:Bench")


def two_steps(site: Site) -> Staged:
    body = (
        "    def gain(self): return 3, 'the gain of receiver 7 is 0'\n"
        "    def phase(self): raise RuntimeError('no lock') from KeyError('clock')\n"
    )
    return Staged(
        bench(site, body, "parallel"),
        ("the gain of receiver 7 is 0", "no lock, because KeyError: 'clock'"),
        ("Bench.gain", "Bench.phase"),
        lambda: site.write(bench_py=GOOD),
        failed=2,
    )


def a_slow_step(site: Site) -> Staged:
    body = "    def gain(self): time.sleep(0.8)\n    def phase(self): return 0, 'ok'\n"
    return Staged(
        bench(site, body, options=", timeout: 0.4"),
        ("step a did not finish gain within 0.4 s",),
        ("map.yaml:5", "`timeout`"),
        lambda: site.edit("map.yaml", "timeout: 0.4", "timeout: 60"),
    )


def attempts(site: Site) -> Staged:
    body = (
        "    said = ['no lock', 'no carrier']\n"
        "    def gain(self): return 3, self.said.pop(0)\n"
        "    def phase(self): return 0, 'ok'\n"
    )
    return Staged(
        bench(site, body, options=", retries: 1"),
        ('"no lock"', "tried 2 times"),
        ("Bench.gain",),
        lambda: site.write(bench_py=GOOD),
    )


# -- analyses -------------------------------------------------------------------------------------


def analysis(site: Site, *, section: str = "{}", options: str = "") -> tuple[str, ...]:
    site.write(
        prog_py=ANALYSES,
        c_yaml=f"{HEAD}ToolRun: {section}\n",
        map_yaml=f"""
scan:
  type: sequential
  tasks:
    index: {{handler: analysis, command_name: ToolRun, config: c.yaml{options}}}
""",
    )
    return ("map.yaml", "scan", "--analyses", "prog")


def job(site: Site, script: str) -> str:
    site.write(job_sh=script)
    return f"{{p_arg1: '{site.folder / 'job.sh'}'}}"


def a_program_that_fails(site: Site) -> Staged:
    script = "echo 'ERROR: cannot open /data/a.geom' >&2; echo 'took 3 s' >&2; exit 2\n"
    return Staged(
        analysis(site, section=job(site, script)),
        ("exit status 2", "cannot open /data/a.geom"),
        (str(site.folder / "work"), ".err"),
        lambda: site.write(job_sh="true\n"),
    )


def a_program_that_may_not_be_executed(site: Site) -> Staged:
    site.write(tool="#!/bin/sh\n")
    tool = site.folder / "tool"
    return Staged(
        analysis(site, section=f"{{executable: '{tool}'}}"),
        ("could not be started", "may not be executed"),
        (f"chmod +x {tool}",),
        lambda: os.chmod(tool, 0o755),
    )


def a_limit_of_the_configuration(site: Site) -> Staged:
    run = analysis(site, section=job(site, "sleep 3\n"))
    site.edit("c.yaml", "run: 1,", "run: 1, task_timeout: 1,")
    return Staged(
        run,
        ("within 1 s (the timeout set by c.yaml)",),
        ("c.yaml", "`task_timeout`"),
        lambda: site.edit("c.yaml", "task_timeout: 1,", "task_timeout: 60,"),
    )


QUICK = [two_steps, a_program_that_fails]
THOROUGH = [
    a_slow_step, attempts, a_program_that_may_not_be_executed, a_limit_of_the_configuration,
]  # fmt: skip


@pytest.mark.parametrize("stage", QUICK)
def test_a_failure_on_every_surface(site: Site, stage: Callable[[Site], Staged]) -> None:
    is_one_truth(site, stage(site))


@pytest.mark.thorough
@pytest.mark.parametrize("stage", THOROUGH)
def test_more_failures_on_every_surface(site: Site, stage: Callable[[Site], Staged]) -> None:
    is_one_truth(site, stage(site))


# -- devices --------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[Any]:
    pytest.importorskip("tango")
    from taskgrove.tango.simulator import SimulatedFleet

    with SimulatedFleet([CBF, *BEAMS], settings={"duration_s": 0.2, "spread": 0.0}) as made:
        yield made


def devices(site: Site, fleet: Any, command: str = "Configure", options: str = "") -> None:
    beams = ", ".join(f"'{fleet.trl(name)}'" for name in BEAMS)
    site.write(
        map_yaml=f"""
components: {{cbf: '{fleet.trl(CBF)}', pst: [{beams}]}}
commands:
  configure:
    type: parallel
    tasks:
      cbf: {{command_name: {command}, argin: {{id: 1}}, timeout: 60{options}}}
      pst: {{command_name: Configure, argin: {{id: 1}}, timeout: 60}}
"""
    )


def fault(fleet: Any, device: str, *faults: str) -> None:
    fleet.set_fault(device, "Configure", *faults)


def a_correlator_that_does_not_run(site: Site, fleet: Any) -> Staged:
    devices(site, fleet)
    fleet.kill(CBF)
    return Staged(
        RUN,
        (f"cbf-subarray-01 on {CBF} could not be reached", "no server answers at its address"),
        (f"start the server of {CBF}", "taskgrove doctor"),
        lambda: fleet.restart(CBF),
    )


def a_correlator_in_a_wrong_state(site: Site, fleet: Any) -> Staged:
    import tango

    guard = ", allowed_states: {attr_name: obsState, attr_value: [IDLE]}"
    devices(site, fleet, options=guard)
    device = tango.DeviceProxy(fleet.trl(CBF))
    device.command_inout("SimSet", '{"obsState": "FAULT"}')
    return Staged(
        RUN,
        (f"{CBF} does not allow Configure", "obsState is FAULT; allowed: IDLE"),
        (f"bring {CBF} into a state that allows Configure",),
        lambda: device.command_inout("SimSet", '{"obsState": "IDLE"}'),
    )


def a_command_that_is_misspelt(site: Site, fleet: Any) -> Staged:
    devices(site, fleet, "Confgure")
    return Staged(
        RUN,
        (f"cbf-subarray-01 on {CBF} has no command Confgure (did you mean Configure?)",),
        ("map.yaml:7", "--use-file"),
        lambda: site.edit("map.yaml", "Confgure", "Configure"),
    )


def a_server_that_dies(site: Site, fleet: Any) -> Staged:
    devices(site, fleet, options=", retries: 1")
    fault(fleet, CBF, "crash,at=50")

    def start_again() -> None:
        fleet.restart(CBF)
        fault(fleet, CBF)

    return Staged(
        RUN,
        (f"{CBF} lost its server while Configure was running", "tried 2 times"),
        (f"start the server of {CBF} again",),
        start_again,
    )


def a_correlator_that_decides(site: Site, fleet: Any) -> Staged:
    devices(site, fleet)
    fault(fleet, BEAMS[0], "reject,message=no lock")
    fault(fleet, CBF, "fail,at=90,message=firmware 4.2 is missing")
    return Staged(
        RUN,
        (f'{CBF} reported that Configure failed: "firmware 4.2 is missing"'),
        (f"see the log of {CBF} for details",),
        lambda: [fault(fleet, name) for name in (CBF, BEAMS[0])],
        failed=2,
    )


@pytest.mark.tango
@pytest.mark.thorough
@pytest.mark.parametrize(
    "stage",
    [
        a_correlator_that_does_not_run,
        a_correlator_in_a_wrong_state,
        a_command_that_is_misspelt,
        a_server_that_dies,
        a_correlator_that_decides,
    ],
)
def test_failures_of_devices_on_every_surface(
    site: Site, fleet: Any, stage: Callable[[Site, Any], Staged]
) -> None:
    is_one_truth(site, stage(site, fleet))
