"""Analyses that post to a logbook, from the command line and as leaves of trees."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import taskgrove
from taskgrove import LeafTask, Task, TaskExecutionType, TaskStatus
from taskgrove.analysis import analysis_runner
from taskgrove.analysis.plain.json_form import load_json
from taskgrove.analysis.registry import AnalysisRegistry
from taskgrove.analysis.results import DescribedAnalysis
from taskgrove.cli import analyse, logbook_posting
from taskgrove.cli.app import app
from taskgrove.cli.logbook_posting import LogbookPosting
from taskgrove.errors import UsageError
from taskgrove.store.history import History
from tests.logbook_server import Handler, Server, StartServer, logbook_servers, silent

ANALYSES = """
from taskgrove.analysis.parameters import ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry


class ShellParameters(ThirdPartyParameters):
    executable: str = "/bin/sh"
    c: str = "exit 0"
    result_summary = "5 rings"


ENTRIES = [AnalysisEntry("Shell", ShellParameters)]
"""
CONFIGURATION = """\
header: {experiment: mfx100, run: 7}
Shell: {c: exit 0}
"""
MAP = """
none:
  type: sequential
  tasks: {only: {handler: internal, command_name: well}}
both:
  type: parallel
  tasks:
    good: {handler: analysis, command_name: Shell, config: site.yaml}
    bad: {handler: analysis, command_name: Shell, config: site.yaml, argin: {c: "exit 3"}}
"""
MANAGER = """
class Manager:
    def well(self):
        return 0, "fine"
"""
NONE = ("run", "map.yaml", "none", "--manager", "logbook_manager:Manager")
SITE = ("--analyses", "logbook_analyses")
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def start() -> Iterator[StartServer]:
    with logbook_servers() as started:
        yield started


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Calls verbs in the folder, in this process."""
    (tmp_path / "logbook_analyses.py").write_text(ANALYSES)
    (tmp_path / "site.yaml").write_text(CONFIGURATION)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "logbook_manager.py").write_text(MANAGER)
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(analysis_runner, "REGISTRY", AnalysisRegistry())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TASKGROVE_DB", str(tmp_path / "runs.db"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))

    def made(*words: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["taskgrove", *words])
        done = CliRunner().invoke(app, words)
        return SimpleNamespace(code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    yield made
    sys.modules.pop("logbook_analyses", None)


def notes_of(run: str) -> dict[str, dict[str, str]]:
    """Return the data of the notes about the logbook, by leaf."""
    with History.open() as history:
        return {
            node.path: dict(note.data)
            for node in history.nodes(run)
            for note in node.notes
            if note.topic == "logbook"
        }


def test_an_analysis_posts_its_status(call: Call, start: StartServer) -> None:
    server = start()
    done = call("analyse", "site.yaml", "Shell", *SITE, "--logbook", server.url)
    assert done.code == 0, done
    bodies = [post.body for post in server.posts]  # RUNNING may be overtaken
    assert [(body["status"], body["message"]) for body in bodies][-1] == ("COMPLETED", "5 rings")
    assert {(body["path"], body["experiment"]) for body in bodies} == {("shell/shell", "mfx100")}
    assert "logbook" not in done.stderr
    assert notes_of("last") == {}


def test_leaves_of_a_tree_post_as_they_end(
    call: Call, start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    monkeypatch.setenv("TASKGROVE_LOGBOOK_URL", server.url)
    monkeypatch.setenv("TASKGROVE_LOGBOOK_TOKEN", "from-outside")
    done = call("run", "map.yaml", "both", *SITE)
    assert done.code == 1, done
    ends = {post.body["path"]: post.body["status"] for post in server.posts if post.body["final"]}
    assert ends == {"both/good": "COMPLETED", "both/bad": "FAILED"}
    assert {post.headers["authorization"] for post in server.posts} == {"Bearer from-outside"}
    server.posts.clear()
    call("run", "map.yaml", "both", *SITE, "--logbook", "")
    assert server.posts == []


def garbage(handler: Handler, server: Server) -> None:
    handler.wfile.write(b"\x00\xff no HTTP\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "why", "words"),
    [
        (403, "answered", "answered 403 Forbidden"),
        (503, "answered", "answered 503"),
        (silent, "no_answer", "no answer"),
        (garbage, "garbage", "the answer is not HTTP"),
    ],
)
def test_whatever_the_logbook_does_the_outcome_stays(
    call: Call,
    start: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    why: str,
    words: str,
) -> None:
    monkeypatch.setattr(logbook_posting, "CLOSE_WITHIN_S", 1.0)
    server = start(answer)
    done = call("analyse", "site.yaml", "Shell", *SITE, "--json", "--logbook", server.url)
    assert done.code == 0, done
    described = load_json(done.stdout)
    assert isinstance(described, DescribedAnalysis)
    assert described.task_result.summary == "5 rings"
    told = [line for line in done.stderr.splitlines() if "did not get" in line]
    assert len(told) == 1, done.stderr  # once, whatever was lost
    noted = notes_of("last")["shell/shell"]
    assert (noted["entry"], noted["status"]) == ("status", "COMPLETED")
    assert noted["why"] in (why, "closed")
    assert words in noted["words"] or noted["why"] == "closed"


def test_the_result_is_told_before_the_logbook_is_waited_for(
    call: Call, start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook_posting, "CLOSE_WITHIN_S", 0.3)
    told: list[str] = []
    monkeypatch.setattr(analyse, "say_described", lambda *_: told.append("result"))
    close = LogbookPosting.close

    def closed(posting: LogbookPosting) -> None:
        told.append("close")
        close(posting)

    monkeypatch.setattr(LogbookPosting, "close", closed)
    call("analyse", "site.yaml", "Shell", *SITE, "--logbook", start(silent).url)
    assert told == ["result", "close"]


def test_a_logbook_that_is_not_there_changes_nothing(call: Call) -> None:
    done = call(
        "analyse", "site.yaml", "Shell", *SITE, "--set", "c=exit 3",
        "--logbook", "http://127.0.0.1:9/api",
    )  # fmt: skip
    assert done.code == 1, done
    assert "the logbook at http://127.0.0.1:9/api did not get" in done.stderr
    assert notes_of("last")["shell/shell"]["why"] == "unreachable"


def test_a_command_without_analyses_says_that_nothing_is_posted(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call(*NONE, "--logbook", "http://127.0.0.1:9/api")
    assert "nothing goes to the logbook" in done.stderr + done.stdout, done
    monkeypatch.setenv("TASKGROVE_LOGBOOK_URL", "http://127.0.0.1:9/api")
    done = call(*NONE)
    assert "logbook" not in done.stderr + done.stdout


def test_a_tree_of_a_program_posts_too(
    call: Call, start: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    analysis_runner.REGISTRY.load_module("logbook_analyses")
    file = str(tmp_path / "site.yaml")

    def tree() -> Task:
        leaf = LeafTask("fit", file, "Shell", None, TaskExecutionType.ANALYSIS)
        return Task("root", subtasks=[leaf])

    server = start()
    for logbook in (server.url, server.url.replace("?x=1", "?y=2")):
        server.posts.clear()
        outcome = taskgrove.run(tree(), logbook=logbook, record=True)
        assert outcome.status is TaskStatus.COMPLETED
        assert server.posts[-1].body["status"] == "COMPLETED"
        server.answers[:] = [403]
    assert notes_of("last")["root/fit"]["code"] == "403"
    assert "did not get the status COMPLETED of root/fit: answered 403 Forbidden" in caplog.text
    with pytest.raises(UsageError, match="not the address of a logbook"):
        taskgrove.run(tree(), logbook="logbook.example.org")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("logbook.example.org", "is not the address of a logbook"),
        ("https://user:hunter2secret@logbook.example.org/", "TASKGROVE_LOGBOOK"),
        ("https://logbook.example.org/?token=hunter2secret", "put the address into TASKGROVE"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_starts(
    call: Call, tmp_path: Path, address: str, words: str
) -> None:
    for line in (("analyse", "site.yaml", "Shell"), ("run", "map.yaml", "both")):
        done = call(*line, *SITE, "--logbook", address)
        assert done.code == 2, done
        assert words in done.stderr
        assert "hunter2secret" not in done.stderr
    if (tmp_path / "runs.db").exists():
        with History.open() as history:
            assert history.runs() == []


def test_an_address_of_the_environment_may_hold_a_secret_and_is_not_recorded(
    call: Call, start: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    address = server.url.replace("x=1", "token=hunter2secret")
    monkeypatch.setenv("TASKGROVE_LOGBOOK_URL", address)
    assert call("analyse", "site.yaml", "Shell", *SITE, "--set", "c=exit 3").code == 1
    assert server.posts[0].path == "/api/runs?token=hunter2secret"
    record = sqlite3.connect(tmp_path / "runs.db")
    try:
        dump = "\n".join(record.iterdump())
    finally:
        record.close()
    assert "hunter2secret" not in dump
    monkeypatch.delenv("TASKGROVE_LOGBOOK_URL")
    server.posts.clear()
    call("resume", "last", *SITE, "--yes")
    assert server.posts == []  # an address is never taken from a record: it would get the token
    resumed = call("resume", "last", *SITE, "--yes", "--dry-run")
    assert "note: the run posted to a logbook" not in resumed.stderr  # the resumed one did not
    posts = call("resume", "last", *SITE, "--yes", "--logbook", server.url)
    assert posts.code == 1
    assert server.posts
