"""The verbs that ask something of a live run, from any terminal that reaches its record."""

from __future__ import annotations

from taskgrove.cli import options as opt
from taskgrove.cli.run_request import Asked, ask_shown
from taskgrove.cli.verb import verb
from taskgrove.errors import UsageError
from taskgrove.events.new_request import new_request
from taskgrove.steering.asking import WAIT_S


@verb
def abort(
    run: opt.RunReference,
    stop_finally: opt.StopFinally = False,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Stop a run: running steps are aborted on their devices, and no further one starts.

    The clean-up (finally) of each sequence still runs, unless --stop-finally is given, or the run
    is aborted a second time.
    """
    request = new_request("abort", why=why, who=by, stop_finally=stop_finally)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def pause(
    run: opt.RunReference,
    before: opt.Before = None,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Have a run start nothing further: no step, and no further attempt of one.

    Running steps go on, and their timeouts count. The clean-up (finally) is not paused.
    """
    request = new_request("pause", before or "", why=why, who=by)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def continue_run(
    run: opt.RunReference,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """End the pause of a run: the steps that it kept from starting start."""
    request = new_request("continue", why=why, who=by)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def retry(
    run: opt.RunReference,
    path: opt.StepPath,
    abort_first: opt.AbortFirst = False,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Try a held step again, with its whole timeout and all its automatic attempts anew.

    While the earlier attempt may still be at work this is refused; --abort-first aborts that
    attempt and waits for its end.
    """
    request = new_request("retry", path, why=why, who=by, abort_first=abort_first)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def accept(
    run: opt.RunReference,
    path: opt.StepPath,
    why: opt.AcceptWhy,
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Have a held step count as done, because somebody did its work by hand, or it is not needed.

    The step stays marked as accepted, with the name and the reason, and the run ends degraded at
    best.
    """
    if not why.strip():
        raise UsageError("accept needs a reason", hint="--why 'REASON' says it")
    request = new_request("accept", path, why=why, who=by)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def skip(
    run: opt.RunReference,
    path: opt.StepPath,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Leave out a step that has not begun; or let a held step fail, and go on after it."""
    request = new_request("skip", path, why=why, who=by)
    return ask_shown(request, Asked(run, wait, yes, db, json))


@verb
def fail(
    run: opt.RunReference,
    path: opt.StepPath,
    why: opt.RequestWhy = "",
    by: opt.Asker = None,
    wait: opt.Wait = WAIT_S,
    yes: opt.SureOfRun = False,
    db: opt.Database = None,
    json: opt.AnswerAsJson = False,
) -> int:
    """Let the failure of a held step stand: the run goes on as if the step had not been held."""
    request = new_request("fail", path, why=why, who=by)
    return ask_shown(request, Asked(run, wait, yes, db, json))
