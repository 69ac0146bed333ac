"""How runs are started from the page, as words of a command line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from taskgrove.errors import UsageError
from taskgrove.web.runner_processes import RunnerProcesses

#: How long a name, and another text, may be, in characters.
NAME_LIMIT: Final = 200
TEXT_LIMIT: Final = 4_096
#: How many patterns of steps there may be.
_PATTERNS: Final = 50


@dataclass(frozen=True, slots=True)
class StartSettings:
    """How commands are started, as the operator typed it who started the server.

    Attributes:
        maps: The maps whose commands may be started, absolute.
        database: The value of ``--db``.
        manager: The value of ``--manager``.
        analyses: The values of ``--analyses``.
        pages: The value of ``--pages``.
        work_dir: The value of ``--work-dir``.
        processes: The value of ``--processes``.
    """

    maps: tuple[str, ...] = ()
    database: str | None = None
    manager: str | None = None
    analyses: tuple[str, ...] = ()
    pages: str | None = None
    work_dir: str | None = None
    processes: int | None = None

    def record_words(self) -> list[str]:
        """Return the option that names the record."""
        return [] if self.database is None else [f"--db={self.database}"]

    def code_words(self) -> list[str]:
        """Return the options that name modules of the operator."""
        manager = [] if self.manager is None else [f"--manager={self.manager}"]
        return [*manager, *(f"--analyses={module}" for module in self.analyses)]

    def compose_words(self) -> list[str]:
        """Return the options of a dry run."""
        where = [] if self.work_dir is None else [f"--work-dir={self.work_dir}"]
        return [*self.record_words(), *self.code_words(), *where]

    def run_words(self) -> list[str]:
        """Return the options of a run."""
        pages = [] if self.pages is None else [f"--pages={self.pages}"]
        many = [] if self.processes is None else [f"--processes={self.processes}"]
        return [*self.compose_words(), *pages, *many]


class Starts(NamedTuple):
    """How runs are started from the page.

    Attributes:
        settings: The maps, and the options that the operator typed.
        runners: Starts the processes; it stays the caller's to close.
    """

    settings: StartSettings
    runners: RunnerProcesses


def wait_words(patterns: Sequence[str], *, hold: bool) -> list[str]:
    """Return the options by which a run waits for a person.

    Raises:
        UsageError: They cannot be words of a command line.
    """
    if len(patterns) > _PATTERNS:
        raise UsageError(f"a run pauses before at most {_PATTERNS} patterns of steps")
    before = [f"--pause-before={plain_word(path, TEXT_LIMIT)}" for path in patterns if path.strip()]
    return [*(("--hold",) if hold else ()), *before]


def person_words(who: str, why: str) -> list[str]:
    """Return the options that tell who starts a run, and why.

    Raises:
        UsageError: They cannot be words of a command line.
    """
    given = (
        ("--by", plain_word(who.strip(), NAME_LIMIT)),
        ("--why", plain_word(why.strip(), TEXT_LIMIT)),
    )
    return [f"{name}={word}" for name, word in given if word]


def plain_word(text: str, most: int) -> str:
    """Return a text that can be a word of a command line.

    Raises:
        UsageError: It cannot.
    """
    if "\0" in text or len(text) > most:
        raise UsageError(f"a text holds a NUL, or more than {most:,} characters")
    return text


def absolute(files: Iterable[str]) -> tuple[str, ...]:
    """Return files by their absolute names, each once."""
    return tuple(dict.fromkeys(str(Path(file).absolute()) for file in files))
