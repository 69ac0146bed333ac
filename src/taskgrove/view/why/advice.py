"""What to do next about a whole run: mend what decided it, then run the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from taskgrove.story.node_state import NodeState
from taskgrove.story.run_story import OperatorVerdict, RunStory
from taskgrove.view.why.actions import (
    Action,
    EditFile,
    LookAtDevice,
    LookAtFile,
    RestartServer,
    RunAgain,
    RunCommand,
    SeeTo,
)
from taskgrove.view.why.failed_leaf import Failed, device_of, is_below
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.living_run import Wait
from taskgrove.view.why.phrases import listed, name_of
from taskgrove.view.why.remedies import remedies

#: So many causes are told how to mend; the next run tells the others.
_MENDED: Final = 3
#: Of so many causes it is said where more is told.
_POINTED: Final = 5


def next_actions(
    story: RunStory,
    findings: Findings,
    outcome: NodeState,
    verdicts: Sequence[OperatorVerdict],
    waits: Sequence[Wait],
) -> tuple[Action, ...]:
    """Return what to do next, in order; empty when there is nothing to do.

    Args:
        story: The run.
        findings: What became of its leaves.
        outcome: Its outcome in one word.
        verdicts: What operators said of it.
        waits: What it waits for, while it runs.
    """
    if story.resumed_by:
        return _after_resume(story)
    if story.state == "unknown":
        return (SeeTo("see whether its process still runs"),)
    if story.state == "lost":
        return _after_loss(story, findings)
    if story.state == "running":
        return _while_running(story, waits)
    return _after_end(story, findings, outcome, verdicts)


def _after_end(
    story: RunStory,
    findings: Findings,
    outcome: NodeState,
    verdicts: Sequence[OperatorVerdict],
) -> tuple[Action, ...]:
    if outcome == "completed" and not findings.failed:
        return ()
    if findings.failed:
        mends = _unique(_mends(story, findings, verdicts))
        return (*mends, _again(story, mends))
    if findings.stop is None and findings.never_begun:
        return (_again(story, (), "run what is missing"),)
    mends = _without_failure(findings, outcome)
    return (*mends, _again(story, mends, "" if mends else "when ready"))


def pointers(story: RunStory, findings: Findings, actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return where more is told of what failed, besides what is to be done about it."""
    found: list[Action] = []
    seen: set[tuple[object, ...]] = set()
    for item in findings.failed:
        if item.key in seen or len(seen) == _POINTED:
            continue
        seen.add(item.key)
        cause, path = item.cause, item.node.path
        if cause.output_file is not None:
            found.append(LookAtFile(cause.output_file, f"the output of {name_of(item.node)}"))
        inside = [
            name
            for name, known in (
                ("attempts", item.node.attempt > 1),
                ("exceptions", cause.chain),
                ("last lines", cause.last_lines),
            )
            if known
        ]
        if inside and story.recorded:
            line = ("taskgrove", "runs", "show", story.run_id, "--node", path, *story.options)
            found.append(
                RunCommand(line, f"see the {' and '.join(inside)} of {name_of(item.node)}")
            )
    found += _outputs(story, len(found))
    told = [action.path for action in actions if isinstance(action, LookAtFile)]
    return tuple(it for it in found if not (isinstance(it, LookAtFile) and it.path in told))


def _outputs(story: RunStory, told: int) -> list[Action]:
    """Return the files that hold what analyses wrote that did not fail."""
    files = (
        LookAtFile(file, f"the output of {name_of(node)}")
        for node in story.nodes
        if node.analysis is not None and not node.is_problem
        for file in node.analysis.output_files
    )
    return list(islice(files, max(0, _POINTED - told)))


def _mends(
    story: RunStory, findings: Findings, verdicts: Sequence[OperatorVerdict]
) -> Iterable[Action]:
    accepted = [it.path for it in verdicts if it.verdict == "ok"]
    groups: dict[tuple[object, ...], list[Failed]] = {}
    for item in findings.failed[: findings.deciding]:
        if not any(is_below(item.node.path, path) for path in accepted):
            groups.setdefault(item.key, []).append(item)
    for items in list(groups.values())[:_MENDED]:
        devices = {device_of(item.node) for item in items}
        yield from remedies(items[0], story, len(devices))


def _without_failure(findings: Findings, outcome: NodeState) -> list[Action]:
    stop = findings.stop
    if stop is None:
        return [SeeTo("mend what stands in its way" if outcome == "rejected" else "mend that")]
    devices = list(dict.fromkeys(filter(None, map(device_of, stop.abandoned))))
    steps = [name_of(node) for node in stop.abandoned if device_of(node) is None]
    found: list[Action] = []
    if devices:
        found.append(LookAtDevice("see to {device}", devices[0], len(devices) - 1))
    if steps:
        found.append(SeeTo(f"see to {listed(steps)}"))
    return found


def _while_running(story: RunStory, waits: Sequence[Wait]) -> tuple[Action, ...]:
    runner = story.runner
    if runner is None or not (runner.is_stopped or runner.is_silent):
        return tuple(
            RestartServer(it.device, it.silent_since_ns)
            for it in waits[:_MENDED]
            if it.silent_since_ns is not None and it.device is not None
        )
    if runner.is_stopped:
        return (RunCommand(("kill", "-CONT", str(runner.pid)), f"on {runner.host} let it go on"),)
    return (SeeTo(f"see on {runner.host} what process {runner.pid} does"),)


def _after_resume(story: RunStory) -> tuple[Action, ...]:
    """Return what to do where another run went on with it: that one tells."""
    newest = story.resumed_by[-1]
    if newest.outcome in (None, "ok"):
        return ()
    return (RunCommand(("taskgrove", "why", newest.run_id, *story.options)),)


def _after_loss(story: RunStory, findings: Findings) -> tuple[Action, ...]:
    """Return what to do about a lost run: pick up what still runs, then run what is missing."""
    outside = any(node.outside_id is not None for node in findings.open)
    if not outside:
        return (_again(story, (), "run what is missing" if story.can_resume else ""),)
    if not story.can_resume:
        return (SeeTo("see what still runs"), _again(story, ()))
    recover = ("taskgrove", "recover", story.run_id, *story.options)
    return (RunCommand(recover, "follow what still runs"), _again(story, (), "run the rest"))


def _again(story: RunStory, mends: Sequence[Action], aim: str = "") -> Action:
    """Return how to run it again, with what was edited meanwhile."""
    if not (story.can_resume and story.run_id):
        return RunAgain(story.command)
    typed = list(story.resume_options)
    for action in mends:
        place = action.place if isinstance(action, EditFile) else None
        if not isinstance(action, EditFile):
            continue
        if place is None or _is_same(place.file, story.map_file):
            typed += [] if "--use-file" in typed else ["--use-file"]
        elif action.part == "argin":
            typed = [*_without(typed, "--argin"), "--argin", place.file]
        elif action.part == "map":
            typed += [] if "--use-file" in typed else ["--use-file"]
    return RunCommand(("taskgrove", "resume", story.run_id, *typed, *story.options), aim)


def _without(words: Sequence[str], option: str) -> list[str]:
    """Return the words of a command without an option and its value."""
    at = words.index(option) if option in words else len(words)
    return [*words[:at], *words[at + 2 :]]


def _is_same(file: str, map_file: str | None) -> bool:
    """Return whether a file, as it was given, is the one that the run was composed from."""
    if map_file is None:
        return True
    return file == map_file or map_file.endswith(f"/{file.removeprefix('./')}")


def _unique(actions: Iterable[Action]) -> list[Action]:
    found: list[Action] = []
    for action in actions:
        if action not in found:
            found.append(action)
    return found
