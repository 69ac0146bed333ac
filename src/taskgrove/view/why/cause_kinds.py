"""The kinds of causes: for each, words for the deed of the failed leaf, and advice.

One row of :data:`KINDS` tells all of a kind. A sentence that begins with the leaf's name goes on
with :func:`deed`; :mod:`taskgrove.view.why.remedies` makes advice of the other words. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, CauseKind, one_line
from taskgrove.events.cause import NameProblem
from taskgrove.story.legacy import completed_late
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import COLUMNS, clock_text, plain, said, seconds_between
from taskgrove.view.terminal_text import duration_text
from taskgrove.view.why.naming import command_of, note_of, runs_here

_LOG: Final = "see the log of {device} for details"
_EXECUTED: Final = "check on {device} whether {command} was executed"
_STILL_RUNNING: Final = "check {device}: it may still be running {command}"
_SLOW: Final = "find out why {method} takes so long"
#: What to do about a method that fails and reports why.
REPORTS: Final = "fix the failure that {method} reports"


class Kind(NamedTuple):
    """The words for a kind of cause.

    ``{said}`` stands for foreign words in quotation marks, ``{words}`` for words as they are,
    ``{reason}`` for the reason of an abort; the other names stand for facts of the cause and of
    the leaf.

    Attributes:
        deed: The deed of the leaf.
        device: Advice for its device.
        step: Advice for its method.
        analysis: Advice for an analysis that wrote nothing.
        deed_here: The deed of a step or an analysis, where that differs.
        by_fields: Whether its fields tell it all: its words make no other cause.
        by_message: Whether the message of the leaf tells more than the words in the cause.
        by_others: Whether only the words of others are told beside its fields.
        is_gone: Whether the device is gone: a later failure on it has the same cause.
    """

    deed: str
    device: str = _LOG
    step: str = REPORTS
    analysis: str = "fix {method}"
    deed_here: str = ""
    by_fields: bool = False
    by_message: bool = False
    by_others: bool = False
    is_gone: bool = False


KINDS: Final[Mapping[CauseKind, Kind]] = {
    "reported": Kind(
        "reported that {command} failed: {said}",
        deed_here="reported a failure: {said}",
        analysis=REPORTS,
    ),
    "raised": Kind(
        "raised an exception in {command}: {said}",
        deed_here="raised {words}",
        step="fix {method}",
    ),
    "promised": Kind(
        "ended {command} before its work was done: {words}",
        step="make {method} wait for the work that it starts",
    ),
    "unreadable": Kind("ended {command} with a result that cannot be read: {said}"),
    "refused": Kind("refused {command}: {said}", "fix the cause on {device}"),
    "queue_full": Kind("refused {command}: {said}", "wait until the queue of {device} is empty"),
    "not_allowed": Kind(
        "does not allow {command} in its present state: {said}",
        "bring {device} into a state that allows {command}",
    ),
    "no_command": Kind("has no command {command}{nearest}"),
    "no_attribute": Kind("has no attribute {attribute}{nearest}"),
    "no_device": Kind(
        "does not exist: its server answers, but has no device of that name{nearest}"
    ),
    "wrong_argument": Kind("was not called, because {words}", by_message=True),
    "misconfigured": Kind("was not started, because its configuration is wrong: {words}"),
    "unresolved": Kind("was not started, because its argument is not known: {words}"),
    "not_launched": Kind("could not be started: {words}{nearest}"),
    "unreachable": Kind(
        "could not be reached, so {command} was not sent: {words}{nearest}",
        by_others=True,
        is_gone=True,
    ),
    "died": Kind(
        "lost its server while {command} was running: {words}", by_others=True, is_gone=True
    ),
    "restarted": Kind(
        "lost {command} because its server restarted while the command was running",
        "find out in the log of {device} why its server restarted",
        by_fields=True,
        is_gone=True,
    ),
    "silent": Kind(
        "stopped answering while {command} was running{since}: {words}",
        by_others=True,
        is_gone=True,
    ),
    "fate_unknown": Kind(
        "gave no answer, so it is not known whether {command} was executed: {words}",
        _EXECUTED,
        by_others=True,
    ),
    "forgotten": Kind(
        "no longer knows {command}, so it is not known how the command ended",
        _EXECUTED,
        by_fields=True,
    ),
    "timed_out": Kind(
        "did not finish {command} within {limit} ({setter})",
        _STILL_RUNNING,
        _SLOW,
        _SLOW,
        by_fields=True,
        by_message=True,
    ),
    "not_started": Kind(
        "was not started: {limit} ({setter}) had passed before its turn", by_message=True
    ),
    "never_begun": Kind(
        "was not started: the runner of this run was lost before its turn",
        by_fields=True,
        by_message=True,
    ),
    "lost": Kind(
        "has no known end: {words}",
        _EXECUTED,
        "check whether {method} has finished",
        "check whether {method} has finished",
        by_message=True,
    ),
    "aborted": Kind(
        "was aborted, but not by this run: {said}",
        "find out who aborted {device}",
        "find out who aborted {method}",
        "find out who stopped {method}",
    ),
    "abandoned": Kind(
        "did not stop when asked and may still be running",
        _STILL_RUNNING,
        "check {method}: it may still be running",
        by_fields=True,
    ),
    "skipped": Kind("was skipped: {words}"),
    "exited": Kind("ended with exit status {code}: {said}", by_others=True),
    "signalled": Kind("was killed by {signal}: {said}", by_others=True),
    "unresponsive": Kind(
        "gave no sign of life for {limit} and was stopped",
        analysis="find out where {method} hangs",
    ),
    "no_result": Kind(
        "gave no result: {words}", analysis="find out why {method} ends before it has a result"
    ),
    "unmet": Kind(
        "found that {words}",
        "see to {device}: it has another value of {attribute}",
        by_message=True,
    ),
}
#: The words for a step on an attribute, where they differ from those for a command.
STEP_KINDS: Final[Mapping[CauseKind, Kind]] = {
    "refused": Kind("refused {command}: {said}", "fix the cause on {device}"),
    "raised": Kind("could not read {attribute}: {said}"),
    "wrong_argument": Kind("was not done, because {words}", by_message=True),
    "unreachable": Kind("could not be reached: {words}{nearest}", by_others=True, is_gone=True),
    "fate_unknown": Kind(
        "gave no answer, so it is not known whether {attribute} was written: {words}",
        "check on {device} whether {attribute} was written",
        by_others=True,
    ),
    "lost": Kind(
        "has no known end: {words}",
        "look at {attribute} of {device}",
        by_message=True,
    ),
    "timed_out": Kind(
        "waited {limit} ({setter}) in vain: {expected}",
        "find out why {attribute} of {device} did not change",
        by_fields=True,
        by_message=True,
    ),
}
_FAILED: Final = "failed: {said}"
_DEGRADED: Final = "completed {command} degraded: {said}"
_NOT_STARTED: Final = "was not started: {reason}"
_ABORTED: Final = "was aborted: {reason}"
_SILENT_LIMIT: Final = (
    "has not answered{since}, and did not finish {command} within {limit} ({setter})"
)
#: Of a leaf that failed for no reason that anybody gave, this is told.
_NO_REASON: Final[Mapping[CauseKind, str]] = dict.fromkeys(
    ("reported", "refused"), ", without a reason"
)
_UNDEFINED: Final = Kind("does not exist: the TANGO database has no device of that name{nearest}")
_OF_NAMES: Final[Mapping[NameProblem, str]] = {
    "host_unset": "TANGO_HOST is not set, or not host:port",
    "database_gone": "the TANGO database does not answer",
    "no_database": "the server that answers at its address is no TANGO database",
    "not_exported": "its server is not running",
}
_OF_SYSTEM: Final[Mapping[tuple[CauseKind, str], str]] = {
    ("not_launched", "ENOENT"): "there is no program {}",
    ("not_launched", "EACCES"): "{} may not be executed",
    ("unreachable", "ECONNREFUSED"): "no server answers at its address",
    ("unreachable", "ETIMEDOUT"): "its server takes connections and does not answer",
}


def deed(node: RunNode, cause: Cause, told: str, now_ns: int, room: int = COLUMNS) -> str:
    """Return the deed of a failed leaf: the rest of a sentence that begins with its name.

    Args:
        node: The leaf.
        cause: Why it failed.
        told: The words that were told of it.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        room: How many columns each name and each foreign text may take.
    """
    template = _template(node, cause)
    words = _system_words(cause) or (cause.said if kind_of(node, cause).by_others else told)
    if not words:
        rest = _NO_REASON.get(cause.kind, "")
        template = template.replace(": {said}", rest).replace(": {words}", "")
    reason = one_line(cause.said or told.removeprefix("not started: "))
    if not reason:
        template = template.replace(": {reason}", "")
    line = one_line(words)
    unknown = "too long" if cause.kind == "unresponsive" else "its timeout"
    is_own = cause.limit_owner is None or cause.limit_owner == node.path
    since = cause.last_answer_ns
    return template.format(
        command=command_of(node, room),
        words=plain(line, room),
        said=said(line, room),
        reason=plain(reason, room),
        nearest=f" (did you mean {plain(cause.nearest, room)}?)" if cause.nearest else "",
        since="" if since is None else f" since {clock_text(since, now_ns)}",
        limit=unknown if cause.limit_s is None else f"{cause.limit_s:g} s",
        setter="its own timeout"
        if is_own
        else f"the timeout set by {plain(cause.limit_owner or '', room)}",
        attribute=plain(cause.attribute or _attribute_of(node), room),
        expected=_expected_words(node, cause, room),
        code="unknown" if cause.return_code is None else cause.return_code,
        signal=plain(cause.signal or "a signal"),
    )


def kind_of(node: RunNode, cause: Cause) -> Kind:
    """Return the words for the cause of a leaf."""
    if cause.name_problem == "not_defined":
        return _UNDEFINED
    composed = node.composed
    of_command = composed is None or (composed.step == "command" and cause.attribute is None)
    if of_command or cause.kind not in STEP_KINDS:
        return KINDS[cause.kind]
    # A write waits for nothing: its limit is one as of a command.
    waits = cause.kind != "timed_out" or cause.expected is not None
    return (STEP_KINDS if waits else KINDS)[cause.kind]


def _attribute_of(node: RunNode) -> str:
    composed = node.composed
    return "the attribute" if composed is None else composed.command_name or "the attribute"


def _expected_words(node: RunNode, cause: Cause, room: int) -> str:
    """Return the last value of an attribute that was awaited, and the expected one."""
    expected = f"expected: {plain(cause.expected or '', room)}"
    reading = cause.reading
    if reading is None:
        return f"it was never read; {expected}"
    age_s = seconds_between(reading.read_ns, node.ended_ns)
    ago = "" if age_s is None else f" {age_s:.1f} s before"
    told = f"{plain(reading.attribute, room)} was {plain(reading.value, room)}"
    return f"{told}{ago}; {expected}"


def late_end(node: RunNode) -> str | None:
    """Return how late a leaf completed after its timeout, or None where it did not."""
    note = note_of(node, "late")
    if note is None or not completed_late(note):
        return None
    expired = note_of(node, "timeout")  # its end may wait for the work that goes on
    after = seconds_between(node.ended_ns if expired is None else expired.wall_ns, note.wall_ns)
    return f"completed {duration_text(after)} after that" if after is not None else None


def has_no_host(cause: Cause) -> bool:
    """Return whether a device could not be reached because nothing tells of a database."""
    return cause.kind == "unreachable" and any(
        link.type == "API_TangoHostNotSet" for link in cause.chain
    )


def _template(node: RunNode, cause: Cause) -> str:
    kind = kind_of(node, cause)
    if cause.kind == "reported":
        if node.state == "degraded":
            return _DEGRADED
        if node.status is not TaskStatus.COMPLETED:
            return _FAILED
    if cause.kind == "timed_out" and cause.last_answer_ns is not None:
        return _SILENT_LIMIT
    if cause.kind == "not_started" and cause.limit_s is None:
        return _NOT_STARTED  # the run was aborted before its turn
    if cause.kind == "aborted" and note_of(node, "abort-asked") is not None:
        return _ABORTED
    return (kind.deed_here if runs_here(node) else "") or kind.deed


def _system_words(cause: Cause) -> str:
    """Return why something could not be started or reached, as the system told it in one word."""
    problem: NameProblem | None = "host_unset" if has_no_host(cause) else cause.name_problem
    if problem is not None and problem in _OF_NAMES:
        return _OF_NAMES[problem]
    return _OF_SYSTEM.get((cause.kind, cause.errno_name or ""), "").format(cause.program or "it")
