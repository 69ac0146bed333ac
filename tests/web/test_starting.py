"""Runs that are started, resumed and recovered from the page, each by a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.web.entrance import Entrance
from taskgrove.web.runner_processes import RunnerError, RunnerProcesses
from taskgrove.web.serving import PageServer
from taskgrove.web.start_settings import Starts, StartSettings
from tests.cli.command_line import ROOT
from tests.store.recording import eventually
from tests.web.conftest import Site
from tests.web.page_process import Answer, ask, cookie_of

MAP = """
good:
  type: sequential
  description: All is well
  tasks:
    first: {handler: internal, command_name: well}
    second: {handler: internal, command_name: broken_once}
waits:
  type: sequential
  tasks:
    first: {handler: internal, command_name: until_told}
"""
MANAGER = """
import os
import time
from pathlib import Path


class Manager:
    def well(self, *given):
        return 0, "fine"

    def broken_once(self, *given):
        return (3, "no lock") if Path("broken").exists() else (0, "fine")

    def until_told(self, *given):
        Path("begun").write_text(str(os.getpid()))
        while not Path("go").exists():
            time.sleep(0.02)
        return 0, "told"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a map and its manager, in which the server works."""
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def starting_site(place: Path, entrance: Entrance) -> Iterator[Site]:
    """A server in this process from which the commands of the map can be started."""
    record = place / "own.db"
    settings = StartSettings(
        (str(place / "map.yaml"),), str(record), manager="site_manager:Manager"
    )
    with Store.open(record) as store:
        runners = RunnerProcesses(place / "started")
        server = PageServer(History(store), entrance, starts=Starts(settings, runners))
        server.start()
        try:
            yield Site(server, cookie_of(server.port, server.new_link()), record, store)
        finally:
            server.stop()
            for runner in psutil.Process().children():  # of a test that failed
                with suppress(psutil.NoSuchProcess):
                    if str(record) in " ".join(runner.cmdline()):
                        runner.kill()
                        runner.wait()


def dried(site: Site, command: str, **more: Any) -> dict[str, Any]:
    """Return what a start needs after a dry run that went well."""
    asked = {"map": str(site.record.parent / "map.yaml"), "command": command, **more}
    answer = site.post("/api/dry-runs", asked)
    assert answer.status == 200, answer.body
    return {**asked, "digest": answer.data["digest"], "run_id": answer.data["run_id"]}


def fate_of(site: Site, run_id: str) -> dict[str, Any]:
    """Return how a start went, once that is known."""
    told: list[Any] = []

    def is_known() -> bool:
        told[:] = [site.get(f"/api/starts/{run_id}").data]
        return bool(told[0]["fate"] != "starting")

    eventually(is_known)
    return dict(told[0])


def ended(site: Site, run_id: str) -> dict[str, Any]:
    """Return the facts of a run, once it has ended."""
    assert fate_of(site, run_id)["fate"] == "recorded"
    eventually(lambda: site.get(f"/api/runs/{run_id}").data["run"]["ended_ns"] is not None)
    return dict(site.get(f"/api/runs/{run_id}").data["run"])


def test_the_maps_and_their_commands_are_offered(starting_site: Site, place: Path) -> None:
    assert starting_site.get("/api/about").data["may_start"] is True
    [told] = starting_site.get("/api/maps").data["maps"]
    assert told["file"] == str(place / "map.yaml")
    assert [it["name"] for it in told["commands"]] == ["good", "waits"]
    assert told["commands"][0]["description"] == "All is well"
    (place / "map.yaml").write_text("good:\n  type: sideways\n  tasks: {}\n")
    [told] = starting_site.get("/api/maps").data["maps"]
    assert (told["code"], told["line"], told["file"]) == (
        "map-invalid", 2, str(place / "map.yaml"),
    )  # fmt: skip


def test_a_run_is_started_after_a_dry_run_by_a_process_of_its_own(starting_site: Site) -> None:
    site = starting_site
    answer = site.post(
        "/api/dry-runs", {"map": str(site.record.parent / "map.yaml"), "command": "good"}
    )
    assert [node["path"] for node in answer.data["nodes"]] == ["good", "good/first", "good/second"]
    assert answer.data["nodes"][1]["what"] == "well on Manager"
    assert answer.data["nodes"][1]["step"] == "command"
    assert site.get("/api/runs").data["runs"] == []  # nothing was started

    asked = dried(site, "good", argin='{"internal": {"depth": 1}}')
    started = site.post("/api/starts", {**asked, "who": "Ann", "why": "after lunch", "hold": True})
    assert started.data == {"fate": "started", "run_id": asked["run_id"]}
    run = ended(site, asked["run_id"])
    assert run["outcome"] == "ok"
    assert run["labels"] == {"by": "Ann", "why": "after lunch"}
    assert run["source"]["argin"] == {"internal": {"depth": 1}}
    assert '"depth"' not in json.dumps(run["argv"])  # the process list does not show it
    assert site.post("/api/starts", asked).data["fate"] == "started_already"
    assert len(site.get("/api/runs").data["runs"]) == 1
    log = site.record.parent / "started" / f"{asked['run_id']}.log"
    assert log.stat().st_mode & 0o777 == 0o600
    eventually(lambda: "Recorded as" in log.read_text())  # said once the end is on record


def test_two_starts_at_once_are_two_runs_and_one_start_asked_twice_is_one(
    starting_site: Site,
) -> None:
    one, other = dried(starting_site, "good"), dried(starting_site, "good")
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda it=it: answers.append(starting_site.post("/api/starts", it)))
        for it in (one, other, one, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fates = sorted(answer.data["fate"] for answer in answers)
    assert fates == ["started", "started", "started_already", "started_already"]
    for asked in (one, other):
        assert ended(starting_site, asked["run_id"])["outcome"] == "ok"
    assert len(starting_site.get("/api/runs").data["runs"]) == 2


def test_a_map_that_has_changed_since_the_dry_run_is_not_started(
    starting_site: Site, place: Path
) -> None:
    asked = dried(starting_site, "good")
    (place / "map.yaml").write_text(MAP.replace("All is well", "Another text"))
    answer = starting_site.post("/api/starts", asked)
    assert answer.status == 409
    assert answer.data["code"] == "map-changed"
    assert "look at a new dry run" in answer.data["hint"]
    assert starting_site.get(f"/api/starts/{asked['run_id']}").status == 404
    assert not (place / "started").exists()


WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"command": "god"}, "command-rejected", "did you mean 'good'"),
    ({"map": "/etc/passwd", "command": "good"}, None, "is not offered here"),
    ({"command": "--help"}, "command-rejected", "no command '--help'"),
    ({"command": "good\0"}, None, "NUL"),
    ({"command": "good", "argin": '{"a": 1, "a": 2}'}, "map-invalid", "twice"),
    ({"command": "good", "argin": "{"}, "map-invalid", ""),
    ({"command": "good", "argin": "[" * 5_000}, "map-invalid", ""),
    ({"command": "good", "more": 1}, None, "more"),
    ({"command": 7}, None, "command"),
]


def test_what_cannot_be_composed_is_told_as_data(starting_site: Site) -> None:
    where = {"map": str(starting_site.record.parent / "map.yaml")}
    for asked, code, words in WRONG:
        answer = starting_site.post("/api/dry-runs", {**where, **asked})
        assert answer.status == 400, asked
        assert answer.data.get("code") == code, asked
        assert words in json.dumps(answer.data), asked
        assert "Traceback" not in answer.body.decode()


def test_a_map_that_is_broken_or_gone_names_its_file_and_line(
    starting_site: Site, place: Path
) -> None:
    asked = {"map": str(place / "map.yaml"), "command": "good"}
    (place / "map.yaml").write_text("good:\n  type: sideways\n  tasks: {}\n")
    answer = starting_site.post("/api/dry-runs", asked)
    assert answer.status == 400
    assert (answer.data["file"], answer.data["line"]) == (asked["map"], 2)
    assert any("line 2" in line for line in answer.data["lines"])
    (place / "map.yaml").unlink()
    answer = starting_site.post("/api/dry-runs", asked)
    assert answer.status == 400
    assert answer.data["file"] == asked["map"]


def test_a_runner_that_cannot_start_says_why(starting_site: Site, place: Path) -> None:
    asked = dried(starting_site, "good")
    assert (
        starting_site.post("/api/starts", {**asked, "pause_before": ["good/thrid"]}).status == 200
    )
    told = fate_of(starting_site, asked["run_id"])
    assert (told["fate"], told["exit_code"]) == ("refused", 2)
    assert any("has no such step" in line for line in told["lines"])
    assert not any("Traceback" in line for line in told["lines"])


def test_an_id_that_no_dry_run_gave_is_refused(starting_site: Site) -> None:
    asked = {"map": str(starting_site.record.parent / "map.yaml"), "command": "good"}
    for run_id in ("../x", "20261130T120000Z-0123456", ""):
        answer = starting_site.post("/api/starts", {**asked, "digest": "", "run_id": run_id})
        assert answer.status == 400
        assert "is not the id of a run" in answer.data["error"]


def test_a_runner_outlives_its_server_and_is_reaped_while_there_is_one(
    starting_site: Site, place: Path
) -> None:
    site, asked = starting_site, dried(starting_site, "waits")
    site.post("/api/starts", asked)
    eventually(lambda: (place / "begun").exists() and (place / "begun").read_text() != "")
    process = psutil.Process(int((place / "begun").read_text()))
    assert os.getsid(process.pid) == process.pid
    assert process.terminal() is None
    short = dried(site, "good")
    before = set(psutil.Process().children())
    assert process in before
    site.post("/api/starts", short)
    history = History(site.store)
    eventually(lambda: _is_done(history, short["run_id"]))
    eventually(lambda: set(psutil.Process().children()) == before)  # it was reaped
    site.server.stop()
    assert process.is_running()
    (place / "go").touch()
    eventually(lambda: _is_done(history, asked["run_id"]))
    assert history.find(asked["run_id"]).outcome == "ok"
    eventually(lambda: _has_ended(process))


def _is_done(history: History, run_id: str) -> bool:
    return any(run.run_id == run_id and run.ended_ns is not None for run in history.runs())


def _has_ended(process: psutil.Process) -> bool:
    try:
        process.wait(0)
    except psutil.TimeoutExpired:
        return False
    return True


POSTS = (
    "/api/dry-runs", "/api/starts", "/api/runs/last/resume-plan", "/api/runs/last/resume",
    "/api/runs/last/recover",
)  # fmt: skip


def test_nothing_is_started_without_the_cookie_or_from_elsewhere(starting_site: Site) -> None:
    site, port = starting_site, starting_site.server.port
    plain = {"Content-Type": "text/plain"}  # what a form of another site can send
    for path in POSTS:
        assert ask(port, path, data={}).status == 403
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert site.post(path, {}, headers=headers).status == 403
        assert site.post(path, b"{}", headers=plain).status == 415


def test_a_page_for_reading_only_offers_no_start_and_refuses_it(
    starting_site: Site, entrance: Entrance
) -> None:
    entrance.read_only = True
    about = starting_site.get("/api/about").data
    assert (about["may_start"], about["may_resume"]) == (False, False)
    for path in POSTS:
        answer = starting_site.post(path, {})
        assert answer.status == 403
        assert "--read-only" in answer.data["error"]


def test_a_server_without_maps_starts_nothing(site: Site) -> None:
    about = site.get("/api/about").data
    assert (about["may_start"], about["may_resume"]) == (False, False)
    assert site.get("/api/maps").data == {"maps": []}
    answer = site.post("/api/dry-runs", {"map": "map.yaml", "command": "good"})
    assert answer.status == 400


def test_a_run_is_resumed_as_its_plan_says(starting_site: Site, place: Path) -> None:
    site = starting_site
    (place / "broken").touch()
    asked = dried(site, "good")
    site.post("/api/starts", asked)
    first = ended(site, asked["run_id"])["run_id"]
    path = f"/api/runs/{first}"
    plan = site.post(f"{path}/resume-plan", {}).data
    assert {it["path"]: it["action"] for it in plan["leaves"]} == {
        "good/first": "reuse", "good/second": "redo",
    }  # fmt: skip
    assert (plan["is_lost"], plan["is_done"]) == (False, False)
    (place / "broken").unlink()
    sent = {"digest": plan["digest"], "run_id": plan["new_run_id"], "who": "Bo", "why": "again"}
    assert site.post(f"{path}/resume", sent).data["fate"] == "started"
    run = ended(site, plan["new_run_id"])
    assert (run["outcome"], run["parent_run_id"]) == ("ok", first)
    assert run["labels"] == {"by": "Bo", "why": "again"}
    again = site.post(f"{path}/resume-plan", {})
    assert again.status == 400
    assert [it["run_id"] for it in again.data["resumed_by"]] == [run["run_id"]]
    assert "has been resumed already" in again.data["error"]
    assert site.post(f"{path}/recover", {}).status == 400


@pytest.mark.thorough
def test_a_plan_that_has_changed_is_not_carried_out(starting_site: Site, place: Path) -> None:
    site = starting_site
    (place / "broken").touch()
    asked = dried(site, "good")
    site.post("/api/starts", asked)
    first = ended(site, asked["run_id"])["run_id"]
    plan = site.post(f"/api/runs/{first}/resume-plan", {}).data
    said = {"path": "good/second", "verdict": "ok", "why": "seen"}
    site.post(f"/api/runs/{first}/verdicts", said)
    sent = {"digest": plan["digest"], "run_id": plan["new_run_id"]}
    site.post(f"/api/runs/{first}/resume", sent)
    told = fate_of(site, plan["new_run_id"])
    assert (told["fate"], told["exit_code"]) == ("refused", 2)
    assert any("another one than the one that was shown" in line for line in told["lines"])


def test_a_lost_run_is_recovered_first(starting_site: Site, place: Path) -> None:
    site, asked = starting_site, dried(starting_site, "waits")
    site.post("/api/starts", asked)
    eventually(lambda: (place / "begun").exists() and (place / "begun").read_text() != "")
    path = f"/api/runs/{asked['run_id']}"
    node = f"{path}/node?path=waits/first"
    eventually(lambda: site.get(node).data.get("state") == "running")  # the record has it
    os.kill(int((place / "begun").read_text()), signal.SIGKILL)
    plan: dict[str, Any] = {}

    def is_lost() -> bool:
        plan.update(site.post(f"{path}/resume-plan", {}).data)
        return bool(plan.get("is_lost"))

    eventually(is_lost)
    assert any("recovered before it is resumed" in line for line in plan["said"])
    (place / "go").touch()
    assert site.post(f"{path}/recover", {}).data["run_id"] == asked["run_id"]
    eventually(lambda: site.get(path).data["run"]["ended_ns"] is not None)
    plan = site.post(f"{path}/resume-plan", {}).data
    assert plan["is_lost"] is False
    site.post(f"{path}/resume", {"digest": plan["digest"], "run_id": plan["new_run_id"]})
    assert ended(site, plan["new_run_id"])["outcome"] == "ok"


def test_a_dry_run_ends_with_its_server_and_there_are_only_so_many(place: Path) -> None:
    (place / "slow_manager.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "Path(f'imported-{time.time_ns()}').touch()\ntime.sleep(600)\n"
    )
    runners, refused = RunnerProcesses(place / "started"), list[dict[str, Any]]()
    words = ["compose", "--json", "--manager=slow_manager:Manager", "--", "map.yaml", "good"]
    before = set(psutil.Process().children())

    def dry() -> None:
        try:
            runners.dry_run(words)
        except RunnerError as exc:
            refused.append(exc.facts)

    threads = [threading.Thread(target=dry) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: [it["code"] for it in refused] == ["busy"])
    eventually(lambda: any(place.glob("imported-*")))
    runners.close()
    for thread in threads:
        thread.join()
    assert [it.get("exit_code") for it in refused[1:]] == [-signal.SIGKILL] * 4
    assert set(psutil.Process().children()) <= before


def test_modules_of_the_folder_take_no_part_and_may_print(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"", str(place)}
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry not in here])
    (place / "taskgrove.py").write_text("raise SystemExit('the wrong module')\n")
    (place / "talking.py").write_text(f"print('{{')\nprint('hello')\n{MANAGER}")
    runners = RunnerProcesses(place / "started")
    words = ["compose", "--json", "--manager=talking:Manager", "--", "map.yaml", "good"]
    assert runners.dry_run(words).data["leaf_count"] == 2
    runners.close()
