"""Making a request on a live run: what is asked for, by whom, when and why."""

from __future__ import annotations

import secrets
import socket
import time
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.events.steering_request import NODE_VERBS, VERBS, SteeringRequest, SteeringVerb
from taskgrove.provenance import user_name

#: How many characters a reason, and a name, may have.
WHY_LIMIT: Final = 4096
WHO_LIMIT: Final = 200


def new_request(
    verb: SteeringVerb,
    path: str = "",
    *,
    why: str = "",
    who: str | None = None,
    abort_first: bool = False,
    stop_finally: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> SteeringRequest:
    """Return a request of this process, with an id unlike every other.

    Args:
        verb: What is asked for.
        path: The node, or a pattern; empty: the whole run.
        why: The reason, in words.
        who: Who asks; None or empty takes the user of this process.
        abort_first: As of :class:`~taskgrove.events.steering_request.SteeringRequest`.
        stop_finally: As of the same class.
        clock: Where the time comes from.

    Raises:
        UsageError: There is no such request, or a part of it is missing or too long.
    """
    if verb not in VERBS:
        hint = did_you_mean(str(verb), VERBS)
        raise UsageError(f"a request is one of {', '.join(VERBS)}, not {verb!r}", hint=hint)
    where, words, teller = path.strip(), why.strip(), (who or "").strip() or user_name()
    if verb in NODE_VERBS and not where:
        raise UsageError(
            f"{verb} needs the path of a step",
            hint="a path such as configure/scan, or a pattern such as 'configure/**'",
        )
    if where and verb not in (*NODE_VERBS, "pause"):
        raise UsageError(f"{verb} acts on the whole run, and takes no path", path=where)
    for name, text, limit in (("reason", words, WHY_LIMIT), ("name", teller, WHO_LIMIT)):
        if len(text) > limit:
            raise UsageError(f"the {name} has {len(text):,} characters; at most {limit:,} are kept")
    return SteeringRequest(
        id=_new_id(),
        verb=verb,
        path=where,
        who=teller,
        why=words,
        user=user_name(),
        host=socket.gethostname(),
        asked_ns=clock.wall_ns(),
        abort_first=abort_first,
        stop_finally=stop_finally,
    )


def _new_id() -> str:
    # The time first, so that ids sort as they were asked.
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(6)
