"""The outcome of a run in one word."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from taskgrove.control_model import PROBLEM_CODES, TaskStatus

#: An outcome, or a state of the record of a run (``running``, ``lost``).
RunOutcome: TypeAlias = Literal[
    "ok", "degraded", "failed", "rejected", "aborted", "running", "lost"
]

#: Every word, best first.
RUN_OUTCOMES: Final[tuple[RunOutcome, ...]] = (
    "ok",
    "degraded",
    "failed",
    "rejected",
    "aborted",
    "running",
    "lost",
)
#: The outcomes that ``last-failed`` looks for.
NOT_WELL: Final[tuple[RunOutcome, ...]] = ("failed", "rejected", "aborted", "lost")

_OF_STATUS: Final[dict[int, RunOutcome]] = {
    TaskStatus.REJECTED: "rejected",
    TaskStatus.ABORTED: "aborted",
}


def good_code_sql(column: str) -> str:
    """Return as SQL that a node which ran to its end had no problem code in ``column``."""
    # The problem codes are the last ones (a test says so); a range is quicker than a list.
    return f"coalesce({column}, 0) < {int(min(PROBLEM_CODES))}"


def accepted_sql(dialect: str) -> str:
    """Return as SQL that a person accepted the failure of ``nodes n``, or failures below it.

    Args:
        dialect: ``sqlite`` or ``postgresql``.
    """
    return _in_facts(dialect, '"accepted":true,"accepted_by":[')  # as FinishedDetail is encoded


def waited_sql(dialect: str) -> str:
    """Return as SQL that ``nodes n``, or a step below it, waited for a person.

    Args:
        dialect: As :func:`accepted_sql`.
    """
    # As node_rows marks it, and as NodeNote is encoded, which is all that older versions tell.
    held = _in_facts(dialect, '{"topic":"held",')
    return f"({accepted_sql(dialect)} OR {held})"


def run_waited_sql(dialect: str) -> str:
    """Return as SQL that a step of ``runs r`` waited for a person.

    Args:
        dialect: As :func:`accepted_sql`.
    """
    root = "SELECT 1 FROM nodes n WHERE n.run_key = r.run_key AND n.node_number = 0"
    return f"EXISTS ({root} AND {waited_sql(dialect)})"


def _in_facts(dialect: str, mark: str) -> str:
    if dialect == "sqlite":
        return f"coalesce(instr(n.facts, CAST('{mark}' AS BLOB)), 0) > 0"
    return f"coalesce(position('{mark}'::bytea IN n.facts), 0) > 0"


#: The same decision as :func:`outcome_word`, as SQL over the columns of ``runs``.
OUTCOME_SQL: Final[dict[RunOutcome, str]] = {
    "ok": (
        "(r.state = 'final' AND r.status = 5 AND coalesce(r.health_state, '') <> 'DEGRADED'"
        f" AND {good_code_sql('r.result_code')})"
    ),
    "degraded": "(r.state = 'final' AND r.status = 5 AND r.health_state = 'DEGRADED')",
    "failed": (
        "(r.state = 'final' AND (r.status IS NULL OR r.status NOT IN (3, 5, 6)"
        " OR (r.status = 5 AND coalesce(r.health_state, '') <> 'DEGRADED'"
        f" AND NOT {good_code_sql('r.result_code')})))"
    ),
    "rejected": "(r.state = 'final' AND r.status = 6)",
    "aborted": "(r.state = 'final' AND r.status = 3)",
    "running": "(r.state = 'running')",
    "lost": "(r.state = 'lost')",
}

#: Runs whose times say nothing about the work, as SQL over the columns of ``runs``: what they
#: took over took no time in them, and what recovery followed had ended before it was seen.
BROKEN_SQL: Final = "(r.parent_run_id IS NOT NULL OR r.recovered_ns IS NOT NULL)"


def is_broken(parent_run_id: str | None, recovered_ns: int | None) -> bool:
    """Return whether the times of a run say nothing about the work; see :data:`BROKEN_SQL`."""
    return parent_run_id is not None or recovered_ns is not None


def outcome_word(
    state: str, status: int | None, result_code: int | None, health_state: str | None
) -> RunOutcome:
    """Return the outcome of a run in one word.

    Args:
        state: The state of its record: ``running``, ``final`` or ``lost``.
        status: The root's status.
        result_code: The root's result code.
        health_state: The root's health.
    """
    if state == "running":
        return "running"
    if state == "lost":
        return "lost"
    if status == TaskStatus.COMPLETED:
        if health_state == "DEGRADED":
            return "degraded"
        return "failed" if result_code in PROBLEM_CODES else "ok"
    return "failed" if status is None else _OF_STATUS.get(status, "failed")
