"""Whether a recorded run still lives, in words: nothing is claimed that is not known."""

from __future__ import annotations

from taskgrove.store.database.advice import quoted_line
from taskgrove.store.database.holders import runner_sign, why_expired
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.view.terminal_text import duration_text


def runner_gone(run: RunRow, now_ns: int) -> str | None:
    """Return why nobody runs a run that is not over any more, or None where somebody does.

    On the machine that ran it, its process is looked for; elsewhere its heartbeat counts.

    Args:
        run: The run.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
    """
    if run.state != "running":
        return None
    return "nobody holds it" if run.lease is None else why_expired(run.lease, now_ns)


def state_words(run: RunRow, now_ns: int, location: str) -> str:
    """Return what is known of a run that is not over; empty for one that is.

    Args:
        run: The run.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        location: The record that holds it, as ``Store.location`` names it.
    """
    more = f"{quoted_line(location, 'recover', run.run_id)} finds out more"
    if run.state == "lost":
        note = f"; {run.state_note}" if run.state_note else ""
        heard = f"last heard of {_ago(run.last_ns, now_ns)}, at {_clock(run)}"
        return f"lost; {heard}{note}; {more}"
    if run.state != "running":
        return ""
    heard = f"last event {_ago(run.last_ns, now_ns)}, at {_clock(run)}"
    gone, lease = runner_gone(run, now_ns), run.lease
    if lease is None or gone is not None:
        return f"not over, but {gone}; {heard}; {more}"
    sign = f"gave a sign of life {_ago(lease.heartbeat_ns, now_ns)}"
    if runner_sign(lease, now_ns).is_stopped:
        sign = f"is stopped (SIGCONT lets it go on) and {sign}"
    return f"running in process {lease.pid} on {lease.host}, which {sign}; {heard}"


def _ago(then_ns: int, now_ns: int) -> str:
    return f"{duration_text(max(0, now_ns - then_ns) / 1e9)} ago"


def _clock(run: RunRow) -> str:
    return f"{run.last_at:%Y-%m-%d %H:%M:%S} UTC"
