"""Analyses by name: what each runs, and with which parameters.

An entry is written in code, by the author of a package; no configuration ever names what is
imported. A facility's package brings its entries by an entry point of the group
``taskgrove.analyses``::

    [project.entry-points."taskgrove.analyses"]
    beamline = "beamline_analyses:ENTRIES"

Threads: a registry may be used by any thread; ``_lock`` guards the entries, and is not held
while a plug-in is imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from taskgrove.analysis.hooks import HooksLike, hooks_of
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.plain.types import PlainTypes
from taskgrove.analysis.running.process_settings import ProcessSettings
from taskgrove.analysis.tasklets import Tasklet
from taskgrove.analysis.variables import checked_variables
from taskgrove.errors import AnalysisError, UsageError, nearest

#: The group of entry points by which installed packages bring analyses.
ENTRY_POINT_GROUP: Final = "taskgrove.analyses"


@dataclass(frozen=True, slots=True)
class AnalysisEntry:
    """One analysis that can be asked for by name.

    Attributes:
        name: What users call it.
        parameters: The class of its parameters.
        task: The class of a first-party analysis, or its place ``package.module:Class``, which
            is imported only in the process that runs it.
        executable: The program of a third-party analysis, a path or a name on the PATH. None for
            a first-party one, and where the parameters name it.
        impl_schemas: The schemas that its result keeps to, separated by ``;``.
        description: What it does, in a sentence.
        launcher: What starts it, such as ``"mpirun -n 4"`` or its words. This and the next three
            hold where an operator says nothing else.
        heartbeat_s: How long a first-party analysis may be silent, in seconds; None: as long as
            it likes.
        grace_s: From SIGTERM to SIGKILL, in seconds; None: the executor's.
        python: The interpreter of a first-party analysis, such as that of a facility's conda
            environment; None: the one that a sourced script activates, else our own.
        source: A shell script that is sourced for its environment, such as that of its program.
        stdin: A file that is its standard input, relative to the folder in which it runs.
        environment: Variables of its environment; those that an operator sets come before them.
        template_dir: The folder of its templates, where the header's has none of that name.
        before: Tasklets that run before its process starts, before those of the executor.
        after: Tasklets that run after it has COMPLETED, before those of the executor.
        hooks: Functions by the moment at which they are called, besides those of the executor.

    Raises:
        AnalysisError: On creation: it names neither or both of ``task`` and ``executable``, has
            no usable name, or a setting is out of range.
    """

    name: str
    parameters: type[TaskParameters]
    task: str | type | None = None
    executable: str | None = None
    impl_schemas: str | None = None
    description: str = ""
    launcher: str | Sequence[str] | None = field(default=None, kw_only=True)
    heartbeat_s: float | None = field(default=None, kw_only=True)
    grace_s: float | None = field(default=None, kw_only=True)
    python: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    stdin: str | None = field(default=None, kw_only=True)
    environment: Mapping[str, str | None] | None = field(default=None, kw_only=True, hash=False)
    template_dir: str | Path | None = field(default=None, kw_only=True)
    before: Iterable[Tasklet] = field(default=(), kw_only=True)
    after: Iterable[Tasklet] = field(default=(), kw_only=True)
    hooks: HooksLike | None = field(default=None, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        self._check_name_and_program()
        for name, value in self._checked_settings().items():
            object.__setattr__(self, name, value)

    def _checked_settings(self) -> dict[str, Any]:
        """Return the settings in the form in which they are kept."""
        tasklets = {name: tuple(getattr(self, name)) for name in ("before", "after")}
        for tasklet in (*tasklets["before"], *tasklets["after"]):
            if not callable(tasklet):
                raise AnalysisError(f"the tasklet {tasklet!r} of {self.name!r} cannot be called")
        if self.heartbeat_s is not None and not self.is_first_party:
            raise AnalysisError(
                f"analysis {self.name!r} is a program: it has no heartbeat",
                hint="a timeout ends a program that hangs",
            )
        if self.python is not None and not self.is_first_party:
            raise AnalysisError(
                f"analysis {self.name!r} is a program: no Python of ours runs it",
                hint="name the interpreter as its executable",
            )
        try:
            said = self.settings
            variables = None
            if self.environment is not None:
                variables = checked_variables(self.environment)
            return {
                "launcher": said.launcher,
                "environment": variables,
                "hooks": hooks_of(self.hooks),
                **tasklets,
            }
        except UsageError as exc:
            raise AnalysisError(f"analysis {self.name!r}: {exc.message}", hint=exc.hint) from exc

    @property
    def settings(self) -> ProcessSettings:
        """How its process is started and watched, as far as the entry says it."""
        return ProcessSettings(
            self.launcher,  # type: ignore[arg-type]
            self.heartbeat_s,
            self.grace_s,
            source=self.source,
            python=self.python,
            stdin=self.stdin,
        )

    def _check_name_and_program(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise AnalysisError(f"{self.name!r} cannot be the name of an analysis")
        if self.task is not None and self.executable is not None:
            raise AnalysisError(
                f"analysis {self.name!r} names both a task and an executable",
                hint="give the class of a first-party analysis, or the program of another",
            )
        if self.program is None and self.task is None:
            raise AnalysisError(
                f"analysis {self.name!r} has nothing to run",
                hint="give a task, or an executable, or parameters that have an executable",
            )
        if isinstance(self.task, str):
            module, _, name = self.task.partition(":")
            if not (name and all(word.isidentifier() for word in f"{module}.{name}".split("."))):
                raise AnalysisError(
                    f"{self.task!r} is no place of a class",
                    hint="write it as 'package.module:Class'",
                )

    @property
    def program(self) -> str | None:
        """The default program of a third-party analysis, or None for a first-party one.

        The value ``executable`` of validated parameters comes before it.
        """
        if self.executable is not None or self.task is not None:
            return self.executable
        fields: dict[str, Any] = getattr(self.parameters, "model_fields", {})
        field = fields.get("executable")
        if field is None:
            return None
        return "" if field.is_required() else field.default

    @property
    def is_first_party(self) -> bool:
        """Whether it is a Python class that knows taskgrove, and no foreign program."""
        return self.task is not None


class AnalysisRegistry:
    """A set of analyses by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, AnalysisEntry] = {}
        self._loaded: set[str] = set()

    def register(self, *entries: AnalysisEntry) -> None:
        """Add entries; one that is there already, equal in every field, may come again.

        Raises:
            AnalysisError: Another entry has the name.
        """
        with self._lock:
            for entry in entries:
                if not isinstance(entry, AnalysisEntry):
                    raise AnalysisError(f"{entry!r} is no AnalysisEntry")
                if self._entries.setdefault(entry.name, entry) != entry:
                    raise AnalysisError(
                        f"another analysis is registered as {entry.name!r}",
                        hint="give one of them another name",
                    )

    def get(self, name: str) -> AnalysisEntry:
        """Return the entry of that name.

        Raises:
            AnalysisError: There is none; the hint has the nearest name, or all of them.
        """
        with self._lock:
            entry = self._entries.get(name)
            names = sorted(self._entries)
        if entry is not None:
            return entry
        close = nearest(name, names)
        known = f"known: {', '.join(names)}" if names else "none is registered"
        raise AnalysisError(
            f"there is no analysis {name!r}",
            key=str(name),
            nearest=close,
            hint=f"did you mean {close!r}? {known}" if close else known,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all entries, sorted."""
        with self._lock:
            return tuple(sorted(self._entries))

    def __iter__(self) -> Iterator[AnalysisEntry]:
        return iter([self.get(name) for name in self.names])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load_plugins(self) -> tuple[str, ...]:
        """Register the analyses of installed packages; each entry point is loaded once.

        Returns:
            One line for each entry point that could not be loaded: it never stands in the way
            of the others.
        """
        troubles = []
        for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            if point.value in self._loaded:
                continue
            try:
                self.register(*_entries_of(point.load()))
            except Exception as exc:  # noqa: BLE001 - foreign code; its trouble is told
                said = f"{type(exc).__name__}: {exc}"
                troubles.append(f"entry point {point.name} = {point.value}: {said}")
            else:
                self._loaded.add(point.value)
        return tuple(troubles)

    def load_module(self, name: str) -> None:
        """Import a module that the operator named, and register what it brings.

        Args:
            name: The module, which registers its entries itself with :data:`REGISTRY`, or holds
                them as ``ENTRIES``.

        Raises:
            AnalysisError: It cannot be imported, or brings none.
        """
        before = len(self)
        try:
            module = importlib.import_module(name)
        except Exception as exc:
            raise AnalysisError(
                f"the module {name!r} of analyses cannot be imported: {type(exc).__name__}: {exc}",
                hint="name a module that Python finds, such as mypackage.analyses",
            ) from exc
        if hasattr(module, "ENTRIES"):
            self.register(*_entries_of(module.ENTRIES))
        elif len(self) == before and not _names_entries(module):
            raise AnalysisError(
                f"the module {name!r} brings no analysis",
                hint="it holds ENTRIES, a list of AnalysisEntry, or registers them",
            )

    def plain_types(self) -> PlainTypes:
        """Return the classes of all parameters, to read described analyses with."""
        from taskgrove.analysis.plain.types import PlainTypes  # noqa: PLC0415 - only readers need it

        return PlainTypes(entry.parameters for entry in self)


def _entries_of(given: AnalysisEntry | Iterable[Any] | Callable[[], Any]) -> list[AnalysisEntry]:
    """Return the entries that an entry point gives: one, several, or a function's."""
    if not isinstance(given, AnalysisEntry) and callable(given):
        given = given()
    if isinstance(given, AnalysisEntry):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        return list(given)
    raise AnalysisError(
        f"{given!r} is no analysis",
        hint="an entry point is an AnalysisEntry, a list of them, or a function that returns such",
    )


def _names_entries(module: Any) -> bool:
    """Return whether a module, imported before, holds entries that it registered then."""
    return any(isinstance(item, AnalysisEntry) for item in vars(module).values())


#: The registry that the command line uses.
REGISTRY: Final = AnalysisRegistry()
