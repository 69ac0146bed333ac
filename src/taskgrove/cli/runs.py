"""``taskgrove runs``: past runs, and those that run now, from the record."""

from __future__ import annotations

from typing import Final

from taskgrove.cli.declared import LazyGroup, Table, Verb

RUNS_VERBS: Final[Table] = {
    "Commands": {
        "list": Verb("runs_list:list_runs", "List past runs, newest first."),
        "show": Verb("runs_show:show_run", "Show a run: its outcome, its tree, and the causes."),
        "diff": Verb("runs_diff:diff_runs", "Compare two runs."),
        "stats": Verb("runs_stats:runs_stats", "Add up many runs."),
        "results": Verb("runs_results:runs_results", "Show results of analyses, over many runs."),
        "export": Verb("runs_export:export_runs", "Write runs to a file, for other programs."),
        "prune": Verb("runs_prune:prune_runs", "Remove old runs from the record."),
    }
}


runs = LazyGroup(RUNS_VERBS, "runs", "List, show, compare, export and remove past runs.")
