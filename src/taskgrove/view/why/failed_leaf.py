"""A leaf that failed by itself: the words of its cause, and which causes are the same.

The kind and the fields of a cause decide. Words that came from outside are shown, and compared to
put leaves together whose causes differ in names and figures only. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, one_line
from taskgrove.story.legacy import cause_of
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import COLUMNS
from taskgrove.view.why.cause_kinds import KINDS, deed

#: What varies between the same cause of two leaves: addresses, devices, ids, figures.
_VARYING: Final = re.compile(
    r"tango://\S+"
    r"|[\w.-]+/[\w.-]+/[\w.-]+"
    r"|\b0x[0-9a-fA-F]+"
    r"|\b(?=[0-9a-f-]*[0-9])(?=[0-9a-f-]*[a-f])[0-9a-f]{8}[0-9a-f-]*\b"
    r"|(?:(?<!\w)[-+])?\d+(?:[.,:]\d+)*"
)
#: Longer words are compared by their beginning.
_COMPARED: Final = 2000


class FailedLeaf(NamedTuple):
    """A leaf that ended badly by itself.

    Attributes:
        node: The leaf.
        cause: Why.
        words: The words that were told of it, on one line; empty where nobody said why.
        key: The same for every leaf with the same cause.
    """

    node: RunNode
    cause: Cause
    words: str
    key: tuple[object, ...]

    @property
    def told(self) -> str:
        """The words, or the bare status where nobody said why."""
        if self.words:
            return self.words
        status = "UNKNOWN" if self.node.status is None else self.node.status.name
        if self.node.status is TaskStatus.COMPLETED and self.node.result_code is not None:
            status = f"{status} with {self.node.result_code.name}"
        return f"{status} without a message"

    def deed(self, now_ns: int, room: int = COLUMNS) -> str:
        """Return what it did, as :func:`~taskgrove.view.why.cause_kinds.deed`."""
        return deed(self.node, self.cause, self.words, now_ns, room)


class CauseReader:
    """Reads causes; words that were the same before are not examined again."""

    def __init__(self) -> None:
        self._normal: dict[tuple[str, str], str] = {}

    def read(self, node: RunNode) -> FailedLeaf:
        """Return a leaf that ended badly with its cause."""
        cause = cause_of(node)
        words = _words_of(node, cause)
        # Whoever set a timeout is part of the cause: every leaf's own, or that of one node.
        owner = "own" if cause.limit_owner == node.path else cause.limit_owner
        own = "" if KINDS[cause.kind].by_fields else self._normalised(words, node.name)
        silent = cause.last_answer_ns is not None
        how = (node.status, node.health_state) if cause.kind == "reported" else None
        key = (cause.kind, owner, cause.limit_s, silent, cause.signal, cause.return_code, how, own)
        return FailedLeaf(node, cause, words, key)

    def _normalised(self, words: str, name: str) -> str:
        known = (words, name if name in words else "")
        normal = self._normal.get(known)
        if normal is None:
            normal = self._normal[known] = normalised(words, name)
        return normal


def grouped(failed: Iterable[FailedLeaf]) -> list[list[FailedLeaf]]:
    """Return failed leaves by their cause, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[FailedLeaf]] = {}
    for item in failed:
        groups.setdefault(item.key, []).append(item)
    return list(groups.values())


def normalised(words: str, name: str = "") -> str:
    """Return words without what varies between leaves that have the same cause."""
    text = words[:_COMPARED]
    if len(name) >= 4 and name in text:
        text = text.replace(name, "#")
    return _VARYING.sub("#", text)


def _words_of(node: RunNode, cause: Cause) -> str:
    said = " ".join(one_line(cause.said).split())
    if said and not KINDS[cause.kind].by_message:
        return said
    own = own_words(node)
    if own or said:
        return own or said
    if cause.chain:
        first = cause.chain[0]
        return one_line(f"{first.type}: {first.text}" if first.text else first.type)
    return cause.last_lines[-1] if cause.last_lines else ""
