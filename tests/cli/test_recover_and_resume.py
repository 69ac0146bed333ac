"""After a crash or a failure: `taskgrove recover`, `resume` and `verdict`, as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.recovery import lost_run_recovery as recovery
from taskgrove.store import History
from tests.cli.command_line import PATIENCE_S, command, environment, taskgrove

MANAGER = """
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path


def is_on_record():
    \"\"\"Return whether the record holds that the step has started.\"\"\"
    options = dict(zip(sys.argv, sys.argv[1:]))
    file = Path(options.get("--db") or os.environ["TASKGROVE_DB"])
    with closing(sqlite3.connect(file.absolute().as_uri() + "?mode=ro", uri=True)) as record:
        query = "SELECT body FROM events ORDER BY run_key DESC, sequence"
        bodies = [bytes(body) for (body,) in record.execute(query)]
    return any(b"parts/two" in body and b'"started"' in body for body in bodies)


class Manager:
    components = {}

    def check(self):
        return 0, "all checked"

    def one(self):
        with Path("ones").open("a") as file:
            file.write("x")
        return 0, "one is fine"

    def two(self):
        if Path("die").exists():
            while not is_on_record():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return (3, "two is broken") if Path("broken").exists() else 0

    def last(self):
        return 0
"""

MAP = """
configure:
  type: sequential
  skip_subtasks: true
  tasks:
    check: {handler: internal, command_name: check}
    parts:
      type: sequential
      tasks:
        one: {handler: internal, command_name: one}
        two: {handler: internal, command_name: two}
    last: {handler: internal, command_name: last}
"""

AGAIN = ("--manager", "manager:Manager")


class Verb:
    """Calls verbs in a folder with a record: in this process, or as one of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> SimpleNamespace:
        sys.modules.pop("manager", None)  # each folder has its own
        done = CliRunner().invoke(app, words)
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    def process(self, *words: str) -> subprocess.CompletedProcess[str]:
        return taskgrove(*words, cwd=self.folder, env=environment(TASKGROVE_DB="runs.db"))


@pytest.fixture
def verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verb]:
    (tmp_path / "manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(MAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TASKGROVE_DB", "runs.db")
    yield Verb(tmp_path)
    sys.modules.pop("manager", None)


def run(verb: Verb) -> SimpleNamespace:
    return verb("run", "map.yaml", "configure", *AGAIN)


def run_killed(verb: Verb) -> None:
    (verb.folder / "die").touch()
    done = verb.process("run", "map.yaml", "configure", *AGAIN)
    assert done.returncode == -signal.SIGKILL
    (verb.folder / "die").unlink()


def run_id(words: str) -> str:
    found = re.search(r"\d{8}T\d{6}Z-[0-9a-f]{8}", words)
    assert found is not None, words
    return found[0]


def test_a_killed_run_is_told_of_at_the_next_start_and_recovered(
    verb: Verb, tmp_path: Path
) -> None:
    run_killed(verb)
    following = run(verb)
    assert following.returncode == 0
    lost = run_id(following.stdout)
    [line] = [line for line in following.stdout.splitlines() if "was lost" in line]
    assert re.fullmatch(
        rf"note: run {lost} \(configure\) was lost: its process \d+ on \S+ is gone; last sign of"
        rf" life [-\d]+ [:\d]+ UTC; taskgrove recover {lost}",
        line,
    )
    assert "was lost" not in run(verb).stdout  # said once
    listed = verb("recover")
    assert listed.returncode == 0
    assert f"{lost}  configure" in listed.stdout
    assert "leaves: 2 ended on record, 1 in flight, their fate not known, 1 not started" in (
        listed.stdout
    )
    done = verb("recover", lost)
    assert done.returncode == 1
    assert "it was running in the process that was lost" in done.stdout
    assert "\n  - 1 skipped (parts failed): last\n" in done.stdout
    again = verb("recover", lost)
    assert again.returncode == 2
    assert "has ended: there is nothing to recover" in again.stderr
    assert verb("recover").stdout.strip() == "No run is lost."


def test_an_interrupt_as_a_recovery_begins_leaves_no_run_claimed(
    verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_killed(verb)
    claim = recovery._claim

    def interrupted(*arguments: Any) -> None:
        claim(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(recovery, "_claim", interrupted)
    done = verb("recover", "last-lost")
    assert done.returncode == 1
    assert "Ctrl-C: aborting" in done.stdout + done.stderr
    assert "it was running in the process that was lost" in done.stdout
    assert verb("recover").stdout.strip() == "No run is lost."


@pytest.mark.parametrize("words", [("runs", "list"), ("runs", "show", "last-lost"), ("why",)])
def test_no_verb_shows_a_killed_run_as_running(verb: Verb, words: tuple[str, ...]) -> None:
    run_killed(verb)
    told = verb(*words)
    assert told.returncode == 0, told.stderr
    assert "was lost: its process" in told.stderr  # told once, and not among the data
    assert "was lost: its process" not in told.stdout
    assert "lost" in told.stdout
    assert "running " not in told.stdout.partition("\n\n")[0].replace("was running", "")
    again = verb("runs", "list", "--outcome", "lost", "--json")
    assert again.stderr == ""
    assert [run["outcome"] for run in json.loads(again.stdout)] == ["lost"]


def test_a_lost_run_is_recovered_before_it_is_resumed(verb: Verb, tmp_path: Path) -> None:
    run_killed(verb)
    looked = verb("resume", "last", *AGAIN, "--dry-run")
    assert looked.returncode == 0
    assert "It is recovered before it is resumed" in looked.stdout
    looked = verb("resume", "last", *AGAIN, "--dry-run", "--json")
    assert json.loads(looked.stdout)["is_lost"] is True
    assert "It is recovered before it is resumed" in looked.stderr
    assert verb("resume", "last", *AGAIN).returncode == 2  # nobody to ask
    done = verb("resume", "last", *AGAIN, "--yes")
    assert done.returncode == 0, done
    assert "reuse 2, redo 2, skip 0" in done.stdout
    assert (tmp_path / "ones").read_text() == "x"  # it completed once, and did not run again


def test_a_failed_run_is_resumed_with_what_completed(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    first = run_id(run(verb).stdout)
    plan = verb("resume", "last", *AGAIN, "--dry-run")
    assert plan.returncode == 0
    assert f"Resume of run {first}: reuse 2, redo 2, skip 0" in plan.stdout
    did = 'reported a failure: "two is broken"'
    assert f"  redo   configure/parts/two: {did}" in plan.stdout
    assert f"step parts/two {did}" in " ".join(verb("why", "last").stdout.split())
    assert "  redo   configure/last: skipped: parts failed" in plan.stdout
    refused = verb("resume", "last", *AGAIN)
    assert refused.returncode == 2
    assert "--yes does it without asking" in refused.stderr
    (tmp_path / "broken").unlink()
    done = verb("resume", "last", *AGAIN, "--yes")
    assert done.returncode == 0
    assert (tmp_path / "ones").read_text() == "x"
    shown = verb("runs", "show", "last", "--json")
    assert f'"parent_run_id": "{first}"' in shown.stdout
    nothing = verb("resume", "last", *AGAIN, "--yes")
    assert nothing.returncode == 0
    assert "Nothing to do" in nothing.stdout
    redone = verb("resume", "last", *AGAIN, "--yes", "--redo", "configure/parts/**")
    assert redone.returncode == 0
    assert (tmp_path / "ones").read_text() == "xx"
    near = verb("resume", "last", *AGAIN, "--redo", "configure/part/**")
    assert near.returncode == 2
    assert "did you mean 'configure/parts'" in near.stderr


def test_a_plan_is_given_as_data_and_only_that_plan_is_carried_out(
    verb: Verb, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    first = run_id(run(verb).stdout)
    words = ("resume", "last", *AGAIN)
    told = json.loads(verb(*words, "--dry-run", "--json").stdout)
    assert (told["run_id"], told["is_lost"], told["is_done"]) == (first, False, False)
    actions = {leaf["path"]: leaf["action"] for leaf in told["leaves"]}
    assert actions["configure/parts/one"] == "reuse"
    assert actions["configure/parts/two"] == "redo"
    [two] = [leaf for leaf in told["leaves"] if leaf["path"].endswith("two")]
    assert 'reported a failure: "two is broken"' in two["why"]
    wrong = verb(*words, "--dry-run", "--json", "--redo", "nothing/**")
    assert json.loads(wrong.stdout)["code"] == "usage"

    verb("verdict", first, "configure/parts/two", "ok", "--why", "seen it")
    refused = verb(*words, "--yes", "--plan-digest", told["digest"])
    assert refused.returncode == 2
    assert "another one than the one that was shown" in refused.stderr
    told = json.loads(verb(*words, "--dry-run", "--json").stdout)
    new, asked = "20261130T120000Z-0123abcd", ("--plan-digest", told["digest"])
    by = ("--by", "Ann", "--why", "once more")
    done = verb(*words, "--yes", *asked, *by, "--run-id", new)
    assert done.returncode == 0, done.stderr
    shown = json.loads(verb("runs", "show", new, "--json").stdout)["run"]
    assert (shown["parent_run_id"], shown["labels"]) == (first, {"by": "Ann", "why": "once more"})
    (tmp_path / "broken").unlink()
    verb("resume", new, *AGAIN, "--yes", "--redo", "configure/last")
    shown = json.loads(verb("runs", "show", "last", "--json").stdout)["run"]
    assert (shown["parent_run_id"], shown["labels"]) == (new, {})


def test_a_second_resume_is_refused_and_both_runs_are_told(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    first = run_id(run(verb).stdout)
    verb("resume", first, *AGAIN, "--yes")
    second = json.loads(verb("runs", "show", "last", "--json").stdout)["run"]["run_id"]
    (tmp_path / "broken").unlink()
    for more in ((), ("--dry-run",), ("--redo", "**")):
        refused = verb("resume", first, *AGAIN, "--yes", *more)
        assert refused.returncode == 2
        assert f"resumed already, by run {second} (failed)" in refused.stderr
        assert "Resume of run" not in refused.stdout
    [line] = [line for line in advised(refused.stderr) if line[:2] == ["resume", second]]
    assert f"resumed by {second}" in verb("runs", "list").stdout
    assert f"resumed  by {second} (failed)" in verb("runs", "show", first).stdout
    listed = json.loads(verb("runs", "list", "--json").stdout)
    assert [one["resumed_by_run_id"] for one in listed] == [None, second]
    told = verb("why", first)
    assert f"taskgrove why {second}" in " ".join(told.stdout.split())
    assert "taskgrove resume" not in told.stdout
    why = json.loads(verb("why", first, "--json").stdout)
    assert [it["run_id"] for it in why["resumed_by"]] == [second]
    said = verb("verdict", first, "configure/parts/two", "ok", "--why", "seen it")
    assert f"Run {second} has already resumed this run" in said.stdout
    done = verb(*line, "--yes")  # as it was printed
    assert done.returncode == 0, done.stderr
    assert verb("resume", first, *AGAIN, "--yes", "--again").returncode == 0


def test_what_was_typed_is_typed_again_and_never_imported_from_a_record(verb: Verb) -> None:
    run(verb)
    done = verb("resume", "last", "--yes")
    assert done.returncode == 2
    assert "give it again: --manager manager:Manager" in done.stderr


def test_how_a_run_was_to_wait_for_a_person_is_told_and_given_anew(
    verb: Verb, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    pauses = ("--pause-before", "configure/last")
    assert verb("run", "map.yaml", "configure", *AGAIN, *pauses).returncode == 1
    note = "note: the run was to wait for a person; '--pause-before configure/last' does it again"
    assert note in verb("resume", "last", *AGAIN, "--dry-run").stdout
    assert note not in verb("resume", "last", *AGAIN, *pauses, "--dry-run").stdout
    assert verb("resume", "last", *AGAIN, *pauses, "--yes").returncode == 1
    assert verb("resume", "last", *AGAIN, "--yes").returncode == 1
    with History.open("runs.db") as history:
        found = [history.find(run.run_id) for run in history.runs()]
    kept = [run.source.get("pause_before") for run in found]
    assert kept == [None, ["configure/last"], ["configure/last"]]


def test_the_map_on_record_is_used_and_a_changed_file_is_told(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    run(verb)
    (tmp_path / "broken").unlink()
    changed = MAP.replace("last: {handler: internal, command_name: last}", "").rstrip() + "\n"
    (tmp_path / "map.yaml").write_text(changed)
    kept = verb("resume", "last", *AGAIN, "--dry-run")
    assert "map.yaml has changed since; the map on record is used" in kept.stdout
    assert "reuse 2, redo 2, skip 0" in kept.stdout
    fresh = verb("resume", "last", *AGAIN, "--dry-run", "--use-file")
    assert "reuse 2, redo 1, skip 1" in fresh.stdout
    assert "  skip   configure/last: it is not part of the tree any more" in fresh.stdout
    (tmp_path / "map.yaml").unlink()
    gone = verb("resume", "last", *AGAIN, "--dry-run")
    assert "map.yaml is not there any more" in gone.stdout


def test_a_verdict_is_kept_shown_and_honoured(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    run(verb)
    near = verb("verdict", "last", "configure/parts/tow", "ok", "--why", "x")
    assert near.returncode == 2
    assert "did you mean 'configure/parts/two'?" in near.stderr
    wrong = verb("verdict", "last", "configure/parts/two", "okay", "--why", "x")
    assert wrong.returncode == 2
    words = ("verdict", "last", "configure/parts/two", "ok", "--why", "\x1b[31mseen it", "--by")
    given = verb(*words, "ann")
    assert given.returncode == 0
    assert "\x1b" not in given.stdout
    shown = verb("why", "last")
    assert "ann" in shown.stdout
    assert verb("runs", "list").stdout.count("failed") >= 1  # the outcome of record stays
    done = verb("resume", "last", *AGAIN, "--yes")
    assert done.returncode == 0
    assert "configure/parts/two: ann said to treat it as OK" in done.stdout


def test_on_a_terminal_it_asks(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    run(verb)
    main, other = pty.openpty()
    process = subprocess.Popen(
        command("resume", "last", *AGAIN, "--no-live"),
        cwd=tmp_path,
        env=environment(TASKGROVE_DB="runs.db", TERM="xterm"),
        stdin=other,
        stdout=subprocess.PIPE,
        stderr=other,
    )
    os.close(other)
    try:
        asked = b""
        while b"[y/N]" not in asked:
            assert select.select([main], [], [], PATIENCE_S)[0], asked
            asked += os.read(main, 1000)
        assert b"Resume it?" in asked
        os.write(main, b"n\n")
        words, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
        os.close(main)
    assert process.returncode == 5
    assert b"Nothing was started." in words


def test_without_a_record_it_says_so(verb: Verb, tmp_path: Path) -> None:
    for words in (("recover",), ("resume", "last"), ("verdict", "last", "x", "ok", "--why", "y")):
        done = verb(*words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs.db").exists()


def advised(words: str) -> list[list[str]]:
    """Return the command lines that a text advises, as a shell takes them."""
    word = r"""(?:'[^']*'|"[^"]*"|[^\s'";,)])+"""
    line = rf"taskgrove ((?:runs )?[a-z]+(?: (?!--){word})?(?: --[a-z-]+ {word})*)"
    found = re.findall(line, words)
    return [shlex.split(line) for line in found]


def test_what_is_advised_can_be_typed_as_it_stands(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TASKGROVE_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "of the user"))
    named = ("--db", "a record's.db")
    (tmp_path / "die").touch()
    words = ("run", "map.yaml", "configure", *AGAIN, *named)
    killed = taskgrove(*words, cwd=tmp_path, env=environment(XDG_DATA_HOME="of the user"))
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "die").unlink()
    (tmp_path / "broken").touch()
    told = [
        verb("runs", "list", *named).stderr,  # tells that the run was lost
        verb("recover", *named).stdout,
        verb("runs", "show", "last", *named).stdout,
        verb("why", *named).stdout,
        verb("recover", "last", *named, "--no-live").stdout,
        verb("verdict", "last", "configure/parts", "ok", "--why", "x", *named).stdout,
        verb("verdict", "last", "no such", "ok", "--why", "x", *named).stderr,
        verb("why", *named).stdout,
        verb("run", "map.yaml", "configure", *AGAIN, *named, "--no-live").stdout,
        verb("runs", "show", "xyz", *named).stderr,
        verb("runs", "list", "--command", "x", *named).stdout,
    ]
    verbs = set()
    for text in told:
        lines = advised(text)
        assert lines, text
        for line in lines:
            verbs.add(line[0] if line[0] != "runs" else " ".join(line[:2]))
            asked = ["--dry-run"] if line[0] == "resume" else []
            done = verb(*line, *asked)
            ended = "has ended: there is nothing to recover" in done.stderr  # by now
            assert done.returncode == 0 or ended, (line, done.stderr)
    assert verbs == {"recover", "resume", "why", "runs list", "runs show"}
    assert not (tmp_path / "of the user").exists()  # and nothing went to the usual record


def test_what_may_be_done_twice_is_said_before_it_is_done(verb: Verb) -> None:
    run_killed(verb)
    verb("recover", "last")
    plan = verb("resume", "last", *AGAIN, "--dry-run")
    told = plan.stdout.partition("Check before you continue: these leaves may run twice:\n")[2]
    assert told.splitlines() == [
        "  configure/parts/two: it began when the runner was lost: whether it ran is not known"
    ]
    (verb.folder / "broken").touch()
    run(verb)
    plan = verb("resume", "last", *AGAIN, "--dry-run")  # it is known how it failed
    assert 'redo   configure/parts/two: reported a failure: "two is broken"' in plan.stdout
    assert "may be done twice" not in plan.stdout


def test_a_refused_command_is_on_record_with_its_reasons(verb: Verb, tmp_path: Path) -> None:
    guarded = MAP.replace(
        "  skip_subtasks: true", "  allowed_states: {attr_name: obsState, attr_value: [IDLE]}"
    )
    (tmp_path / "map.yaml").write_text(guarded)
    refused = run(verb)
    assert refused.returncode == 4
    known = run_id(refused.stderr)
    told = verb("why", known)
    words = " ".join(told.stdout.split())
    assert words.startswith("configure was rejected before anything was started: configure is not")
    assert f"taskgrove resume {known} --manager manager:Manager" in words
    assert "rejected" in verb("runs", "list").stdout
    verb("run", "map.yaml", "cofigure", *AGAIN)  # a slip of the pen is no run
    assert verb("runs", "list", "--json").stdout.count('"run_id"') == 1


def test_a_secret_of_the_map_is_not_sent_as_it_stands_on_record(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(f"{MAP}# password: hush\n")
    (tmp_path / "broken").touch()
    run(verb)
    refused = verb("resume", "last", *AGAIN, "--dry-run")
    assert refused.returncode == 2
    assert "had secrets in its file, which are not on record" in refused.stderr
    assert "--manager manager:Manager --use-file" in verb("why").stdout
    assert verb("resume", "last", *AGAIN, "--dry-run", "--use-file").returncode == 0
