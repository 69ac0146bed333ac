"""What a failed leaf did: some words for each kind of cause. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, CauseKind, one_line
from taskgrove.story.legacy import completed_late
from taskgrove.story.run_node import RunNode
from taskgrove.view.terminal_text import duration_text
from taskgrove.view.why.failed_leaf import Failed
from taskgrove.view.why.findings import note_of
from taskgrove.view.why.phrases import COLUMNS, clock_text, command_of, plain, said, seconds_between

#: The rest of a sentence that begins with the leaf's name. ``said``: foreign words in quotation
#: marks; ``words``: what was told, as it is; the others are facts of the cause.
DEEDS: Final[Mapping[CauseKind, str]] = {
    "reported": "reported that {command} failed: {said}",
    "raised": "raised an exception in {command}: {said}",
    "promised": "ended {command} with a promise of work in place of its result: {words}",
    "unreadable": "ended {command} with a result that cannot be understood: {said}",
    "refused": "refused {command}: {said}",
    "queue_full": "refused {command}: {said}",
    "not_allowed": "does not allow {command} in its present state: {said}",
    "no_command": "has no command {command}{nearest}",
    "no_device": "does not exist: its server answers, and has no device of that name{nearest}",
    "wrong_argument": "was not called, because {words}",
    "misconfigured": "was not started, because its configuration is wrong: {words}",
    "not_launched": "could not be started: {words}{nearest}",
    "unreachable": "could not be reached, so {command} was not sent: {words}",
    "died": "lost its server while {command} ran: {words}",
    "restarted": "lost {command} because its server was restarted in the middle of it",
    "silent": "stopped answering while {command} ran{since}: {words}",
    "fate_unknown": "gave no answer, so it is not known whether {command} was executed: {words}",
    "forgotten": "does not know {command} any more, so how it ended is not known",
    "timed_out": "did not finish {command} within {limit} ({setter})",
    "not_started": "was never started: {limit} ({setter}) had passed before its turn",
    "never_begun": "was never started: the runner of this run was lost before its turn",
    "lost": "has no known end: {words}",
    "aborted": "was aborted, and not by this run: {said}",
    "abandoned": "did not stop when asked and may still be running",
    "skipped": "was skipped: {words}",
    "exited": "ended with exit status {code}: {said}",
    "signalled": "was killed by {signal}: {said}",
    "unresponsive": "gave no sign of life for {limit} and was ended",
    "no_result": "gave no result: {words}",
}
#: The same for steps and analyses, where they differ: their words are their own.
_DEEDS_HERE: Final[Mapping[CauseKind, str]] = {
    "reported": "reported a failure: {said}",
    "raised": "raised {words}",
}
_FAILED: Final = "failed: {said}"
_DEGRADED: Final = "completed {command} degraded: {said}"
_SILENT_LIMIT: Final = (
    "has not answered{since}, and {command} was not over within {limit} ({setter})"
)
#: Kinds that their fields tell: beside them only the words of others are told.
_BY_OTHERS: Final[frozenset[CauseKind]] = frozenset(
    {"unreachable", "died", "silent", "fate_unknown", "exited", "signalled"}
)
_OF_SYSTEM: Final[Mapping[tuple[CauseKind, str], str]] = {
    ("not_launched", "ENOENT"): "there is no program {}",
    ("not_launched", "EACCES"): "{} may not be executed",
    ("unreachable", "ECONNREFUSED"): "no server answers at its address",
    ("unreachable", "ETIMEDOUT"): "its server takes connections and does not answer",
}
#: What the middleware says where nothing tells it of a database.
NO_HOST: Final = "API_TangoHostNotSet"
_NO_REASON: Final[frozenset[CauseKind]] = frozenset({"reported", "refused"})


def deed(failed: Failed, now_ns: int, room: int = COLUMNS) -> str:
    """Return what a failed leaf did, as the rest of a sentence that begins with its name.

    Args:
        failed: The leaf.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        room: How many columns each name and each foreign text may take.
    """
    node, cause = failed.node, failed.cause
    template = _template(node, cause)
    words = _system_words(cause) or (cause.said if cause.kind in _BY_OTHERS else failed.words)
    if not words:
        rest = ", without a reason" if cause.kind in _NO_REASON else ""
        template = template.replace(": {said}", rest).replace(": {words}", "")
    limit, setter = _limit_of(node, cause, room)
    return template.format(
        command=command_of(node, room),
        words=plain(one_line(words), room),
        said=said(one_line(words), room),
        nearest=f" (did you mean {plain(cause.nearest, room)}?)" if cause.nearest else "",
        since=since_text(cause.last_answer_ns, now_ns),
        limit=limit,
        setter=setter,
        code="unknown" if cause.return_code is None else cause.return_code,
        signal=plain(cause.signal or "a signal"),
    )


def since_text(last_ns: int | None, now_ns: int) -> str:
    """Return since when something has not answered, with a blank before it, or nothing."""
    return "" if last_ns is None else f" since {clock_text(last_ns, now_ns)}"


def late_end(node: RunNode) -> str | None:
    """Return how a leaf completed after its limit had expired, or None where it did not."""
    note = note_of(node, "late")
    if note is None or not completed_late(note):
        return None
    expired = note_of(node, "timeout")  # its end may wait for the work that goes on
    after = seconds_between(node.ended_ns if expired is None else expired.wall_ns, note.wall_ns)
    return f"completed {duration_text(after)} after that" if after is not None else None


def runs_here(node: RunNode) -> bool:
    """Return whether a leaf is a step or an analysis, and no command of a device."""
    return node.composed is not None and node.composed.execution in ("INTERNAL", "ANALYSIS")


def _template(node: RunNode, cause: Cause) -> str:
    kind = cause.kind
    if kind == "reported":
        if node.state == "degraded":
            return _DEGRADED
        if node.status is not TaskStatus.COMPLETED:
            return _FAILED
    if kind == "timed_out" and cause.last_answer_ns is not None:
        return _SILENT_LIMIT
    return _DEEDS_HERE.get(kind, DEEDS[kind]) if runs_here(node) else DEEDS[kind]


def _system_words(cause: Cause) -> str:
    """Return why something could not be started or reached, as the system told it in one word."""
    if cause.kind == "unreachable" and any(link.type == NO_HOST for link in cause.chain):
        return "TANGO_HOST is not set"
    words = _OF_SYSTEM.get((cause.kind, cause.errno_name or ""), "")
    return words.format(cause.program or "it")


def _limit_of(node: RunNode, cause: Cause, room: int) -> tuple[str, str]:
    """Return how long the limit was that expired, and who set it."""
    unknown = "too long" if cause.kind == "unresponsive" else "its limit"
    limit = unknown if cause.limit_s is None else f"{cause.limit_s:g} s"
    owner = cause.limit_owner
    own = owner is None or owner == node.path
    return limit, "its own limit" if own else f"the limit set by {plain(owner or '', room)}"
