"""Requests of operators to a live run, and the answers of the run.

A request is data: the run decides by its fields, the record keeps it, and the event that it causes
carries it. ``view/`` alone makes words of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from taskgrove.control_model import TaskStatus

#: The requests. ``pause`` with a path: pause when that node is about to start.
SteeringVerb: TypeAlias = Literal["abort", "pause", "continue", "retry", "skip", "accept", "fail"]
VERBS: Final[tuple[SteeringVerb, ...]] = get_args(SteeringVerb)
#: The requests that act on nodes, and so need a path.
NODE_VERBS: Final[tuple[SteeringVerb, ...]] = ("retry", "skip", "accept", "fail")

#: ``done``: the request took effect; ``refused``: it does not fit, and nothing was changed;
#: ``too_late``: the node or the run had ended.
SteeringFate: TypeAlias = Literal["done", "refused", "too_late"]
#: Why a request was refused, or was too late. The set grows by addition.
#:
#: - ``no_such_node``: the run has no such node, or no node that the pattern matches.
#: - ``not_held``: no decision on the node is open (its status says more).
#: - ``has_begun``: the step runs already: it cannot be left out, and no pause can precede it.
#: - ``may_be_at_work``: the earlier attempt may still be at work outside.
#: - ``still_at_work``: the earlier attempt was asked to stop, and has not ended.
#: - ``needed_later``: a later step refers to the result of the step.
#: - ``already``: the same was asked before, or the run is in that state already.
#: - ``aborting``: the run is being aborted.
#: - ``not_paused``: there is no pause to end.
#: - ``not_begun``: the run has not begun, as one that waits for its devices: it cannot pause.
#: - ``limit_expired``: the limit of a node above has expired.
#: - ``in_finally``: the step belongs to the clean-up, which always runs.
#: - ``node_ended``, ``run_ended``, ``runner_lost``: too late.
#: - ``fault``: the run could not carry it out; ``said`` tells why.
SteeringReason: TypeAlias = Literal[
    "no_such_node", "not_held", "has_begun", "may_be_at_work", "still_at_work", "needed_later",
    "already", "aborting", "not_paused", "not_begun", "limit_expired", "in_finally",
    "node_ended", "run_ended", "runner_lost", "fault",
]  # fmt: skip

#: The reasons for which a request is too late, not refused.
TOO_LATE: Final[frozenset[SteeringReason]] = frozenset(("node_ended", "run_ended", "runner_lost"))


class SteeringRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One request of an operator to a live run.

    Attributes:
        id: Its id, unlike every other; the same id is carried out once.
        verb: What is asked for.
        path: The node, or a pattern (``configure/configure_pst/**``) that selects nodes; empty
            for the whole run.
        who: Who asks, as that person says.
        why: The reason, in words; may be empty.
        user: The user of the operating system that asked.
        host: The machine that it was asked on.
        asked_ns: When, UTC, nanoseconds since the epoch.
        abort_first: With ``retry``: the earlier attempt is asked to stop, and waited for.
        stop_finally: With ``abort``: the clean-up (``finally``) is stopped, too.
    """

    id: str
    verb: SteeringVerb
    path: str = ""
    who: str = ""
    why: str = ""
    user: str = ""
    host: str = ""
    asked_ns: int = 0
    abort_first: bool = False
    stop_finally: bool = False


class SteeringObjection(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a request does not act on a node, or on the run.

    Attributes:
        reason: The reason.
        path: The node; empty for the run.
        status: The status of the node, where it is known.
        outside_id: The work outside that may still go on, such as a command id.
        because_of: The path of another node that is the reason, or the owner of a limit.
        who: Who asked the same before, or ended it; empty where nobody did.
        since_ns: Since when it is so, UTC, nanoseconds since the epoch, or None.
        nearest: The path that was probably meant, or None.
        said: Foreign words that belong to it, such as the text of an exception.
    """

    reason: SteeringReason
    path: str = ""
    status: TaskStatus | None = None
    outside_id: str | None = None
    because_of: str | None = None
    who: str = ""
    since_ns: int | None = None
    nearest: str | None = None
    said: str = ""


class SteeringAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The answer of a run to a request.

    Attributes:
        request_id: The request.
        fate: Whether it took effect.
        paths: The nodes that it acted on, at most ``PATHS_KEPT`` of them.
        acted_count: How many nodes it acted on.
        objections: Why it did not act on further nodes, or on the run, at most ``PATHS_KEPT``.
        answered_ns: When, UTC, nanoseconds since the epoch.
        is_kept_by_pause: Whether a pause keeps the further attempts of a ``retry`` from starting.
    """

    request_id: str
    fate: SteeringFate
    paths: tuple[str, ...] = ()
    acted_count: int = 0
    objections: tuple[SteeringObjection, ...] = ()
    answered_ns: int = 0
    is_kept_by_pause: bool = False


#: How many paths, and how many objections, an answer names.
PATHS_KEPT: Final = 20

#: Takes an answer; it must not block.
TakeAnswer: TypeAlias = Callable[[SteeringAnswer], object]
#: Hands a request to a live run, and returns at once; the answer comes on any thread, once.
Steer: TypeAlias = Callable[[SteeringRequest, TakeAnswer], object]
