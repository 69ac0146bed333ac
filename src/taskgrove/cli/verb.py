"""The frame of every verb: errors become one clear block and an exit code, never a traceback."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import click

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.interrupts import LikeCtrlC, SignalsTaken
from taskgrove.cli.notifying import notifying
from taskgrove.cli.surroundings import DEBUG_VARIABLE, check_surroundings, shown_rule
from taskgrove.cli.terminal import Terminal, flush_streams
from taskgrove.errors import CommandError, DeviceError, RunError, TaskgroveError

P = ParamSpec("P")


def verb(function: Callable[P, int]) -> Callable[P, None]:
    """Make a function that returns an exit code into a verb of the command line."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        with SignalsTaken(LikeCtrlC(), LikeCtrlC.SIGNALS):
            code = _guarded(lambda: _checked(function, *args, **kwargs))
            flush_streams()
        raise SystemExit(int(code))

    # The parameters are read from the wrapped function; it returns nothing to the caller.
    guarded.__annotations__ = {**function.__annotations__, "return": None}
    return guarded


def _checked(function: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> int:
    check_surroundings(kwargs)
    with notifying():
        return function(*args, **kwargs)


def _guarded(call: Callable[[], int]) -> int:
    try:
        return call()
    except SystemExit as exc:
        return int(exc.code or 0)
    except (KeyboardInterrupt, click.Abort):  # the latter: at a question
        Terminal(json=True).say("Interrupted.")
        return ExitCode.ABORTED
    except TaskgroveError as exc:
        Terminal(json=True).say_error(exc)
        _traceback_if_wanted()
        return exit_code_of_error(exc)
    except Exception as exc:  # noqa: BLE001 - the edge of the program: told, never a traceback
        from taskgrove.cli.extras import missing_extra  # noqa: PLC0415 - for errors only

        terminal = Terminal(json=True)
        missing = missing_extra(exc) if isinstance(exc, ModuleNotFoundError) else None
        if missing is not None:
            terminal.say_error(missing)
            _traceback_if_wanted()
            return ExitCode.USAGE
        terminal.say_error(RuntimeError(f"unexpected {type(exc).__name__}: {exc}"))
        if not _traceback_if_wanted():
            terminal.say(f"  hint:    'taskgrove --debug …' or {DEBUG_VARIABLE}=1 shows where")
        return ExitCode.FAILED


def exit_code_of_error(error: TaskgroveError) -> ExitCode:
    """Return the exit code of an error of the library."""
    if isinstance(error, CommandError):
        return ExitCode.REJECTED
    if isinstance(error, RunError | DeviceError):
        return ExitCode.FAILED
    return ExitCode.USAGE


def _traceback_if_wanted() -> bool:
    wanted = os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    if wanted:
        sys.stderr.write(shown_rule().said(traceback.format_exc()))
    return wanted
