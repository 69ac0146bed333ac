"""Requests on a live run from any process: what is asked for, by whom, and why.

A desk takes a request to the run and brings back the answer; the record of runs has one
(:class:`taskgrove.store.RecordDesk`). The functions here make the request.

Threads: any thread may call any function; each waits for the answer.
"""

from __future__ import annotations

from typing import Final, Protocol

from taskgrove.events.new_request import new_request
from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest

#: How long the functions wait for an answer unless told otherwise, in seconds.
WAIT_S: Final = 30.0


class Desk(Protocol):
    """Takes requests to live runs."""

    def ask(
        self, run: str, request: SteeringRequest, *, wait_s: float | None = WAIT_S
    ) -> SteeringAnswer:
        """Hand a request to a run, and wait for the answer.

        A request whose id is on record already is not handed over again: its answer is awaited.

        Args:
            run: The run, as the desk names runs: an id, the beginning of one, ``last``.
            request: The request.
            wait_s: The most to wait for the answer, in seconds; None waits as long as the run
                lives.

        Raises:
            UnknownRunError: There is no such run.
            NoAnswerError: The answer did not come in time; the request stands.
            StoreError: The record cannot be read, or takes no request from this user.
        """
        ...


def abort(
    desk: Desk,
    run: str,
    *,
    why: str = "",
    who: str | None = None,
    stop_finally: bool = False,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Ask a run to stop.

    Args:
        desk: Takes the request to the run.
        run: As :meth:`Desk.ask`.
        why: The reason, in words.
        who: Who asks; None takes the user of this process.
        stop_finally: Whether the clean-up (``finally``) is stopped, too.
        wait_s: As :meth:`Desk.ask`, in seconds.

    Raises:
        UsageError: The request cannot be made so.
        UnknownRunError: As :meth:`Desk.ask`; so are the further errors.
    """
    request = new_request("abort", why=why, who=who, stop_finally=stop_finally)
    return desk.ask(run, request, wait_s=wait_s)


def pause(
    desk: Desk,
    run: str,
    *,
    why: str = "",
    before: str | None = None,
    who: str | None = None,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Have a run start nothing more; what runs goes on.

    Args:
        desk: As :func:`abort`; so are ``run``, ``why``, ``who`` and ``wait_s``, and the errors.
        run: The run.
        why: The reason.
        before: The path of a node: the run pauses when that node is about to start; None: now.
        who: Who asks.
        wait_s: The most to wait, in seconds.
    """
    request = new_request("pause", before or "", why=why, who=who)
    return desk.ask(run, request, wait_s=wait_s)


def continue_run(
    desk: Desk,
    run: str,
    *,
    why: str = "",
    who: str | None = None,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """End the pause of a run.

    Args:
        desk: As :func:`abort`; so are ``run``, ``why``, ``who`` and ``wait_s``, and the errors.
        run: The run.
        why: The reason.
        who: Who asks.
        wait_s: The most to wait, in seconds.
    """
    return desk.ask(run, new_request("continue", why=why, who=who), wait_s=wait_s)


def retry(
    desk: Desk,
    run: str,
    path: str,
    *,
    why: str = "",
    who: str | None = None,
    abort_first: bool = False,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Have a held step tried again.

    Args:
        desk: As :func:`abort`; so are ``run``, ``why``, ``who`` and ``wait_s``, and the errors.
        run: The run.
        path: The step, or a pattern that selects steps (``configure/configure_pst/**``).
        why: The reason.
        who: Who asks.
        abort_first: Whether an earlier attempt that may still be at work is asked to stop, and
            waited for.
        wait_s: The most to wait, in seconds.
    """
    request = new_request("retry", path, why=why, who=who, abort_first=abort_first)
    return desk.ask(run, request, wait_s=wait_s)


def skip(
    desk: Desk,
    run: str,
    path: str,
    *,
    why: str = "",
    who: str | None = None,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Leave out a step that has not begun; the failure of a held step stands, and later steps run.

    Args:
        desk: As :func:`retry`; so are the other arguments, and the errors.
        run: The run.
        path: The step, or a pattern.
        why: The reason.
        who: Who asks.
        wait_s: The most to wait, in seconds.
    """
    return desk.ask(run, new_request("skip", path, why=why, who=who), wait_s=wait_s)


def accept(
    desk: Desk,
    run: str,
    path: str,
    *,
    why: str = "",
    who: str | None = None,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Have a held step count as done; it stays marked as accepted by a person.

    Args:
        desk: As :func:`retry`; so are the other arguments, and the errors.
        run: The run.
        path: The step, or a pattern.
        why: The reason.
        who: Who asks.
        wait_s: The most to wait, in seconds.
    """
    return desk.ask(run, new_request("accept", path, why=why, who=who), wait_s=wait_s)


def fail(
    desk: Desk,
    run: str,
    path: str,
    *,
    why: str = "",
    who: str | None = None,
    wait_s: float | None = WAIT_S,
) -> SteeringAnswer:
    """Let the failure of a held step stand, as without a hold.

    Args:
        desk: As :func:`retry`; so are the other arguments, and the errors.
        run: The run.
        path: The step, or a pattern.
        why: The reason.
        who: Who asks.
        wait_s: The most to wait, in seconds.
    """
    return desk.ask(run, new_request("fail", path, why=why, who=who), wait_s=wait_s)
