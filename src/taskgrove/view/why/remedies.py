"""Advice about one failure: the words of its kind, and corrections of files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskgrove.events import Place
from taskgrove.events.cause import NameProblem
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.phrases import plain
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
from taskgrove.view.why.cause_kinds import (
    KINDS,
    REPORTS,
    Kind,
    has_no_host,
    kind_of,
    late_end,
)
from taskgrove.view.why.failed_leaf import FailedLeaf
from taskgrove.view.why.naming import command_of, device_of, execution_of, method_of, operand_of

_NO_REASON: Final = "find the reason in {method}: it reports none"
_KILLED: Final = "find out who killed it: the system kills programs that use too much memory"
_UNUSABLE: Final = {"ENOENT": ": it does not exist", "EACCES": ": it may not be used"}

_DATABASES: Final[Mapping[NameProblem | None, str]] = {
    "database_gone": "start the TANGO database, or correct TANGO_HOST",
    "no_database": "set TANGO_HOST to the host:port of a TANGO database",
}


def remedies(failed: FailedLeaf, story: RunStory, device_count: int = 1) -> list[Action]:
    """Return the advice about a failure, without that to run it again.

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
        return [SeeTo("find out which step before it took so long"), *_longer(failed, story)]
    if cause.kind == "timed_out" and late_end(node) is not None:
        return _longer(failed, story)
    kind, execution = KINDS[cause.kind], execution_of(node)
    if execution == "ANALYSIS":
        return [*_of_analysis(failed, kind), *_longer(failed, story)]
    if execution == "INTERNAL":
        what = _NO_REASON if kind.step == REPORTS and not failed.words else kind.step
        return [MendMethod(what, method_of(node)), *_longer(failed, story)]
    return _of_device(failed, story, max(0, device_count - 1))


def _of_device(failed: FailedLeaf, story: RunStory, more: int) -> list[Action]:
    cause, device = failed.cause, device_of(failed.node)
    if device is None:
        return [SeeTo("fix the cause")]
    since, is_refused = cause.last_answer_ns, cause.errno_name != "ETIMEDOUT"
    if has_no_host(cause):
        return [_edit(f"set TANGO_HOST, or write {plain(device)} with its address", None, story)]
    doctor: list[Action] = []
    if story.map_file is not None:
        line = ("taskgrove", "doctor", story.map_file)
        doctor = [RunCommand(line, "check that it responds")]
    if cause.name_problem in _DATABASES:
        return [SeeTo(_DATABASES[cause.name_problem]), *doctor]
    if cause.kind == "died" or (cause.kind == "unreachable" and is_refused):
        return [StartServer(device, again=cause.kind == "died", more=more), *doctor]
    if cause.kind in ("unreachable", "silent") or (cause.kind == "timed_out" and since):
        return [RestartServer(device, since, more), *doctor]
    kind = kind_of(failed.node, cause)
    if cause.kind == "refused" and not failed.words:
        kind = KINDS["reported"]
    what = kind.device.replace("{command}", command_of(failed.node))
    what = what.replace("{attribute}", cause.attribute or operand_of(failed.node))
    return [LookAtDevice(what, device, more), *_longer(failed, story)]


def _of_analysis(failed: FailedLeaf, kind: Kind) -> list[Action]:
    cause, analysis = failed.cause, failed.node.analysis
    files = () if analysis is None else analysis.output_files
    file = cause.output_file or (files[-1] if files else None)
    output: Action = MendMethod(kind.analysis, command_of(failed.node))
    if file is not None:
        output = LookAtFile(file, "the output")
    killed = cause.kind == "signalled" and cause.signal == "SIGKILL"
    return [SeeTo(_KILLED), output] if killed else [output]


def _written_wrong(failed: FailedLeaf, story: RunStory) -> list[Action]:
    """Return corrections of files that the user wrote; empty where they are right."""
    node, cause, composed = failed.node, failed.cause, failed.node.composed
    own = cause.place or (None if composed is None else composed.place)
    meant = f" (did you mean {cause.nearest}?)" if cause.nearest else ""
    wrong = {
        "no_command": f"command_name {operand_of(node)}",
        "no_attribute": f"attribute {cause.attribute or operand_of(node)}",
        "no_device": f"the name of device {device_of(node) or node.name}",
        "unreachable": f"the name of device {device_of(node) or node.name}" if meant else "",
        "unresolved": "" if cause.because_of else "the reference in its argument",
    }.get(cause.kind)
    if wrong:
        return [_edit(f"correct {wrong}{meant}", own, story)]
    match cause.kind:
        case "wrong_argument":
            return [_argument(failed, story)]
        case "misconfigured":
            return [_configured(failed, meant, story)]
        case "not_launched" if cause.program is not None:
            return [_launchable(failed, cause.program, story)]
    return []


def _argument(failed: FailedLeaf, story: RunStory) -> Action:
    cause, composed, command = failed.cause, failed.node.composed, command_of(failed.node)
    entry = None if composed is None else composed.place
    place = cause.place or (None if composed is None else composed.argin_place or entry)
    # Other commands of the device may need the argument that a file gives the device.
    if cause.expected == "DevVoid" and place and entry and place.file != entry.file:
        return _edit(f"write `argin: null` for {command}, which takes no argument,", entry, story)
    if composed is not None and composed.step != "command":
        return _edit(f"correct `{composed.step}` of {plain(failed.node.path)}", place, story)
    return _edit(f"correct the argument of {command}", place, story, "argin")


def _configured(failed: FailedLeaf, meant: str, story: RunStory) -> Action:
    cause = failed.cause
    place = cause.place or _configuration(failed.node)
    if cause.errno_name is not None and place is not None:  # a file, and not its content
        return SeeTo(f"check {place.file}{_UNUSABLE.get(cause.errno_name, '')}{meant}")
    key = f"`{place.key}`" if place is not None and place.key else "it"
    return _edit(f"correct {key}{meant}", place, story, "configuration")


def _launchable(failed: FailedLeaf, program: str, story: RunStory) -> Action:
    cause = failed.cause
    if cause.errno_name == "EACCES":
        return RunCommand(("chmod", "+x", program))
    if cause.errno_name == "ENOENT":
        place = cause.place or _configuration(failed.node)
        return _edit(f"correct {program}, which does not exist,", place, story, "configuration")
    return LookAtFile(program, "the first line (the interpreter of the program)")


def _longer(failed: FailedLeaf, story: RunStory) -> list[Action]:
    """Return which timeout may be increased, where one expired."""
    node, cause = failed.node, failed.cause
    if cause.kind == "unresponsive":
        what = f"if it may be silent for so long, increase `heartbeat` of {plain(node.path)}"
        return [_edit(what, None if node.composed is None else node.composed.place, story)]
    if cause.kind not in ("timed_out", "not_started") or cause.last_answer_ns is not None:
        return []
    if cause.place is not None:
        what = f"if it needs more time, increase `{cause.place.key}`"
        return [_edit(what, cause.place, story, "configuration")]
    owner = cause.limit_owner or node.path
    setter = next((it for it in story.nodes if it.path == owner), node)
    composed = setter.composed
    place = None if composed is None else composed.timeout_place or composed.place
    known = late_end(node) is not None or cause.kind == "not_started"
    only_if = "" if known else "if it needs more time, "
    key, path = "timeout", setter.path
    if composed is not None and composed.is_finally:  # the map says it beside the clean-up
        key, path = "finally_timeout", setter.parent_path
    return [_edit(f"{only_if}increase `{key}` of {plain(path)}", place, story)]


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
