"""The command line as a whole: its verbs and what they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Final

import typer

from taskgrove.cli.analyse import analyse
from taskgrove.cli.compose import compose
from taskgrove.cli.demo import demo
from taskgrove.cli.doctor import doctor
from taskgrove.cli.exit_codes import EXIT_CODES_HELP
from taskgrove.cli.recover import recover
from taskgrove.cli.resume import resume
from taskgrove.cli.run import run
from taskgrove.cli.runs import runs
from taskgrove.cli.schema import schema
from taskgrove.cli.simulate import simulate
from taskgrove.cli.verb import DEBUG_VARIABLE
from taskgrove.cli.verdict import verdict
from taskgrove.cli.version import version
from taskgrove.cli.why import why

app = typer.Typer(
    name="taskgrove",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_HELP,
)


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run telescope commands as task trees, with one truthful outcome."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


#: The verbs below the titles that the help shows them with.
_VERBS: Final[dict[str, tuple[Callable[..., None], ...]]] = {
    "Run": (demo, run, analyse),
    "Prepare": (compose, simulate, doctor, schema),
    "Past runs": (why, resume, recover, verdict),
    "This program": (version,),
}

for _title, _verbs in _VERBS.items():
    for _verb in _verbs:
        app.command(epilog=EXIT_CODES_HELP, rich_help_panel=_title)(_verb)
app.add_typer(runs, rich_help_panel="Past runs")
