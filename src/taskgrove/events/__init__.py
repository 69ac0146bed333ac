"""The one stream of events that everything observes.

A :class:`TaskEvent` is an immutable fact about one node of one run. The same
bytes are the record, the wire format (JSON) and the source of a replay.
"""

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
from taskgrove.events.words import exception_line as exception_line
from taskgrove.events.words import exception_text as exception_text
from taskgrove.events.words import loggable as loggable
from taskgrove.events.words import one_line as one_line
from taskgrove.events.words import tango_errors_of as tango_errors_of
from taskgrove.events.words import without_sequences as without_sequences
