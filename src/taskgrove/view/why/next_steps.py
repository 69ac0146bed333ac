"""The next steps for a whole run: fix the deciding failures, then run the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from posixpath import commonpath
from typing import Final

from taskgrove.events.device_holder import DeviceHolder
from taskgrove.story.run_story import RunStory
from taskgrove.view.phrases import listed
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
from taskgrove.view.why.failed_leaf import grouped
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.held_steps import WaitingLeaf
from taskgrove.view.why.living_run import Wait, hangs
from taskgrove.view.why.naming import device_of, is_below, name_of
from taskgrove.view.why.remedies import remedies

#: So many causes are told how to fix; the next run tells the others.
_FIXED: Final = 3
#: Of so many causes the places are told that tell more.
_POINTED: Final = 5


def next_actions(found: Findings, waits: Sequence[Wait]) -> tuple[Action, ...]:
    """Return the next steps, in order; empty when there is none."""
    story = found.story
    if story.resumed_by:  # the newest run tells
        newest = story.resumed_by[-1]
        line = ("taskgrove", "why", newest.run_id, *story.options)
        return () if newest.outcome in (None, "ok") else (RunCommand(line),)
    if story.state == "running":
        return _while_running(found, waits)
    if story.state == "lost":
        return _after_loss(found)
    if story.state == "unknown":
        return (SeeTo("check whether its process is still running"),)
    return _after_end(found)


def _after_end(found: Findings) -> tuple[Action, ...]:
    story = found.story
    if found.failed:
        fixes = list(dict.fromkeys(_fixes(found)))
        return (*fixes, _again(story, fixes))
    if found.outcome == "completed" or (
        found.outcome == "degraded" and (found.signed or found.dropped)
    ):
        return ()
    if found.abort is None and found.never_begun:
        return (_again(story, aim="run the missing leaves"),)
    fixes = _after_abort(found) if found.abort else [SeeTo("fix the cause")]
    return (*fixes, _again(story, aim="" if fixes else "when ready"))


def pointers(found: Findings, actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return files and commands that tell more of the failures, besides the next steps."""
    story = found.story
    pointed: list[Action] = []
    for first, *_ in found.groups[:_POINTED]:
        cause, node = first.cause, first.node
        if cause.output_file is not None:
            pointed.append(LookAtFile(cause.output_file, f"the output of {name_of(node)}"))
        parts = {
            "attempts": node.attempt > 1,
            "exceptions": bool(cause.chain),
            "last lines": bool(cause.last_lines),
        }
        inside = [name for name, known in parts.items() if known]
        if inside and story.recorded:
            line = ("taskgrove", "runs", "show", story.run_id, "--node", node.path, *story.options)
            pointed.append(RunCommand(line, f"see the {' and '.join(inside)} of {name_of(node)}"))
    outputs = (
        LookAtFile(file, f"the output of {name_of(node)}")
        for node in story.nodes
        if node.analysis is not None and not node.is_problem
        for file in node.analysis.output_files
    )
    pointed += islice(outputs, max(0, _POINTED - len(pointed)))
    told = [action.path for action in actions if isinstance(action, LookAtFile)]
    return tuple(it for it in pointed if not (isinstance(it, LookAtFile) and it.path in told))


def _fixes(found: Findings) -> Iterable[Action]:
    accepted = [it.path for it in found.verdicts if it.verdict == "ok"]
    left = [
        item
        for item in found.failed[: found.deciding]
        if not any(is_below(item.node.path, path) for path in accepted)
    ]
    for items in grouped(left)[:_FIXED]:
        devices = {device_of(item.node) for item in items}
        yield from remedies(items[0], found.story, len(devices))


def _after_abort(found: Findings) -> list[Action]:
    """Return the devices and steps to look at that did not stop."""
    abandoned = found.abort.abandoned if found.abort is not None else []
    devices = list(dict.fromkeys(filter(None, map(device_of, abandoned))))
    steps = [name_of(node) for node in abandoned if device_of(node) is None]
    told: list[Action] = []
    if devices:
        told.append(LookAtDevice("check {device}", devices[0], len(devices) - 1))
    if steps:
        told.append(SeeTo(f"check {listed(steps)}"))
    return told


def choices_of(found: Findings) -> tuple[Action, ...]:
    """Return what else can be done: a decision, an abort, or the clean-up of a lost run."""
    story = found.story
    if story.state == "lost":
        return _clean_up(found)
    if story.state != "running" or found.abort is not None or not story.recorded:
        return ()
    told: list[Action] = []
    for group in found.waiting[:_FIXED]:
        path = _selecting(group, found)
        if group[0].wait.how == "delayed" and story.pause is None:
            told.append(_ask(story, "retry", path, aim="start the next attempt now"))
        told += [
            _ask(story, "accept", path, "--why", "REASON", aim="count it as done"),
            _ask(story, "skip", path, aim="let the failure stand, and run the later steps"),
            _ask(story, "fail", path, aim="let the failure stand"),
        ]
    if found.parked and story.pause is not None:
        first = found.parked[0]
        told.append(_ask(story, "skip", first.path, aim=f"leave out {name_of(first)}"))
    if told or story.pause is not None or story.device_wait is not None:
        told.append(_ask(story, "abort", aim="abort the run"))
    return tuple(told)


def _clean_up(found: Findings) -> tuple[Action, ...]:
    """Return how to run the clean-up of a lost run that has not run, though it should."""
    story = found.story
    if not (story.can_resume and story.run_id):
        return ()
    begun = {node.path for node in story.nodes if node.started_ns is not None}
    pending = any(
        node.composed is not None and node.composed.is_finally and node.parent_path in begun
        for node in story.nodes
        if any(is_below(it.path, node.path) and it.queued_ns is None for it in found.open)
    )
    if not pending:
        return ()
    line = ("taskgrove", "recover", story.run_id, "--finally", *story.resume_options)
    return (RunCommand((*line, *story.options), "run its clean-up, which has not run"),)


def _decide(found: Findings) -> tuple[Action, ...]:
    """Return the next steps of a run that is paused, or waits for a decision."""
    story, told = found.story, list[Action]()
    for group in found.held[:_FIXED]:
        devices = {device_of(item.failed.node) for item in group}
        told += remedies(group[0].failed, story, len(devices))
    # What is composed already does not change with its files.
    told = list(dict.fromkeys(it for it in told if not isinstance(it, EditFile)))
    if not story.recorded:
        return (*told, SeeTo("decide in the terminal that runs it"))
    for group in found.held[:_FIXED]:
        told.append(_ask(story, "retry", _selecting(group, found), aim="try it again"))
    if story.pause is not None:
        told.append(_ask(story, "continue", aim="end the pause"))
    if (holder := story.device_wait) is not None:
        told.append(_free(holder, story))
    return tuple(told)


def _free(holder: DeviceHolder, story: RunStory) -> RunCommand:
    """Return how the device becomes free that a run waits for."""
    words, aim = ["why", holder.run_id], "see how far that run is"
    if holder.state == "lost":
        words, aim = ["recover", holder.run_id], "find out how the work of that run ended"
    elif holder.state == "left":
        words = ["release", holder.device, "--why", "REASON"]
        aim = f"free {holder.device}, once it is idle"
    return RunCommand(("taskgrove", *words, *story.options), aim)


def _ask(story: RunStory, verb: str, *words: str, aim: str) -> RunCommand:
    return RunCommand(("taskgrove", verb, story.run_id, *words, *story.options), aim)


def _selecting(group: Sequence[WaitingLeaf], found: Findings) -> str:
    """Return a path that selects the steps of a group, and no other step that waits."""
    paths = [item.failed.node.path for item in group]
    if len(paths) == 1:
        return paths[0]
    above = commonpath(paths)
    chosen = set(paths)
    others = (item.failed.node.path for it in found.waiting for item in it)
    if any(is_below(path, above) for path in others if path not in chosen):
        return paths[0]
    return above


def _while_running(found: Findings, waits: Sequence[Wait]) -> tuple[Action, ...]:
    story = found.story
    runner = story.runner
    if runner is None or not hangs(story):
        waits_for = story.pause or story.device_wait
        if found.abort is None and (found.held or waits_for is not None):
            return _decide(found)
        return tuple(
            RestartServer(it.device, it.silent_since_ns)
            for it in waits[:_FIXED]
            if it.silent_since_ns is not None and it.device is not None
        )
    if runner.is_stopped:
        line = ("kill", "-CONT", str(runner.pid))
        return (RunCommand(line, f"continue the process on {runner.host}"),)
    return (SeeTo(f"check process {runner.pid} on {runner.host}"),)


def _after_loss(found: Findings) -> tuple[Action, ...]:
    """Return the steps for a lost run: follow the leaves that still run, then run the rest."""
    story = found.story
    if not any(node.outside_id is not None for node in found.open):
        return (_again(story, aim="run the missing leaves" if story.can_resume else ""),)
    if not story.can_resume:
        return (SeeTo("check which leaves are still running"), _again(story))
    recover = ("taskgrove", "recover", story.run_id, *story.options)
    return (
        RunCommand(recover, "follow the leaves that still run"),
        _again(story, aim="run the rest"),
    )


def _again(story: RunStory, fixes: Sequence[Action] = (), aim: str = "") -> Action:
    """Return how to run it again, with the files that are to be edited meanwhile."""
    if not (story.can_resume and story.run_id):
        return RunAgain(story.command)
    typed = list(story.resume_options)
    for action in fixes:
        if not isinstance(action, EditFile):
            continue
        file = None if action.place is None else action.place.file
        is_map = file is None or _is_same(file, story.map_file)
        if action.part == "argin" and file is not None and not is_map:
            typed = [*_without(typed, "--argin"), "--argin", file]
        elif (is_map or action.part == "map") and "--use-file" not in typed:
            typed.append("--use-file")
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
