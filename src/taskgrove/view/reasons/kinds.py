"""What kind of cause ended a leaf, and which causes are the same.

The kinds are found by the words that our own rooms use for what they find out themselves
(limits, TANGO, the runner of methods); everything else is what a device, a method or a program
said. A test with real failures of each kind keeps words and patterns together. Pure.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.story.run_node import RunNode


class CauseKind(StrEnum):
    """How a leaf came to its end."""

    REPORTED = "reported a failure"
    """It ran to its end and said that it failed."""
    DEGRADED = "completed degraded"
    """It ran to its end and said that it is degraded."""
    RAISED = "raised an exception"
    """The device's or the method's own code raised."""
    UNREADABLE = "unreadable result"
    """It ended with a result that cannot be understood."""
    REFUSED = "refused"
    """It refused the command."""
    NOT_ALLOWED = "not allowed"
    """Its state does not allow the command."""
    QUEUE_FULL = "queue full"
    """Its queue of commands is full."""
    NO_COMMAND = "no such command"
    """It has no command of that name."""
    WRONG_ARGUMENT = "wrong argument"
    """The argument is not what the command takes; nothing was sent."""
    UNREACHABLE = "unreachable"
    """It could not be reached; nothing was sent."""
    DIED = "server died"
    """Its server ended while the command ran."""
    RESTARTED = "server restarted"
    """Its server was restarted while the command ran."""
    SILENT = "stopped answering"
    """It stopped answering while the command ran."""
    UNKNOWN_FATE = "fate unknown"
    """The answer to the call was lost: nobody knows whether it was executed."""
    FORGOTTEN = "forgotten"
    """It does not know the command any more."""
    TIMED_OUT = "timed out"
    """It was running when a limit expired."""
    NOT_STARTED = "limit used up"
    """A limit expired before it was started."""
    CRASHED = "process ended"
    """The process of an analysis ended by itself, or was killed."""
    LOST = "lost with its runner"
    """It was running when the run lost its runner, and its end was never heard of."""
    NEVER_BEGUN = "runner lost before its turn"
    """The run lost its runner before it was started."""
    ABORTED = "aborted by others"
    """It was aborted, and not by this run."""
    OTHER = "failed"
    """It failed otherwise."""


#: The device is gone: what comes after it on the same device has the same cause.
GONE: Final = frozenset(
    {CauseKind.UNREACHABLE, CauseKind.DIED, CauseKind.RESTARTED, CauseKind.SILENT}
)

_BROKEN_OFF: Final = (TaskStatus.FAILED,)
_REFUSED: Final = (TaskStatus.REJECTED,)
_STOPPED: Final = (TaskStatus.ABORTED,)
#: Kinds by status and words, tried in this order. Nearly all are anchored at the beginning,
#: where our own words stand, so that a device that talks of a limit is not taken for one.
_PATTERNS: Final = (
    (CauseKind.TIMED_OUT, _BROKEN_OFF, re.compile(r"timed out after \S+ s \(limit set by ")),
    (CauseKind.NOT_STARTED, _BROKEN_OFF, re.compile(r"not started: the limit of \S+ s set by ")),
    (CauseKind.UNKNOWN_FATE, _BROKEN_OFF, re.compile(r".*it is not known whether it was executed")),
    (CauseKind.UNREACHABLE, _BROKEN_OFF, re.compile(r"cannot be reached, \S+ was not sent")),
    (CauseKind.DIED, _BROKEN_OFF, re.compile(r"\S+ did not end: its server is gone")),
    (CauseKind.RESTARTED, _BROKEN_OFF, re.compile(r"\S+ was lost with the server")),
    (
        CauseKind.SILENT,
        _BROKEN_OFF,
        re.compile(r"\S+ did not end: the device was unreachable for "),
    ),
    (CauseKind.LOST, _BROKEN_OFF, re.compile(r".*; the runner of this run was lost at ")),
    (CauseKind.LOST, _BROKEN_OFF, re.compile(r".*; how \S+ \S+ ended is not known$")),
    (CauseKind.LOST, _BROKEN_OFF, re.compile(r"process \d+ .*; what it gave is not known$")),
    (
        CauseKind.NEVER_BEGUN,
        _STOPPED,
        re.compile(r"not started.*: the runner of this run was lost"),
    ),
    (CauseKind.FORGOTTEN, _BROKEN_OFF, re.compile(r"the device does not know \S+ any more")),
    (CauseKind.RAISED, _BROKEN_OFF, re.compile(r"Unhandled exception during execution")),
    (CauseKind.NO_COMMAND, _REFUSED, re.compile(r"the device has no command ")),
    (CauseKind.QUEUE_FULL, _REFUSED, re.compile(r".*[Qq]ueue (?:is|was) full")),
    (CauseKind.NOT_ALLOWED, _REFUSED, re.compile(r".*[Cc]ommand (?:\S+ )?(?:is )?not allowed")),
)
#: A command that was given what it does not take (the words of ``client.argin``).
_WRONG_ARGUMENT: Final = re.compile(r"\w+ takes (?:Dev[A-Z]\w*|no argument)(?:,| \(|$)")
_UNREADABLE: Final = re.compile(r"unusable result: ")
_ANALYSIS_LIMIT: Final = re.compile(r"timed out after \S+ s")
_EXCEPTION: Final = re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Warning|Exit|Interrupt)\b")
_CRASH: Final = re.compile(
    r"killed by |exit status |ended (?:without|in the midst)|its (?:channel broke|exit status)"
    r"|cannot be started|unresponsive"
)
_LIMIT_OWNER: Final = re.compile(r"set by (?P<owner>[^)]+?)(?:\)| expired|$)")

#: What varies between the same cause of two leaves: addresses, devices, ids, figures.
_VARYING: Final = re.compile(
    r"tango://\S+"
    r"|[\w.-]+/[\w.-]+/[\w.-]+"
    r"|\b0x[0-9a-fA-F]+"
    r"|\b(?=[0-9a-f-]*[0-9])(?=[0-9a-f-]*[a-f])[0-9a-f]{8}[0-9a-f-]*\b"
    r"|(?:(?<!\w)[-+])?\d+(?:[.,:]\d+)*"
)
#: Longer causes are compared by their beginning.
_COMPARED: Final = 2000
#: What stands in place of words where nobody said why.
_NO_WORDS: Final = " without a message"


class Cause(NamedTuple):
    """Why a leaf ended as it did.

    Attributes:
        kind: What kind of cause it is.
        words: The words, on one line, without the name of the device before them.
        key: The same for every leaf with the same cause.
        limit_owner: The node that set the limit that expired, or None.
    """

    kind: CauseKind
    words: str
    key: str
    limit_owner: str | None = None


class CauseReader:
    """Reads causes; what was said alike before is not examined again."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, object, object, str], CauseKind] = {}
        self._normal: dict[str, str] = {}

    def read(self, node: RunNode) -> Cause:
        """Return the cause of a leaf that ended badly."""
        words = words_of(node)
        normal = self._normal.get(words)
        if normal is None:
            normal = self._normal[words] = normalised(words, node.name)
        execution = "" if node.composed is None else node.composed.execution
        asked = (normal, node.status, node.result_code, execution)
        kind = self._kinds.get(asked)
        if kind is None:
            kind = self._kinds[asked] = _kind_of(node, words[:_COMPARED], execution)
        owner = None
        if kind in (CauseKind.TIMED_OUT, CauseKind.NOT_STARTED):
            found = _LIMIT_OWNER.search(words)
            owner = None if found is None else found["owner"]
            # Whoever sets a limit is part of the cause: every leaf's own, or that of one node.
            normal = f"{'own' if owner == node.path else owner} {normal}"
        return Cause(kind, words, f"{kind.value}|{normal}", owner)


def words_of(node: RunNode) -> str:
    """Return what is said of a node's end, on one line, without its own name before it."""
    message = node.message
    if "Causes:" in message:
        message = _without_block(message)
    elif "\n" in message or "  " in message:
        message = " ".join(message.split())
    composed = node.composed
    target = () if composed is None or composed.target is None else (composed.target,)
    for speaker in (*(node.devices or target), node.name):
        if speaker and message.startswith(f"{speaker}: "):
            message = message[len(speaker) + 2 :]
            break
        if speaker and message == f"{speaker}:":
            message = ""
    if message.strip():
        return message
    if node.finished is not None and node.finished.error:
        return " ".join(node.finished.error.split())
    status = "UNKNOWN" if node.status is None else node.status.name
    if node.status is TaskStatus.COMPLETED and node.result_code is not None:
        status = f"{status} with {node.result_code.name}"
    return f"{status}{_NO_WORDS}"


def gave_no_reason(cause: Cause) -> bool:
    """Return whether a cause is nothing but its status: nobody said why."""
    return cause.words.endswith(_NO_WORDS)


def normalised(words: str, name: str = "") -> str:
    """Return words without what varies between leaves that have the same cause."""
    text = words[:_COMPARED]
    if len(name) >= 4 and name in text:
        text = text.replace(name, "#")
    return _VARYING.sub("#", text)


def _without_block(message: str) -> str:
    """Return the causes of a nested outcome, on one line."""
    _, _, block = message.partition("Causes:")
    lines = [line.strip().removeprefix("- ").strip() for line in block.splitlines()]
    return "; ".join(line for line in lines if line) or " ".join(message.split())


def _kind_of(node: RunNode, words: str, execution: str) -> CauseKind:
    status, code = node.status, node.result_code
    for kind, statuses, pattern in _PATTERNS:
        if status in statuses and pattern.match(words):
            return kind
    if status is TaskStatus.ABORTED or code == ResultCode.NOT_ALLOWED:
        return CauseKind.ABORTED if status is TaskStatus.ABORTED else CauseKind.NOT_ALLOWED
    if status is TaskStatus.REJECTED or code == ResultCode.REJECTED:
        wrong = _WRONG_ARGUMENT.match(words) is not None
        return CauseKind.WRONG_ARGUMENT if wrong else CauseKind.REFUSED
    if code == ResultCode.UNKNOWN or _UNREADABLE.match(words):
        return CauseKind.UNREADABLE
    if status is TaskStatus.COMPLETED:
        return CauseKind.DEGRADED if node.health_state == "DEGRADED" else CauseKind.REPORTED
    return _kind_of_broken_off(words, execution)


def _kind_of_broken_off(words: str, execution: str) -> CauseKind:
    """Return the kind of a step or an analysis that did not come to its end."""
    if execution == "ANALYSIS" and _ANALYSIS_LIMIT.match(words):
        return CauseKind.TIMED_OUT
    if execution == "ANALYSIS" and _CRASH.match(words):
        return CauseKind.CRASHED
    here = execution in ("INTERNAL", "ANALYSIS")
    return CauseKind.RAISED if here and _EXCEPTION.match(words) else CauseKind.OTHER
