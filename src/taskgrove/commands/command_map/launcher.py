"""The launcher of an analysis (``mpirun -n 4``), as people write it: its words, without a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from taskgrove.errors import UsageError

#: Words that only a shell would understand.
_OPERATORS: Final = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"})
_EXPANDED: Final = "$`"
_EXAMPLE: Final = "write a program and its arguments, such as 'mpirun -n 4'"


def launcher_words(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the program and the arguments of a launcher; none of an empty text.

    Args:
        value: A text, which is split at its spaces as a shell does it (quotes and backslashes
            hold words together; nothing is expanded), or the words themselves.

    Raises:
        UsageError: It is no such text, or holds a word for a shell.
    """
    if isinstance(value, str):
        try:
            words = tuple(shlex.split(value))
        except ValueError as exc:
            raise UsageError(
                f"the launcher {value!r} cannot be split into words: {str(exc).lower()}",
                hint=_EXAMPLE,
            ) from None
        _refuse_shell(words)
    elif isinstance(value, Sequence) and all(isinstance(word, str) for word in value):
        words = tuple(value)
    else:
        raise UsageError(f"a launcher is a text, not {value!r}", hint=_EXAMPLE)
    if any("\0" in word for word in words):
        raise UsageError("a launcher holds no zero byte", hint=_EXAMPLE)
    if words and (not words[0] or words[0].startswith("-")):
        raise UsageError(f"a launcher begins with a program, not with {words[0]!r}", hint=_EXAMPLE)
    return words


def _refuse_shell(words: Sequence[str]) -> None:
    for word in words:
        if word in _OPERATORS or any(sign in word for sign in _EXPANDED):
            raise UsageError(
                f"no shell reads the launcher: {word!r} would stay as it is",
                hint="write a script for the work of the shell, and name it as the launcher",
            )
