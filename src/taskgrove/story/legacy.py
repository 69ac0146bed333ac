"""Causes of records that were made before causes were data.

Only here is a cause found out from words: those that taskgrove itself wrote then. They are frozen,
as records hold them; the words of today are never read. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, CauseKind, ChainLink, FinishedDetail, RuleKind
from taskgrove.story.node_note import NodeNote
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode

_FAILED, _REJECTED, _ABORTED = TaskStatus.FAILED, TaskStatus.REJECTED, TaskStatus.ABORTED
_LIMIT: Final = r"(?P<limit>[0-9][0-9.e+-]*) s"
_LOST: Final = "the runner of this run was lost"

#: Kinds by status and words, tried in this order. Nearly all are anchored at the beginning, where
#: our words stood, so that a device that talks of a limit is not taken for one.
_PATTERNS: Final[tuple[tuple[CauseKind, TaskStatus, str], ...]] = (
    ("timed_out", _FAILED, rf"timed out after {_LIMIT} \(limit set by (?P<owner>[^)]+)\)"),
    ("not_started", _FAILED, rf"not started: the limit of {_LIMIT} set by (?P<owner>.+?) expi"),
    ("fate_unknown", _FAILED, r"(?P<said>.*)it is not known whether it was executed"),
    ("unreachable", _FAILED, r"cannot be reached, \S+ was not sent(?:: (?P<said>.*))?"),
    ("died", _FAILED, r"\S+ did not end: its server is gone(?:: (?P<said>.*))?"),
    ("restarted", _FAILED, r"\S+ was lost with the server"),
    ("silent", _FAILED, r"\S+ did not end: the device was (?P<said>unreachable for .*)"),
    ("lost", _FAILED, rf"(?P<said>.*); {_LOST} at "),
    ("lost", _FAILED, r"(?P<said>.*); how \S+ \S+ ended is not known$"),
    ("lost", _FAILED, r"(?P<said>process \d+ .*); what it gave is not known$"),
    ("never_begun", _ABORTED, rf"not started.*: {_LOST}"),
    ("not_started", _ABORTED, r"not started: (?P<said>.*)"),
    ("abandoned", _ABORTED, r"abandoned: (?P<said>.*)"),
    ("forgotten", _FAILED, r"the device does not know \S+ any more"),
    ("raised", _FAILED, r"Unhandled exception during execution(?:: (?P<said>.*))?"),
    (
        "no_command",
        _REJECTED,
        r"the device has no command \S+?(?:; did you mean (?P<nearest>[^?]*)\?.*|$)",
    ),
    ("queue_full", _REJECTED, r".*[Qq]ueue (?:is|was) full"),
    ("not_allowed", _REJECTED, r".*[Cc]ommand (?:\S+ )?(?:is )?not allowed"),
    (
        "wrong_argument",
        _REJECTED,
        r"\w+ takes (?P<expected>Dev[A-Z]\w*|no argument)(?:,| \(|$)",
    ),
)
#: The same for analyses that ended FAILED, where the words of the others do not fit.
_OF_ANALYSES: Final[tuple[tuple[CauseKind, str], ...]] = (
    ("timed_out", rf"timed out after {_LIMIT}"),
    ("signalled", r"killed by (?P<signal>SIG\w+)(?:: (?P<said>.*))?"),
    ("exited", r"exit status (?P<code>\d+)(?:: (?P<said>.*))?"),
    (
        "no_result",
        r"(?P<said>ended (?:without|in the midst).*|its (?:channel broke|exit st).*)",
    ),
    ("not_launched", r"(?P<said>.*cannot be started.*)"),
    ("unresponsive", r"unresponsive"),
)
_EXCEPTION: Final = re.compile(
    r"(?P<type>(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Warning|Exit|Interrupt))\b(?:: (?P<text>.*))?"
)
_UNREADABLE: Final = re.compile(r"unusable result: (?P<said>.*)")
_SKIPPED_FOR: Final = re.compile(r"skipped: (?P<name>.+) (?:failed|rejected|aborted)")
_ASKED: Final = "asked to stop: "
_LATE: Final = "ended COMPLETED"
#: The client of abandoned work said that the work may go on.
_ENDED_LATE: Final = re.compile(r"ended [A-Z_]+ after (?!.*may go on$)", re.DOTALL)
#: Kinds by the code of a device, where its words tell no more.
_KINDS_OF_CODES: Final[dict[ResultCode | None, CauseKind]] = {
    ResultCode.NOT_ALLOWED: "not_allowed",
    ResultCode.REJECTED: "refused",
    ResultCode.UNKNOWN: "unreadable",
}
#: Rules by the first word of how they were called, where nothing else tells which decided.
_RULES: Final[dict[str, RuleKind]] = {
    "all": "all", "any": "any", "quorum": "quorum", "PST": "pst_group", "CBF": "cbf",
}  # fmt: skip
#: Longer causes are read by their beginning.
_READ: Final = 2000


def cause_of(node: RunNode) -> Cause:
    """Return why a node that did not end well ended so: as it was told, or as words tell it."""
    finished = node.finished
    if finished is not None and finished.cause is not None:
        return finished.cause
    words = own_words(node)
    if node.skipped:
        found = _SKIPPED_FOR.match(words)
        because_of = f"{node.parent_path}/{found['name']}" if found is not None else None
        return Cause(kind="skipped", said=words, because_of=because_of)
    return _read(node, words)


def rule_of(finished: FinishedDetail | None) -> RuleKind | None:
    """Return which rule decided an end; None: none did, or none that an older record names."""
    if finished is None or finished.rule_kind is not None or finished.rule is None:
        return None if finished is None else finished.rule_kind
    return _RULES.get(finished.rule.partition(" ")[0])


def stop_reason(note: NodeNote) -> str:
    """Return the reason of a request to stop, from its note."""
    return note.data.get("reason") or note.text.removeprefix(_ASKED)


def completed_late(note: NodeNote) -> bool:
    """Return whether a note of a late end tells that the work completed."""
    status = note.data.get("status")
    return note.text.startswith(_LATE) if status is None else status == TaskStatus.COMPLETED.name


def ended_late(note: NodeNote) -> bool:
    """Return whether a note tells by its words alone that work ended after the end of its leaf."""
    return "status" not in note.data and _ENDED_LATE.match(note.text) is not None


def _read(node: RunNode, words: str) -> Cause:
    status, code = node.status, node.result_code
    for kind, of_status, pattern in _PATTERNS:
        found = re.match(pattern, words[:_READ]) if status is of_status else None
        if found is not None:
            return _made(kind, found, words)
    unreadable = _UNREADABLE.match(words)
    if unreadable is not None and status not in (_REJECTED, _ABORTED):
        return Cause(kind="unreadable", said=unreadable["said"])
    here = node.composed is not None and node.composed.execution in ("INTERNAL", "ANALYSIS")
    if here and status is _FAILED and code not in _KINDS_OF_CODES:
        return _read_here(node, words)
    kind = _KINDS_OF_CODES.get(code, "refused" if status is _REJECTED else "reported")
    return Cause(kind="aborted" if status is _ABORTED else kind, said=words)


def _read_here(node: RunNode, words: str) -> Cause:
    """Read the words of a step or an analysis that did not come to its end."""
    if node.composed is not None and node.composed.execution == "ANALYSIS":
        for kind, pattern in _OF_ANALYSES:
            found = re.match(pattern, words[:_READ])
            if found is not None:
                return _made(kind, found, words)
    found = _EXCEPTION.match(words)
    if found is None:
        return Cause(kind="reported", said=words)
    return Cause(kind="raised", chain=(ChainLink(found["type"], found["text"] or ""),))


def _made(kind: CauseKind, found: re.Match[str], words: str) -> Cause:
    parts = found.groupdict()
    limit, code = parts.get("limit"), parts.get("code")
    said = parts.get("said")
    if kind in ("queue_full", "not_allowed", "wrong_argument"):
        said = words
    return Cause(
        kind=kind,
        said=said or "",
        limit_s=None if limit is None else _number(limit),
        limit_owner=parts.get("owner"),
        nearest=parts.get("nearest"),
        expected=parts.get("expected"),
        signal=parts.get("signal"),
        return_code=None if code is None else int(code),
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
