"""Keeping secrets out of what is written: environments, command lines and plain data.

A value is redacted when its *name* says that it is a secret; values themselves are not
searched, except for passwords inside URLs and for ``NAME: value`` in a text of several lines
(:mod:`taskgrove.redaction.text`).

The rule: a name is split into words at everything that is no letter or digit, and where a small
letter is followed by a capital one (``dbPassword``); digits at the end of a word do not count. It
is a secret's when one of its words is ``password``, ``passwd``, ``passphrase``, ``pwd``,
``secret``, ``token``, ``credential``, ``auth``, ``authorization``, ``cookie``, ``apikey`` (and
their plurals), when one ends in ``password``, ``passwd``, ``passphrase``, ``secret``, ``token`` or
``apikey`` (``PGPASSWORD``), or when the words ``api key``, ``access key``, ``private key``,
``secret key``, ``session key``, ``signing key``, ``auth key`` or ``encryption key`` follow each
other. Case does not matter. So ``GITHUB_TOKEN``, ``AWS_SECRET_ACCESS_KEY`` and ``--db-password``
are secrets; ``AUTHOR``, ``KEYBOARD``, ``PATH`` and ``TOKENIZER`` are not. Exempt by name are
``PWD`` and ``OLDPWD``, the shell's folders, and what names a file or a way rather than a secret:
``SSH_AUTH_SOCK``, ``XAUTHORITY``, ``AUTH_METHOD``.

``TASKGROVE_REDACT`` changes it: words, split by commas. ``-WORD`` exempts a whole name,
``+WORD`` or ``WORD`` adds one (``*`` stands for anything), ``off`` alone redacts nothing.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from taskgrove.errors import UsageError
from taskgrove.redaction.text import hide_values

#: What stands in place of a secret.
REDACTED: Final = "<redacted>"
#: The environment variable that changes the rule.
REDACT_VARIABLE: Final = "TASKGROVE_REDACT"

_WORDS: Final = frozenset(
    (
        "password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "token",
        "tokens", "credential", "credentials", "auth", "authorization", "cookie", "cookies",
        "apikey", "apikeys", "privkey",
    )
)  # fmt: skip
#: Words that end so are secrets too: ``PGPASSWORD``.
_ENDINGS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey")
_PAIRS: Final = frozenset(
    (kind, key)
    for kind in ("api", "access", "private", "secret", "session", "signing", "encryption", "auth")
    for key in ("key", "keys")
)
#: Written just so, as environments do: a parameter ``pwd`` is a password.
_EXEMPT: Final = frozenset(("PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "AUTH_METHOD"))

_SPLIT: Final = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A password may hold an ``@``; one that holds a slash is not taken for a port and a path.
_URL_PASSWORD: Final = re.compile(
    r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@?#]*:)(?:[^\s/]+(?=@)|(?!\d+/)[^\s@]+(?=@))"
)
#: ``?password=value`` and ``&password=value`` in a URL.
_URL_PARAMETER: Final = re.compile(r"""(?<=[?&])([\w.-]+)=([^\s&#"'<>]+)""")
#: ``Authorization: Bearer …`` as one word of a command line.
_HEADER: Final = re.compile(r"([A-Za-z_][\w.-]*):[ \t]*(\S.*)", re.DOTALL)


def without_url_passwords(text: str) -> str:
    """Return text in which the passwords of URLs are redacted.

    Both ``scheme://user:password@`` and ``scheme://host/?password=``, whatever the rule is.
    """
    if "://" not in text:
        return text
    text = _URL_PASSWORD.sub(rf"\g<1>{REDACTED}", text)
    return _URL_PARAMETER.sub(_url_parameter, text)


def _url_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={REDACTED}" if _says_secret(match[1]) else match[0]


class Redaction:
    """The rule by which secrets are kept out of what is written; immutable.

    Args:
        also: Names that are secrets too; ``*`` and ``?`` stand for anything; case is ignored.
        never: Names that are none, whatever the rule says; the same.
        off: True redacts nothing at all.
    """

    def __init__(
        self, *, also: Iterable[str] = (), never: Iterable[str] = (), off: bool = False
    ) -> None:
        self._also = _matcher(also)
        self._never = _matcher(never)
        self._off = off
        self._known: dict[str, bool] = {}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Redaction:
        """Return the rule that ``TASKGROVE_REDACT`` asks for; the default one without it.

        Raises:
            UsageError: It cannot be read.
        """
        text = (os.environ if environ is None else environ).get(REDACT_VARIABLE, "")
        items = [item.strip() for item in text.split(",") if item.strip()]
        if items == ["off"]:
            return cls(off=True)
        for item in items:
            if not item.lstrip("+-") or item == "off":
                raise UsageError(
                    f"{REDACT_VARIABLE} cannot be read: {item!r}",
                    hint="names split by commas, '-NAME' to exempt one, or 'off' alone",
                )
        return cls(
            also=[item.removeprefix("+") for item in items if not item.startswith("-")],
            never=[item[1:] for item in items if item.startswith("-")],
        )

    def is_secret(self, name: str) -> bool:
        """Return True when what has this name is a secret."""
        found = self._known.get(name)
        if found is None:
            found = self._decide(name)
            if len(self._known) < 10_000:
                self._known[name] = found
        return found

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which secrets are redacted."""
        return {name: self._value(name, value) for name, value in environ.items()}

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command line in which the values of secret flags are redacted.

        ``--token=X``, ``--password X``, ``NAME=X``, ``--env=NAME=X``, ``Authorization: X`` and
        passwords in URLs are recognised.
        """
        told: list[str] = []
        hide_next = False
        for word in argv:
            if hide_next and not word.startswith("--"):
                told.append(REDACTED)
                hide_next = False
                continue
            hide_next = False
            named = self._named(word)
            if named is not None:
                told.append(named)
                continue
            hide_next = word.startswith("-") and self.is_secret(word)
            told.append(self.text(word))
        return tuple(told)

    def text(self, text: str) -> str:
        """Return a text in which passwords of URLs, and values named as secrets, are redacted.

        Names are only looked for in a text of several lines, such as a file's.
        """
        if self._off:
            return text
        text = without_url_passwords(text)
        return hide_values(text, self.is_secret, REDACTED) if "\n" in text else text

    def plain(self, data: Any) -> Any:
        """Return plain data in which what has a secret's name is redacted, at any depth.

        A list or mapping of a secret's name is redacted as a whole; numbers and None are kept
        only where the name is no secret's.
        """
        if self._off:
            return data
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {
                key: self.plain(value)
                if not (isinstance(key, str) and self.is_secret(key))
                else _hidden(value)
                for key, value in data.items()
            }
        if isinstance(data, (list, tuple)):
            return [self.plain(item) for item in data]
        return data

    def json(self, text: str) -> str:
        """Return a text of JSON in which what has a secret's name is redacted."""
        if self._off or text in ("{}", "null", "[]"):
            return text
        try:
            data = json.loads(text)
        except ValueError:
            return self.text(text)
        clean = self.plain(data)
        return text if clean == data else json.dumps(clean, ensure_ascii=False)

    def _value(self, name: str, value: str) -> str:
        if self._off:
            return value
        return _hidden(value) if self.is_secret(name) else without_url_passwords(value)

    def _named(self, word: str) -> str | None:
        """Return a word that holds a name and its value without the secret; None for others."""
        name, equals, value = word.partition("=")
        if equals and "://" not in name and not any(sign in name for sign in " :"):
            if self.is_secret(name):
                return f"{name}={self._value(name, value)}"
            return f"{name}={self._named(value) or self.text(value)}"
        header = _HEADER.fullmatch(word)
        if header is None or not self.is_secret(header[1]):
            return None
        return f"{header[1]}: {self._value(header[1], header[2])}"

    def _decide(self, name: str) -> bool:
        low = name.strip("-").lower()
        if self._off or self._never(low):
            return False
        if self._also(low):
            return True
        if name in _EXEMPT:
            return False
        return _says_secret(name)


def _says_secret(name: str) -> bool:
    words = [word.lower().rstrip("0123456789") for word in _SPLIT.split(name) if word]
    if any(word in _WORDS or word.endswith(_ENDINGS) for word in words):
        return True
    return any(pair in _PAIRS for pair in itertools.pairwise(words))


def holds_redacted(data: Any) -> bool:
    """Return True when something in plain data was redacted: it cannot be used as it is."""
    if isinstance(data, str):
        return REDACTED in data
    if isinstance(data, Mapping):
        return any(holds_redacted(value) for value in data.values())
    return isinstance(data, (list, tuple)) and any(holds_redacted(item) for item in data)


def _hidden(value: Any) -> Any:
    """Return what stands in place of a secret; that there is none is no secret."""
    return value if value is None or value == "" or isinstance(value, bool) else REDACTED


def _matcher(patterns: Iterable[str]) -> Any:
    found = [re.compile(fnmatch.translate(pattern.lower())) for pattern in patterns]
    if not found:
        return lambda _name: False
    return lambda name: any(pattern.match(name) for pattern in found)
