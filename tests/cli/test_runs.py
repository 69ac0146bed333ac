"""``taskgrove runs``: what it shows of the record, to people and to programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.events import decode_event
from taskgrove.store.queries.export_jsonl import read_jsonl
from taskgrove.store.store import Store
from tests.cli.command_line import PATIENCE_S, command, environment, taskgrove
from tests.store.kept_runs import SECOND_NS, beams, every_minute, keep, keep_beams, ran, retimed

GOOD, BAD, OTHER = (
    "20261121T070000Z-aaaa0001",
    "20261121T070100Z-aaaa0002",
    "20261121T070200Z-bbbb0003",
)


def ask(*arguments: str, code: int = 0, **env: str) -> str:
    """Run the command line in this process; return what it said on standard output."""
    done = CliRunner().invoke(app, ["runs", *arguments], env={"TASKGROVE_DB": None, **env})
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A good run, a degraded one and a failed one of another command."""
    with Store.open(tmp_path / "runs.db") as store:
        keep_beams(store, GOOD, start=every_minute(0), labels={"shift": "night"})
        keep_beams(store, BAD, start=every_minute(1), failing=["pst-beam-02"])
        keep_beams(store, OTHER, start=every_minute(2), failing=["cbf-subarray-01"], command="scan")
    return str(tmp_path / "runs.db")


def test_list(db: str) -> None:
    head, *rows = ask("list", "--db", db).splitlines()
    assert head.split() == ["RUN", "COMMAND", "OUTCOME", "TOOK", "LEAVES", "WHY"]
    assert [row.split()[0] for row in rows] == [OTHER, BAD, GOOD]
    assert rows[1].split()[1:7] == ["configure", "degraded", "1.0", "s", "1/4", "bad"]
    assert "mid-cbf/subarray/01: no lock" in rows[0]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--command", "conf*"], [BAD, GOOD]),
        (["--outcome", "ok,failed"], [OTHER, GOOD]),
        (["--outcome", "ok", "--outcome", "degraded"], [BAD, GOOD]),
        (["--device", "mid-pst/beam/01", "--limit", "1"], [OTHER]),
        (["--since", "2026-11-21T07:01"], [OTHER, BAD]),
        (["--until", "2026-11-21T07:01"], [GOOD]),
        (["--label", "shift=night"], [GOOD]),
    ],
)
def test_filters(db: str, options: list[str], found: list[str]) -> None:
    told = json.loads(ask("list", "--db", db, "--json", *options))
    assert [run["run_id"] for run in told] == found


def test_a_list_as_json_is_typed(db: str) -> None:
    newest, *_ = json.loads(ask("list", "--db", db, "--json"))
    assert newest["outcome"] == "failed"
    assert newest["status"] == "FAILED"
    assert newest["duration_s"] == 1.0
    assert newest["created_at"] == "2026-11-21T07:02:00+00:00"
    assert newest["labels"] == {}


def test_more_runs_than_asked_for_are_mentioned(db: str) -> None:
    assert "The newest 2 runs; '--limit' shows more." in ask("list", "--db", db, "--limit", "2")
    assert "--limit" not in ask("list", "--db", db, "--limit", "3")


def test_show(db: str) -> None:
    told = ask("show", "last:configure", "--db", db)
    assert told.startswith("configure: degraded, 1.0 s\n")
    assert f"run      {BAD}" in told
    assert "2026-11-21 07:01:00 to 2026-11-21 07:01:01 UTC" in told
    assert re.search(r"pst-beam-02 +✗ failed +1.0 s", told)
    assert re.search(r"pst-beam-01 +✓ completed", told)
    assert "no lock" in told


def test_show_as_json(db: str) -> None:
    told = json.loads(ask("show", BAD[:16], "--db", db, "--json"))
    assert told["run"]["run_id"] == BAD
    assert told["run"]["user"] == "operator"
    bad = {node["path"]: node for node in told["nodes"]}["configure/configure_pst/pst-beam-02"]
    assert not [name for name in bad if name.startswith("_")]
    assert (bad["status"], bad["result_code"]) == ("COMPLETED", "FAILED")
    assert bad["composed"]["target"] == "mid-pst/beam/02"
    assert told["pages"] == told["verdicts"] == []


def test_show_of_a_good_run_gives_no_reasons(db: str) -> None:
    told = ask("show", "last-ok", "--db", db)
    assert "shift=night" in told
    assert "next:" not in told


def lease(silent_s: float) -> dict[str, Any]:
    heartbeat = SYSTEM_CLOCK.wall_ns() - int(silent_s * SECOND_NS)
    return {  # the interval: nothing here may take five times as long
        "host": "h7", "pid": 4711, "pid_started": 1.0, "heartbeat_ns": heartbeat, "interval_s": 60,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "silent_s", "words"),
    [
        (
            "running",
            1.0,
            ["configure: running", "running in process 4711 on h7", "sign of life", "last event"],
        ),
        ("running", 3600.0, ["lost; last event", "no sign of life for", "taskgrove recover"]),
        ("lost", None, ["lost; last event", "2026-11-21 07:00:00 UTC", "it was killed"]),
        ("running", None, ["configure: lost", "nobody holds it", "taskgrove recover"]),
    ],
)
def test_what_is_not_over_says_what_is_known(
    tmp_path: Path, state: str, silent_s: float | None, words: list[str]
) -> None:
    with Store.open(tmp_path / "runs.db") as store:
        events = retimed(ran(beams(), run_id="r"))[:12]
        held = None if silent_s is None else lease(silent_s)
        keep(store, events, state=state, lease=held, state_note="it was killed")
    told = ask("show", "last", "--db", str(tmp_path / "runs.db"))
    for word in words:
        assert word in told, told
    assert "completed" not in told.partition("\n")[0]
    listed = ask("list", "--db", str(tmp_path / "runs.db"))
    assert f" {told.partition(',')[0].rpartition(' ')[2]} " in listed


def test_diff(db: str) -> None:
    told = ask("diff", "last-ok", "last-degraded", "--db", db)
    assert "- run: ok → degraded" in told
    assert "- only B: mid-pst/beam/02: no lock" in told
    assert "Durations" not in told
    assert "A and B are the same run." in ask("diff", "last", "last", "--db", db)
    plain = json.loads(ask("diff", GOOD, BAD, "--db", db, "--json"))
    assert {item["topic"] for item in plain["differences"]} == {"outcome", "cause", "status"}


def test_stats(db: str) -> None:
    told = ask("stats", "--db", db)
    assert told.startswith("3 runs: 1 ok, 1 degraded, 1 failed\n")
    assert re.search(r"mid-pst/beam/02 +2 +1.0 s +1.0 s +50.0 % +1$", told, re.MULTILINE)
    few = ask("stats", "--db", db, "--rows", "1")
    assert "more; '--rows 0' shows all." in few
    plain = json.loads(ask("stats", "--db", db, "--json", "--command", "configure"))
    assert plain["run_count"] == 2
    assert plain["devices"][0]["spoiled_run_count"] == 1


def test_prune(db: str) -> None:
    told = ask("prune", "--db", db, "--keep-last", "1", "--dry-run")
    assert re.search(r"^2 runs would be removed, with \d+ events; 1 stay\.$", told, re.MULTILINE)
    assert len(json.loads(ask("list", "--db", db, "--json"))) == 3
    plain = json.loads(ask("prune", "--db", db, "--keep-last", "2", "--json"))
    assert [run["run_id"] for run in plain["runs"]] == [GOOD]
    assert "0 runs removed" in ask("prune", "--db", db, "--older-than", "9000w")
    assert [run["run_id"] for run in json.loads(ask("list", "--db", db, "--json"))] == [OTHER, BAD]


def test_export_as_json_lines(db: str, tmp_path: Path) -> None:
    lines = ask("export", BAD, "--db", db).splitlines()
    assert json.loads(lines[0])["run_id"] == BAD
    assert [decode_event(line).run_id for line in lines[1:]] == [BAD] * (len(lines) - 1)
    done = ask("export", "--outcome", "ok", "--db", db, "-o", str(tmp_path / "x.jsonl"))
    assert done == ""
    (run,) = read_jsonl((tmp_path / "x.jsonl").read_bytes().splitlines())
    assert run.header["run_id"] == GOOD


def test_export_as_page_and_as_parquet(db: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("an older one")
    ask("export", "last", "last-ok", "--db", db, "--output", str(page))
    assert page.read_text().count("<article") == 2
    assert os.listdir(tmp_path).count("report.html") == 1
    assert not list(tmp_path.glob("*.part-*"))
    pytest.importorskip("pyarrow")
    ask("export", "--db", db, "--output", str(tmp_path / "out.parquet"))
    assert (tmp_path / "out.parquet" / "events.parquet").is_file()


def test_an_export_replaces_neither_a_link_nor_a_pipe(db: str, tmp_path: Path) -> None:
    (tmp_path / "real.html").write_text("an older one")
    (tmp_path / "link.html").symlink_to("real.html")
    ask("export", "last", "--db", db, "-o", str(tmp_path / "link.html"))
    assert (tmp_path / "link.html").is_symlink()
    assert "<article" in (tmp_path / "real.html").read_text()
    os.mkfifo(tmp_path / "pipe.jsonl")
    reader = os.open(tmp_path / "pipe.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        ask("export", OTHER, "--db", db, "-o", str(tmp_path / "pipe.jsonl"))
        assert json.loads(os.read(reader, 1 << 16).splitlines()[0])["run_id"] == OTHER
        assert (tmp_path / "pipe.jsonl").is_fifo()
    finally:
        os.close(reader)


def test_an_export_never_writes_over_the_record_that_it_reads(db: str, tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(db)
    for target in (db, str(tmp_path / "link.html")):
        told = ask("export", "last", "--format", "html", "--db", db, "-o", target, code=2)
        assert "is a file of this record" in told
    assert ask("show", "last", "--db", db)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "20261121T0703"], ["holds no run", "did you mean"]),
        (["show", "2026"], ["several runs begin with"]),
        (["list", "--outcome", "fialed"], ["no outcome 'fialed'", "did you mean 'failed'"]),
        (["list", "--since", "soonish"], ["--since cannot be read", "2026-11-21"]),
        (["stats", "--label", "night"], ["name=value"]),
        (["diff", "last", "nothing-like-it"], ["holds no run 'nothing-like-it'"]),
        (["export", "--format", "htlm"], ["no format 'htlm'", "did you mean 'html'"]),
        (["export", "-o", "x.docx"], ["ending '.docx' names no format"]),
        (["export", "--format", "parquet"], ["goes into a folder"]),
        (["export", "--outcome", "lost"], ["no runs match"]),
        (["export", "last", "-o", "/nowhere/x.html"], ["/nowhere/x.html cannot be written"]),
        (["prune"], ["nothing says which runs may go", "--keep-last"]),
        (["prune", "--older-than", "3m"], ["--older-than has no unit 'm'", "30min"]),
        (["prune", "--older-than", "soon"], ["a number and a unit, such as 90d"]),
        (["list", "--limit", "0"], ["--limit"]),
    ],
)
def test_wrong_use_is_told(db: str, arguments: list[str], words: list[str]) -> None:
    verb, *rest = arguments
    said = " ".join(ask(verb, "--db", db, *rest, code=2).split())
    for word in words:
        assert word in said.replace("│", ""), said


def test_before_anything_was_recorded(tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    for verb in ("list", "stats"):
        assert "'taskgrove run MAP COMMAND' records one" in ask(verb, **home)
    assert json.loads(ask("list", "--json", **home)) == []
    for arguments in (["show", "last"], ["diff", "a", "b"], ["export"]):
        assert "no run has been recorded yet" in ask(*arguments, code=2, **home)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_record_and_a_filter_that_fits_nothing(tmp_path: Path, db: str) -> None:
    Store.open(tmp_path / "empty.db").close()
    told = ask("list", "--db", str(tmp_path / "empty.db"))
    assert "No run has been recorded yet in" in told
    assert "No runs match." in ask("list", "--db", db, "--outcome", "lost")
    assert "No runs match." in ask("stats", "--db", db, "--command", "other")


def test_two_records_are_kept_apart(tmp_path: Path, db: str) -> None:
    with Store.open(tmp_path / "second.db") as store:
        keep_beams(store, "elsewhere", command="assign")
    second = str(tmp_path / "second.db")
    assert "elsewhere" in ask("list", "--db", second)
    assert "elsewhere" not in ask("list", "--db", db)
    assert "assign" in ask("list", TASKGROVE_DB=second)
    assert "configure" in ask("list", "--db", db, TASKGROVE_DB=second)


def test_a_record_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = ask("list", "--db", str(tmp_path / "no.db"), code=2)
    assert "no.db" in said
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 9)
    assert "is not a SQLite database" in ask("list", "--db", str(tmp_path / "text.db"), code=2)


def on_a_terminal(arguments: list[str], **variables: str) -> str:
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", LINES="24", **variables)
    with subprocess.Popen(command(*arguments), env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = _read_all(ours)
    assert process.wait(PATIENCE_S) == 0, shown
    return shown


def _read_all(fd: int) -> str:
    data = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:  # how a pseudo terminal tells that the other end is closed
            piece = b""
        if not piece:
            os.close(fd)
            return data.decode()
        data += piece


@pytest.mark.parametrize("verb", ["list", "show last", "stats", "diff last-ok last"])
def test_it_fits_80_columns(db: str, verb: str) -> None:
    shown = on_a_terminal(["runs", *verb.split(), "--db", db], NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown)
    assert max(map(len, plain.splitlines())) <= 80
    if verb == "list":  # on a narrow terminal ids are as short as they can be told apart
        assert f"\n{BAD[:16]}  configure  degraded" in plain.replace("\r", "")


def test_colours_only_where_they_are_wanted(db: str) -> None:
    assert "\x1b[1;31m" in on_a_terminal(["runs", "list", "--db", db])
    assert "\x1b[1;31m" not in on_a_terminal(["runs", "list", "--db", db], NO_COLOR="1")
    assert "\x1b" not in ask("list", "--db", db)


def test_what_devices_say_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    from taskgrove.testing import Script

    with Store.open(tmp_path / "runs.db") as store:
        evil = {"pst-beam-02": Script.fails("\x1b[31m evil\r\nsecond [red]line[/red]")}
        keep_beams(store, "r", scripts=evil, labels={"\x1b]0;title\x07": "x\ny"})
    for arguments in (["list"], ["show", "last"], ["stats"], ["diff", "last", "last"]):
        said = ask(*arguments, "--db", str(tmp_path / "runs.db"))
        assert "\x1b" not in said
        assert "\r" not in said
    assert "[red]line[/red]" in ask("show", "last", "--db", str(tmp_path / "runs.db"))


LEFT_OUT_MANAGER = """
class Manager:
    ready = "NO"

    @property
    def broken(self):
        raise ConnectionError("no reply")

    def well(self):
        return 0, "fine"
"""

LEFT_OUT_MAP = """
go:
  type: sequential
  tasks:
    first: {handler: internal, command_name: well}
    second:
      handler: internal
      command_name: late
      allowed_states: {attr_name: ATTRIBUTE, attr_value: [YES]}
"""


@pytest.mark.parametrize(
    ("attribute", "code", "reason"),
    [
        ("ready", 0, "ready is NO; allowed: YES"),
        ("broken", 3, "reading broken raised ConnectionError"),
    ],
)
def test_what_was_left_out_is_told_by_every_verb(
    tmp_path: Path, attribute: str, code: int, reason: str
) -> None:
    (tmp_path / "site_manager.py").write_text(LEFT_OUT_MANAGER)
    (tmp_path / "map.yaml").write_text(LEFT_OUT_MAP.replace("ATTRIBUTE", attribute))
    run = taskgrove(
        "run", "map.yaml", "go", "--manager", "site_manager:Manager", "--no-live", cwd=tmp_path
    )
    assert run.returncode == code, run.stderr
    told = f"left out: second: {reason}"
    assert told in run.stdout.partition("go completed")[2]
    for verb in (["why", "last"], ["runs", "show", "last"], ["runs", "list"]):
        shown = taskgrove(*verb, cwd=tmp_path)
        assert told in " ".join(shown.stdout.split()), verb
    listed = json.loads(taskgrove("runs", "list", "--json", cwd=tmp_path).stdout)
    (item,) = listed[0]["left_out"]
    assert (item["name"], item["device"], item["reason"]) == ("second", None, reason)
    page = taskgrove("runs", "export", "--format", "html", cwd=tmp_path).stdout
    assert told in page
