"""The causes of an outcome: one flat list of lines, however deep the tree is.

Pure functions over text. A message is *structured* when it holds a ``Causes:`` header,
bullets or several lines: then its lines are taken as they are. Any other message is one
cause, which gets its origin as a prefix, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from taskgrove.commands.aggregation.base import CauseLine, SubtaskResult
from taskgrove.commands.aggregation.messages import starts_with_name
from taskgrove.commands.aggregation.tally import is_left_out
from taskgrove.control_model import TaskStatus
from taskgrove.events import LeftOut

#: More cause lines than this are counted, not shown.
CAUSES_LIMIT: Final = 200
#: Of more leaves with the same cause than this the rest is counted, not named.
NAMES_LIMIT: Final = 20

_HEADER: Final = re.compile(r"\s*Causes:[ \t]*")
_BLANK_LINES: Final = re.compile(r"(?:[ \t]*\r?\n)+")
_MORE: Final = re.compile(r"… and ([0-9]{1,9}) more")
_SUMMARY: Final = re.compile(
    r"Task (?P<name>.+?) (?:failed|rejected|aborted|completed in DEGRADED state)"
    r"(?:: (?P<sum>.+)\.)?"
)
#: A summary line is short; a longer line is not searched for one.
_SUMMARY_LIMIT: Final = 500


def without_header(message: str) -> str:
    """Return the message without a leading ``Causes:`` header and without outer newlines."""
    found = _HEADER.match(message)
    if found is None:
        return message.strip("\r\n")
    body = message[found.end() :]
    blank = _BLANK_LINES.match(body)
    return (body[blank.end() :] if blank else body).strip("\r\n")


def flatten(message: str) -> list[str]:
    """Return the non-empty lines of a message, trimmed and without bullet markers."""
    lines = (_without_bullet(line.strip()) for line in message.splitlines())
    return [line for line in lines if line]


def is_prefixed(line: str, name: str) -> bool:
    """Return whether a line names ``name`` as its origin: ``name: …``, ``- [name - …]``."""
    return starts_with_name(_without_bullet(line.strip()).removeprefix("["), name)


def lines_of(sub: SubtaskResult) -> list[str]:
    """Return the cause lines in a subtask's message; none when it has no message."""
    message, name = sub.message.strip(), str(sub.name)
    if not message:
        return []
    lines = _structured_lines(message)
    if lines is not None:
        return lines
    if is_prefixed(message, name):
        return [message]
    origins = sub.failed_devices or ()
    if sub.device_name and is_prefixed(message, sub.device_name):
        return [message]
    if any(is_prefixed(message, device) for device in origins):
        return [message]
    return [f"{name} - {message}"]


def lines_or_name(sub: SubtaskResult) -> list[str]:
    """Return the cause lines of a subtask, or one that names it when it gave no message."""
    lines = lines_of(sub)
    if lines:
        return lines
    if sub.skipped:
        return [f"{sub.name} - {sub.left_out[0].why if is_left_out(sub) else 'skipped'}"]
    word = TaskStatus(sub.status).name if sub.status is not None else "UNKNOWN"
    if sub.status == TaskStatus.COMPLETED and sub.result_code is not None:
        word = sub.result_code.name
    origin = f"{sub.device_name}:" if sub.device_name else f"{sub.name} -"
    return [f"{origin} {word} without a message"]


def causes_of(subs: Iterable[SubtaskResult]) -> Iterator[CauseLine]:
    """Yield the causes of subtasks, each with the leaves that have it.

    Lines of a composed text do not tell their leaves: they count for none.
    """
    for sub in subs:
        if sub.causes:
            yield from (line.below(str(sub.name)) for line in sub.causes)
            continue
        alone = _structured_lines(sub.message.strip()) is None
        for line in lines_or_name(sub):
            yield CauseLine(line, 1, (str(sub.name),)) if alone else CauseLine(line)


def causes_told(subs: Iterable[SubtaskResult]) -> Iterator[CauseLine]:
    """Yield the causes that subtasks tell which are no problems: acts of operators."""
    return causes_of(sub for sub in subs if sub.causes or sub.message.strip() or sub.skipped)


def causes_of_faults(left_out: Iterable[LeftOut]) -> Iterator[CauseLine]:
    """Yield a cause for each step that a fault left out."""
    for item in left_out:
        if item.kind == "fault":
            line = (
                f"{item.device}: left out: {item.why}"
                if item.device is not None
                else f"{item.name} - failed: {item.why}"
            )
            yield CauseLine(line, 1, (item.name,))


def counted(causes: Iterable[CauseLine], limit: int | None = CAUSES_LIMIT) -> list[CauseLine]:
    """Return equal causes as one that keeps their count and names their leaves, in order.

    Of more than ``limit`` of them the last one tells how many more there are.
    """
    seen: dict[str, CauseLine] = {}
    more = 0
    for cause in causes:
        found = _MORE.fullmatch(cause.text) if cause.text[:1] == "…" else None
        earlier = seen.get(cause.text)
        if found is not None:
            more += int(found[1])
        elif earlier is None:
            seen[cause.text] = cause
        else:
            names = (*earlier.leaves, *cause.leaves)[:NAMES_LIMIT]
            seen[cause.text] = CauseLine(cause.text, earlier.count + cause.count, names)
    kept = list(seen.values())[:limit]
    more += len(seen) - len(kept)
    return [*kept, CauseLine(f"… and {more} more")] if more else kept


def merged(groups: Iterable[Iterable[str]]) -> list[str]:
    """Return all lines without duplicates, in order; ``… and N more`` lines are summed, last."""
    return [cause.text for cause in counted(map(CauseLine, chain.from_iterable(groups)), None)]


def causes_block(lines: Iterable[str]) -> str:
    """Return a ``Causes:`` block of at most 200 lines and a ``… and N more``; empty for none."""
    shown = counted(map(CauseLine, lines))
    return "\n".join(["Causes:", *(f"- {cause.text}" for cause in shown)]) if shown else ""


def _without_bullet(line: str) -> str:
    """Strip bullet markers; a dash before a digit, a point or a dash is no bullet."""
    while line[:1] == "-" and not (line[1:2].isdigit() or line[1:2] in ("-", ".")):
        line = line[1:].lstrip()
        if not line:
            break
    return line


def _structured_lines(message: str) -> list[str] | None:
    """Return the lines of a structured message, or None when it is a single plain line."""
    if not ("\n" in message or message[:1] == "-" or message.startswith("Causes:")):
        return None
    lines = flatten(without_header(message))
    if len(lines) == 1 and lines[0] == message:
        return None
    kept: dict[str, None] = {}
    for index, line in enumerate(lines):
        if line == "Causes:":
            continue
        if index + 1 < len(lines) and lines[index + 1] == "Causes:":
            # The summary of a root that was nested: its causes say it all, but for its sum.
            summary = _SUMMARY.fullmatch(line) if len(line) <= _SUMMARY_LIMIT else None
            if summary is not None:
                if summary["sum"]:
                    kept[f"{summary['name']} - {summary['sum']}"] = None
                continue
        kept[line] = None
    return list(kept)
