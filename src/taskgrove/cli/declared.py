"""Verbs as functions: their signatures declare arguments and options, and click reads them.

The modules of verbs are imported when a verb is used: the help of a group needs the names and one
line about each, which stand in the table of the group.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeAlias, get_args, get_type_hints

import click

from taskgrove.cli.exit_codes import EXIT_CODES_HELP, ExitCode

#: Settings of every verb and group.
_CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument: ``map_file: Annotated[str, Argument("MAP", "A command map.")]``.

    Attributes:
        metavar: Its name in the help.
        help: One line about it.
    """

    metavar: str
    help: str


@dataclass(frozen=True, slots=True)
class Option:
    """An option: ``limit: Annotated[int, Option("--limit", "How many.", "N", min=1)] = 20``.

    Attributes:
        name: Its name.
        help: One line about it.
        metavar: Its value in the help; None for a flag.
        min: The least number.
        max: The greatest number.
        envvar: A variable of the environment that gives it, too.
        short: A second name, of one letter.
    """

    name: str
    help: str
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    envvar: str | None = None
    short: str | None = None


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options that verbs take as one mapping from their names to their values.

    Attributes:
        members: Each option as it is annotated, by name.
    """

    members: Mapping[str, Any]


class Verb(NamedTuple):
    """Where a verb is.

    Attributes:
        place: ``module:name`` of the function, or of a group, below ``taskgrove.cli``.
        help: One line about the verb.
    """

    place: str
    help: str


#: The verbs of a group by name, below the titles that its help shows them with.
Table: TypeAlias = Mapping[str, Mapping[str, Verb]]


class _Command(click.Command):
    """A verb whose help tells its arguments, too."""

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Leave them to :meth:`format_options`: older versions of click do not call this."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (parameter.make_metavar(ctx), parameter.help or "")
            for parameter in self.params
            if isinstance(parameter, click.Argument)
        ]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)


class LazyGroup(click.Group):
    """A group of verbs that are made when they are used.

    Args:
        table: The verbs.
        name: The group's name.
        help: One line about the group.
        **options: As those of :class:`click.Group`.
    """

    def __init__(self, table: Table, name: str, help: str, **options: Any) -> None:  # noqa: A002
        super().__init__(
            name,
            help=help,
            no_args_is_help=True,
            context_settings=_CONTEXT,
            epilog=EXIT_CODES_HELP,
            **options,
        )
        self._table = table
        self._verbs = {name: verb for below in table.values() for name, verb in below.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """Return the names of the verbs."""
        return list(self._verbs)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click has it
        cmd_name: str,
    ) -> click.Command | None:
        """Return a verb; its module is imported now."""
        if cmd_name not in self.commands and cmd_name in self._verbs:
            module, _, attribute = self._verbs[cmd_name].place.partition(":")
            found = getattr(import_module(f"taskgrove.cli.{module}"), attribute)
            is_made = isinstance(found, click.Command)
            self.commands[cmd_name] = found if is_made else command_of(cmd_name, found)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is meant; the error about an unknown one names near ones."""
        if args[0] in self._verbs or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        near = ", ".join(map(repr, difflib.get_close_matches(args[0], self._verbs)))
        meant = f" Did you mean {near}?" if near else ""
        return ctx.fail(f"No such command {args[0]!r}.{meant}")

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; for click, an interrupt during its import would be a failure."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(ExitCode.ABORTED) from None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click has it
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the verbs below their titles."""
        width = max(map(len, self._verbs))
        for title, below in self._table.items():
            rows = [(name.ljust(width), verb.help) for name, verb in below.items()]
            with formatter.section(title):
                formatter.write_dl(rows)


def command_of(name: str, function: Callable[..., None]) -> click.Command:
    """Return the command that the signature and the docstring of a function declare."""
    hints = get_type_hints(function, include_extras=True)
    parameters: list[click.Parameter] = []
    groups: dict[str, Mapping[str, Any]] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        kind, declared = get_args(hints[key])
        if isinstance(declared, OptionGroup):
            groups[key] = declared.members
            parameters += [_parameter(*item) for item in _members(declared)]
        else:
            parameters.append(_parameter(key, parameter.default, kind, declared))

    def call(**given: Any) -> None:
        for key, members in groups.items():
            given[key] = {member: given.pop(member) for member in members}
        function(**given)

    return _Command(
        name,
        callback=call,
        params=parameters,
        help=inspect.getdoc(function),
        context_settings=_CONTEXT,
        epilog=EXIT_CODES_HELP,
    )


def _members(group: OptionGroup) -> Iterator[tuple[str, None, Any, Any]]:
    for name, annotated in group.members.items():
        yield (name, None, *get_args(annotated))


def _parameter(name: str, default: Any, kind: Any, declared: Argument | Option) -> click.Parameter:
    kinds = set(get_args(kind)) - {NoneType} if isinstance(kind, UnionType) else {kind}
    (inner,) = kinds
    required = default is inspect.Parameter.empty
    common: dict[str, Any] = {
        "required": required,
        **({} if required else {"default": default}),
        "type": inner if inner in (bool, int, float) else Path if inner is Path else str,
        "metavar": declared.metavar,
    }
    if isinstance(declared, Argument):
        if inner == list[str]:
            common = {**common, "nargs": -1}
        argument = click.Argument([name], **common)
        argument.help = declared.help
        return argument
    ranges: dict[Any, Any] = {int: click.IntRange, float: click.FloatRange}
    number = ranges.get(inner)
    if number is not None:
        common |= {"type": number(declared.min, declared.max), "show_default": default is not None}
    return click.Option(
        [*filter(None, (declared.short, declared.name)), name],
        help=declared.help,
        envvar=declared.envvar,
        show_envvar=True,
        is_flag=inner is bool,
        multiple=inner == list[str],
        **common,
    )
