"""Words from outside (a device, a method, a program, an exception), made into one plain line.

A cause is one line, and its origin is told apart from its words: so the words of one
device can never make a cause that accuses another one. Pure; any thread may call these functions.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from taskgrove.events.foreign_values import EXCEPTION_GROUP, is_large, printed

#: More exceptions of a group, or behind another, are counted and not told.
_TOLD_LIMIT: Final = 20
#: An exception behind an exception is followed so far, and a group of groups is opened so deep.
_DEPTH_LIMIT: Final = 50
#: How many exceptions of one are looked at for errors of TANGO.
_SEEN_LIMIT: Final = 1_000
_MORE: Final = "… and {} more"

#: Control sequences of terminals: CSI, OSC and other strings up to their end, two-letter ones.
_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]|\x1b"
)
#: One error of a DevFailed, as PyTango prints it; the first one is the innermost.
_PRINTED_ERROR: Final = re.compile(
    r"DevError\[\s*desc = (?P<desc>.*?)\n[ \t]*origin = .*?\n[ \t]*reason = (?P<reason>[^\n]*)",
    re.DOTALL,
)
_PRINTED_FAILURE: Final = re.compile(r"DevFailed\[.*\]", re.DOTALL)
_DEVICE: Final = re.compile(
    r"\bdevice\s+((?:tango://)?[\w.:#=-]*/?[\w.-]+/[\w.-]+/[\w.-]*\w)", re.I
)
#: Texts longer than this are not searched for printed errors of PyTango.
_SEARCH_LIMIT: Final = 200_000


def one_line(text: str, limit: int | None = None) -> str:
    """Return a text from outside as one line.

    A ``Causes:`` header, the marks of a list, colours and other control sequences are left out;
    lines are joined with ``; ``; a DevFailed that PyTango printed becomes its innermost error.

    Args:
        text: The text.
        limit: The most characters; of a longer text the first and the last lines are kept, or
            the head of a text of one line. None: no limit.
    """
    if text.isprintable() and text[:1] not in ("-", " ") and not text.startswith("Causes:"):
        return text if limit is None else _within([text], limit)
    if "DevError[" in text and len(text) <= _SEARCH_LIMIT:
        text = _PRINTED_FAILURE.sub(_innermost, text)
    lines = (_plain(line) for line in _SEQUENCES.sub("", text).splitlines())
    kept = [line for line in lines if line and line != "Causes:"]
    while kept and kept[0].startswith("Causes:"):
        rest = _plain(kept[0].removeprefix("Causes:"))
        kept[:1] = [rest] if rest else []
    return _within(kept, limit)


def without_sequences(text: str) -> str:
    """Return a text without colours, links and other control sequences of terminals."""
    return _SEQUENCES.sub("", text)


def exception_line(exc: BaseException) -> str:
    """Return an exception as one line: ``KeyError: 'gain'``; never raises.

    It is made of the parts of the exception: every exception of a group, the innermost error of
    a TANGO ``DevFailed`` with its reason and device, the exception that it was raised from at the
    deepest, and its notes.
    """
    try:
        return _exception_line(exc, 0)
    except BaseException as broken:  # noqa: BLE001 - its parts are foreign code
        return f"{type(exc).__name__}: <telling it raised {type(broken).__name__}>"


def exception_text(exc: BaseException) -> str:
    """Return the text of an exception, whatever its class does when it is asked."""
    try:
        text = printed(exc)
        return text if type(text) is str else str.__str__(text)
    except BaseException as broken:  # noqa: BLE001 - its text is foreign code
        return f"<its text raised {type(broken).__name__}>"


def notes_of(exc: BaseException) -> list[str]:
    """Return the notes that were added to an exception."""
    with contextlib.suppress(BaseException):  # most have no notes, and some raise
        return [note for note in exc.__notes__ if type(note) is str]
    return []


def dev_errors_of(exc: BaseException) -> tuple[Any, ...] | None:
    """Return the errors that a TANGO ``DevFailed`` holds, and None of any other exception."""
    try:
        args = exc.args
        if args and all(hasattr(arg, "desc") and hasattr(arg, "reason") for arg in args):
            return tuple(args)
    except BaseException:  # noqa: BLE001, S110 - an exception of no use for this
        pass
    return None


def tango_errors_of(exc: BaseException) -> tuple[Any, ...] | None:
    """Return the errors of every TANGO ``DevFailed`` in an exception, or None where there is none.

    They are looked for in the exception itself, in those of a group, and in the earlier ones of
    its chain.
    """
    found: list[Any] = []
    with contextlib.suppress(BaseException):  # its parts are foreign code
        for one in exceptions_of(exc):
            found.extend(dev_errors_of(one) or ())
    return tuple(found) or None


class ToldInPart(Exception):  # noqa: N818 - it is never raised
    """Stands for an exception that was raised with a very large value, or led to by one."""


def loggable(exc: BaseException) -> BaseException:
    """Return an exception whose traceback can be printed: itself, or one that tells its line.

    Python would print all that an exception was raised with, and one list may stand in very many
    places of it.
    """
    with contextlib.suppress(BaseException):  # its parts are foreign code
        if not any(map(is_large, exceptions_of(exc))):
            return exc
    return ToldInPart(exception_line(exc)).with_traceback(exc.__traceback__)


def exceptions_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception, those of its group, and those that led to each; never raises."""
    seen: set[int] = set()
    left = [exc]
    while left and len(seen) < _SEEN_LIMIT:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        with contextlib.suppress(BaseException):  # its attributes are foreign
            behind = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
            left.extend([] if behind is None else [behind])
            if isinstance(one, EXCEPTION_GROUP):
                left.extend(reversed(one.exceptions))


def _exception_line(exc: BaseException, depth: int) -> str:
    text = _own_words(exc, depth)
    line = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    deepest = _deepest_cause(exc)
    if deepest is not None and depth < _DEPTH_LIMIT:
        line = f"{line}, because {_exception_line(deepest, depth + 1)}"
    notes = filter(None, map(one_line, notes_of(exc)))
    return "; ".join([line, *notes])


def _own_words(exc: BaseException, depth: int) -> str:
    """Return the own words of an exception, without its class."""
    if isinstance(exc, EXCEPTION_GROUP) and depth < _DEPTH_LIMIT:
        leaves = list(_leaves_of(exc, 0))
        told = [_exception_line(leaf, depth + 1) for leaf in leaves[:_TOLD_LIMIT]]
        if len(leaves) > _TOLD_LIMIT:
            told.append(_MORE.format(len(leaves) - _TOLD_LIMIT))
        return "; ".join(told)
    errors = dev_errors_of(exc)
    if errors is not None:
        return _dev_failed_line((str(error.reason), str(error.desc)) for error in errors)
    return one_line(exception_text(exc))


def _leaves_of(group: BaseExceptionGroup[BaseException], depth: int) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, EXCEPTION_GROUP) and depth < _DEPTH_LIMIT:
            yield from _leaves_of(exc, depth + 1)
        else:
            yield exc


def _deepest_cause(exc: BaseException) -> BaseException | None:
    """Return the exception at the end of the chain of ``raise … from``, or None."""
    seen = {id(exc)}
    deepest = None
    behind = exc.__cause__
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        deepest, behind = behind, behind.__cause__
    return deepest


def _dev_failed_line(errors: Iterable[tuple[str, str]]) -> str:
    """Return the innermost of the errors of a DevFailed, given as reason and description."""
    stack = list(errors)
    reason, desc = stack[0]
    named = (found[1].rstrip(".:") for _, text in stack for found in _DEVICE.finditer(text))
    device = next((name for name in named if name.count("/") > 1), None)
    desc = one_line(desc)
    about = [reason] if reason else []
    if device is not None and device not in desc:
        about.append(device)
    return f"{desc} ({', '.join(about)})" if about else desc


def _innermost(found: re.Match[str]) -> str:
    errors = [(error["reason"], error["desc"]) for error in _PRINTED_ERROR.finditer(found[0])]
    return f"DevFailed: {_dev_failed_line(errors)}" if errors else found[0]


def _plain(line: str) -> str:
    """Return a line without the marks of a list, and with spaces for unprintable characters."""
    if not line.isprintable():
        line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    line = line.strip()
    while line[:2] == "- " or line == "-":
        line = line[1:].lstrip()
    return line


def _within(lines: list[str], limit: int | None) -> str:
    """Return lines as one, without those in the middle where they are too long together."""
    whole = "; ".join(lines)
    if limit is None or len(whole) <= limit:
        return whole
    if len(lines) == 1:
        return whole  # the record of the subtask cuts it, with its mark
    mark = " … "
    room = (limit - len(mark)) // 2
    first: list[str] = []
    for line in lines:
        if len("; ".join([*first, line])) > room:
            break
        first.append(line)
    last: list[str] = []
    for line in reversed(lines):
        if len("; ".join([line, *last])) > room:
            break
        last.insert(0, line)
    head = "; ".join(first) or lines[0][:room]
    return head + mark + ("; ".join(last) or lines[-1][-room:])
