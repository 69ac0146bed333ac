"""Finding values by their name in sentences: messages, errors, output, commands.

Unlike a map (:mod:`taskgrove.redaction.text`), such a text is no document: a name may stand inside
a sentence. Behind ``name=`` the next word is hidden; behind ``name: `` too, unless a sentence goes
on there (``token: Field required``). A value in quotes is hidden as a whole, and so is the line
behind the name of a header, and behind a name that begins one of several lines. Pure; each pattern
takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from taskgrove.redaction.command_line import USER_FLAGS, value_of_short_flag
from taskgrove.redaction.forms import REDACTED
from taskgrove.redaction.secret_names import Certainty

#: ``name=``, ``name: `` and ``"name": ``, also as JSON inside of a text (``\\"name\\": ``).
_NAME: Final = re.compile(
    r"""(?<![\w./-])(?P<name>-{0,2}[A-Za-z_][\w.-]{0,100}+)\\{0,7}["']?\]?[ \t]{0,3}"""
    r"""(?P<sign>:=|=>|=(?!=)|:(?![:/]))[ \t]{0,3}[brf]{0,2}(?=\S)"""
)
_QUOTE: Final = re.compile(r"""(?P<escape>\\{0,7})(?P<quote>["'])""")
#: One word; in compact JSON it ends before the next name.
_WORD: Final = re.compile(r"""(?:(?!,["']?[\w.-]{0,40}["']?[:=])[^\s;&])+""")
_LINE: Final = re.compile(r"[^\n]*")
_TO_QUOTE: Final = re.compile(r"""[^\n"']*""")
#: Signs at the end of a word that close something.
_CLOSING: Final = "\"',.)}]>:"
#: How far a line's beginning and a quote's end are looked for: the time stays linear.
_INDENT: Final = 200
_LONGEST_QUOTED: Final = 1 << 16
_HEADERS: Final = ("authorization", "cookie", "cookies", "proxyauthorization", "setcookie")
_NOTHING: Final = re.compile(
    r"(?:none|null|nil|true|false|yes|no|required|missing|invalid|expired|wrong|empty|unset|absent"
    r"|unknown|set|given|hidden|redacted)",
    re.IGNORECASE,
)
#: A word of a sentence that goes on.
_SENTENCE: Final = re.compile(r"[A-Za-z]+[,.;:]?[ \t]+\S")
#: The beginning of a line of settings, before the name.
_LINE_START: Final = re.compile(r"""[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+)?["']?""")
#: A flag and its value, also as two words of a list.
_FLAG: Final = re.compile(
    r"""(?<![\w-])(--?[A-Za-z][\w-]{0,60}+)(["']?,?[ \t\n]+["']?)(?!-)([^\s"',\]]+)"""
)
#: Commands of a shell, inside of a text, that take a password in a short flag.
_SHELL: Final = re.compile(
    r"""(\bsshpass[ \t]+-p[ \t]*["']?|-pass(?:in|out)?[ \t]+pass:"""
    r"""|\bcurl\b[^\n|;]{0,200}?[ \t](?:-u|--user)[ =]?["']?[\w.@-]{1,60}:"""
    r"""|\bldap\w{3,8}\b[^\n|;]{0,200}?[ \t]-w[ \t]*|\bredis-cli\b[^\n|;]{0,200}?[ \t]-a[ \t]*"""
    r"""|\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,200}?[ \t]-p)([^\s"']+)"""
)
#: A value that a sentence tells: ``wrong password 'abc1def'``.
_SPOKEN: Final = re.compile(
    r"""\b((?:password|passwd|passphrase|token|secret|api[ _-]?key)(?: is| was| of)? {1,3}["'`]?)"""
    r"""([^\s"'`,;/<>]{6,200}+)""",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"<([A-Za-z][\w.-]{0,100}+)>([^<>\n]{1,4096}+)(?=</)")
#: No word, number or name: a digit between letters, or a sign that no name has.
_ODD: Final = re.compile(r"[^\s]*?(?:[A-Za-z]\d+[A-Za-z]|[!$%&*#^~+])")


def hide_statements(
    text: str,
    certainty_of: Callable[[str], Certainty],
    heard: Callable[[str], object] = len,
) -> str:
    """Return a text, of one line or many, in which values with the name of a secret are hidden.

    Args:
        text: The text.
        certainty_of: Decides by the name.
        heard: Called with each value that is hidden behind a name.
    """
    if "=" in text or ":" in text:
        text = _hide_named(text, certainty_of, heard)
    if "</" in text:
        text = _TAG.sub(
            lambda tag: tag[0] if certainty_of(tag[1]) == "no" else f"<{tag[1]}>{REDACTED}", text
        )
    text = _SPOKEN.sub(lambda it: f"{it[1]}{REDACTED}" if _ODD.match(it[2]) else it[0], text)
    if "-" in text:
        text = _SHELL.sub(rf"\1{REDACTED}", text)
        text = _FLAG.sub(lambda found: _flag(found, certainty_of), text)
    return text


def _hide_named(
    text: str, certainty_of: Callable[[str], Certainty], heard: Callable[[str], object]
) -> str:
    shown: list[str] = []
    at = 0
    while (found := _NAME.search(text, at)) is not None:
        certainty = certainty_of(found["name"])
        begin = end = found.end()
        if certainty == "sure" or (certainty == "weak" and _is_assigned(text, found)):
            begin, end = _value_of(text, found)
        if text.startswith(REDACTED, begin):  # it is hidden already
            begin = end = max(begin, found.end())
        if end > begin and not is_small(text[begin:end], certainty):
            heard(text[begin:end])
            shown += (text[at:begin], REDACTED)
        else:
            shown.append(text[at:end])
        at = end
    shown.append(text[at:])
    return "".join(shown)


def is_small(value: object, certainty: Certainty) -> bool:
    """Return True for a number that is no secret behind a weak name: ``pass: 2``."""
    if certainty != "weak" or isinstance(value, (list, tuple, dict)):
        return False
    shown = str(value)
    return (
        len(shown) <= 5
        and sum(sign.isdigit() for sign in shown) <= 3
        and not shown.strip("+-.0123456789")
    )


def _is_assigned(text: str, found: re.Match[str]) -> bool:
    """Return True where a weak name belongs to data, and is not a word of a sentence.

    So do ``pass=``, ``"pass":`` and ``db_pass:``; ``pass: abc1def`` does by its value.
    """
    name = found["name"].strip("-")
    behind = text[found.end("name") : found.start("sign")].lstrip("\\")
    if found["sign"] != ":" or behind[:1] in ('"', "'") or "_" in name:
        return True
    return _ODD.match(text, found.end()) is not None


def _value_of(text: str, found: re.Match[str]) -> tuple[int, int]:
    """Return where the value behind a name begins and ends; equal places: there is no value."""
    at = found.end()
    opened = _QUOTE.match(text, at)
    if opened is not None:
        return opened.end(), _end_of_quoted(text, opened)
    if text.startswith(("[", "{"), at):
        return at, at  # the names inside it decide
    return at, at + len(_bare_value(text, found))


def _bare_value(text: str, found: re.Match[str]) -> str:
    """Return the unquoted secret behind a name; empty where there is none."""
    at, is_colon = found.end(), found["sign"] == ":"
    name = found["name"].lower().replace("-", "").replace("_", "")
    if is_colon and name.endswith(_HEADERS):
        return _part(_TO_QUOTE, text, at).rstrip(" \t\r\\")
    if _begins_line(text, found):
        bare = _part(_LINE, text, at).rstrip()
    elif is_colon and _SENTENCE.match(text, at):
        return ""
    else:
        word = _part(_WORD, text, at)
        bare = word.rstrip(_CLOSING) or word
    return "" if _NOTHING.fullmatch(bare) else bare


def _begins_line(text: str, found: re.Match[str]) -> bool:
    """Return True for a name that begins one of several lines."""
    start = text.rfind("\n", max(0, found.start() - _INDENT), found.start()) + 1
    if not start and found.start() > _INDENT:
        return False
    if not _LINE_START.fullmatch(text, start, found.start()):
        return False
    return start > 0 or "\n" in text


def _part(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return "" if found is None else found[0]


def _end_of_quoted(text: str, opened: re.Match[str]) -> int:
    closing = opened[0]
    at = opened.end()
    most = at + _LONGEST_QUOTED
    while (end := text.find(closing, at, most)) >= 0:
        if opened["escape"] or text[end - 1] != "\\" or text[end - 2 : end] == "\\\\":
            return end
        at = end + 1
    return opened.end() + len(_part(_LINE, text, opened.end()))


def _flag(found: re.Match[str], certainty_of: Callable[[str], Certainty]) -> str:
    flag, gap, value = found.groups()
    if flag in USER_FLAGS or flag == "-p":
        return f"{flag}{gap}{value_of_short_flag(flag, value) or value}"
    is_value = any(sign.isdigit() for sign in value) and REDACTED not in value
    return f"{flag}{gap}{REDACTED}" if is_value and certainty_of(flag) == "sure" else found[0]
