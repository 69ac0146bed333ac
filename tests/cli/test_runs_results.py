"""``taskgrove runs results``: results of many runs for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskgrove.cli.app import app
from taskgrove.store.store import Store
from tests.store.test_run_results import LEAF, described, kept


def ask(*arguments: str, code: int = 0, **env: str | None) -> str:
    done = CliRunner().invoke(app, ["runs", "results", *arguments], env=env)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def db(tmp_path: Path) -> str:
    with Store.open(tmp_path / "runs.db") as store:
        for number in range(3):
            payload = {
                "distance": 0.1 * number,
                "ok": number > 0,
                "note": "x" * 60,
                "bad": float("nan"),
                "peaks": [1, number],
            }
            kept(store, f"20260101T00000{number}Z-aaaa", number, (LEAF, described(payload)))
        kept(store, "20260101T000009Z-bbbb", 9, (LEAF, described(3.5, analysis="Merge")))
    return str(tmp_path / "runs.db")


def test_a_table_for_people(db: str) -> None:
    lines = ask("--db", db, "--analysis", "Fit").splitlines()
    assert lines[0].split() == ["RUN", "ANALYSIS", "STATUS", "distance", "ok", "note", "bad",
                                "peaks"]  # fmt: skip
    assert lines[1].split()[:5] == ["20260101T000002Z-aaaa", "Fit", "completed", "0.2", "true"]
    assert "…" in lines[1]  # a long text is cut
    few = ask("--db", db, "--limit", "1", "--column", "distance", "--analysis", "Fit")
    assert "The newest 1 run; '--limit' shows more." in few


def test_names_of_values_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    db = str(tmp_path / "hostile.db")
    with Store.open(db) as store:
        kept(store, "20260101T000000Z-aaaa", 0, (LEAF, described({"a\x1b[31m\u202e": 1})))
    assert "\x1b" not in (said := ask("--db", db))
    assert "\u202e" not in said
    assert "a\\x1b[31m" in said.splitlines()[0]


def test_a_table_for_programs_is_whole(db: str) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("--db", db, "--analysis", "Fit", "--csv"))))
    assert [row["run_id"][:15] for row in rows] == [
        "20260101T000002", "20260101T000001", "20260101T000000",
    ]  # fmt: skip
    assert rows[0]["note"] == "x" * 60
    assert float(rows[0]["distance"]) == 0.2
    assert json.loads(rows[0]["peaks"]) == [1, 2]
    assert (rows[0]["ok"], rows[2]["ok"], rows[0]["bad"]) == ("true", "false", "nan")
    plain = json.loads(ask("--db", db, "--json", "--column", "distance", "--column", "bad"))
    assert plain[0]["analysis"] == "Merge"
    assert (plain[1]["distance"], plain[1]["bad"]) == (0.2, "nan")


def test_each_run_can_have_one_row(db: str) -> None:
    head, first, *_ = ask("--db", db, "--by-run", "--column", "distance").splitlines()
    assert head.split() == ["RUN", "COMMAND", "OUTCOME", "distance"]
    assert first.split()[:2] == ["20260101T000009Z-bbbb", "configure"]
    rows = json.loads(ask("--db", db, "--by-run", "--json", "--column", "distance"))
    assert [row["distance"] for row in rows] == [None, 0.2, 0.1, 0]
    assert ask("--db", db, "--by-run", "--csv").startswith("run_id,command,outcome,created_at,")


def test_what_is_wrong_is_said(db: str, tmp_path: Path) -> None:
    told = ask("--db", db, "--column", "distanse", code=2)
    assert "no result has a value 'distanse'" in told
    assert "did you mean 'distance'?" in told
    assert "exclude each other" in ask("--db", db, "--csv", "--json", code=2)
    assert "The record holds no results of analyses that match." in ask(
        "--db", db, "--analysis", "None"
    )
    assert ask("--db", db, "--analysis", "None", "--csv") == ""
    nothing = ask(TASKGROVE_DB=None, XDG_DATA_HOME=str(tmp_path / "none"))
    assert "No run has been recorded yet" in nothing
