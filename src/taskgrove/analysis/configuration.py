"""Configurations: a header, and one section of parameters for each analysis.

::

    header:
      experiment: mfx100
      run: 12
      work_dir: "{{ $SCRATCH }}/mfx100"
    FindPeaks:
      out_file: "{{ work_dir }}/peaks_r{{ run:04d }}.cxi"
      n_peaks: 20
    IndexPeaks:
      in_file: "{{ FindPeaks.out_file }}"

LUTE's form, a header document and a document of sections, is read as well. The differences
are listed in ``docs/coming-from-lute.md``.

Threads: a configuration never changes; any thread may ask it for parameters.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from taskgrove.analysis.configuring.config_section import refers, section_of
from taskgrove.analysis.configuring.config_text import (
    HEADER,
    Layout,
    as_mapping,
    problems_of,
    read_file,
    read_layout,
)
from taskgrove.analysis.configuring.origins import OriginFinder
from taskgrove.analysis.configuring.preparing import (
    check_placeholders,
    check_sections,
    placed,
    with_environment,
    with_values,
    with_work_dir,
)
from taskgrove.analysis.configuring.resolver import EarlierResults, Resolver, Scope
from taskgrove.analysis.configuring.validation import validate
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.parameters.header import AnalysisHeader, is_header_field
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import Problems, join_path
from taskgrove.errors import AnalysisError, nearest
from taskgrove.events import Place
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.lazy_exports import LaterModule

if TYPE_CHECKING:
    from taskgrove.analysis import registry
else:
    registry = LaterModule("taskgrove.analysis.registry")  # for the types of methods only

__all__ = ["Configuration", "EarlierResults", "load_configuration", "parse_configuration"]


class Resolved(NamedTuple):
    """The parameters of one analysis.

    Attributes:
        parameters: The validated parameters.
        header: The header, as it is for this analysis.
        origins: Where each parameter came from, in their order; their ``value`` is empty.
    """

    parameters: TaskParameters
    header: AnalysisHeader
    origins: tuple[ValueOrigin, ...]


@dataclass(frozen=True)
class Configuration:
    """A configuration that was read and whose header is valid.

    Attributes:
        file: The file it was read from, as text, or None.
        text: The whole text, for the record.
        header: The header.
        warnings: What was read, but is probably a mistake: one line each, with its place.
    """

    file: str | None
    text: str
    header: AnalysisHeader
    warnings: tuple[str, ...]
    _layout: Layout = field(repr=False)
    _scope: Scope = field(repr=False)
    _known: frozenset[str] | None = field(repr=False, default=None)

    @property
    def sections(self) -> tuple[str, ...]:
        """The names of the sections, in their order."""
        return tuple(self._layout.sections)

    def parameters_for(
        self, entry: registry.AnalysisEntry, overrides: Mapping[str, Any] | None = None
    ) -> TaskParameters:
        """Return the validated parameters of an analysis.

        An analysis without a section gets the defaults of its parameters.

        Args:
            entry: The analysis; its section has its name.
            overrides: Values by key that replace those of the section, before placeholders are
                replaced; placeholders in them are replaced as well.

        Raises:
            AnalysisError: They are not valid; ``problems`` lists all that is wrong, each with
                file, key and line.
        """
        return self.resolved(entry, overrides).parameters

    def resolved(
        self, entry: registry.AnalysisEntry, overrides: Mapping[str, Any] | None = None
    ) -> Resolved:
        """Return the parameters of an analysis, the header, and where the values came from.

        The header differs from that of another analysis where it refers to its section.

        Arguments and errors are those of :meth:`parameters_for`.
        """
        with problems_of(self.file) as problems:
            made = self._resolved(entry, dict(overrides or {}), problems)
        assert made is not None  # else there would be a problem
        return made

    def header_origins(self) -> tuple[ValueOrigin, ...]:
        """Return where the values of the header came from, in the order of their keys."""
        problems = Problems(self.file, what="configuration")
        scope = dataclasses.replace(self._scope, which_run=None)
        text = self._layout.header
        resolver = Resolver(scope, problems, text, header_first=True)
        resolver.resolve(text, HEADER)
        from_environment = self._layout.from_environment
        finder = OriginFinder(self.file, HEADER, text, resolver, from_environment)
        return finder.of_header([*text.value, *AnalysisHeader.model_fields.keys() - text.value])

    def place_of(self, section: str, key: str) -> Place | None:
        """Return the place of a key in a section, or in the header; None: it is not there."""
        node = self._layout.header if section == HEADER else self._layout.tasks.value.get(section)
        mark = None if node is None else node.key_marks.get(key)
        if self.file is None or mark is None:
            return None
        return Place(self.file, mark.line, key if section == HEADER else join_path(section, key))

    def with_header(self, values: Mapping[str, str]) -> Configuration:
        """Return the configuration with values that replace those of the header, by key.

        Raises:
            AnalysisError: The header is not valid with them.
        """
        if not values:
            return self
        header = with_values(self._layout.header, values)
        layout = dataclasses.replace(self._layout, header=header)
        with problems_of(self.file) as problems:
            return _made(layout, self._scope, self._known, self.text, problems)

    def with_earlier(self, earlier: EarlierResults | None) -> Configuration:
        """Return the configuration with something else that finds results of earlier runs."""
        scope = dataclasses.replace(self._scope, earlier=earlier)
        return dataclasses.replace(self, _scope=scope)

    def values_for(self, name: str) -> dict[str, Any]:
        """Return the values of a section with its placeholders replaced, not validated.

        Raises:
            AnalysisError: There is no such section, or a placeholder of it names nothing.
        """
        if name not in self._layout.tasks.value:
            where, close = f"{self.file}: " if self.file else "", nearest(name, self.sections)
            raise AnalysisError(
                f"{where}there is no section {name!r}", file=self.file, key=name, nearest=close,
                hint=f"did you mean {close!r}?" if close
                else f"sections: {', '.join(self.sections)}",
            )  # fmt: skip
        with problems_of(self.file) as problems:
            section = self._mapping(name, problems)
            return _resolve(Resolver(self._scope, problems, section), section, name)

    def _mapping(self, name: str, problems: Problems) -> Node:
        """Return a section of the text; an empty one where there is none."""
        tasks = self._layout.tasks
        mark = tasks.key_marks.get(name)
        return as_mapping(tasks.value.get(name), "a section", problems, name, mark)

    def _resolved(
        self, entry: registry.AnalysisEntry, overrides: dict[str, Any], problems: Problems
    ) -> Resolved | None:
        if entry.name not in self._layout.tasks.value:
            self._check_near_miss(entry.name, problems)
        text = self._mapping(entry.name, problems)
        section = section_of(entry, text, overrides, self.header)
        scope = self._scope.with_section(entry.name, section)
        header = self.header
        if overrides and refers(self._layout.header):  # perhaps to overridden values
            header = _header(self._layout.header, scope, problems)
            section = section_of(entry, text, overrides, header)
            scope = _knowing_run(scope.with_section(entry.name, section), header)
        resolver = Resolver(scope, problems, section.node)
        values = _resolve(resolver, section.node, entry.name)
        problems.raise_any()  # else a value that is not there would be reported as wrong
        values = {key: value for key, value in values.items() if key not in section.only_seen}
        for name, item in entry.parameters.model_fields.items():
            if is_header_field(item) and name not in values:
                values[name] = header
        if entry.executable is not None and "executable" in entry.parameters.model_fields:
            values.setdefault("executable", entry.executable)
        made = validate(
            entry.parameters, values, problems,
            node=text, path=entry.name, given=overrides,
        )  # fmt: skip
        if made is None:
            return None
        fields = entry.parameters.model_fields
        finder = OriginFinder(
            self.file, entry.name, text, resolver, self._layout.from_environment,
            frozenset() if entry.executable is None else frozenset({"executable"}),
        )  # fmt: skip
        return Resolved(made, header, finder.of_section(section, _names_of(made), fields))

    def _check_near_miss(self, name: str, problems: Problems) -> None:
        """Refuse to run an analysis with its defaults when its section is only misspelt."""
        strangers = [item for item in self.sections if item not in (self._known or ())]
        close = nearest(name, strangers)
        if close is not None:
            problems.add(
                f"there is no section {name!r}", close, self._layout.tasks.key_marks[close],
                hint=f"is {close!r} meant?", nearest=name,
            )  # fmt: skip


def load_configuration(
    file: str | Path,
    *,
    environ: Mapping[str, str] | None = None,
    earlier: EarlierResults | None = None,
    known_names: Iterable[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> Configuration:
    """Return the configuration that a file holds.

    Args:
        file: The file.
        environ: The environment for ``{{ $NAME }}``; None: that of this process, as it is now.
        earlier: Finds results of earlier runs for ``{{ earlier.TASK.key }}``.
        known_names: The names of all analyses; a section of another name is an error. None: any
            section is allowed.
        header: Values that replace those of the header, by key.

    Raises:
        AnalysisError: It cannot be read or is not valid; ``problems`` lists all that is wrong.
    """
    return parse_configuration(
        read_file(file), file=file, environ=environ, earlier=earlier, known_names=known_names,
        header=header,
    )  # fmt: skip


def parse_configuration(
    text: str | bytes,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    earlier: EarlierResults | None = None,
    known_names: Iterable[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> Configuration:
    """Return the configuration that a text holds; see :func:`load_configuration`.

    Args:
        text: The YAML; bytes are UTF-8.
        file: The name of the text in errors.
        environ: As in :func:`load_configuration`.
        earlier: As in :func:`load_configuration`.
        known_names: As in :func:`load_configuration`.
        header: As in :func:`load_configuration`.

    Raises:
        AnalysisError: It is not valid; ``problems`` lists all that is wrong.
    """
    environ = dict(os.environ) if environ is None else environ
    known = None if known_names is None else frozenset(known_names)
    with problems_of(None if file is None else str(file)) as problems:
        layout = with_environment(read_layout(text, problems), environ)
        layout = dataclasses.replace(layout, header=with_values(layout.header, header or {}))
        check_placeholders(layout.tasks, "", problems)
        if known is not None:
            check_sections(layout, known, problems)
        words = text if isinstance(text, str) else text.decode("utf-8-sig")
        scope = Scope(layout.tasks, layout.header, environ, earlier)
        return _made(layout, scope, known, words, problems)


def _made(
    layout: Layout, scope: Scope, known: frozenset[str] | None, words: str, problems: Problems
) -> Configuration:
    """Return the configuration that was read, with a valid header."""
    layout = dataclasses.replace(layout, header=placed(layout.header))
    scope = dataclasses.replace(scope, header=with_work_dir(layout.header))
    header = _header(layout.header, scope, problems)
    warnings = tuple(
        f"{item.line_for(problems.file)}; the last one counts" for item in layout.warnings
    )
    scope = _knowing_run(scope, header)
    return Configuration(problems.file, words, header, warnings, layout, scope, known)


def _knowing_run(scope: Scope, header: AnalysisHeader) -> Scope:
    return dataclasses.replace(scope, which_run=(header.experiment, str(header.run)))


def _resolve(resolver: Resolver, node: Node, path: str) -> dict[str, Any]:
    try:
        return dict(resolver.resolve(node, path))
    except AnalysisError as exc:
        raise resolver.problems.stop(exc.message, path, node.mark, hint=exc.hint) from exc


def _names_of(parameters: TaskParameters) -> list[str]:
    """Return the names of parameters, without those that hold the header."""
    fields = type(parameters).model_fields
    names = [name for name, item in fields.items() if not is_header_field(item)]
    return [*names, *(parameters.model_extra or {})]


def _header(header: Node, scope: Scope, problems: Problems) -> AnalysisHeader:
    scope = dataclasses.replace(scope, which_run=None)  # the header names the run
    before = len(problems.items)
    values = _resolve(Resolver(scope, problems, header, header_first=True), header, HEADER)
    fields = list(AnalysisHeader.model_fields)
    for key, mark in header.key_marks.items():
        close = difflib.get_close_matches(key, fields, n=1, cutoff=0.85)
        if key not in fields and close and close[0] not in header.value:
            problems.add_unknown("key of the header", key, join_path(HEADER, key), mark, fields)
    made = None
    if len(problems.items) == before:
        made = validate(AnalysisHeader, values, problems, node=header, path=HEADER)
    problems.raise_any()
    assert made is not None  # else there would be a problem
    return made
