"""Why something ended, as data: made where it is known, carried by the event (DESIGN)."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import (
    Cause,
    ChainLink,
    FinishedDetail,
    NoteDetail,
    TaskEvent,
    chain_of,
    decode_event,
    encode_event,
)
from taskgrove.events.redacted import without_secrets
from taskgrove.redaction import Redaction
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner

HANG_GUARD_S = 200.0


def leaf(name, fn=lambda: None, **options):
    return LeafTask.from_callable(fn, name=name, **options)


def run(*children, abort=None, grace_s=5.0, **options):
    """Run a tree to its end and return its events, by the path of what finished."""
    log = EventLog()
    with MainTaskExecutor(grace_s=grace_s) as executor:
        tree = Task("root", is_root=True, subtasks=children, **options)
        handle = executor.submit_main_task(tree, observers=[log])
        if abort is not None:
            assert abort.wait(HANG_GUARD_S)
            handle.abort("the beam is off")
        assert handle.wait(HANG_GUARD_S)
    causes = {event.path: event.detail.cause for event in log.select(kind="finished")}
    return log, causes


def fails():
    try:
        {}["detector_distance"]
    except KeyError as exc:
        raise RuntimeError("frame 12 failed") from exc


def test_an_exception_is_told_with_all_that_led_to_it():
    _, causes = run(leaf("integrate", fails))
    assert causes["root/integrate"] == Cause(
        kind="raised",
        chain=(
            ChainLink("RuntimeError", "frame 12 failed"),
            ChainLink("KeyError", "'detector_distance'"),
        ),
    )


def test_the_exceptions_of_a_group_and_notes_are_told():
    exc = ValueError("sx did not move")
    exc.add_note("at position 3")
    links = chain_of(ExceptionGroup("two things", [exc, TypeError("no")]))
    assert links == (
        ChainLink("ExceptionGroup", "two things (2 sub-exceptions)"),
        ChainLink("ValueError", "sx did not move\nat position 3"),
        ChainLink("TypeError", "no"),
    )


def test_a_chain_that_leads_to_itself_or_cannot_be_read_ends():
    class HostileError(Exception):
        def __str__(self):
            raise SystemExit

        def __bool__(self):
            raise KeyboardInterrupt

        @property
        def __notes__(self):
            raise SystemExit

        @property
        def __cause__(self):
            raise SystemExit

    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert [link.text for link in chain_of(first)] == ["first", "second"]
    assert chain_of(HostileError()) == (ChainLink("HostileError", "<its text raised SystemExit>"),)


def test_a_limit_is_told_with_its_length_and_its_owner():
    gate = threading.Event()

    def slow(task_abort_event):
        task_abort_event.wait(HANG_GUARD_S)
        gate.set()

    _, causes = run(leaf("slow", slow, timeout=0.2))
    assert causes["root/slow"] == Cause(kind="timed_out", limit_s=0.2, limit_owner="root/slow")
    _, causes = run(leaf("slow", slow), leaf("next"), timeout=0.2)
    assert causes["root/slow"] == Cause(kind="timed_out", limit_s=0.2, limit_owner="root")
    assert causes["root/next"] == Cause(kind="not_started", limit_s=0.2, limit_owner="root")


def test_an_abort_is_told_to_each_as_it_met_it():
    begun = threading.Event()

    def heeds(task_abort_event):
        begun.set()
        task_abort_event.wait(HANG_GUARD_S)

    _, causes = run(leaf("first", heeds), leaf("second"), abort=begun)
    assert causes["root/first"] == Cause(kind="aborted", said="the beam is off")
    assert causes["root/second"] == Cause(kind="not_started", said="the beam is off")


def test_what_is_abandoned_is_told_with_the_grace():
    begun, gate = threading.Event(), threading.Event()

    def ignores():
        begun.set()
        gate.wait(HANG_GUARD_S)

    _, causes = run(leaf("first", ignores), abort=begun, grace_s=0.1)
    gate.set()
    assert causes["root/first"] == Cause(kind="abandoned", said="the beam is off", limit_s=0.1)


@pytest.mark.parametrize("nested", [False, True])
def test_a_casualty_names_the_step_that_failed(nested):
    rest = leaf("b") if not nested else Task("b", subtasks=[leaf("c")])
    _, causes = run(leaf("a", lambda: False), rest, skip_subtasks=True)
    assert causes["root/a"] == Cause(kind="reported")
    skipped = Cause(kind="skipped", because_of="root/a")
    assert causes["root/b"] == skipped
    assert not nested or causes["root/b/c"] == skipped


def test_each_attempt_keeps_its_cause():
    attempts = []

    def flaky():
        attempts.append(None)
        raise OSError(f"attempt {len(attempts)}")

    log, causes = run(leaf("flaky", flaky, retries=1))
    (retry,) = [e for e in log.select(kind="note") if e.detail.topic == "retry"]
    assert retry.attempt == 1
    assert retry.detail.cause.chain == (ChainLink("OSError", "attempt 1"),)
    # The end tells of the first attempt that did something.
    assert causes["root/flaky"].chain == (ChainLink("OSError", "attempt 1"),)
    first, last = RunNodes(log.events).nodes["root/flaky"].notes
    assert first.cause == retry.detail.cause
    assert last.cause.chain == (ChainLink("OSError", "attempt 2"),)


def test_success_and_progress_carry_no_cause():
    log, causes = run(leaf("fine"))
    assert causes == {"root/fine": None, "root": None}
    assert all(b'"cause"' not in encode_event(event) for event in log.events)


def test_a_tracker_takes_a_cause_with_an_update_and_nothing_else_for_one():
    log = EventLog()
    task = Task("root", subtasks=[leaf("a"), leaf("b")])
    task.tracker.subscribe(log)
    cause = Cause(kind="reported", said="no beam", device="low-pst/beam/01")
    failed = {"status": TaskStatus.FAILED, "result": (ResultCode.FAILED, "no beam")}
    task.tracker.update_task(task_name="a", cause=cause, **failed)
    task.tracker.update_task(task_name="b", cause="no cause", **failed)
    told = {event.path: event.detail.cause for event in log.select(kind="finished")}
    assert told == {"root/a": cause, "root/b": None, "root": None}


def test_a_cause_is_written_with_its_event_and_an_older_event_is_read_without_one():
    log, _ = run(leaf("integrate", fails))
    event = next(event for event in log.select(kind="finished") if event.path != "root")
    assert decode_event(encode_event(event)) == event
    old = (
        '{"schema":1,"run_id":"r","sequence":1,"path":"a","kind":"finished","monotonic_s":1.0,'
        '"wall_ns":1,"detail":{"type":"finished","error":"no"}}'
    )
    read = decode_event(old)
    assert isinstance(read, TaskEvent)
    assert read.detail.cause is None


def test_secrets_are_taken_out_of_every_text_of_a_cause():
    redaction = Redaction.from_environment({})
    secret = "password=hunter2"
    cause = Cause(
        kind="raised", said=secret, chain=(ChainLink("E", secret),), last_lines=(secret,),
        program=secret, nearest=secret,
    )  # fmt: skip
    event = TaskEvent(
        run_id="r", sequence=1, path="a", kind="finished", monotonic_s=1.0, wall_ns=1,
        detail=FinishedDetail(cause=cause),
    )  # fmt: skip
    assert b"hunter2" not in encode_event(without_secrets(event, redaction))
    note = replace(event, kind="note", detail=NoteDetail(topic="retry", cause=cause))
    assert b"hunter2" not in encode_event(without_secrets(note, redaction))


def test_a_runner_that_cannot_take_a_leaf_and_one_that_gives_no_end():
    class Runner(FakeDeviceRunner):
        def start(self, context):
            if context.leaf.name == "wrong":
                raise UsageError("a target is a TANGO name")
            context.finish("somehow")

    log = EventLog()
    tree = Task("root", is_root=True, subtasks=[LeafTask("wrong", "a/b/1", "On"),
                                                LeafTask("odd", "a/b/2", "On")])  # fmt: skip
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: Runner()}) as executor:
        assert executor.submit_main_task(tree, observers=[log]).wait(HANG_GUARD_S)
    causes = {event.path: event.detail.cause for event in log.select(kind="finished")}
    wrong, odd = causes["root/wrong"], causes["root/odd"]
    assert (wrong.kind, wrong.device) == ("misconfigured", "a/b/1")
    assert wrong.chain == (ChainLink("UsageError", "a target is a TANGO name"),)
    assert odd.kind == "unreadable"


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        ((3, "no beam"), "reported", "no beam"),
        ((6, "not now"), "not_allowed", "not now"),
        ((5, "no"), "refused", "no"),
        ((4, "lost count"), "unreadable", "lost count"),
        ((42, "boom"), "unreadable", "[42, 'boom']"),
        ({"a": 1}, "unreadable", "a: 1"),
        ((3, "limit of 5 s (limit set by root)\nsecond line"), "reported", "second line"),
        (False, "reported", ""),
    ],
)
def test_what_a_method_tells_is_quoted_whole(result, kind, said):
    _, causes = run(LeafTask("a", Told(result), "tell", None, TaskExecutionType.INTERNAL))
    assert causes["root/a"].kind == kind
    assert said in causes["root/a"].said
    if kind == "reported" and said:
        assert causes["root/a"].said == result[1]


class Told:
    def __init__(self, result):
        self.result = result

    def tell(self):
        return self.result


def test_a_late_end_tells_the_output_that_a_limit_cut_off():
    class Runner(FakeDeviceRunner):
        def start(self, context):
            self.context = context

        def abort(self, context, reason):
            cause = Cause(kind="aborted", output_file="/x.err", last_lines=("frame 7",))
            context.finish(TaskStatus.ABORTED, cause=cause)

    log = EventLog()
    leaf = LeafTask("a", "a/b/1", "On", timeout=0.1, abort_on_timeout=True)
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: Runner()}) as executor:
        tree = Task("root", is_root=True, subtasks=[leaf])
        assert executor.submit_main_task(tree, observers=[log]).wait(HANG_GUARD_S)
    (end,) = log.select(kind="finished", path="root/a")
    cause = end.detail.cause
    assert (cause.kind, cause.output_file, cause.last_lines) == (
        "timed_out", "/x.err", ("frame 7",),
    )  # fmt: skip
    assert cause.limit_owner == "root/a"
