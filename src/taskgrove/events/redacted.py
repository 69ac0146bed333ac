"""An event without secrets: for the record, and for every reader."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from taskgrove.events.cause import Cause
from taskgrove.events.details import (
    AnalysisDetail,
    ComposedDetail,
    EventDetail,
    FinishedDetail,
    NoteDetail,
)
from taskgrove.events.event import TaskEvent
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.redaction import Redaction


def without_secrets(event: TaskEvent, redaction: Redaction) -> TaskEvent:
    """Return an event without secrets; the same one where there are none.

    Words of devices, programs and people are searched as text; environments,
    command lines and plain data by their names too.
    """
    message = redaction.said(event.message) if event.message else ""
    detail = event.detail if event.detail is None else _detail(event.detail, redaction)
    if message == event.message and detail is event.detail:
        return event
    return replace(event, message=message, detail=detail)


def _detail(detail: EventDetail, redaction: Redaction) -> EventDetail:
    said = redaction.said
    match detail:
        case AnalysisDetail():
            return replace(
                detail,
                environment=redaction.environment(detail.environment),
                argv=redaction.argv(detail.argv),
                parameters=redaction.json(detail.parameters),
                origins=tuple(without_secret(it, redaction) for it in detail.origins),
                communicators=tuple(map(said, detail.communicators)),
                summary=said(detail.summary),
                summary_values=redaction.json(detail.summary_values),
                payload=redaction.json(detail.payload),
            )
        case FinishedDetail(
            line=line, error=error, cause=cause, result_value=value, request=request
        ):
            plain = line is None and error is None and cause is None and value is None
            if plain and request is None:
                return detail
            return replace(
                detail,
                line=None if line is None else said(line),
                error=None if error is None else said(error),
                cause=_cause(cause, redaction),
                result_value=redaction.plain(value),
                request=_request(request, redaction),
            )
        case NoteDetail():
            return replace(
                detail,
                data=_data(detail.data, redaction),
                cause=_cause(detail.cause, redaction),
                request=_request(detail.request, redaction),
            )
        case ComposedDetail(notes=notes, address=address, argin=argin) if (
            notes or address or argin is not None
        ):
            return replace(
                detail,
                argin=redaction.plain(argin),
                notes=tuple(map(said, notes)),
                address=None if address is None else said(address),
            )
    return detail


def without_secret(origin: ValueOrigin, redaction: Redaction) -> ValueOrigin:
    """Return the origin of a value without secrets."""
    if not (origin.value or origin.written or origin.used):
        return origin
    name = origin.name.strip("{} $").rpartition(".")[2]  # of a placeholder: what it names
    data = {name: origin.value}, {name: origin.written}
    value, written = (redaction.said(redaction.environment(item)[name]) for item in data)
    used = tuple(without_secret(item, redaction) for item in origin.used)
    return replace(origin, value=value, written=written, used=used)


def _request(request: SteeringRequest | None, redaction: Redaction) -> SteeringRequest | None:
    if request is None:
        return None
    return replace(request, who=redaction.said(request.who), why=redaction.said(request.why))


def _cause(cause: Cause | None, redaction: Redaction) -> Cause | None:
    if cause is None:
        return None
    said = redaction.said
    return replace(
        cause,
        said=said(cause.said),
        chain=tuple(replace(link, text=said(link.text)) for link in cause.chain),
        last_lines=tuple(map(said, cause.last_lines)),
        program=None if cause.program is None else said(cause.program),
        nearest=None if cause.nearest is None else said(cause.nearest),
    )


def _data(data: dict[str, str], redaction: Redaction) -> dict[str, Any]:
    return {
        name: redaction.json(value) if name == "argin" else redaction.said(value)
        for name, value in redaction.environment(data).items()
    }
