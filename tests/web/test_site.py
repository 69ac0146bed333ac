"""The server of the page: who gets in, and the JSON twin of each view."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from taskgrove.events import AnalysisDetail
from taskgrove.store.history import History
from taskgrove.web import record_answers
from taskgrove.web.entrance import Entrance
from tests.cli.command_line import taskgrove
from tests.store.recording import new_recorder, run_recorded, tree
from tests.web.conftest import Site
from tests.web.live_run import LiveRun, kept_up_to
from tests.web.page_process import ask

PAGES = ("/", "/runs/bad", "/static/main.js", "/api/about", "/api/runs", "/api/stream")


@pytest.mark.parametrize("path", [*PAGES, "/api/runs/bad/stream", "/api/runs/bad/rows"])
def test_nothing_is_read_without_the_cookie_or_from_elsewhere(site: Site, path: str) -> None:
    port = site.server.port
    assert ask(port, path).status == 403
    assert ask(port, path, cookie="taskgrove_page=1.x.y").status == 403
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        answer = site.get(path, headers=headers)
        assert answer.status == 403, headers
        assert b"good" not in answer.body


@pytest.mark.parametrize("path", ["/api/runs/bad/requests", "/api/runs/bad/verdicts"])
def test_nothing_is_asked_without_the_cookie_or_from_elsewhere(site: Site, path: str) -> None:
    data = {"path": "root", "verdict": "note", "why": "seen"}
    port = site.server.port
    assert ask(port, path, data=data).status == 403
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil"}):
        assert site.post(path, data, headers=headers).status == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.post(path, data, headers=form).status == 415
    assert not History(site.store).verdicts("bad")
    assert not History(site.store).requests("bad")


def test_a_link_is_used_once_and_gives_a_cookie_that_no_script_and_no_site_has(site: Site) -> None:
    path = "/" + site.server.new_link().split("/", 3)[3]
    port = site.server.port
    assert ask(port, path, headers={"Host": "evil.example"}).status == 403
    assert ask(port, path, headers={"Origin": "http://evil.example"}).status == 403
    cookie = ask(port, path).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert ask(port, path).status == 403


def test_every_answer_forbids_all_that_is_not_ours(site: Site) -> None:
    answers = [site.get(path) for path in PAGES[:-1]] + [ask(site.server.port, "/"), site.get("/x")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


def test_a_file_is_sent_once(site: Site) -> None:
    first = site.get("/static/main.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = site.get("/static/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert site.get("/static/../entrance.py").status == 404
    assert site.get("/static/vendor/LICENSE").status == 404


@pytest.mark.parametrize("entrance", [Entrance(b"k" * 32, open_reading=True)])
def test_open_reading_lets_everybody_read_and_nobody_act(site: Site, entrance: Entrance) -> None:
    port = site.server.port
    assert ask(port, "/api/runs").status == 200
    assert ask(port, "/api/about").data["may_act"] is False
    assert site.get("/api/about").data["may_act"] is True
    verdict = {"path": "root", "verdict": "note", "why": "seen"}
    assert ask(port, "/api/runs/bad/verdicts", data=verdict).status == 403
    assert ask(port, "/api/runs", headers={"Host": "evil.example"}).status == 403


@pytest.mark.parametrize("entrance", [Entrance(b"k" * 32, read_only=True)])
def test_a_page_for_reading_only_takes_no_request(site: Site, entrance: Entrance) -> None:
    assert site.get("/api/about").data["may_act"] is False
    answer = site.post("/api/runs/bad/verdicts", {"path": "root", "verdict": "note", "why": "x"})
    assert answer.status == 403
    assert "--read-only" in answer.data["error"]


def command_line(record: Path, *words: str) -> Any:
    done = taskgrove(*words, "--db", str(record), "--json", cwd=record.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_is_what_the_command_line_shows_of_it(site: Site) -> None:
    told = site.get("/api/runs/bad").data
    shown = command_line(site.record, "runs", "show", "bad")
    assert {name: told[name] for name in shown} == shown
    assert told["requests"] == []
    rows = site.get("/api/runs/bad/rows").data
    assert [row["path"] for row in rows["nodes"]] == [node["path"] for node in shown["nodes"]]
    assert rows["position"] == shown["run"]["last_sequence"]
    assert rows["head"]["outcome"] == "failed"


def test_the_explanation_is_that_of_the_command_line(site: Site) -> None:
    told, shown = site.get("/api/runs/bad/why").data, command_line(site.record, "why", "bad")
    told.pop("now_ns")
    shown.pop("now_ns")
    assert told == shown


def test_the_list_is_that_of_the_command_line(site: Site) -> None:
    told = site.get("/api/runs").data
    shown = command_line(site.record, "runs", "list")
    assert [run["run_id"] for run in told["runs"]] == [run["run_id"] for run in shown]
    for run, other in zip(told["runs"], shown, strict=True):
        assert {name: other[name] for name in run if name != "told"} == {
            name: value for name, value in run.items() if name != "told"
        }
    assert told["counts"] == {"ok": 1, "failed": 1}
    assert "no lock" in told["runs"][0]["told"]


def test_the_list_is_filtered_as_the_address_says(site: Site) -> None:
    def ids(query: str) -> list[str]:
        return [run["run_id"] for run in site.get(f"/api/runs?{query}").data["runs"]]

    assert ids("outcome=failed") == ["bad"]
    assert ids("outcome=failed&outcome=ok") == ["bad", "good"]
    assert ids("command=root&limit=1") == ["bad"]
    assert ids("command=other") == []
    assert ids("since=1h") == ["bad", "good"]
    assert ids("until=yesterday") == []
    assert ids("command=&outcome=") == ["bad", "good"]
    assert site.get("/api/runs?limit=1").data["has_more"] is True


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/runs?outcom=ok", 400, "did you mean 'outcome'"),
        ("/api/runs?outcome=okay", 400, "allowed: ok"),
        ("/api/runs?limit=0", 400, "from 1 to 1000"),
        ("/api/runs?limit=x", 400, "from 1 to 1000"),
        (f"/api/runs?limit={'1' * 5000}", 400, "from 1 to 1000"),
        ("/api/runs?since=never", 400, "allowed: 2h"),
        ("/api/runs/other", 404, "no run"),
        ("/api/runs/other/why", 404, "no run"),
        ("/api/runs/bad/node?path=root/lost", 400, "did you mean 'root/last'"),
    ],
)
def test_what_cannot_be_answered_is_told(site: Site, path: str, status: int, words: str) -> None:
    answer = site.get(path)
    assert answer.status == status
    assert words in answer.data["error"] + answer.data.get("hint", "")


def test_one_node_is_told_whole(site: Site) -> None:
    told = site.get("/api/runs/bad/node?path=root/last").data
    assert told["state"] == "failed"
    assert told["node"]["finished"]["cause"]["kind"] == "raised"
    assert "no lock" in told["node"]["message"]


def test_the_usual_duration_is_told_once_enough_runs_are_known(site: Site, tmp_path: Path) -> None:
    assert site.get("/api/runs/good/rows").data["head"]["usual"] is None
    with new_recorder(site.record, tmp_path / "more") as recorder:
        for number in range(5):
            run_recorded(recorder, f"other-{number}", tree(3))
    usual = site.get("/api/runs/good/rows").data["head"]["usual"]
    assert usual["run_count"] == 5
    assert 0 < usual["low_s"] <= usual["high_s"]
    of_nodes = site.get("/api/runs/other-0/usual").data["usual_s"]
    assert of_nodes.keys() == {"root", "root/group", *(f"root/group/leaf-{n}" for n in range(3))}
    assert all(took >= 0 for took in of_nodes.values())
    assert site.get("/api/runs/nothing/usual").status == 404


def keep_output(site: Site, folder: Path, *files: Path) -> None:
    """Keep a run with an analysis that wrote files."""
    with new_recorder(site.record, folder / "more") as recorder:
        run = LiveRun(recorder, "analysed", 1, kind="ANALYSIS")
        detail = AnalysisDetail("FitRings", output_files=tuple(map(str, files)))
        run.tell(path="root/leaf-0", kind="note", status=None, detail=detail)
        kept_up_to(site.store, run)


def test_the_last_lines_of_the_output_are_told_to_whom_the_link_let_in(
    site: Site, entrance: Entrance, tmp_path: Path
) -> None:
    log, link, gone = tmp_path / "fit.log", tmp_path / "link", tmp_path / "gone"
    log.write_text("".join(f"line {number}\n" for number in range(1_000)) + "10 %\r\n\n")
    link.symlink_to("/etc/passwd")
    keep_output(site, tmp_path, log, link, gone)
    where = "/api/runs/analysed/output?path=root/leaf-0&file="
    told = site.get(f"{where}{log}").data
    assert told["lines"][-2:] == ["line 999", "10 %"]
    assert len(told["lines"]) == 100
    for file, words in (
        (link, "cannot be read"), (gone, "cannot be read"), ("/etc/passwd", "has no output"),
    ):  # fmt: skip
        answer = site.get(f"{where}{file}")
        assert answer.status == 400
        assert words in answer.data["error"]
    entrance.open_reading = True
    assert ask(site.server.port, "/api/runs/analysed/usual").status == 200
    assert ask(site.server.port, f"{where}{log}").status == 400


def test_the_output_of_another_user_is_not_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "fit.log"
    log.write_text("secret")
    keep_output(site, tmp_path, log)
    monkeypatch.setattr(record_answers, "user_name", lambda: "somebody else")
    answer = site.get(f"/api/runs/analysed/output?path=root/leaf-0&file={log}")
    assert answer.status == 400
    assert "is not read from here" in answer.data["error"]


def test_a_verdict_is_added_to_the_record(site: Site) -> None:
    data = {"path": "root/last", "verdict": "ok", "why": "mended", "who": "ann"}
    answer = site.post("/api/runs/bad/verdicts", data)
    assert answer.status == 200
    assert answer.data["fate"] == "done"
    (given,) = History(site.store).verdicts("bad")
    assert (given.path, given.verdict, given.why, given.who) == ("root/last", "ok", "mended", "ann")


def test_a_request_to_a_run_that_has_ended_is_too_late(site: Site) -> None:
    answer = site.post("/api/runs/bad/requests", {"verb": "abort", "why": "x"})
    assert answer.data["fate"] == "too_late"
    assert "the run has ended" in answer.data["words"][0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "cannot be read"),
        ({"verb": "retry"}, "needs the path"),
        ({"verb": "retyr", "path": "root"}, "did you mean 'retry'"),
        ({"verb": "accept", "path": "root/last"}, "needs a reason"),
        ({"verb": "abort", "reason": "x"}, "unknown field"),
        ({"verb": "abort", "why": "x" * 5000}, "5,000 characters"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(site: Site, data: Any, words: str) -> None:
    answer = site.post("/api/runs/bad/requests", data)
    assert answer.status == 400
    assert words in answer.data["error"] + answer.data.get("hint", "")


def test_a_request_that_is_too_large_is_refused(site: Site) -> None:
    answer = site.post("/api/runs/bad/requests", b" " * 200_000)
    assert answer.status == 413


def test_a_server_that_ends_lets_go_of_open_streams(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=100)
    connection.request("GET", "/api/stream", headers={"Cookie": site.cookie})
    answer = connection.getresponse()
    assert answer.readline() == b"event: changed\n"
    site.server.stop()
    assert not site.server.is_alive
    while answer.readline():
        pass
    connection.close()
