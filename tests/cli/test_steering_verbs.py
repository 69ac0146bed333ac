"""The verbs that ask something of a live run: the request they make, and how the answer is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from taskgrove.cli.app import app
from taskgrove.cli.run_request import is_vague
from taskgrove.errors import NoAnswerError, StoreError
from taskgrove.events import TaskEvent
from taskgrove.events.steering_request import (
    SteeringAnswer,
    SteeringObjection,
    SteeringRequest,
)
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow, RunSummary
from taskgrove.store.record_desk import RecordDesk
from taskgrove.store.store import Store
from tests.store.kept_runs import keep_beams

RUN = "run-1"
SCAN = "configure/cbf-subarray-01"


class FakeDesk(RecordDesk):
    """Answers as the test says, and keeps what it was asked for."""

    def __init__(self, give: Callable[[SteeringRequest], SteeringAnswer | None]) -> None:
        self._give = give
        self.asked: list[tuple[str, SteeringRequest, float | None]] = []

    def __call__(self, store: Store) -> FakeDesk:
        super().__init__(store)
        return self

    def find(self, run: str) -> RunRow:
        return self._history.find(run)

    def ask(
        self, run: str, request: SteeringRequest, *, wait_s: float | None = 0.0
    ) -> SteeringAnswer:
        self.asked.append((run, request, wait_s))
        answer = self._give(request)
        if answer is None:
            raise NoAnswerError("no answer", run_id=run, request_id=request.id, hint="look later")
        return answer


def done(request: SteeringRequest) -> SteeringAnswer:
    paths = (request.path,) if request.path else ("configure",)
    return SteeringAnswer(request_id=request.id, fate="done", paths=paths, acted_count=1)


def not_held(request: SteeringRequest) -> SteeringAnswer:
    objection = SteeringObjection(reason="not_held", path=request.path)
    return SteeringAnswer(request_id=request.id, fate="refused", objections=(objection,))


def run_ended(request: SteeringRequest) -> SteeringAnswer:
    objection = SteeringObjection(reason="run_ended")
    return SteeringAnswer(request_id=request.id, fate="too_late", objections=(objection,))


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "runs.db"
    with Store.open(file) as store:
        keep_beams(store, RUN)
    monkeypatch.setenv("TASKGROVE_DB", str(file))
    return file


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> FakeDesk:
    return desk_that(monkeypatch, done)


def desk_that(
    monkeypatch: pytest.MonkeyPatch, give: Callable[[SteeringRequest], SteeringAnswer | None]
) -> FakeDesk:
    made = FakeDesk(give)
    monkeypatch.setattr("taskgrove.cli.run_request.RecordDesk", made)
    return made


def asked(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("words", "path", "flags", "told"),
    [
        (("retry", RUN, SCAN), SCAN, (False, False), "is tried again"),
        (("retry", RUN, SCAN, "--abort-first"), SCAN, (True, False), "is tried again"),
        (("skip", RUN, "configure/**"), "configure/**", (False, False), "is skipped"),
        (("fail", RUN, SCAN), SCAN, (False, False), "its failure stands"),
        (("accept", RUN, SCAN), SCAN, (False, False), "is accepted"),
        (("pause", RUN), "", (False, False), "done: the run is paused"),
        (("pause", RUN, "--before", SCAN), SCAN, (False, False), "is about to start"),
        (("continue", RUN), "", (False, False), "done: the run goes on"),
        (("abort", RUN), "", (False, False), "done: the run is being aborted"),
        (("abort", RUN, "--stop-finally"), "", (False, True), "its clean-up is stopped"),
    ],
)
def test_a_verb_makes_its_request(
    desk: FakeDesk, words: tuple[str, ...], path: str, flags: tuple[bool, bool], told: str
) -> None:
    found = asked(*words, "--why", "rain", "--by", "ann", "--wait", "7")
    assert (found.exit_code, found.stderr) == (0, "")
    assert told in found.stdout
    [(run, request, wait_s)] = desk.asked
    assert (run, wait_s) == (RUN, 7.0)
    assert (request.verb, request.path) == (words[0], path)
    assert (request.abort_first, request.stop_finally) == flags
    assert (request.why, request.who) == ("rain", "ann")
    assert request.user


@pytest.mark.usefixtures("record")
def test_a_refusal_exits_with_1_and_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    desk_that(monkeypatch, not_held)
    found = asked("retry", RUN, SCAN)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        f"refused: {SCAN}: no decision is open on it",
        f"Next: taskgrove why {RUN}",
    ]


@pytest.mark.usefixtures("record")
def test_too_late_exits_with_6(monkeypatch: pytest.MonkeyPatch) -> None:
    desk_that(monkeypatch, run_ended)
    found = asked("abort", RUN)
    assert found.exit_code == 6
    assert found.stdout.splitlines()[0] == "too late: the run has ended"


@pytest.mark.usefixtures("record")
def test_no_answer_exits_with_7(monkeypatch: pytest.MonkeyPatch) -> None:
    desk_that(monkeypatch, lambda _: None)
    found = asked("pause", RUN, "--wait", "0")
    assert found.exit_code == 7
    assert found.stderr.splitlines() == ["error: no answer", "  hint:    look later"]


@pytest.mark.usefixtures("record")
def test_ctrl_c_ends_the_waiting_and_not_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_request: SteeringRequest) -> None:
        raise KeyboardInterrupt

    desk_that(monkeypatch, interrupted)
    found = asked("pause", RUN)
    assert found.exit_code == 7
    assert found.stdout == "Interrupted; a request that was made stands.\n"


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("give", [done, not_held, lambda _: None], ids=["done", "refused", "none"])
def test_the_answer_as_json(
    monkeypatch: pytest.MonkeyPatch, give: Callable[[SteeringRequest], SteeringAnswer | None]
) -> None:
    desk_that(monkeypatch, give)
    found = json.loads(asked("retry", RUN, SCAN, "--json").stdout)
    assert found["run_id"] == RUN
    assert (found["request"]["verb"], found["request"]["path"]) == ("retry", SCAN)
    request = SteeringRequest(id="", verb="retry", path=SCAN)
    answer = give(request)
    assert (found["answer"] or {}).get("fate") == (None if answer is None else answer.fate)
    assert bool(found["words"]) is (answer is not None)


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("words", [("accept", RUN, SCAN), ("accept", RUN, SCAN, "--why", " ")])
def test_an_accepted_failure_needs_a_reason(desk: FakeDesk, words: tuple[str, ...]) -> None:
    found = asked(*words)
    assert found.exit_code == 2
    assert "--why" in found.stderr
    assert not desk.asked


@pytest.mark.usefixtures("record")
def test_last_is_refused_without_a_terminal_and_names_the_command_to_type(desk: FakeDesk) -> None:
    found = asked("skip", "last", "configure/a b", "--why", "no time")
    assert found.exit_code == 2
    assert not desk.asked
    assert f"'last' is run {RUN} (configure, ok)" in " ".join(found.stderr.split())
    assert f"taskgrove skip {RUN} 'configure/a b' --why 'no time'" in found.stderr
    found = asked("skip", "last-ok", "configure/a", "--why", "no time")
    assert f"'last-ok' is run {RUN} (configure, ok)" in " ".join(found.stderr.split())


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    "words", [("last:configure",), ("run",), ("last", "--yes"), ("last", "-y")], ids=" ".join
)
def test_what_says_which_run_is_meant_is_not_asked_about(
    desk: FakeDesk, words: tuple[str, ...]
) -> None:
    assert asked("pause", *words).exit_code == 0
    assert [run for run, _, _ in desk.asked] == [RUN]


def test_only_a_text_that_moves_to_the_next_run_is_vague() -> None:
    vague = ("last", " last", "last-running", "last-failed")
    assert all(is_vague(text, "run-1") for text in vague)
    assert not any(is_vague(text, "run-1") for text in ("last:scan", "last-failed:scan", "run"))
    assert not is_vague("last-light", "last-light")


@pytest.mark.usefixtures("record", "desk")
def test_a_wrong_run_and_a_wrong_word_are_told() -> None:
    assert asked("pause", "nothing").exit_code == 2
    assert asked("retry", RUN).exit_code == 2
    assert asked("retry", RUN, SCAN, "--wait", "-1").exit_code == 2
    assert "Did you mean 'retry'" in asked("retyr", RUN, SCAN).stderr


def test_watch_bears_an_outage_of_the_record_and_misses_no_event(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = History.events
    cuts = [2, 1, 3]

    def cut_off(
        self: History, run: RunSummary | str, *, first_sequence: int = 1
    ) -> Iterator[TaskEvent]:
        for number, event in enumerate(whole(self, run, first_sequence=first_sequence)):
            if cuts and number == cuts[0]:
                cuts.pop(0)
                raise StoreError("the server went away")
            yield event

    monkeypatch.setattr(History, "events", cut_off)
    found = asked("watch", RUN, "--json")
    assert (found.exit_code, cuts) == (0, [])
    notes = found.stderr.splitlines()
    assert notes == ["note: the record cannot be read, and is tried again: the server went away"]
    with History.open(record) as history:
        kept = [event.sequence for event in whole(history, RUN)]
    assert [json.loads(line)["sequence"] for line in found.stdout.splitlines()] == kept


@pytest.mark.parametrize(
    "name", ["abort", "pause", "continue", "retry", "skip", "accept", "fail", "watch"]
)
def test_the_help_tells_the_exit_codes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = " ".join(click.unstyle(asked(name, "--help").stdout).split())
    assert "Of requests to a live run: 0 done, 1 refused, 6 too late, 7 no answer" in shown
