"""What a browser may ask of a run: the same requests as on the command line, by the same desk.

Threads: any thread may call any function; one that asks a run waits for the answer.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import msgspec

from taskgrove.errors import NoAnswerError, UsageError
from taskgrove.events.new_request import new_request
from taskgrove.events.steering_request import SteeringVerb
from taskgrove.store.database.advice import db_option
from taskgrove.store.history import History
from taskgrove.store.queries.listing import plain_of
from taskgrove.store.record_desk import RecordDesk
from taskgrove.store.verdicts import Verdict, give_verdict, verdict_text
from taskgrove.view.steering_words import answer_lines

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
#: How long a browser waits for the answer of a run, in seconds.
WAIT_S: Final = 10.0
#: How large a request may be, in bytes.
BODY_LIMIT: Final = 64 * 1024


class AskedInPage(msgspec.Struct, forbid_unknown_fields=True):
    """A request to a live run.

    Attributes:
        verb: What is asked for.
        path: The step, or a pattern; empty: the whole run.
        why: The reason; ``accept`` needs one.
        who: Who asks; empty: the user of the server.
        abort_first: With ``retry``: an earlier attempt that may be at work is stopped first.
        stop_finally: With ``abort``: the clean-up is stopped, too.
    """

    verb: str
    path: str = ""
    why: str = ""
    who: str = ""
    abort_first: bool = False
    stop_finally: bool = False


class SaidInPage(msgspec.Struct, forbid_unknown_fields=True):
    """A verdict on a node of a run; the arguments of ``give_verdict``."""

    path: str
    verdict: str
    why: str = ""
    who: str = ""


def ask(history: History, run: str, body: bytes) -> dict[str, Any]:
    """Hand a request to a run and return its answer, in words and as data.

    Args:
        history: The record.
        run: The run.
        body: The request, as JSON (:class:`AskedInPage`).

    Raises:
        UsageError: The request cannot be made so.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read, or takes no request.
    """
    asked = read_request(body, AskedInPage)
    if asked.verb == "accept" and not asked.why.strip():
        raise UsageError("accept needs a reason")
    request = new_request(
        cast(SteeringVerb, asked.verb),
        asked.path,
        why=asked.why,
        who=asked.who,
        abort_first=asked.abort_first,
        stop_finally=asked.stop_finally,
    )
    try:
        answer = RecordDesk(history.store).ask(run, request, wait_s=WAIT_S)
    except NoAnswerError as exc:
        return {"fate": "no_answer", "words": [exc.message], "request_id": request.id}
    options = db_option(history.store.location)
    words = answer_lines(request, answer, run, options)
    return {"fate": answer.fate, "words": words, "answer": plain_of(answer)}


def say(history: History, run: str, body: bytes) -> dict[str, Any]:
    """Add a verdict to the record and return it; the outcome stays as it is.

    Args:
        history: The record.
        run: The run.
        body: The verdict, as JSON (:class:`SaidInPage`).

    Raises:
        UsageError: It cannot be given so.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read or written.
    """
    said = read_request(body, SaidInPage)
    given = give_verdict(
        history.store, run, said.path, cast(Verdict, said.verdict), why=said.why, who=said.who
    )
    words = f"{given.path}: {verdict_text(given.verdict)}, says {given.who}: {given.why}"
    return {"fate": "done", "words": [words], "verdict": plain_of(given)}


def read_request(body: bytes, kind: type[_Kind]) -> _Kind:
    """Return the body of a request as the struct that describes it.

    Raises:
        UsageError: It cannot be read so; the hint names the fields.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        names = ", ".join(kind.__struct_fields__)
        raise UsageError(f"the request cannot be read: {exc}", hint=f"fields: {names}") from exc


def read_limit(text: str | None, usual: int, most: int) -> int:
    """Return how many are listed, as a parameter of an address says it.

    Args:
        text: The parameter; None or empty: it is not given.
        usual: The number without it.
        most: The largest number.

    Raises:
        UsageError: It is no whole number from 1 to ``most``.
    """
    if not text:
        return usual
    is_short = text.isdecimal() and len(text) <= len(str(most))
    if not (is_short and 1 <= int(text) <= most):
        raise UsageError(f"a limit is a whole number from 1 to {most}, not {text[:40]!r}")
    return int(text)
