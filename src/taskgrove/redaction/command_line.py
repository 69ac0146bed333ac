"""Secrets on a command line: the values of flags, of assignments and of headers.

A long flag tells by its name. The meaning of a short flag depends on the program: the programs
that take a password there are listed. With other programs, ``-p VALUE`` is hidden where the value
does not look like a name, number or path. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from taskgrove.redaction.forms import REDACTED

#: Short flags with a secret, by program; the value is the next word, or stands in the same one.
_FLAGS: Final = {
    "sshpass": ("-p",),
    "ldapsearch": ("-w",),
    "ldapadd": ("-w",),
    "ldapmodify": ("-w",),
    "ldapwhoami": ("-w",),
    "redis-cli": ("-a",),
    "sqlcmd": ("-P",),
    "bcp": ("-P",),
    "mosquitto_pub": ("-P",),
    "mosquitto_sub": ("-P",),
    "ipmitool": ("-P",),
    "zip": ("-P",),
    "unzip": ("-P",),
    "mongo": ("-p",),
    "mongosh": ("-p",),
    "mongodump": ("-p",),
    "rabbitmqadmin": ("-p",),
    "az": ("-p",),
    "login": ("-p",),  # docker login, podman login
    "openssl": ("-passin", "-passout", "-pass", "-k"),
    "xfreerdp": ("/p:",),
    "snmpget": ("-c", "-A", "-X"),
    "snmpwalk": ("-c", "-A", "-X"),
}
#: Here the value stands in the same word only: ``mysql -p NAME`` names a database.
_JOINED: Final = dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mariadb", "7z"), ("-p",))
#: ``name:password``, or ``name%password`` for Samba; not the two numbers of a user and a group.
USER_FLAGS: Final = frozenset(("-u", "-U", "--user", "--proxy-user", "-a"))
_USER: Final = re.compile(r"((?!\d+:\d+$)[\w.@\\-]+[:%])([^/\s].*)")
_JOINED_USER: Final = re.compile(
    r"((?:-u|-U|--user=|--proxy-user=)[A-Za-z][\w.@\\-]*[:%])([^/\s].*)"
)
#: No name, number or path: a digit between letters, or a sign that no name has.
_ODD: Final = re.compile(r"(?=[^/.,:=]{6,}$)(?:.*[A-Za-z]\d+[A-Za-z]|.*[!$%&*?#@^~+])")
#: ``Authorization: Bearer …`` as one word of a command line.
_HEADER: Final = re.compile(r"([A-Za-z_][\w.-]*):[ \t]*(\S.*)", re.DOTALL)


def shown_words(
    argv: Sequence[str], is_secret: Callable[[str], bool], text: Callable[[str], str]
) -> Iterator[str]:
    """Yield the words of a command line without their secrets.

    Args:
        argv: The command line.
        is_secret: Decides by the name.
        text: Returns a text without secrets.
    """
    hide_next: Callable[[str], str | None] | None = None
    program = ""
    for word in argv:
        if hide_next is not None and not word.startswith("--"):
            hidden, hide_next = hide_next(word), None
            if hidden is not None:
                if program == "sshpass":  # the command of another program follows
                    program = ""
                yield hidden
                continue
        hide_next = None
        name = word.rpartition("/")[2]
        if name in _FLAGS or name in _JOINED:
            program = name
        shown = _joined(word, program) or _named(word, is_secret, text)
        if shown is None:
            hide_next = _after(word, program, is_secret)
        yield text(word) if shown is None else shown


def _after(
    word: str, program: str, is_secret: Callable[[str], bool]
) -> Callable[[str], str | None] | None:
    """Return a function that hides the secret in the next word, or None."""
    if not word.startswith("-"):
        return None
    if word in _FLAGS.get(program, ()) or is_secret(word):
        return lambda _value: REDACTED
    if word in USER_FLAGS or (word == "-p" and program not in _JOINED):
        return lambda value: value_of_short_flag(word, value)
    return None


def value_of_short_flag(flag: str, value: str) -> str | None:
    """Return the value of ``-p``, or of a flag for a user, without its secret; None: no secret."""
    if flag == "-p":
        return REDACTED if _ODD.match(value) else None
    found = _USER.fullmatch(value)
    return None if found is None else f"{found[1]}{REDACTED}"


def _joined(word: str, program: str) -> str | None:
    """Return a word that is a short flag and its secret without the secret; None for others."""
    for flag in (*_FLAGS.get(program, ()), *_JOINED.get(program, ())):
        if len(flag) < 4 and word.startswith(flag) and len(word) > len(flag):
            return f"{flag}{REDACTED}"
    found = _JOINED_USER.fullmatch(word)
    return None if found is None else f"{found[1]}{REDACTED}"


def _named(word: str, is_secret: Callable[[str], bool], text: Callable[[str], str]) -> str | None:
    """Return a word that holds a name and its value without the secret; None for others."""
    name, equals, value = word.partition("=")
    if equals and "://" not in name and not any(sign in name for sign in " :{[\"'"):
        if is_secret(name):
            return f"{name}={REDACTED}" if value else word
        return f"{name}={_named(value, is_secret, text) or text(value)}"
    header = _HEADER.fullmatch(word)
    if header is None or not is_secret(header[1]):
        return None
    return f"{header[1]}: {REDACTED}"
