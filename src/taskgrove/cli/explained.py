"""``taskgrove analyse --explain``: the values of an analysis and where each came from.

Nothing is started, and nothing is recorded.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.origin_words import origin_rows
from taskgrove.cli.recorded import write_json
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import AnalysisError
from taskgrove.events.redacted import without_secret
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.analysis.configuration import Configuration, Resolved
    from taskgrove.analysis.registry import AnalysisEntry

_COLUMNS: Final = (Column("NAME", cut=True), Column("VALUE", cut=True), Column("FROM", cut=True))


class _ReadValue(NamedTuple):
    """A value, as plain data, and where it came from."""

    name: str
    value: Any
    origin: ValueOrigin


@dataclasses.dataclass(frozen=True, slots=True)
class ValuesExplained:
    """The values of one analysis.

    Attributes:
        entry: The analysis.
        configuration: Its configuration.
        resolved: Its parameters.
        settings: How its process is started and watched, as far as the command line says it.
        timeout_s: Its limit, in seconds, as far as the command line says it.
    """

    entry: AnalysisEntry
    configuration: Configuration
    resolved: Resolved
    settings: dict[str, Any]
    timeout_s: float | None

    def say(self, terminal: Terminal) -> None:
        """Print it for people."""
        file = self.configuration.file or "the configuration"
        terminal.say(safe_text(f"{self.entry.name}, of {file}"), "bold")
        for title, told in self._parts():
            if told:
                terminal.say()
                terminal.say(f"{title}:", "bold")
                print_table(terminal, _COLUMNS, [row for item in told for row in _rows(item)])
        command, problem = self._command()
        if command or problem:
            terminal.say()
            terminal.say("Command line:", "bold")
            terminal.say_paragraph(safe_text(problem or shlex.join(command)))
        terminal.say()
        terminal.say("Nothing was started.", "dim")

    def write(self, terminal: Terminal) -> None:
        """Write it as one JSON document."""
        document: dict[str, Any] = {
            "analysis": self.entry.name,
            "file": self.configuration.file,
            "warnings": list(self.configuration.warnings),
        }
        for title, told in self._parts():
            document[title.lower()] = [_as_data(item) for item in told]
        document["command"], document["problem"] = self._command()
        write_json(terminal, document)

    def _parts(self) -> Iterator[tuple[str, list[_ReadValue]]]:
        yield "Header", list(self._header())
        yield "Parameters", list(self._parameters())
        yield "Process", list(self._process())

    def _header(self) -> Iterator[_ReadValue]:
        header = self.resolved.header
        values = _plain(header)
        for origin in self.configuration.header_origins():
            if origin.kind != "default":
                yield _ReadValue(origin.name, values.get(origin.name), origin)

    def _parameters(self) -> Iterator[_ReadValue]:
        values = _plain(self.resolved.parameters)
        for origin in self.resolved.origins:
            yield _ReadValue(origin.name, values.get(origin.name), origin)

    def _process(self) -> Iterator[_ReadValue]:
        """Yield who says how its process is started and watched."""
        of_header = {origin.name: origin for origin in self.configuration.header_origins()}
        header, of_entry = self.resolved.header, self.entry.settings
        yield _limit(self.timeout_s, header.task_timeout, of_header.get("task_timeout"))
        for field in dataclasses.fields(of_entry):
            name, value = field.name, getattr(of_entry, field.name)
            if name in self.settings:
                yield _ReadValue(name, self.settings[name], ValueOrigin(name, "given"))
            elif value is not None:
                yield _ReadValue(name, value, ValueOrigin(name, "entry"))
            elif name == "source" and header.environment_file:
                origin = of_header.get("environment_file") or ValueOrigin(name, "header")
                yield _ReadValue(name, header.environment_file, origin)
        for variable, value in (self.entry.environment or {}).items():
            if variable not in header.environment:
                yield _ReadValue(f"${variable}", value, ValueOrigin(variable, "entry"))
        for variable, value in header.environment.items():
            origin = of_header.get("environment") or ValueOrigin(variable, "header")
            yield _ReadValue(f"${variable}", value, origin)

    def _command(self) -> tuple[list[str], str | None]:
        """Return the command line of a program, and why there is none."""
        if self.entry.is_first_party:
            return [], None
        from taskgrove.analysis.parameters import render_argv  # noqa: PLC0415 - slow

        parameters: Any = self.resolved.parameters
        try:
            return list(shown_rule().argv(render_argv(parameters))), None
        except AnalysisError as exc:
            return [], str(exc)


def _limit(given_s: float | None, header_s: float, origin: ValueOrigin | None) -> _ReadValue:
    if given_s is not None:
        return _ReadValue("timeout_s", given_s, ValueOrigin("timeout_s", "given"))
    return _ReadValue("timeout_s", header_s, origin or ValueOrigin("timeout_s", "default"))


def _plain(model: Any) -> dict[str, Any]:
    from taskgrove.analysis.describing import parameters_json  # noqa: PLC0415 - slow
    from taskgrove.store.queries.flat_values import cell_of  # noqa: PLC0415 - seldom

    found: dict[str, Any] = json.loads(parameters_json(model, shown_rule()))
    return {name: cell_of(value) for name, value in found.items()}


def _safe(told: _ReadValue) -> _ReadValue:
    """Return a value and its origin without secrets."""
    rule = shown_rule()
    name = told.name.removeprefix("$")
    value = rule.plain({name: told.value})[name]
    return _ReadValue(told.name, value, without_secret(told.origin, rule))


def _rows(told: _ReadValue) -> Iterable[tuple[str, str, str]]:
    name, value, origin = _safe(told)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return origin_rows(name, text, origin, "command line")


def _as_data(told: _ReadValue) -> dict[str, Any]:
    name, value, origin = _safe(told)
    return {**_origin_data(origin), "name": name, "value": value}


def _origin_data(origin: ValueOrigin) -> dict[str, Any]:
    place = origin.place
    return {
        "name": origin.name,
        "value": origin.value,
        "kind": origin.kind,
        "place": place and {"file": place.file, "line": place.line, "key": place.key},
        "written": origin.written,
        "run": origin.run,
        "used": [_origin_data(item) for item in origin.used],
    }
