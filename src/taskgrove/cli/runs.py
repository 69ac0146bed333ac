"""``taskgrove runs``: what the record holds of past runs, and of those that run now."""

from __future__ import annotations

import typer

from taskgrove.cli.exit_codes import EXIT_CODES_HELP
from taskgrove.cli.runs_diff import diff_runs
from taskgrove.cli.runs_export import export_runs
from taskgrove.cli.runs_list import list_runs
from taskgrove.cli.runs_prune import prune_runs
from taskgrove.cli.runs_show import show_run
from taskgrove.cli.runs_stats import runs_stats

runs = typer.Typer(
    name="runs",
    help="Look at past runs: list, show, diff, stats, export, prune.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_HELP,
)

for _name, _verb in (
    ("list", list_runs),
    ("show", show_run),
    ("diff", diff_runs),
    ("stats", runs_stats),
    ("export", export_runs),
    ("prune", prune_runs),
):
    runs.command(_name, epilog=EXIT_CODES_HELP)(_verb)
