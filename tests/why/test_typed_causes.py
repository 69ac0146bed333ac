"""What is told of a cause comes from its fields: foreign words are quoted, and decide nothing."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    Cause,
    CauseKind,
    ChainLink,
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    Place,
)
from taskgrove.story.run_story import OperatorVerdict, RunnerSign, story_of_events
from taskgrove.view.why import Why, why
from taskgrove.view.why.actions import EditFile, LookAtFile, RestartServer, RunCommand, StartServer
from tests.unit.event_streams import Stream

FAILED, REJECTED = TaskStatus.FAILED, TaskStatus.REJECTED
SECOND = 1_000_000_000
#: 2001-09-09 01:46:40 UTC.
THEN_NS = 1_000_000_000 * SECOND
#: What taskgrove itself says elsewhere, in the mouth of a device.
OURS = (
    "timed out after 30 s (limit set by load_beams)",
    "not started: the limit of 30 s set by load_beams expired",
    "cannot be reached, Scan was not sent: no server answers",
    "skipped: load_beams failed",
    "the runner of this run was lost at noon",
    "Causes:\n- low-cbf/subarray/01: on fire",
    "the device has no command Scan; did you mean Stop?",
)


def run(*causes: Cause, kinds: Any = None, **leaf: Any) -> Stream:
    """A run whose leaves end with these causes, one after the other."""
    stream = Stream()
    names = tuple(f"step-{number}" for number in range(1, len(causes) + 1))
    stream.composed("go", "PARALLEL", names, root=True)
    for name in names:
        detail = {"target": f"x/y/{name}", "command_name": "Scan", **leaf}
        stream.composed(f"go/{name}", kinds or "DEVICE", **detail)
    for name, cause in zip(names, causes, strict=True):
        stream.ended(
            f"go/{name}",
            FAILED,
            ResultCode.FAILED,
            f"x/y/{name}: {cause.said}",
            detail=FinishedDetail(cause=cause),
        )
    stream.ended("go", FAILED, ResultCode.FAILED)
    return stream


def explained(stream: Stream, **changes: Any) -> Why:
    from dataclasses import replace

    story = story_of_events(stream.events, now_ns=THEN_NS + 60 * SECOND)
    known = {"map_file": "/maps/map.yaml", "can_resume": True, "recorded": True}
    return why(replace(story, **{**known, **changes}))


@pytest.mark.parametrize("said", OURS)
@pytest.mark.parametrize("execution", ["DEVICE", "INTERNAL", "ANALYSIS"])
def test_a_device_that_speaks_our_own_sentences_is_quoted(said: str, execution: str) -> None:
    found = explained(run(Cause(kind="reported", said=said), kinds=execution))
    assert found.first is not None
    assert (found.first.kind, found.first.path) == ("reported", "go/step-1")
    assert f'failed: "{" ".join(said.replace("Causes:", "").replace("- ", "").split())}"' in (
        found.sentence.replace("reported a failure", "failed")
    )
    assert not any(isinstance(action, EditFile) for action in found.actions)
    assert found.casualties == ()


@pytest.mark.parametrize("kind", get_args(CauseKind))
def test_the_kind_of_a_cause_is_what_was_told_and_not_what_its_words_say(kind: CauseKind) -> None:
    for said in OURS:
        cause = Cause(kind=kind, said=said, limit_s=2.0, limit_owner="go/step-1")
        found = explained(run(cause))
        if kind == "never_begun":
            assert [item.kind for item in found.casualties] == ["not started"]
            continue
        assert found.first is not None
        assert found.first.kind == found.groups[0].kind == kind
        assert found.first.facts == cause
        raised = [action for action in found.actions if "increase `timeout`" in str(action)]
        assert bool(raised) is (kind in ("timed_out", "not_started"))
        assert found.next_step.startswith(found.next_step.partition(", then ")[0])
        assert len(found.sentence) < 300


def test_a_silent_device_is_told_with_the_time_of_its_last_answer() -> None:
    cause = Cause(
        kind="timed_out", limit_s=10.0, limit_owner="go/step-1", last_answer_ns=THEN_NS, said=""
    )
    found = explained(run(cause))
    assert "step-1 on x/y/step-1 has not answered since 01:46:40 UTC" in found.sentence
    assert "did not finish Scan within 10 s (its own timeout)" in found.sentence
    assert found.actions[0] == RestartServer("x/y/step-1", THEN_NS)
    assert "restart the server of x/y/step-1: it has not answered since 01:46:40" in found.next_step
    assert "timeout" not in found.next_step


def test_a_device_that_is_silent_now_is_told_first_and_no_more_once_it_answers() -> None:
    stream = Stream()
    stream.composed("go", "PARALLEL", ("a", "b"), root=True)
    for name in "ab":
        stream.composed(f"go/{name}", "DEVICE", target=f"x/y/{name}", command_name="Scan")
        stream.running(f"go/{name}")
    silent = NoteDetail("silent", {"since_ns": str(THEN_NS)})
    stream.add("go/b", "note", message="no answer", detail=silent)
    found = explained(stream)
    assert "waits for b on x/y/b to finish Scan (" in found.sentence
    assert "its device has not answered since 01:46:40 UTC" in found.sentence
    assert found.waiting[0].silent_since_ns == THEN_NS
    assert found.actions == (RestartServer("x/y/b", THEN_NS),)
    stream.note("go/b", "answers", "it answers again")
    assert "not answered" not in str(explained(stream))


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (RunnerSign("corr-01", 77, THEN_NS, is_stopped=True), "is stopped by a signal"),
        (
            RunnerSign("corr-01", 77, THEN_NS, is_silent=True),
            "has given no sign of life for too long",
        ),
        (RunnerSign("corr-01", 77, THEN_NS), None),
    ],
)
def test_a_runner_that_does_not_go_on_is_told_first(sign: RunnerSign, told: str | None) -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("a",), root=True)
    stream.composed("go/a", "DEVICE", target="x/y/a", command_name="Scan")
    stream.running("go/a")
    found = explained(stream, runner=sign)
    if told is None:
        assert "process 77" not in found.sentence
        assert found.actions == ()
        return
    assert "its runner, process 77 on corr-01" in found.sentence
    assert told in found.sentence
    assert "it waits for a on x/y/a" in " ".join([found.sentence, *found.also])
    kill = RunCommand(("kill", "-CONT", "77"), "continue the process on corr-01")
    assert (kill in found.actions) is bool(sign.is_stopped)


def test_what_never_began_is_no_failure() -> None:
    lost = Cause(kind="never_begun")
    stream = run(lost, lost, lost)
    found = explained(stream)
    assert found.first is None
    assert found.groups == ()
    assert "no leaf failed, but the runner was lost before 3 of 3 leaves" in found.sentence
    assert [item.kind for item in found.casualties] == ["not started"] * 3
    assert found.next_step == "run the missing leaves: taskgrove resume run-1"


def test_the_words_of_two_causes_go_before_their_numbers() -> None:
    """What each of them said is whole, where the first line has no room for all of it."""
    clock, plate = (
        Cause(kind="reported", said=f"the {it} of receiver 7 is broken")
        for it in ("clock", "plate")
    )
    stream = run(clock, plate, target="low-cbf-pipeline/subarray-node/01")
    stream.events.pop()
    told = FinishedDetail(rule="all", succeeded=0, needed=2, total=2, line="0 of 2 succeeded")
    stream.ended("go", FAILED, ResultCode.FAILED, detail=told)
    sentence = explained(stream).sentence
    assert len(sentence) < 300
    assert '"the clock of receiver 7 is broken"' in sentence
    assert '"the plate of receiver 7 is broken"' in sentence


def test_two_causes_are_named_and_mended_and_leaves_with_the_same_cause_once() -> None:
    no_lock = Cause(kind="reported", said="no lock")
    found = explained(run(no_lock, Cause(kind="unreachable"), no_lock))
    assert 'first, step-1 on x/y/step-1 failed: "no lock"' in found.sentence
    assert "also step-2 on x/y/step-2" in found.sentence
    assert [group.count for group in found.groups] == [2, 1]
    mend, start, *_ = found.actions
    assert mend.device == "x/y/step-1"  # type: ignore[union-attr]
    assert mend.more == 1  # type: ignore[union-attr]
    assert start == StartServer("x/y/step-2")


def test_numbers_of_one_leaf_are_not_told_of_another() -> None:
    words = [f"frame {number}: no peaks" for number in (3, 7, 9, 11)]
    found = explained(run(*(Cause(kind="reported", said=text) for text in words)))
    (group,) = found.groups
    assert group.told == tuple(words)
    shown = " ".join(str(found).split())
    assert "4 similar: step-1: frame 3: no peaks;" in shown
    assert "step-2: frame 7: no peaks; step-3: frame 9: no peaks and 1 more" in shown


def test_the_one_leaf_of_another_kind_is_shown_among_very_many_causes() -> None:
    causes = [
        Cause(kind="reported", said=f"no {chr(97 + n // 26)}{chr(97 + n % 26)} at all")
        for n in range(300)
    ]
    causes.insert(250, Cause(kind="died"))
    shown = str(explained(run(*causes)))
    assert "step-251 on x/y/step-251" in shown
    assert "… and 281 more" in shown


def test_long_names_and_words_are_cut_in_the_middle_and_told_whole_below() -> None:
    stream = Stream()
    path = "/".join(["go", *(f"a_rather_long_name_of_a_part_{n}" for n in range(6))])
    parts = path.split("/")
    for end in range(1, len(parts)):
        stream.composed("/".join(parts[:end]), "SEQUENTIAL", (parts[end],), root=end == 1)
    stream.composed(path, "DEVICE", target="low-cbf/a_long_family/member", command_name="Scan")
    words = "first words " + "in between " * 60 + "the last words"
    stream.ended(
        path, FAILED, ResultCode.FAILED, words,
        detail=FinishedDetail(cause=Cause(kind="reported", said=words)),
    )  # fmt: skip
    stream.ended("go", FAILED, ResultCode.FAILED)
    found = explained(stream)
    assert len(found.sentence) < 300
    for told in ("part_5", "low-cbf/a_long_family/member", '"first words', 'the last words"'):
        assert told in found.sentence
    whole = " ".join(str(found).partition("Full text:")[2].split())
    assert words in whole
    assert path.partition("/")[2] in whole.replace(" ", "")
    assert found.next_step.startswith("see the log of low-cbf/a_long_family/member")


def test_a_cause_names_its_file_and_where_its_exceptions_are_told() -> None:
    cause = Cause(
        kind="raised",
        chain=(ChainLink("RuntimeError", "frame 12"), ChainLink("KeyError", "'distance'")),
        output_file="/work/fit.err",
        last_lines=("Traceback", "KeyError: 'distance'"),
    )
    stream = run(cause, kinds="ANALYSIS", target="c.yaml", command_name="Fit")
    found = explained(stream, options=("--db", "/a b/runs.db"))
    assert found.actions[0] == LookAtFile("/work/fit.err", "the output")
    assert "see the output in /work/fit.err" in found.next_step
    line = "taskgrove runs show run-1 --node go/step-1 --db '/a b/runs.db'"
    assert line in str(found).replace("\n    ", " ")
    assert "see the exceptions and last lines of step-1" in " ".join(str(found).split())


def test_a_place_is_told_with_its_line_and_what_to_type_follows_from_it() -> None:
    place = Place("map.yaml", 12, "argin")
    other = Place("args/beams.yaml", 3)
    for given, option in ((place, ["--use-file"]), (other, ["--argin", "args/beams.yaml"])):
        cause = Cause(kind="wrong_argument", expected="DevString", place=given)
        found = explained(run(cause))
        assert f"correct the argument of Scan in {given.file}:{given.line}" in found.next_step
        typed = found.actions[-1]
        assert isinstance(typed, RunCommand)
        assert typed.argv == ("taskgrove", "resume", "run-1", *option)


def test_a_limit_is_raised_where_it_was_written() -> None:
    cause = Cause(kind="timed_out", limit_s=5.0, limit_owner="go")
    stream = run(cause)
    detail = stream.events[0].detail
    assert isinstance(detail, ComposedDetail)
    detail = msgspec.structs.replace(detail, timeout_place=Place("map.yaml", 7, "timeout"))
    stream.events[0] = msgspec.structs.replace(stream.events[0], detail=detail)
    found = explained(stream)
    assert "increase `timeout` of go in map.yaml:7, then taskgrove resume run-1 --use-file" in (
        found.next_step
    )


def test_a_limit_of_a_clean_up_is_raised_at_its_sequence() -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("finally",), root=True)
    place = Place("map.yaml", 7, "finally_timeout")
    stream.composed("go/finally", "SEQUENTIAL", ("end",), is_finally=True, timeout_place=place)
    stream.composed("go/finally/end", "DEVICE", target="x/y/z", command_name="End")
    cause = Cause(kind="timed_out", limit_s=60.0, limit_owner="go/finally")
    for path in ("go/finally/end", "go/finally", "go"):
        detail = FinishedDetail(cause=cause if path.endswith("end") else None)
        stream.ended(path, FAILED, ResultCode.FAILED, detail=detail)
    told = explained(stream).next_step
    assert "increase `finally_timeout` of go in map.yaml:7, then taskgrove resume" in told


def test_what_an_operator_treats_as_ok_needs_no_mending() -> None:
    stream = run(Cause(kind="reported", said="no lock"), Cause(kind="reported", said="no power"))
    said = OperatorVerdict("go/step-1", "ok", "ann", "checked", 1)
    found = explained(stream, verdicts=(said,))
    assert found.first is not None
    assert found.first.path == "go/step-1"
    assert "verdict of ann: treat as OK (checked)" in " ".join([found.sentence, *found.also])
    assert "step-1" not in found.next_step
    assert "see the log of x/y/step-2" in found.next_step
    both = explained(stream, verdicts=(OperatorVerdict("go", "ok", "ann"),))
    assert both.next_step == "taskgrove resume run-1"


def test_a_leaf_that_counts_as_ok_because_somebody_said_so_is_named_with_who_and_why() -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("a",), root=True)
    stream.composed("go/a", "DEVICE", target="x/y/a")
    facts = {"verdict": "ok", "who": "ann", "why": "checked on the scope", "run": "run-0"}
    stream.add("go/a", "note", message="taken as OK", detail=NoteDetail("reused", facts))
    stream.ended("go/a")
    stream.ended("go")
    found = explained(stream)
    assert "a was treated as OK by ann (checked on the scope)" in found.sentence
    assert "nothing failed" not in found.sentence
    assert [(item.path, item.who) for item in found.verdicts] == [("go/a", "ann")]
    assert found.next_step == ""


def test_who_kills_a_program_is_asked_for_beside_its_output() -> None:
    killed = Cause(kind="signalled", signal="SIGKILL", output_file="/data/index.err")
    found = explained(run(killed, kinds="ANALYSIS"))
    assert "use too much memory" in found.next_step
    assert LookAtFile("/data/index.err", "the output") in found.actions


def test_where_to_raise_a_limit_that_no_node_has_set() -> None:
    place = Place("c.yaml", key="task_timeout")
    limit = Cause(kind="timed_out", limit_s=5, limit_owner="c.yaml", place=place)
    found = explained(run(limit, kinds="ANALYSIS"))
    assert "within 5 s (the timeout set by c.yaml)" in found.sentence
    assert (
        EditFile("if it needs more time, increase `task_timeout`", place, "configuration")
        in found.actions
    )
    silent = explained(run(Cause(kind="unresponsive", limit_s=2), kinds="ANALYSIS"))
    assert "gave no sign of life for 2 s" in silent.sentence
    assert "increase `heartbeat` of go/step-1" in silent.next_step


def test_a_file_that_stands_in_the_way_is_named() -> None:
    missing = Cause(kind="misconfigured", place=Place("templates/a.tmpl"), errno_name="ENOENT")
    found = explained(run(missing, kinds="ANALYSIS"))
    assert found.next_step.startswith("check templates/a.tmpl: it does not exist, then ")


def test_what_does_not_stop_is_named_by_its_device() -> None:
    stream = Stream()
    stream.composed("go", "PARALLEL", ("a", "b"), root=True)
    stream.composed("go/a", "DEVICE", target="x/y/a", command_name="Scan")
    stream.composed("go/b", "INTERNAL", target="Manager", command_name="wait")
    for path in ("go", "go/a", "go/b"):
        stream.running(path)
    stream.note("go", "abort-asked", "interrupted by Ctrl-C")
    for path in ("go/a", "go/b"):
        stream.note(path, "abandoned", "it did not end within 5 s")
        detail = FinishedDetail(cause=Cause(kind="abandoned"))
        stream.ended(path, TaskStatus.ABORTED, ResultCode.ABORTED, detail=detail)
    stream.ended("go", TaskStatus.ABORTED, ResultCode.ABORTED)
    found = explained(stream)
    assert "a and b did not stop when asked and may still be running" in found.sentence
    assert found.next_step.startswith("check x/y/a, and check b, then ")


def test_a_name_without_a_database_is_told_as_such() -> None:
    chain = (ChainLink("API_TangoHostNotSet", "no database"),)
    found = explained(run(Cause(kind="unreachable", chain=chain)))
    assert "could not be reached, so Scan was not sent: TANGO_HOST is not set" in found.sentence
    assert found.next_step.startswith(
        "set TANGO_HOST, or write x/y/step-1 with its address in /maps"
    )


@pytest.mark.parametrize(
    ("cause", "told", "to_do"),
    [
        (
            Cause(kind="unreachable", name_problem="database_gone"),
            "the TANGO database does not answer",
            "start the TANGO database, or correct TANGO_HOST",
        ),
        (
            Cause(kind="unreachable", name_problem="no_database"),
            "the server that answers at its address is no TANGO database",
            "set TANGO_HOST to the host:port of a TANGO database",
        ),
        (
            Cause(kind="unreachable", name_problem="no_database", nearest="t://h:1/x/y/1#dbase=no"),
            "is no TANGO database (did you mean t://h:1/x/y/1#dbase=no?)",
            "correct the name of device x/y/step-1 (did you mean t://h:1/x/y/1#dbase=no?)",
        ),
        (
            Cause(kind="unreachable", name_problem="not_exported"),
            "its server is not running",
            "start the server of x/y/step-1",
        ),
        (
            Cause(kind="no_device", name_problem="not_defined", nearest="x/y/step-7"),
            "the TANGO database has no device of that name (did you mean x/y/step-7?)",
            "correct the name of device x/y/step-1 (did you mean x/y/step-7?)",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_its_cure(
    cause: Cause, told: str, to_do: str
) -> None:
    found = explained(run(cause))
    assert told in found.sentence
    assert found.next_step.startswith(to_do)


def test_the_place_before_the_words_of_an_analysis_is_no_name_of_a_device() -> None:
    stream = Stream()
    stream.composed("go", "PARALLEL", ("fit",), root=True)
    stream.composed("go/fit", "ANALYSIS", target="c.yaml", command_name="Fit")
    cause = Cause(kind="misconfigured", place=Place("c.yaml", 2, "Fit.n"))
    words = "c.yaml:2:24: Fit.n: unknown parameter"
    detail = FinishedDetail(cause=cause)
    stream.ended("go/fit", REJECTED, ResultCode.REJECTED, words, detail=detail)
    stream.ended("go", REJECTED, ResultCode.REJECTED)
    assert f"its configuration is wrong: {words}" in explained(stream).sentence
