"""The one stream of events that everything observes.

A :class:`TaskEvent` is an immutable fact about one node of one run. The same
bytes are the record, the wire format (JSON) and the source of a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.events.bus import SLOW_CALLS_LIMIT as SLOW_CALLS_LIMIT
    from taskgrove.events.bus import SLOW_LIMIT_S as SLOW_LIMIT_S
    from taskgrove.events.bus import STALL_LIMIT_S as STALL_LIMIT_S
    from taskgrove.events.bus import EventBus as EventBus
    from taskgrove.events.bus import Subscription as Subscription
    from taskgrove.events.cause import TEXT_LIMIT as TEXT_LIMIT
    from taskgrove.events.cause import Cause as Cause
    from taskgrove.events.cause import CauseKind as CauseKind
    from taskgrove.events.cause import ChainLink as ChainLink
    from taskgrove.events.cause import Place as Place
    from taskgrove.events.cause import cause_of as cause_of
    from taskgrove.events.cause import chain_of as chain_of
    from taskgrove.events.details import AnalysisDetail as AnalysisDetail
    from taskgrove.events.details import ComposedDetail as ComposedDetail
    from taskgrove.events.details import EventDetail as EventDetail
    from taskgrove.events.details import ExecutionKind as ExecutionKind
    from taskgrove.events.details import FinishedDetail as FinishedDetail
    from taskgrove.events.details import NoteDetail as NoteDetail
    from taskgrove.events.details import PageDetail as PageDetail
    from taskgrove.events.details import RuleKind as RuleKind
    from taskgrove.events.details import StartedDetail as StartedDetail
    from taskgrove.events.event import SCHEMA_VERSION as SCHEMA_VERSION
    from taskgrove.events.event import EventKind as EventKind
    from taskgrove.events.event import Observer as Observer
    from taskgrove.events.event import ProgressDraft as ProgressDraft
    from taskgrove.events.event import SubtaskFacts as SubtaskFacts
    from taskgrove.events.event import TaskEvent as TaskEvent
    from taskgrove.events.event import decode_event as decode_event
    from taskgrove.events.event import encode_event as encode_event
    from taskgrove.events.left_out import LeftOut as LeftOut
    from taskgrove.events.left_out import LeftOutKind as LeftOutKind
    from taskgrove.events.left_out import told_reasons as told_reasons
    from taskgrove.events.steering_request import SteeringAnswer as SteeringAnswer
    from taskgrove.events.steering_request import SteeringObjection as SteeringObjection
    from taskgrove.events.steering_request import SteeringRequest as SteeringRequest
    from taskgrove.events.words import exception_line as exception_line
    from taskgrove.events.words import exception_text as exception_text
    from taskgrove.events.words import loggable as loggable
    from taskgrove.events.words import one_line as one_line
    from taskgrove.events.words import tango_errors_of as tango_errors_of
    from taskgrove.events.words import without_sequences as without_sequences

# Later: the process of an analysis needs causes, and neither a bus nor the details of events.
_LATER = {
    "AnalysisDetail": "taskgrove.events.details",
    "Cause": "taskgrove.events.cause",
    "CauseKind": "taskgrove.events.cause",
    "ChainLink": "taskgrove.events.cause",
    "ComposedDetail": "taskgrove.events.details",
    "EventBus": "taskgrove.events.bus",
    "EventDetail": "taskgrove.events.details",
    "EventKind": "taskgrove.events.event",
    "ExecutionKind": "taskgrove.events.details",
    "FinishedDetail": "taskgrove.events.details",
    "LeftOut": "taskgrove.events.left_out",
    "LeftOutKind": "taskgrove.events.left_out",
    "NoteDetail": "taskgrove.events.details",
    "Observer": "taskgrove.events.event",
    "PageDetail": "taskgrove.events.details",
    "Place": "taskgrove.events.cause",
    "ProgressDraft": "taskgrove.events.event",
    "RuleKind": "taskgrove.events.details",
    "SCHEMA_VERSION": "taskgrove.events.event",
    "SLOW_CALLS_LIMIT": "taskgrove.events.bus",
    "SLOW_LIMIT_S": "taskgrove.events.bus",
    "STALL_LIMIT_S": "taskgrove.events.bus",
    "StartedDetail": "taskgrove.events.details",
    "SteeringAnswer": "taskgrove.events.steering_request",
    "SteeringObjection": "taskgrove.events.steering_request",
    "SteeringRequest": "taskgrove.events.steering_request",
    "Subscription": "taskgrove.events.bus",
    "SubtaskFacts": "taskgrove.events.event",
    "TEXT_LIMIT": "taskgrove.events.cause",
    "TaskEvent": "taskgrove.events.event",
    "cause_of": "taskgrove.events.cause",
    "chain_of": "taskgrove.events.cause",
    "decode_event": "taskgrove.events.event",
    "encode_event": "taskgrove.events.event",
    "exception_line": "taskgrove.events.words",
    "exception_text": "taskgrove.events.words",
    "loggable": "taskgrove.events.words",
    "one_line": "taskgrove.events.words",
    "tango_errors_of": "taskgrove.events.words",
    "told_reasons": "taskgrove.events.left_out",
    "without_sequences": "taskgrove.events.words",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
