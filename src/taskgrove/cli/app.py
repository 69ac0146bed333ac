"""The command line as a whole: its verbs and what they share."""

from __future__ import annotations

import os
from typing import Final

import click

from taskgrove.cli.declared import LazyGroup, Table, Verb
from taskgrove.cli.surroundings import DEBUG_VARIABLE

#: The verbs below the titles that the help shows them with.
VERBS: Final[Table] = {
    "Run": {
        "demo": Verb("demo:demo", "Run a command on eighteen simulated devices, then a scan."),
        "run": Verb("run:run", "Run a command of a map on its devices."),
        "analyse": Verb("analyse:analyse", "Run one analysis and describe its results."),
    },
    "Prepare": {
        "compose": Verb("compose:compose", "Show the tree of a command without running it."),
        "simulate": Verb("simulate:simulate", "Start simulated devices and keep them running."),
        "doctor": Verb("doctor:doctor", "Check what is installed and what can be reached."),
        "schema": Verb("schema:schema", "Print the JSON Schema of command maps."),
    },
    "Live runs": {
        "watch": Verb("watch:watch", "Show a run that another process executes."),
        "serve": Verb("serve:serve", "Show runs on a page, live, and act on them there."),
        "pause": Verb("steering_verbs:pause", "Have a run start nothing further."),
        "continue": Verb("steering_verbs:continue_run", "End the pause of a run."),
        "retry": Verb("steering_verbs:retry", "Try a held step again."),
        "accept": Verb("steering_verbs:accept", "Have a held step count as done."),
        "skip": Verb("steering_verbs:skip", "Leave a step out, and go on after it."),
        "fail": Verb("steering_verbs:fail", "Let the failure of a held step stand."),
        "abort": Verb("steering_verbs:abort", "Stop a run and what it runs on devices."),
    },
    "Past runs": {
        "why": Verb("why:why", "Explain in one sentence why a run ended as it did."),
        "resume": Verb("resume:resume", "Run again what did not complete in a run."),
        "recover": Verb("recover:recover", "Bring runs to an end whose process was killed."),
        "release": Verb("release:release", "Free a device that an ended or lost run holds."),
        "verdict": Verb("verdict:verdict", "Add an operator's verdict to the record of a run."),
        "runs": Verb("runs:runs", "List, show, compare, export and remove past runs."),
    },
    "This program": {
        "version": Verb("version:version", "Print the versions of taskgrove and its events."),
    },
}


def _main(debug: bool) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


app = LazyGroup(
    VERBS,
    "taskgrove",
    "Run telescope commands as task trees, with one truthful outcome.",
    params=[click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.")],
    callback=_main,
)
