"""The line of a program's output that says why it failed.

It is seldom the last one: launchers, shells and libraries speak after the program. What they
always say is left out; then a line that reports an error comes before one that does not, and of
those alike the last one. Where nothing reports an error, it is the last line that says something.

All of this recognizes foreign output, so it is a guess: the last lines are kept beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from taskgrove.analysis.running.end_verdict import LastWords
from taskgrove.analysis.running.launcher_noise import without_launchers
from taskgrove.events import ChainLink, one_line, without_sequences

#: How many of the last lines are kept, and how long each may be, in characters.
KEPT_LINES: Final = 20
_LINE_LIMIT: Final = 500
#: So much of a line is looked at, in characters.
_LOOKED_AT: Final = 1000
#: Lines that belong to the one before, as their indent shows, are told with it up to so many.
_CONTINUED: Final = 3

#: What moves the cursor to another place of the line, or to another line: words stay apart.
_MOVES: Final = re.compile(r"(?:\x1b\[|\x9b)[0-9;]*([CDGab`]|[ABEFHJdf])")
_OVERSTRUCK: Final = re.compile(r"[^\n\x08]\x08")
_LINE_ENDS: Final = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
#: What launchers put before each line: ``[1,0]<stderr>:``, ``3: ``, ``[rank3]: ``.
_RANK: Final = re.compile(r"\A(?:\[\d+,\d+\]:?|\[(?:rank ?)?\d+\]:?\s|\d+:\s)")
#: Open MPI tags each piece that it reads: also in the midst of a line.
_TAG: Final = re.compile(r"\[\d+,\d+\]<std(?:err|out|diag)>:?")
_TRACEBACK: Final = "Traceback (most recent call last):"
_GROUP: Final = "Exception Group Traceback"
_GROUP_SIGNS: Final = re.compile(r"\A *(?:\| ?|\+-+\Z|\+ (?=Exception Group))")
_GROUP_MEMBER: Final = re.compile(r"\A *\+[-+]+ \d+ -+\Z")
_UNFINISHED: Final = re.compile(r"(?:\x1b\[?|\x9b)[0-?]*\Z")
_EXCEPTION: Final = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: ?)?(?P<text>(?<=[: ]).*|)\Z")
_DIRECT: Final = "The above exception was the direct cause of the following exception:"
_OTHER: Final = "During handling of the above exception, another exception occurred:"

_HARMLESS: Final = re.compile(
    r"\b(?:no|0|zero|without(?: any| an)?|ignor(?:e|es|ed|ing)(?: the| an| this)?)"
    r"\s+(?:errors?|failures?|exceptions?|failed)\b"
    r"|\b(?:errors?|failed|failures|exceptions)\s*[:=]\s*(?:0\b|(?:none|no)\s*\Z)"
    r"|\berrors?\s*[:=]?\s*[-+]?\d*\.\d+(?:e[-+]?\d+)?\s*(?:%|\S{0,4})\Z"
    r"|\berror (?:bars?|rates?|free|model|handler|estimate)\b|\bnon-?fatal\b",
    re.I,
)
_MILD: Final = re.compile(
    r"\A.{0,80}?\b(?:INFO|DEBUG|TRACE|NOTICE|VERBOSE|WARN|WARNING)\b\s*(?:[\]:|>)-]|\s)"
    r"|\A\W*(?:[\w./-]+:(?:\d+:)*\s*)?(?:\w*[wW]arning|note|info|hint|debug):|\A\s*<[67]>"
)
_STRONG: Final = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE|EMERG|ALERT)\b|\A[EF]\d{4} \d\d:\d\d:"
    r"|\b[\w.]*[A-Z]\w*(?:Error|Exception|Interrupt)\b(?=:|\s*\Z)"
    r"|(?i:\berrors?\s*[:!(\[]|\A\W*error\b|\b(?:fatal|runtime|internal) error\b|\bfatal:|\bpanic:)"
    r"|\bwhat\(\):|\bpanicked at\b"
)
_MEDIUM: Final = re.compile(
    r"\b(?:can ?not|can't|could ?n[o']t|couldn't|unable to|fail(?:ed|ure|s)?\b|no such \w+"
    r"|not found|does ?n[o']t exist|doesn't exist|permission denied|access denied|refused"
    r"|out of memory|oom[-_ ]kill\w*|no space left|quota exceeded|limit exceeded|is missing"
    r"|missing (?:argument|file|key|option|parameter|value)|is (?:in)?valid\b.*\bnot\b|is invalid"
    r"|invalid (?:argument|file|format|header|input|name|option|parameter|path|pointer|value)"
    r"|corrupt(?:ed)?|unexpected (?:end|eof|token|value)|unrecogni[sz]ed|undefined (?:symbol|ref)"
    r"|unknown (?:option|argument|key)|assert(?:ion)?\b.*fail|timed? ?out|due to time limit"
    r"|error|exception|aborted|usage:)",
    re.I,
)
#: What follows from another failure, and says nothing of why.
_GENERIC: Final = re.compile(
    r"\b(?:exit(?:ed|s)?|return(?:ed|s)?|terminated|finished|quit|died|failed)\b.{0,40}"
    r"\b(?:code|status|value|signal)\b|\Amake(?:\[\d+\])?: \*\*\*|\bbuild stopped\b"
    r"|\ACalledProcessError\b|\bsubprocess\.CalledProcessError\b"
    r"|\A\W*(?:\w+:?\s*)?(?:abort|exit|terminat|stopp)ing\b[\s.!]*\Z"
    r"|\AError termination\.|\berrors?\s*[:=]\s*\d+\s*\Z|\b\d+ (?:errors?|failures?)\b",
    re.I,
)
_TRAP: Final = re.compile(
    r"\A(?:.*: line \d+:\s*\d+ )?(?:\S+: )?"
    r"(?:Segmentation fault|Bus error|Floating point exception|Illegal instruction|Aborted"
    r"|Killed|Terminated|Trace/breakpoint trap|Hangup|Quit)\b"
    r"|\(core dumped\)"
    r"|\Asrun: error: .*: (?:Killed|Terminated|Segmentation fault|Aborted|Bus error)"
    r"|Program received signal"
    r"|Signal: \w|\bexited on signal\b|stack smashing detected|\bEXIT STRING\b"
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    weight: int
    line: str
    chain: tuple[ChainLink, ...] = ()


def last_words(*tails: str, limit: int = _LINE_LIMIT) -> LastWords:
    """Return what the ends of a program's streams say.

    Args:
        *tails: The ends, the one that counts more before the other.
        limit: Longest line, in characters.
    """
    best = _Candidate(-1, "")
    shown: list[str] = []
    place: int | None = None
    for number, tail in enumerate(tails):
        lines = plain_lines(tail)
        if not shown:
            shown = [line[:_LINE_LIMIT] for line in lines if line.strip()][-KEPT_LINES:]
        found = _best_of(lines)
        needed = best.weight if not best.line else max(best.weight, _ERROR_WEIGHT - 1)
        if found.weight > needed:  # what a program prints as its results reports no error
            best, place = found, number
    line = best.line if len(best.line) <= limit else best.line[: limit - 1] + "…"
    return LastWords(line, best.chain, tuple(shown), place)


def plain_lines(text: str) -> list[str]:
    """Return the lines of a terminal's text without its control sequences; indents are kept.

    What a carriage return would have drawn over is a line of its own.
    """
    text = _MOVES.sub(lambda found: " " if found[1] in "CDGab`" else "\n", text)
    if "\x08" in text:
        while text != (text := _OVERSTRUCK.sub("", text)):
            pass
    # Line by line: a sequence that lacks its end takes no more than its own line with it.
    lines = (_UNFINISHED.sub("", line) for line in _LINE_ENDS.split(text))
    return [_plain(without_sequences(line)) for line in lines]


def _plain(line: str) -> str:
    line = line.expandtabs(8)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return line.rstrip()


def _best_of(lines: list[str]) -> _Candidate:
    """Return the line of one stream that says most of why the program failed."""
    lines = [_RANK.sub("", _TAG.sub("", line), count=1) for line in lines]
    if any(_GROUP in line for line in lines):
        lines = [_undrawn(line) for line in lines]
    own, trouble = without_launchers(lines)
    best = _Candidate(_TRAP_WEIGHT, one_line(trouble)) if trouble else _Candidate(-1, "")
    index = 0
    while index < len(own):
        line = own[index]
        if line.endswith(_TRACEBACK):
            found, index = _traceback(own, index)
        else:
            found = _Candidate(_weight(line), _continued(own, index))
            index += 1
        if found.weight >= best.weight and any(map(str.isalnum, found.line)):
            best = found
    return best


_ERROR_WEIGHT: Final = 4
_TRAP_WEIGHT: Final = 2


def _weight(line: str) -> int:
    """Return how much a line says of a failure: 4 an error, 3 perhaps one, 2 a trap, 1 an echo."""
    text = line.strip()[:_LOOKED_AT]
    if not text or _HARMLESS.search(text) or _MILD.search(text):
        return 0
    if _GENERIC.search(text):
        return 1
    if _STRONG.search(text):
        return _ERROR_WEIGHT
    if _TRAP.search(text):
        return _TRAP_WEIGHT
    return 3 if _MEDIUM.search(text) else 0


def _continued(lines: list[str], index: int) -> str:
    """Return a line with those that follow it further in, and belong to it."""
    line = lines[index]
    parts = [line.strip()]
    indent = len(line) - len(line.lstrip())
    for following in lines[index + 1 : index + 1 + _CONTINUED]:
        text = following.strip()
        is_further = len(following) - len(following.lstrip()) > indent
        if not text or not (is_further or (len(parts) == 1 and parts[0].endswith(":"))):
            break
        if text.startswith(("at ", "#", "File ", "^", "~", "|")) or not text[0].isalnum():
            break
        parts.append(text)
    return one_line("\n".join(" ".join(part.split()) for part in parts))


def _traceback(lines: list[str], index: int) -> tuple[_Candidate, int]:
    """Return what a Python traceback tells, with those chained to it, and where it ends."""
    links: list[ChainLink] = []
    direct: list[bool] = []  # whether each link was raised from the one behind it
    is_group = is_direct = False
    told = ""
    while index < len(lines) and lines[index].endswith(_TRACEBACK):
        is_group |= _GROUP in lines[index]
        index = _end_of_frames(lines, index + 1)
        if index == len(lines):
            break
        told = _continued(lines, index)
        match = _EXCEPTION.match(told)
        links.insert(0, ChainLink(*match.group("type", "text")) if match else ChainLink("", told))
        direct.insert(0, is_direct)
        index += 1
        ahead, between = _between(lines, index)
        is_direct = between == _DIRECT
        if (between or is_group) and ahead < len(lines) and lines[ahead].endswith(_TRACEBACK):
            index = ahead
        else:
            break
    if not links:  # the end of it is not there
        return _Candidate(0, ""), index
    if is_group:
        told = _group_line(links)
    elif direct[0]:
        deepest = next(place for place in range(len(links)) if not direct[place])
        told = f"{told}, because {_said(links[deepest])}"
    return _Candidate(1 if _GENERIC.search(told) else _ERROR_WEIGHT, told, tuple(links)), index


def _between(lines: list[str], index: int) -> tuple[int, str]:
    """Return where something follows, and the words that chain it to what is above it."""
    words = ""
    while index < len(lines) and (not lines[index].strip() or lines[index].strip() in _BETWEEN):
        words = lines[index].strip() or words
        index += 1
    return index, words


_BETWEEN: Final = frozenset({_DIRECT, _OTHER})


def _undrawn(line: str) -> str:
    """Return a line without the drawing of an exception group; each member has a traceback."""
    return _TRACEBACK if _GROUP_MEMBER.match(line) else _GROUP_SIGNS.sub("", line, count=1)


def _end_of_frames(lines: list[str], index: int) -> int:
    """Return where the exception stands whose frames begin at ``index``."""
    while index < len(lines) and (
        not lines[index] or lines[index].startswith("  ") or lines[index].endswith(_TRACEBACK)
    ):
        index += 1
    return index


def _group_line(links: list[ChainLink]) -> str:
    """Return the exceptions of a group as one line, in the order in which they were printed."""
    printed = links[::-1]
    parts = [_said(link) for link in printed if not link.type.endswith("Group")]
    return f"{printed[0].type}: {'; '.join(parts)}"


def _said(link: ChainLink) -> str:
    return ": ".join(filter(None, (link.type, link.text)))
