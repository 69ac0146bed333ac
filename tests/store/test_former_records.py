"""A record that a former version left is read, explained, recovered and resumed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.store import Store
from taskgrove.store.database.holders import boot_id
from taskgrove.store.database.location import find_location
from taskgrove.store.database.opening import connect_to
from taskgrove.store.database.record_version import version_of
from taskgrove.store.history import History
from taskgrove.store.queries.export_jsonl import read_jsonl
from taskgrove.store.queries.run_filter import RunFilter
from tests.cli.command_line import taskgrove
from tests.store.former import RUNS, lay_out, lay_out_site

#: A run of a single analysis had its name in small letters in version 1.
_NAMES = {"draw-frames": "DrawFrames", "waits": "Waits"}


def named(command: str, version: int) -> str:
    """Return a command as a version of the record names it."""
    return _NAMES.get(command, command) if version > 1 else command


@pytest.fixture(
    # The oldest one is farthest away.
    params=[1, *(pytest.param(later, marks=pytest.mark.thorough) for later in (2, 3, 4))],
    ids=["version 1", "version 2", "version 3", "version 4"],
)
def version(request: pytest.FixtureRequest) -> int:
    """The version of the tables of a record."""
    return int(request.param)


@pytest.fixture
def former(record_url: str, version: int) -> str:
    """The record of a former version, as it was left."""
    lay_out(record_url, version)
    return record_url


@pytest.fixture
def expected(version: int) -> list[tuple[str, str]]:
    """Command and outcome of each of its runs, oldest first."""
    runs = [run.split() for run in RUNS.replace("\n", " ").split(", ")]
    return [(named(command, version), outcome) for command, outcome in runs]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Its map and modules, in a folder of their own."""
    lay_out_site(tmp_path / "site")
    return tmp_path / "site"


def ask(code: int, *words: str) -> str:
    """Run the command line in this process; return what it said on standard output."""
    done = CliRunner().invoke(app, words, env={"TASKGROVE_DB": None})
    assert done.exit_code == code, (words, done.output, done.exception)
    return done.stdout


def run_ids(former: str) -> list[str]:
    """Return the ids of its runs, oldest first."""
    with History.open(former) as history:
        return [run.run_id for run in reversed(history.runs())]


def test_every_run_is_listed_as_it_ended(former: str, expected: list[tuple[str, str]]) -> None:
    with Store.open(former) as store:
        find_lost(store)
    with History.open(former) as history:
        found = [(run.command, run.outcome) for run in reversed(history.runs())]
    assert found == expected


def test_every_run_is_read_whole(former: str) -> None:
    with History.open(former) as history:
        runs = history.runs()
        for run in runs:
            events = list(history.events(run))
            assert max([0, *(event.sequence for event in events)]) == run.last_sequence
            # What the events tell is what the rows beside them tell.
            assert {node.path: node.status for node in history.nodes(run)} == {
                path: node.status for path, node in history.facts(run).nodes.items()
            }
            assert run.lost_event_count == 0
        analyses = [row for run in runs for row in history.analyses(run)]
        assert len(analyses) == 20
        assert "frames drawn" in {row.summary for row in analyses}
        assert [row.display_name for run in runs for row in history.pages(run)] == 2 * [
            "run7/frames"
        ]
        said = [row.why for run in runs for row in history.verdicts(run)]
        assert sorted(said) == ["known", "lit by hand", "the fuse?"]
        whole = {run.command: history.run(run) for run in runs}
        assert "hunter" not in json.dumps(dict(whole["secret"].source))
        resumed = [run for run in runs if run.parent_run_id]
        assert [run.command for run in resumed] == ["bad"]


def test_every_run_is_shown_explained_and_exported(
    former: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    ids = run_ids(former)
    for run, (command, _) in zip(ids, expected, strict=True):
        for verb in (("runs", "show"), ("why",)):
            assert command in ask(0, *verb, run, "--db", former)
            assert json.loads(ask(0, *verb, run, "--json", "--db", former))
    for name in ("all.html", "all.jsonl", "all.parquet"):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        ask(0, "runs", "export", *ids, "--db", former, "-o", str(tmp_path / name))
    exported = read_jsonl((tmp_path / "all.jsonl").read_bytes().splitlines())
    assert [run.header["run_id"] for run in exported] == ids
    assert (tmp_path / "all.html").read_text(encoding="utf-8").count("<article") == len(ids)


def test_results_are_found_by_the_name_of_the_analysis(former: str) -> None:
    with History.open(former) as history:
        newest = history.find("last:DrawFrames")
        (row,) = history.results(RunFilter(command="DrawFrames", limit=1))
        assert (row.run_id, row.analysis, row.status) == (newest.run_id, "DrawFrames", "COMPLETED")
        assert history.find("last:draw-frames").run_id == newest.run_id
        assert row.values["payload.frames"] == 9
        assert row.values["payload.plots"] == "run7/frames"


def test_runs_are_compared_and_counted(former: str) -> None:
    ids = run_ids(former)
    with History.open(former) as history:
        diff = history.diff(ids[16], ids[18])
        assert ("ok", "degraded") in {(d.first, d.second) for d in diff.of("outcome")}
        commands = {item.command: item.run_count for item in history.stats().commands}
    assert commands["configure"] == 5
    assert commands["long"] == 3


def test_the_last_sign_of_life_of_a_lost_run_is_told_once(former: str) -> None:
    lines = ask(0, "recover", "--db", former).splitlines()
    assert {line.count("last sign of life") for line in lines if "its process" in line} == {1}


@pytest.mark.parametrize(("number", "command"), [(24, "scan"), (26, "waits"), (27, "long")])
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_what_was_lost_is_recovered(former: str, version: int, number: int, command: str) -> None:
    run = run_ids(former)[number]
    ask(1, "recover", run, "--give-up", "--no-live", "--db", former)
    with History.open(former) as history:
        found = history.run(run)
        name = named(command, version)
        assert (found.command, found.state, found.outcome) == (name, "final", "failed")
        assert found.lease is None


@pytest.mark.parametrize(
    ("number", "options", "outcome"),
    [
        (8, ("--manager", "site_steps:Steps", "--again"), "ok"),  # it was resumed before
        (10, ("--manager", "site_steps:Steps"), "ok"),  # with a verdict
        (13, ("--analyses", "site_analyses"), "ok"),  # an analysis by itself
        (25, ("--manager", "site_steps:Steps"), "ok"),  # recovered before
    ],
)
def test_what_failed_is_resumed(
    former: str, site: Path, number: int, options: tuple[str, ...], outcome: str
) -> None:
    run = run_ids(former)[number]
    words = ("resume", run, "--yes", "--no-live", "--db", former, *options)
    done = taskgrove(*words, cwd=site)  # a process: it imports the site's modules
    assert done.returncode == 0, done
    with History.open(former) as history:
        newest = history.runs()[0]
        assert (newest.parent_run_id, newest.outcome) == (run, outcome)


def test_a_run_that_was_resumed_knows_by_which(former: str, site: Path) -> None:
    first, second = run_ids(former)[8:10]
    done = taskgrove(
        *("resume", first, "--yes", "--db", former, "--manager", "site_steps:Steps"), cwd=site
    )
    assert done.returncode == 2
    assert f"resumed already, by run {second}" in done.stderr
    assert second in ask(0, "why", first, "--db", former)


@pytest.fixture
def runner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives; what it does does not matter."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_it_stays_as_it_is_while_its_older_version_records_in_it(
    former: str, version: int, site: Path, runner: subprocess.Popen[bytes]
) -> None:
    """The last run of it lives: its lease is that of a process that is there."""
    lease = (boot_id(), runner.pid, psutil.Process(runner.pid).create_time(), time.time_ns())
    change = "UPDATE leases SET boot_id = '%s', pid = %d, pid_started = %r, heartbeat_ns = %d"
    connections = connect_to(find_location(former), create=False, read_only=False)
    with connections.lent() as connection:
        connection.execute(change % lease)
        connection.commit()
    who = f"(long) in it: process {runner.pid} on control-01"
    for words in (("runs", "list"), ("why", "last"), ("runs", "stats")):
        done = taskgrove(*words, "--db", former, cwd=site)
        assert who in done.stderr
        if "://" in former:  # the tables of a server cannot be copied aside
            assert (done.returncode, done.stdout) == (2, "")
        else:
            assert (done.returncode, "long" in done.stdout) == (0, True), done
    run = ("run", "map.yaml", "good", "--manager", "site_steps:Steps", "--no-live")
    for words in (run, ("resume", "last", "--yes"), ("recover",)):
        done = taskgrove(*words, "--db", former, cwd=site)
        assert (done.returncode, done.stdout) == (2, "")
        assert who in done.stderr
    assert version_of(connections) == version  # the older version finds what it left
    with connections.lent() as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (28,)
    connections.close()
    runner.kill()
    done = taskgrove("runs", "list", "--db", former, cwd=site)
    assert done.returncode == 0
    assert "(long) was lost" in done.stderr


def test_a_resume_whose_files_are_gone_says_which(former: str, site: Path) -> None:
    run = run_ids(former)[12]
    words = ("resume", run, "--yes", "--no-live", "--db", former, "--analyses", "site_analyses")
    done = taskgrove(*words, cwd=site)
    assert done.returncode == 4, done
    assert "check /srv/beam/site.yaml: it does not exist" in done.stdout


def test_the_kept_record_says_nothing_of_the_machine_on_which_it_was_made(former: str) -> None:
    with History.open(former) as history:
        for summary in history.runs():
            run = history.run(summary)
            assert (run.host, run.user) == ("control-01", "operator")
            assert run.argv[0].startswith("/opt/taskgrove/")
