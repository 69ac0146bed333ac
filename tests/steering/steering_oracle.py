"""An independent model of steering: what must be true of a run, whatever was asked of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, NoteDetail, SteeringRequest, TaskEvent
from taskgrove.story.run_node import RunNode, RunNodes
from tests.steering.scripted_target import Invocation, overlapping
from tests.steering.steered_run import Asked, SteeredRun


def faults_of(run: SteeredRun) -> list[str]:
    """Return what is wrong with a run that has ended, in words; empty where all is right."""
    return [
        *answers(run.asked),
        *events_of_requests(run.asked, run.events),
        *attempts(run.invocations),
        *beginnings(run),
        *clean_ups(run.tree, run.invocations, run.asked),
        *ends(RunNodes(run.events), run.tree, run.invocations, Decided.of(run.asked)),
        *outcome(run),
    ]


def answers(asked: Iterable[Asked]) -> Iterator[str]:
    """Every time that a request was asked is answered once, and alike for one id."""
    by_id: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for item in asked:
        if len(item.answers) != 1:
            yield f"{item.request.id} ({item.request.verb}) has {len(item.answers)} answers"
            continue
        answer = item.answer
        by_id[item.request.id].add((answer.fate, answer.acted_count))
        if answer.request_id != item.request.id:
            yield f"{item.request.id} got the answer to {answer.request_id}"
        if answer.fate != "done" and not answer.objections:
            yield f"{item.request.id} was {answer.fate} without a reason"
        if len(answer.paths) != min(answer.acted_count, 20) and item.request.path:
            yield f"{item.request.id} acted on {answer.acted_count}, and names {answer.paths}"
    for request_id, found in by_id.items():
        if len(found) > 1:
            yield f"{request_id} was answered in {len(found)} ways: {found}"


def request_ids(event: TaskEvent) -> Iterator[str]:
    detail = event.detail
    if not isinstance(detail, (NoteDetail, FinishedDetail)) or detail.request is None:
        return
    stops = isinstance(detail, NoteDetail) and detail.topic == "abort-asked"
    if not (stops and detail.request.verb == "retry"):  # that the earlier attempt stops is no retry
        yield detail.request.id


def events_of_requests(asked: Iterable[Asked], events: Iterable[TaskEvent]) -> Iterator[str]:
    """A request has an event exactly where it was done."""
    told = {request_id for event in events for request_id in request_ids(event)}
    for item in asked:
        if len(item.answers) != 1:
            continue
        name, fate = (
            f"{item.request.id} ({item.request.verb} {item.request.path})",
            item.answer.fate,
        )
        if fate == "done" and item.request.id not in told:
            yield f"{name} was done, and no event has it"
        if fate != "done" and item.request.id in told:
            yield f"{name} was {fate}, and an event has it"


def attempts(invocations: list[Invocation]) -> Iterator[str]:
    """No attempt overlaps another one of its leaf, and their numbers go on."""
    for before, after in overlapping(invocations):
        yield f"{before} overlaps {after}"
    last: dict[tuple[str, str], int] = {}
    for item in invocations:
        key = (item.path, item.run_id)
        if item.attempt != last.get(key, 0) + 1:
            yield f"{item.path}: attempt {item.attempt} came after attempt {last.get(key, 0)}"
        last[key] = item.attempt


def in_clean_up(path: str) -> bool:
    return "/finally/" in path


def beginnings(run: SteeredRun) -> Iterator[str]:
    """Nothing begins while the run is paused, or after it was aborted, but clean-ups."""
    done = [item for item in run.asked if len(item.answers) == 1 and item.answer.fate == "done"]
    ends = [item for item in done if item.request.verb == "continue"]
    stops = [item for item in done if item.request.verb in ("pause", "abort")]
    for item in run.invocations:
        if in_clean_up(item.path):
            continue
        for stop in stops:
            path = stop.request.path
            if path and not (item.path == path or item.path.startswith(f"{path}/")):
                continue
            over = [it.asked_ns for it in ends if it.answered_ns > stop.asked_ns]
            until = min(over, default=1 << 63) if stop.request.verb == "pause" else 1 << 63
            if (path and "*" in path) or (path and item.attempt > 1):
                continue
            if path and any(
                before.began_ns < stop.answered_ns and before.path.startswith(f"{path}")
                for before in run.invocations
            ):
                continue  # it had begun
            taken_ns = run.taken_ns.get((item.path, item.attempt), 0)
            if stop.answered_ns < taken_ns and item.began_ns < until:
                yield f"{item} began after {stop.request.verb} {path} ({stop.request.id}) was done"


def worked(item: Invocation) -> bool:
    return item.end != "refused"


def clean_ups(tree: Task, invocations: list[Invocation], asked: list[Asked]) -> Iterator[str]:
    """The clean-up of a sequence runs once, after its steps, and only where one has begun."""
    done = [item for item in asked if item.answers and item.answer.fate == "done"]
    aborts = {item.request.id for item in done if item.request.verb == "abort"}
    stopped = len(aborts) > 1 or any(item.request.stop_finally for item in done)
    for path, node in tree.walk():
        if not isinstance(node, Task) or node.finally_task is None:
            continue
        own = f"{path}/finally/"
        below = [item for item in invocations if item.path.startswith(f"{path}/")]
        steps = [item for item in below if not item.path.startswith(own)]
        found = [item for item in below if item.path.startswith(own)]
        begun = any(worked(item) for item in steps)
        for leaf in node.finally_task.subtasks:
            count = sum(item.path == f"{own}{leaf.name}" for item in found)
            if count > begun or (count < begun and not stopped):
                yield f"{own}{leaf.name} ran {count} times; a step had begun: {begun}"
        first = min((item.began_ns for item in found), default=None)
        for step in steps:
            if first is not None and step.began_ns > first:
                yield f"{step} began after the clean-up of {path}"
            late = step.ended_ns is None or (first is not None and step.ended_ns > first)
            if first is not None and late and not aborts and step.end != "bad":
                yield f"{step} was at work when the clean-up of {path} began"


class Decided(NamedTuple):
    """What is known of the requests to a run.

    Attributes:
        done: The requests that were done, by their id; None: that is not known.
        aborted: Whether the run may have been aborted, or lost.
    """

    done: dict[str, SteeringRequest] | None
    aborted: bool

    @classmethod
    def of(cls, asked: Iterable[Asked]) -> Decided:
        done = {
            item.request.id: item.request
            for item in asked
            if item.answers and item.answer.fate == "done"
        }
        return cls(done, any(request.verb == "abort" for request in done.values()))

    def has(self, request: SteeringRequest | None) -> bool:
        return request is not None and (self.done is None or request.id in self.done)


def ends(
    facts: RunNodes, tree: Task, invocations: Sequence[Invocation], decided: Decided
) -> Iterator[str]:
    """Every leaf has the end that its last attempt, or an operator, gave it."""
    last: dict[str, Invocation] = {item.path: item for item in invocations}
    for path, node in tree.walk():
        if not isinstance(node, LeafTask):
            continue
        known, work = facts.nodes[path], last.get(path)
        if not known.is_final or known.finished is None:
            yield f"{path} has not ended"
            continue
        record = node.parent.tracker.subtasks[node.name]  # type: ignore[union-attr]
        if record.status is None and (known.skipped or decided.done is None):
            continue  # the tracker of its parent was ended as a whole
        if record.status is not known.status or record.result_code is not known.result_code:
            yield f"{path}: the tracker says {record.status}, the events {known.status}"
        if record.accepted is not known.finished.accepted:
            yield f"{path}: accepted is {record.accepted}, and in the events not"
        end = None if work is None else work.end or "not yet"
        yield from (
            f"{path} ended {known.state}, its last attempt {end}: {fault}"
            for fault in end_faults(known, end, decided)
        )


def end_faults(known: RunNode, end: str | None, decided: Decided) -> Iterator[str]:
    """Say what is wrong with the end of a leaf whose last attempt ended as ``end``."""
    finished = known.finished
    assert finished is not None
    if finished.cause is not None and finished.cause.kind in ("lost", "never_begun"):
        return  # the end of the work was not heard of
    fine = known.status is TaskStatus.COMPLETED and known.result_code is ResultCode.OK
    if finished.accepted:
        if not fine or end in ("ok", None):
            yield "accepted"
        if not decided.has(finished.request):
            yield "accepted, and nobody asked for it"
        elif finished.accepted_by != (finished.request.who,):  # type: ignore[union-attr]
            yield f"accepted by {finished.accepted_by}"
    elif fine:
        if end != "ok":
            yield "fine"
    elif known.skipped:
        if end is not None:
            yield "skipped"
        by_operator = any(item.kind == "operator" for item in finished.left_out)
        if by_operator and not decided.has(finished.request):
            yield "left out, and nobody asked for it"
    elif known.status is TaskStatus.ABORTED:
        if not decided.aborted and not in_clean_up(known.path):
            yield "aborted, and nobody asked for it"
    elif end in ("ok", None) and not (decided.aborted and in_clean_up(known.path)):
        yield "a problem"


def outcome(run: SteeredRun) -> Iterator[str]:
    """The outcome of the whole is that of its parts, and the events replay to it."""
    facts, told = RunNodes(run.events), run.handle.outcome
    assert told is not None
    again = rebuild(run.events).outcome
    if again != told:
        yield f"the outcome is {told}, and replays to {again}"
    leaves = [facts.nodes[path] for path, node in run.tree.walk() if isinstance(node, LeafTask)]
    marked = any(it.finished and (it.finished.accepted or it.skipped) for it in leaves)
    bad = any(it.is_problem for it in leaves)
    plain = not any(
        isinstance(node, Task) and (node.rule is not None or node.name.endswith("_pst"))
        for _, node in run.tree.walk()
    )
    if told.ok and (marked or bad) and plain:
        yield f"the outcome is {told}, and not all of it was fine"
    if told.ok and any(it.finished and it.finished.accepted for it in leaves):
        yield f"the outcome is {told}, and hides what was accepted"
    if not (marked or bad) and not told.ok:
        yield f"the outcome is {told}, and all of it was fine"
