"""Why an analysis was not started, as data."""

from __future__ import annotations

from taskgrove.analysis.tasklets import TaskletError
from taskgrove.errors import AnalysisError, UsageError, errno_name
from taskgrove.events import Cause, Place, chain_of


def cause_of_no_start(exc: BaseException) -> Cause:
    """Return the cause that an error before the start of an analysis is.

    Args:
        exc: The error: of a configuration, a program, a tasklet, or the system.
    """
    if isinstance(exc, TaskletError):
        return Cause(kind="raised", chain=chain_of(exc.__cause__ or exc))
    if isinstance(exc, AnalysisError):
        launched = exc.file is None and (exc.program is not None or exc.errno_name is not None)
        return Cause(
            kind="not_launched" if launched else "misconfigured",
            place=None if exc.file is None else Place(exc.file, exc.line, exc.key or ""),
            nearest=exc.nearest,
            program=exc.program,
            errno_name=exc.errno_name,
        )
    if isinstance(exc, UsageError):
        return Cause(kind="misconfigured")
    if isinstance(exc, OSError):
        return Cause(kind="not_launched", errno_name=errno_name(exc))
    return Cause(kind="raised", chain=chain_of(exc))
