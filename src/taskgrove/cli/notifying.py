"""The notification program of a verb: ``--notify``, else ``TASKGROVE_NOTIFY``.

Threads: the verb's thread.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from taskgrove.cli.terminal import Terminal
from taskgrove.errors import UsageError
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.cli.notifier import Notifier

#: The environment variable that names the program where no option does.
NOTIFY_VARIABLE: Final = "TASKGROVE_NOTIFY"


class _Place:
    """The notifier of a verb, made when it is first needed."""

    def __init__(self) -> None:
        #: The program and its arguments; None: they are not known yet.
        self.argv: list[str] | None = None
        self._made: Notifier | None = None

    def notifier(self) -> Notifier | None:
        if self._made is None and self.argv is None:
            self.argv = _argv_of_environment()
        if self._made is None and self.argv:
            from taskgrove.cli.notifier import Notifier  # noqa: PLC0415 - seldom needed

            self._made = Notifier(self.argv)
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made.tell(_say)


#: Those of the verbs that run, the innermost last: the demonstration runs other verbs.
_PLACES: Final[list[_Place]] = []


def notifier() -> Notifier | None:
    """Return the notifier of the verb that runs, or None where no program is set."""
    return _PLACES[-1].notifier() if _PLACES else None


def notify_with(command: str | None) -> None:
    """Have the notification program of an option.

    Args:
        command: The value of ``--notify``; empty: none; None: ``TASKGROVE_NOTIFY`` counts.

    Raises:
        UsageError: The program cannot be found or executed.
    """
    if command is not None and _PLACES:
        _PLACES[-1].argv = _checked(command)


@contextmanager
def notifying() -> Iterator[None]:
    """Have a place for a notification program while a verb lasts."""
    place = _Place()
    _PLACES.append(place)
    try:
        yield
    finally:
        _PLACES.remove(place)
        place.close()


def _checked(command: str) -> list[str]:
    argv = _words(command)
    if argv and shutil.which(argv[0]) is None:
        there = os.path.exists(argv[0]) and "/" in argv[0]
        raise UsageError(
            f"the program of --notify {'cannot be executed' if there else 'is not there'}:"
            f" {argv[0]}",
            hint=f"chmod +x {shlex.quote(argv[0])}"
            if there and os.path.isfile(argv[0])
            else f"name a program and its arguments in --notify or {NOTIFY_VARIABLE};"
            " no shell reads them",
        )
    return argv


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as exc:
        raise UsageError(
            f"--notify cannot be read: {exc}: {command!r}",
            hint="words are quoted as in a shell, such as --notify 'page.sh \"night shift\"'",
        ) from exc


def _argv_of_environment() -> list[str]:
    """Return the program of a verb that has no option for it: it refuses nothing."""
    try:
        return _words(os.environ.get(NOTIFY_VARIABLE, ""))
    except UsageError as exc:
        _say(f"notify: {exc.message}")
        return []


def _say(text: str) -> None:
    Terminal(json=True).say(safe_text(text), "yellow")
