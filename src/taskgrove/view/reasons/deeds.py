"""What a failed leaf did, and what to do about it: some words for each kind of cause. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.reasons.causes import note_of
from taskgrove.view.reasons.facts import Failed, device_of
from taskgrove.view.reasons.kinds import Cause, CauseKind, gave_no_reason
from taskgrove.view.reasons.words import command_of, plain, said, seconds_between
from taskgrove.view.terminal_text import duration_text, safe_text

_FIGURE: Final = re.compile(r"(?P<limit>[0-9][0-9.e+-]*) s\b")
_TRIED: Final = re.compile(r" \(tried [^)]*\)$")
_LIMITS: Final = (CauseKind.TIMED_OUT, CauseKind.NOT_STARTED)

#: The rest of a sentence that begins with the leaf's name. ``words``: the cause without our own
#: beginning; ``said``: the same in quotation marks, for what somebody else said.
_DEEDS: Final[Mapping[CauseKind, str]] = {
    CauseKind.REPORTED: "reported that {command} failed: {said}",
    CauseKind.DEGRADED: "completed {command} degraded: {said}",
    CauseKind.RAISED: "raised an exception in {command}: {said}",
    CauseKind.UNREADABLE: "ended {command} with a result that cannot be understood ({words})",
    CauseKind.REFUSED: "refused {command}: {said}",
    CauseKind.QUEUE_FULL: "refused {command}: {said}",
    CauseKind.NOT_ALLOWED: "does not allow {command} in its present state: {said}",
    CauseKind.NO_COMMAND: "has {words}",
    CauseKind.WRONG_ARGUMENT: "was not called, because {words}",
    CauseKind.UNREACHABLE: "could not be reached, so {command} was not sent: {words}",
    CauseKind.DIED: "lost its server while {command} ran: {words}",
    CauseKind.RESTARTED: "lost {command} because its server was restarted in the middle of it",
    CauseKind.SILENT: "stopped answering while {command} ran: {words}",
    CauseKind.UNKNOWN_FATE: "gave no answer: {words}",
    CauseKind.FORGOTTEN: "does not know {command} any more, so how it ended is not known",
    CauseKind.TIMED_OUT: "did not finish {command} within {limit} ({setter})",
    CauseKind.NOT_STARTED: "was never started: {limit} ({setter}) had passed before its turn",
    CauseKind.CRASHED: "did not come to its end: {words}",
    CauseKind.LOST: "has no known end: {words}",
    CauseKind.NEVER_BEGUN: "was {words}",
    CauseKind.ABORTED: "was aborted, and not by this run: {said}",
    CauseKind.OTHER: "failed: {said}",
}
#: How foreign words are added; left out where nobody said why.
_SAID: Final = ": {said}"
#: The same for steps and analyses, where they differ: their words are their own.
_DEEDS_OF_STEPS: Final[Mapping[CauseKind, str]] = {
    CauseKind.REPORTED: "reported a failure: {said}",
    CauseKind.RAISED: "raised {words}",
}
#: Where the part of a cause begins that the sentence does not say already.
_MARKS: Final[Mapping[CauseKind, str]] = {
    CauseKind.UNREADABLE: "unusable result: ",
    CauseKind.NO_COMMAND: "the device has ",
    CauseKind.UNREACHABLE: "was not sent: ",
    CauseKind.DIED: "its server is gone: ",
    CauseKind.SILENT: "the device was ",
}

#: What to do, as a clause.
_MENDS: Final[Mapping[CauseKind, str]] = {
    CauseKind.UNREACHABLE: "start the server of {device} and see that it answers ({doctor})",
    CauseKind.DIED: "start the server of {device} again and see that it answers ({doctor})",
    CauseKind.SILENT: "restart the server of {device} if it hangs, see that it answers ({doctor})",
    CauseKind.RESTARTED: "find out in its log why the server of {device} was restarted",
    CauseKind.UNKNOWN_FATE: "see on {device} whether {command} was executed",
    CauseKind.FORGOTTEN: "see on {device} whether {command} was executed",
    CauseKind.TIMED_OUT: (
        "look at {device}, which may still be running {command}, and mend it or raise that"
        " limit in the map"
    ),
    CauseKind.NO_COMMAND: "correct command_name in the map",
    CauseKind.WRONG_ARGUMENT: "correct the argument of {command} (argin in the map, or --argin)",
    CauseKind.QUEUE_FULL: "wait until {device} has worked off its queue",
    CauseKind.NOT_ALLOWED: "bring {device} into a state that allows {command}",
    CauseKind.REFUSED: "mend on {device} what it names",
    CauseKind.LOST: "see on {device} whether {command} was executed",
    CauseKind.ABORTED: "find out who aborted {device}",
}
_MEND_DEVICE: Final = "mend on {device} what it reports (its log may have more)"
_MEND_SILENT_DEVICE: Final = "see in the log of {device} why"
_MENDS_OF_STEPS: Final[Mapping[CauseKind, str]] = {
    CauseKind.TIMED_OUT: "find out why {method} takes so long, or raise that limit in the map",
    CauseKind.RAISED: "mend {method}",
    CauseKind.LOST: "see what became of {method}",
}
_MEND_STEP: Final = "mend what {method} reports"
_MEND_SILENT_STEP: Final = "see why in {method}, which does not tell"
_MEND_RUNNER: Final = "find out why the runner was lost"
_MEND_ANALYSIS: Final = "look into the output of the analysis"
_MEND_LIMIT: Final = "find out what took so long before it, or raise that limit in the map"


def deed(failed: Failed) -> str:
    """Return what a failed leaf did, as the rest of a sentence that begins with its name."""
    node, cause = failed
    template = _DEEDS[cause.kind]
    words = cause.words
    if _runs_here(node):
        template = _DEEDS_OF_STEPS.get(cause.kind, template)
    elif cause.kind is CauseKind.RAISED:
        words = words.partition(": ")[2] or words
    if gave_no_reason(cause):
        template = template.replace(_SAID, ", without a reason")
    words = words.partition(_MARKS.get(cause.kind, "\0"))[2] or words
    if cause.kind is CauseKind.UNREACHABLE:
        words = _TRIED.sub("", words)
    elif cause.kind is CauseKind.NO_COMMAND and "; " in words:
        words = "{} ({})".format(*words.split("; ", 1))
    limit, setter = _limit_of(node, cause)
    return template.format(
        command=command_of(node), words=plain(words), said=said(words), limit=limit, setter=setter
    )


def next_after(failed: Failed, story: RunStory, device_count: int = 1) -> str:
    """Return what to do about a failure, as a clause that ends in running it again.

    Args:
        failed: The first leaf that has the cause.
        story: The run.
        device_count: How many devices have the same cause.
    """
    return f"{_mend(failed, story, device_count)}, then {again(story)}"


def again(story: RunStory) -> str:
    """Return how to run it again."""
    if story.can_resume and story.run_id:
        typed = f" {safe_text(story.resume_options)}" if story.resume_options else ""
        return f"taskgrove resume {safe_text(story.run_id)}{typed}{options_of(story)}"
    return f"run {safe_text(story.command) or 'it'} again"


def options_of(story: RunStory) -> str:
    """Return what a command line in advice needs besides, with a blank before it, or nothing."""
    return f" {safe_text(story.options)}" if story.options else ""


def _quoted(word: str) -> str:
    return safe_text(shlex.quote(word))


def _mend(failed: Failed, story: RunStory, device_count: int) -> str:
    node, cause = failed
    device = device_of(node)
    if cause.kind in (CauseKind.NOT_STARTED, CauseKind.NEVER_BEGUN):
        return _MEND_LIMIT if cause.kind is CauseKind.NOT_STARTED else _MEND_RUNNER
    late = late_end(node) if cause.kind is CauseKind.TIMED_OUT else None
    if late is not None:
        return "raise that limit in the map"
    more = device_count > 1
    silent = gave_no_reason(cause)
    if device is not None:
        template = _MENDS.get(cause.kind, _MEND_DEVICE)
        if silent and template in (_MEND_DEVICE, _MENDS[CauseKind.REFUSED]):
            template = _MEND_SILENT_DEVICE
    elif node.composed is not None and node.composed.execution == "ANALYSIS":
        template = _MEND_ANALYSIS
    else:
        template = _MENDS_OF_STEPS.get(cause.kind, _MEND_SILENT_STEP if silent else _MEND_STEP)
    return template.format(
        device=safe_text(device) + (f" (and {device_count - 1:,} more)" if more else ""),
        command=command_of(node),
        method=_method_of(node),
        doctor=f"taskgrove doctor {_quoted(story.map_file) if story.map_file else 'MAP'}",
    )


def late_end(node: RunNode) -> str | None:
    """Return how a leaf completed after its limit had expired, or None where it did not."""
    note = note_of(node, "late")
    if note is None or not note.text.startswith("ended COMPLETED"):
        return None
    after = seconds_between(node.ended_ns, note.wall_ns)
    return f"completed {duration_text(after)} after that" if after is not None else None


def _limit_of(node: RunNode, cause: Cause) -> tuple[str, str]:
    """Return how long the limit was that expired, and who set it."""
    if cause.kind not in _LIMITS:
        return "", ""
    found = _FIGURE.search(cause.words)
    limit = "its limit" if found is None else f"{found['limit']} s"
    owner = cause.limit_owner
    own = owner is None or owner == node.path
    return limit, "its own limit" if own else f"the limit set by {safe_text(owner)}"


def _runs_here(node: RunNode) -> bool:
    return node.composed is not None and node.composed.execution in ("INTERNAL", "ANALYSIS")


def _method_of(node: RunNode) -> str:
    """Return the method of a step: ``Manager.check_lock``; a plain function by its name."""
    target = None if node.composed is None else node.composed.target
    if not target or target in ("function", "method", "NoneType"):
        return command_of(node)
    return f"{safe_text(target)}.{command_of(node)}"
