"""What to do about a failure: some pieces of advice for each kind of cause. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskgrove.events import CauseKind, Place
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.why.actions import (
    Action,
    EditFile,
    LookAtDevice,
    LookAtFile,
    MendMethod,
    Part,
    RestartServer,
    RunCommand,
    SeeTo,
    StartServer,
)
from taskgrove.view.why.deeds import NO_HOST, late_end, runs_here
from taskgrove.view.why.failed_leaf import Failed, device_of
from taskgrove.view.why.phrases import command_of, method_of, plain

_EXECUTED: Final = "see on {device} whether {command} was executed"
_ON_DEVICES: Final[Mapping[CauseKind, str]] = {
    "restarted": "find out in the log of {device} why its server was restarted",
    "fate_unknown": _EXECUTED,
    "forgotten": _EXECUTED,
    "lost": _EXECUTED,
    "timed_out": "look at {device}, which may still be running {command}, and mend it",
    "abandoned": "see to {device}, which may still be running {command}",
    "queue_full": "wait until {device} has worked off its queue",
    "not_allowed": "bring {device} into a state that allows {command}",
    "refused": "mend on {device} what it names",
    "aborted": "find out who aborted {device}",
}
_ON_DEVICE: Final = "mend on {device} what it reports (see its log)"
_IN_ITS_LOG: Final = "see in the log of {device} why"
_IN_STEPS: Final[Mapping[CauseKind, str]] = {
    "timed_out": "find out why {method} takes so long",
    "raised": "mend {method}",
    "promised": "let {method} wait for the work that it begins",
    "lost": "see what became of {method}",
    "aborted": "find out who aborted {method}",
    "abandoned": "see to {method}, which may still be running",
}
_IN_STEP: Final = "mend what {method} reports"
_NOT_TOLD: Final = "see why in {method}, which does not tell"
#: Of analyses that wrote nothing.
_IN_SILENT_ANALYSES: Final[Mapping[CauseKind, str]] = {
    "timed_out": "find out why {method} takes so long",
    "unresponsive": "find out where {method} hangs",
    "no_result": "find out why {method} ends before it has a result",
    "lost": "see what became of {method}",
    "aborted": "find out who ended {method}",
    "reported": "mend what {method} reports",
}


def remedies(failed: Failed, story: RunStory, device_count: int = 1) -> list[Action]:
    """Return what to do about a failure, without running it again.

    Args:
        failed: The first leaf that has the cause.
        story: The run.
        device_count: How many devices have the same cause.
    """
    node, cause = failed.node, failed.cause
    found = _written_wrong(failed, story)
    if found:
        return found
    if cause.kind == "not_started":
        return [SeeTo("find out what took so long before it"), *_longer(failed, story)]
    if cause.kind == "timed_out" and late_end(node) is not None:
        return _longer(failed, story)
    if runs_here(node):
        here = _of_analysis(failed) if _is_analysis(node) else [_of_step(failed)]
        return [*here, *_longer(failed, story)]
    device = device_of(node)
    if device is None:
        return [SeeTo("mend that")]
    return _of_device(failed, story, device, max(0, device_count - 1))


def _of_device(failed: Failed, story: RunStory, device: str, more: int) -> list[Action]:
    cause = failed.cause
    if cause.kind == "unreachable" and any(link.type == NO_HOST for link in cause.chain):
        return [_edit(f"set TANGO_HOST, or give {plain(device)} with its address", None, story)]
    if cause.kind == "unreachable" and cause.errno_name == "ETIMEDOUT":
        return [RestartServer(device, cause.last_answer_ns, more), *_doctor(story)]
    if cause.kind in ("unreachable", "died"):
        return [StartServer(device, again=cause.kind == "died", more=more), *_doctor(story)]
    if cause.kind == "silent" or (cause.kind == "timed_out" and cause.last_answer_ns):
        return [RestartServer(device, cause.last_answer_ns, more), *_doctor(story)]
    template = _ON_DEVICES.get(cause.kind, _ON_DEVICE)
    if not failed.words and (cause.kind == "refused" or template is _ON_DEVICE):
        template = _IN_ITS_LOG
    what = template.replace("{command}", command_of(failed.node))
    return [LookAtDevice(what, device, more), *_longer(failed, story)]


def _of_step(failed: Failed) -> Action:
    default = _IN_STEP if failed.words else _NOT_TOLD
    return MendMethod(_IN_STEPS.get(failed.cause.kind, default), method_of(failed.node))


def _of_analysis(failed: Failed) -> list[Action]:
    cause = failed.cause
    analysis = failed.node.analysis
    files = () if analysis is None else analysis.output_files
    file = cause.output_file or (files[-1] if files else None)
    what = _IN_SILENT_ANALYSES.get(cause.kind, "mend {method}")
    output: Action = MendMethod(what, command_of(failed.node))
    if file is not None:
        output = LookAtFile(file, "the output")
    if cause.kind == "signalled" and cause.signal == "SIGKILL":
        return [
            SeeTo("find out who killed it: the system does so to what takes too much memory"),
            output,
        ]
    return [output]


def _written_wrong(failed: Failed, story: RunStory) -> list[Action]:
    """Return what to correct of what the user wrote; empty where nothing of it is wrong."""
    node, cause = failed.node, failed.cause
    composed = node.composed
    own = cause.place or (None if composed is None else composed.place)
    meant = f" (did you mean {cause.nearest}?)" if cause.nearest else ""
    if cause.kind == "no_command":
        return [_edit(f"correct command_name {command_of(node)}{meant}", own, story)]
    if cause.kind == "no_device":
        name = device_of(node) or node.name
        return [_edit(f"correct the name of device {name}{meant}", own, story)]
    if cause.kind == "wrong_argument":
        place = cause.place or (None if composed is None else composed.argin_place or own)
        return [_edit(f"correct the argument of {command_of(node)}", place, story, "argin")]
    if cause.kind == "misconfigured":
        return [_configured(failed, meant, story)]
    if cause.kind == "not_launched" and cause.program is not None:
        return [_launchable(failed, cause.program, story)]
    return []


def _configured(failed: Failed, meant: str, story: RunStory) -> Action:
    cause = failed.cause
    place = cause.place or _configuration(failed.node)
    if cause.errno_name is not None and place is not None:  # a file, and not what is in it
        wrong = {"ENOENT": ", which does not exist", "EACCES": ", which may not be used"}
        return SeeTo(f"see to {place.file}{wrong.get(cause.errno_name, '')}{meant}")
    key = f"`{place.key}`" if place is not None and place.key else "it"
    return _edit(f"correct {key}{meant}", place, story, "configuration")


def _launchable(failed: Failed, program: str, story: RunStory) -> Action:
    cause = failed.cause
    if cause.errno_name == "EACCES":
        return RunCommand(("chmod", "+x", program))
    if cause.errno_name == "ENOENT":
        place = cause.place or _configuration(failed.node)
        return _edit(f"correct {program}, which does not exist,", place, story, "configuration")
    return LookAtFile(program, "how it is to be started (its first line names its interpreter)")


def _longer(failed: Failed, story: RunStory) -> list[Action]:
    """Return that a limit may be raised, where one expired."""
    node, cause = failed.node, failed.cause
    if cause.kind == "unresponsive":
        what = f"if it may be silent for so long, raise `heartbeat` of {plain(node.path)}"
        return [_edit(what, None if node.composed is None else node.composed.place, story)]
    if cause.kind not in ("timed_out", "not_started") or cause.last_answer_ns is not None:
        return []
    if cause.place is not None:
        what = f"if it needs longer, raise `{cause.place.key}`"
        return [_edit(what, cause.place, story, "configuration")]
    owner = cause.limit_owner or node.path
    setter = next((it for it in story.nodes if it.path == owner), node)
    composed = setter.composed
    place = None if composed is None else composed.timeout_place or composed.place
    known = late_end(node) is not None or cause.kind == "not_started"
    only_if = "" if known else "if it needs longer, "
    return [_edit(f"{only_if}raise `timeout` of {plain(setter.path)}", place, story)]


def _edit(what: str, place: Place | None, story: RunStory, part: Part = "map") -> EditFile:
    if place is None and story.map_file is not None:
        place = Place(story.map_file)
    return EditFile(what, place, part)


def _configuration(node: RunNode) -> Place | None:
    """Return the configuration of an analysis, or None."""
    composed = node.composed
    if composed is None or composed.execution != "ANALYSIS" or not composed.target:
        return None
    return Place(composed.target)


def _doctor(story: RunStory) -> list[Action]:
    if story.map_file is None:
        return []
    return [RunCommand(("taskgrove", "doctor", story.map_file), "see that it answers")]


def _is_analysis(node: RunNode) -> bool:
    return node.composed is not None and node.composed.execution == "ANALYSIS"
