"""The facts of a node as a row of the table ``nodes``, and back.

Lists and statistics use the columns; the rest is in two blobs: ``composed``, written once, and
``facts``, which changes. The last described analysis of a node is in the table ``analyses``.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, FinishedDetail, PageDetail
from taskgrove.store.database.plain_bytes import clean_text, json_bytes
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode

#: PostgreSQL indexes no longer text; a longer path is cut in ``paths``, and whole in ``facts``.
PATH_LIMIT_BYTES: Final = 2000
#: A device's name is cut to this many characters.
_DEVICE_LIMIT: Final = 400

#: A path of fewer characters needs no second look: one has at most four bytes.
_LONG: Final = PATH_LIMIT_BYTES // 4

_COMPOSED = msgspec.json.Decoder(ComposedDetail)


class _Waited(msgspec.Struct):
    """The mark of a node that waited for a person: what finds notes of a hold finds it, too."""

    topic: str = "held"
    below: bool = True


class _Rest(msgspec.Struct, omit_defaults=True):
    """The facts without a column of their own."""

    progress: int = 0
    devices: tuple[str, ...] = ()
    failed_devices: tuple[str, ...] = ()
    last_ns: int | None = None
    outside_kind: str | None = None
    outside_id: str | None = None
    finished: FinishedDetail | None = None
    notes: list[NodeNote] = []
    pages: list[PageDetail] = []
    whole_path: str | None = None
    waited: _Waited | None = None


_REST = msgspec.json.Decoder(_Rest)
_STATUSES: Final[dict[int | None, TaskStatus | None]] = {None: None, **{s: s for s in TaskStatus}}
_CODES: Final[dict[int | None, ResultCode | None]] = {None: None, **{c: c for c in ResultCode}}


class Change(NamedTuple):
    """The part of a node's row that changes, in the order of ``CHANGING_COLUMNS``."""

    status: int | None
    result_code: int | None
    health_state: str | None
    message: str
    attempt: int
    queued_ns: int | None
    started_ns: int | None
    ended_ns: int | None
    finished_sequence: int | None
    skipped: int
    facts: bytes


class Identity(NamedTuple):
    """The part of a node's row that never changes, in the order of ``FIXED_COLUMNS``."""

    execution: str
    device: str | None
    command_name: str | None
    composed: bytes | None


def kept_path(path: str) -> str:
    """Return a path as the table ``paths`` holds it: a very long one is cut and numbered."""
    text = clean_text(path)
    data = text.encode()
    if len(data) <= PATH_LIMIT_BYTES:
        return text
    mark = hashlib.sha256(data).hexdigest()
    return f"{data[: PATH_LIMIT_BYTES - 80].decode('utf-8', 'ignore')}…#{mark}"


CHANGING_COLUMNS: Final = Change._fields
FIXED_COLUMNS: Final = Identity._fields


def identity_of(node: RunNode) -> Identity:
    """Return the part of a row that never changes once the node was composed."""
    composed = node.composed
    if composed is None:
        return Identity("", None, None, None)
    device = composed.target if composed.execution == "DEVICE" else None
    return Identity(
        composed.execution,
        None if device is None else clean_text(device)[:_DEVICE_LIMIT],
        None if composed.command_name is None else clean_text(composed.command_name),
        json_bytes(composed),
    )


def change_of(node: RunNode) -> Change:
    """Return the part of a row that changes."""
    status, code = node.status, node.result_code
    return Change(
        None if status is None else int(status),
        None if code is None else int(code),
        node.health_state,
        clean_text(node.message),
        node.attempt,
        node.queued_ns,
        node.started_ns,
        node.ended_ns,
        node.finished_sequence,
        int(node.skipped),
        json_bytes(
            _Rest(
                node.progress,
                node.devices,
                node.failed_devices,
                node.last_ns,
                node.outside_kind,
                node.outside_id,
                node.finished,
                node.notes,
                node.pages,
                node.path if len(node.path) > _LONG and kept_path(node.path) != node.path else None,
                _Waited() if node.has_waited else None,
            )
        ),
    )


class NodeRow(NamedTuple):
    """The columns that the facts of a node are made from, in the order they are read in."""

    path: str
    status: int | None
    result_code: int | None
    health_state: str | None
    message: str
    attempt: int
    queued_ns: int | None
    started_ns: int | None
    ended_ns: int | None
    finished_sequence: int | None
    composed: bytes | None
    facts: bytes | None


def facts_of(row: tuple[Any, ...]) -> RunNode:
    """Return the facts that a row holds; the described analysis is not among them.

    Args:
        row: The columns of :class:`NodeRow`; a plain tuple of them will do.
    """
    path, status, code, health, message, attempt, queued, started, ended, sequence = row[:10]
    composed, facts = row[10:]
    try:
        rest = _Rest() if facts is None else _REST.decode(facts)
        known = None if composed is None else _COMPOSED.decode(composed)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        rest, known, message = _Rest(), None, f"this row cannot be read: {exc}"
    return RunNode(
        rest.whole_path or path,
        known,
        _STATUSES.get(status),
        _CODES.get(code),
        rest.progress,
        message,
        rest.devices,
        rest.failed_devices,
        health,
        attempt,
        queued,
        started,
        ended,
        rest.last_ns,
        rest.outside_kind,
        rest.outside_id,
        rest.finished,
        sequence,
        rest.notes,
        None,
        rest.pages,
        has_waited=rest.waited is not None,
    )
