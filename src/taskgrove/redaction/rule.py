"""Keeping secrets out of records, pages and messages: one rule for every place.

These are redacted:

- values with the *name* of a secret (:mod:`taskgrove.redaction.secret_names`): variables, keys
  at any depth, flags, headers, ``name=value`` and ``name: value`` in a text;
- values with the *form* of a secret (:mod:`taskgrove.redaction.forms`): keys of well-known
  services, private keys, passwords of URLs;
- values that were found by their name before, where a text repeats them
  (:meth:`Redaction.remember`).

``TASKGROVE_REDACT`` changes it: words, split by commas. ``-WORD`` exempts a whole name,
``+WORD`` or ``WORD`` adds one (``*`` stands for anything), ``off`` alone redacts nothing.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from taskgrove.errors import UsageError
from taskgrove.redaction.command_line import shown_words
from taskgrove.redaction.forms import REDACTED, hide_forms
from taskgrove.redaction.hidden_statements import hide_statements, is_small
from taskgrove.redaction.known import KnownValues
from taskgrove.redaction.secret_names import Certainty, certainty_of, may_name_a_secret
from taskgrove.redaction.text import hide_values

#: The environment variable that changes the rule.
REDACT_VARIABLE: Final = "TASKGROVE_REDACT"
#: The keys of name and value in an entry of a list, such as a container's environment.
_ENTRY: Final = (("name", "value"), ("key", "value"), ("Name", "Value"))
#: How many texts are remembered without their secrets, and how long these may be.
_SAID: Final = (2_000, 300)


class Redaction:
    """The rule that keeps secrets out; it changes only by :meth:`remember`.

    Args:
        also: Names that are secrets too; ``*`` and ``?`` stand for anything; case is ignored.
        never: Names that are none, whatever the rule says; the same.
        off: True redacts nothing at all.
    """

    def __init__(
        self, *, also: Iterable[str] = (), never: Iterable[str] = (), off: bool = False
    ) -> None:
        also = list(also)
        self._has_own_names = bool(also)
        self._also = _matcher(also)
        self._never = _matcher(never)
        self._off = off
        self._certain: dict[str, Certainty] = {}
        self._values = KnownValues()
        self._said: dict[str, str] = {}

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
        """Return True when a value of this name is a secret."""
        return self._certainty(name) != "no"

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which secrets are redacted."""
        return {name: self._named(name, value) for name, value in environ.items()}

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return a command line in which secrets are redacted.

        ``--token=X``, ``--password X``, ``NAME=X``, ``--env=NAME=X``, ``Authorization: X``, the
        short flags of known programs (``mysql -pX``, ``curl -u NAME:X``), and the secrets of a
        text.
        """
        if self._off:
            return tuple(argv)
        return tuple(shown_words(argv, self.is_secret, self.text))

    def text(self, text: str) -> str:
        """Return a text in which secrets are redacted.

        A text of several lines is read as a document, such as a map: the whole value is hidden,
        also where it stands below its name. For messages use :meth:`said`.
        """
        if self._off:
            return text
        if "\n" not in text:
            return self.said(text)
        shown = hide_forms(self._values.hide(text))
        return hide_values(shown, self._certainty)

    def said(self, text: str) -> str:
        """Return a message of a device, a program or a person in which secrets are redacted."""
        if self._off or len(text) < 4:
            return text
        shown = self._said.get(text)
        if shown is None:
            shown = hide_forms(self._values.hide(text))
            if self._has_own_names or may_name_a_secret(shown):
                shown = hide_statements(shown, self._certainty)
            if len(text) < _SAID[1] and len(self._said) < _SAID[0]:
                self._said[text] = shown
        return shown

    def plain(self, data: Any) -> Any:
        """Return plain data in which secrets are redacted, at any depth.

        A list or mapping with the name of a secret is redacted as a whole, and so is a number.
        """
        if self._off:
            return data
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            clean = {
                key: self._named(key, value) if isinstance(key, str) else self.plain(value)
                for key, value in data.items()
            }
            for name, value in _ENTRY:
                if isinstance(said := data.get(name), str) and value in data:
                    clean[value] = self._named(said, data[value])
            return clean
        if isinstance(data, (list, tuple)):
            if all(isinstance(item, str) for item in data) and any(
                item.startswith("-") for item in data
            ):
                return list(self.argv(data))
            return [self.plain(item) for item in data]
        return data

    def json(self, text: str, *, indent: int | None = None) -> str:
        """Return a text of JSON in which secrets are redacted; without secrets it stays as it is.

        Args:
            text: The text.
            indent: The indentation of the text.
        """
        if self._off or text in ("{}", "null", "[]"):
            return text
        try:
            data = json.loads(text)
        except ValueError:
            return self.text(text)
        clean = self.plain(data)
        return text if clean == data else json.dumps(clean, ensure_ascii=False, indent=indent)

    def remember(self, data: Any) -> None:
        """Remember the secrets in plain data, found by their names, and hide them in every text.

        Plain words, numbers and paths are not remembered: a text may hold them by chance.

        Args:
            data: An environment, a command line, arguments or parameters.
        """
        if self._off:
            return
        if isinstance(data, Mapping):
            for key, value in data.items():
                if isinstance(key, str) and self._certainty(key) != "no":
                    self._remember_all(value)
                else:
                    self.remember(value)
        elif isinstance(data, str):
            hide = hide_values if "\n" in data else hide_statements
            hide(data, self._certainty, self._values.add)
        elif isinstance(data, (list, tuple)):
            flag = ""
            for item in data:
                self.remember({flag: item} if flag else item)
                flag = item if isinstance(item, str) and item.startswith("-") else ""
        self._said.clear()

    def _remember_all(self, value: Any) -> None:
        if isinstance(value, Mapping):
            value = list(value.values())
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, (Mapping, list, tuple)):
                self._remember_all(item)
            else:
                self._values.add(item)

    def _named(self, name: str, value: Any) -> Any:
        """Return a value, redacted if its name is a secret's."""
        certainty: Certainty = self._certainty(name)
        if self._off or certainty == "no" or is_small(value, certainty):
            return self.plain(value)
        # That there is no secret is no secret.
        return value if value in (None, "") or isinstance(value, bool) else REDACTED

    def _certainty(self, name: str) -> Certainty:
        found = self._certain.get(name)
        if found is None:
            found = self._decide(name)
            if len(self._certain) < 10_000:
                self._certain[name] = found
        return found

    def _decide(self, name: str) -> Certainty:
        low = name.strip("-").lower()
        if self._off or self._never(low):
            return "no"
        return "sure" if self._also(low) else certainty_of(name)


def holds_redacted(data: Any) -> bool:
    """Return True when a part of plain data was redacted, so that the data cannot be used."""
    if isinstance(data, str):
        return REDACTED in data
    if isinstance(data, Mapping):
        return any(holds_redacted(value) for value in data.values())
    return isinstance(data, (list, tuple)) and any(holds_redacted(item) for item in data)


def _matcher(patterns: Iterable[str]) -> Any:
    found = [re.compile(fnmatch.translate(pattern.lower())) for pattern in patterns]
    if not found:
        return lambda _name: False
    return lambda name: any(pattern.match(name) for pattern in found)
