"""One run of the record, followed: its nodes, and the number of the event that changed each last.

That number is all that a browser's connection has to remember: what it lacks is whatever changed
after its number. So a node that changed many times is sent once, a slow browser costs nothing, and
a connection can be continued after any break, also with another server.

Threads: :meth:`RunFeed.refresh` belongs to one thread; any thread may call the other methods.
``_lock`` guards what they share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UnknownRunError
from taskgrove.events import TaskEvent
from taskgrove.store.history import History
from taskgrove.store.queries.listing import plain_of
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.queries.whole_run import WholeRun
from taskgrove.story.node_wait import pause_in
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_tree import RunTree
from taskgrove.view.record_view import runner_gone, state_words, story_of_record
from taskgrove.view.snapshot import RunView
from taskgrove.view.why import Why, why
from taskgrove.view.why.explanation import CauseGroup
from taskgrove.view.why.rendering import lists_of
from taskgrove.web.sent_events import message
from taskgrove.web.tree_rows import row_of_node

_encode = msgspec.json.Encoder().encode
#: How many nodes one message carries at most.
MESSAGE_NODES: Final = 1_000
#: The words about a run that lives are made anew this often, in seconds ...
_WORDS_S: Final = 0.5
#: ... but take no more than this part of the time.
_WORDS_SHARE: Final = 0.05
#: So many different answers to :meth:`RunFeed.since` are kept until something changes.
_BATCHES: Final = 4
#: So many nodes of one cause are named above the tree.
_PATHS: Final = 20


class NodeBatch(msgspec.Struct, frozen=True):
    """What changed after a number.

    Attributes:
        position: The number to ask with next.
        messages: Server-sent events ``nodes``, each a JSON array of at most :data:`MESSAGE_NODES`
            rows. Only the last one bears the number: with it everything is sent.
    """

    position: int
    messages: tuple[bytes, ...]


class RunFeed:
    """A run that somebody looks at.

    Args:
        history: The record.
        run_id: The run, as :meth:`taskgrove.store.history.History.find` takes it.
        clock: Its wall clock stands in the words; its other hand tells when they are due.

    Attributes:
        run_id: Its id.

    Raises:
        UnknownRunError: The record has no such run.
        StoreError: The record cannot be read.
    """

    def __init__(self, history: History, run_id: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._history = history
        self._clock = clock
        self._lock = threading.Lock()
        whole = history.whole(run_id)
        self._row, nodes = whole.run, whole.nodes
        self.run_id = self._row.run_id  # a text such as "last" may mean another run later
        self._tree: RunTree = RunView.of(run_id, nodes)
        self._numbers = {node.path: number for number, node in enumerate(nodes)}
        self._position = self._row.last_sequence
        # In the order in which they changed, the newest last.
        self._changed = dict.fromkeys(self._numbers, self._position)
        self._encoded: dict[str, bytes] = {}
        self._batches: dict[int, NodeBatch] = {}
        self._head = b""
        self._head_number = 0
        self._is_gone = False
        self._words_due_s = 0.0
        self._usual = usual_of(history, self._row)
        self._make_head(whole)

    # -- the watching thread --------------------------------------------------------------------

    def refresh(self, *, has_news: bool) -> bool:
        """Take in what the record has by now; return whether there is something to tell.

        Args:
            has_news: Whether the record has changed since the last call.

        Raises:
            StoreError: The record cannot be read.
        """
        told = False
        try:
            if has_news:
                events = list(self._history.events(self._row, first_sequence=self._position + 1))
                # Read after its events: a run is not told as running with every leaf at its end.
                row = self._history.find(self.run_id)
                told = self._fold(events) or row.state != self._row.state
                self._row = row
            if told or self._may_have_aged():
                told = self._make_head() or told
        except UnknownRunError:
            told, self._is_gone = not self._is_gone, True
        return told

    def _fold(self, events: Iterable[TaskEvent]) -> bool:
        told = False
        with self._lock:
            for event in events:
                path = self._tree.fold(event).path
                self._numbers.setdefault(path, len(self._numbers))
                self._changed.pop(path, None)
                self._changed[path] = self._position = event.sequence
                self._encoded.pop(path, None)
                told = True
            if told:
                self._batches.clear()
        return told

    def _may_have_aged(self) -> bool:
        return self._row.state == "running"

    def _make_head(self, whole: WholeRun | None = None) -> bool:
        """Make the words about the run anew, where they are due; return whether they differ.

        Args:
            whole: The run, where it was read just now.
        """
        now_s, began_s = self._clock.monotonic(), time.monotonic()
        if now_s < self._words_due_s and self._row.state == "running":
            return False
        whole = whole or self._whole()
        location = self._history.store.location
        head = _encode(head_of(whole, location, self._clock.wall_ns(), self._usual))
        took_s = time.monotonic() - began_s
        self._words_due_s = now_s + max(_WORDS_S, took_s / _WORDS_SHARE)
        with self._lock:
            if head == self._head:
                return False
            self._head = head
            self._head_number += 1
        return True

    def _whole(self) -> WholeRun:
        """Return the run; while it lives with the nodes at hand, which are many to read."""
        row, history = self._row, self._history
        if row.state != "running":
            return history.whole(self.run_id)
        nodes = list(self._tree.nodes.values())
        return WholeRun(row, nodes, history.verdicts(row), history.requests(row))

    # -- any thread -----------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether the record has no such run any more."""
        return self._is_gone

    def head(self, seen: int) -> tuple[int, bytes] | None:
        """Return the words about the run and their number; None: they are those of ``seen``."""
        with self._lock:
            return None if seen == self._head_number else (self._head_number, self._head)

    def node(self, path: str) -> dict[str, Any] | None:
        """Return all that is known of one node, as plain data; None: there is no such node."""
        with self._lock:
            found = self._tree.nodes.get(path)
            return None if found is None else plain_node(found, self.run_id)

    def since(self, position: int) -> NodeBatch:
        """Return the nodes that changed after a number; 0 returns all of them.

        Args:
            position: The number of the last batch. One that the run has not reached comes from
                another record: everything is sent.
        """
        with self._lock:
            after = position if position <= self._position else 0
            found = self._batches.get(after)
            if found is None:
                if len(self._batches) >= _BATCHES:
                    self._batches.clear()
                found = self._batches[after] = NodeBatch(self._position, self._messages(after))
            return found

    def _messages(self, after: int) -> tuple[bytes, ...]:
        paths = []
        for path in reversed(self._changed):
            if self._changed[path] <= after:
                break
            paths.append(path)
        # Parents come before their children: so were they composed.
        paths.sort(key=self._numbers.__getitem__)
        rows = [self._row_of(path) for path in paths]
        made = []
        for at in range(0, len(rows), MESSAGE_NODES):
            is_last = at + MESSAGE_NODES >= len(rows)
            data = b"[" + b",".join(rows[at : at + MESSAGE_NODES]) + b"]"
            made.append(message("nodes", data, self._position if is_last else None))
        return tuple(made)

    def _row_of(self, path: str) -> bytes:
        found = self._encoded.get(path)
        if found is None:
            node = self._tree.nodes[path]
            found = self._encoded[path] = _encode(row_of_node(node, self._numbers[path]))
        return found


def usual_of(history: History, run: RunRow) -> dict[str, Any] | None:
    """Return how long such runs usually take, in seconds; None where too little is known.

    Raises:
        StoreError: The record cannot be read.
    """
    found = history.estimate(run.command, leaf_count=run.leaf_count, but=run.run_id)
    if found is None:
        return None
    return {"low_s": found.low_s, "high_s": found.high_s, "run_count": found.run_count}


def head_of(
    whole: WholeRun, location: str, now_ns: int, usual: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what stands above the tree of a run: its facts, its state, the explanation.

    Args:
        whole: The run, as one moment of the record has it.
        location: The record.
        now_ns: The time, UTC, nanoseconds since the epoch.
        usual: As :func:`usual_of` gives it.
    """
    row, nodes, verdicts, _ = whole
    told, gone = why_of(whole, location, now_ns), runner_gone(row, now_ns)
    pause = pause_in(nodes[0].notes) if nodes and row.state == "running" else None
    return {
        "run": _without_source(row),
        "outcome": "lost" if gone is not None else row.outcome,
        "is_living": row.state == "running" and gone is None,
        "is_paused": pause is not None,
        "state": state_words(row, now_ns, location),
        "usual": usual,
        "plots": sum(len(node.pages) for node in nodes),
        "shown_as": told.shown_as,
        "sentence": told.sentence,
        "lists": [{"title": title, "items": list(items)} for title, items in lists_of(told)],
        "groups": [_plain_group(group) for group in told.groups],
        "verdicts": plain_of(verdicts),
    }


def plain_node(node: RunNode, run_id: str) -> dict[str, Any]:
    """Return a node of a run as plain data, its state in one word, and its newest argument."""
    told = {"node": plain_of(node), "state": node.state, "argin": plain_of(node.argin)}
    return {**told, "run_id": run_id}


def why_of(whole: WholeRun, location: str, now_ns: int | None = None) -> Why:
    """Return the explanation of a run.

    Args:
        whole: The run, as one moment of the record has it.
        location: The record.
        now_ns: The time, UTC, nanoseconds since the epoch; None asks the clock.
    """
    story = story_of_record(
        whole.run,
        whole.nodes,
        now_ns=SYSTEM_CLOCK.wall_ns() if now_ns is None else now_ns,
        verdicts=whole.verdicts,
        requests=whole.requests,
        location=location,
    )
    return why(story)


def _plain_group(group: CauseGroup) -> dict[str, Any]:
    paths = list(group.paths[:_PATHS])
    return {"kind": group.kind, "cause": group.cause, "count": group.count, "paths": paths}


def _without_source(row: RunRow) -> dict[str, Any]:
    """Return the facts of a run without its source, which may be large."""
    plain: dict[str, Any] = plain_of(row)
    return {name: value for name, value in plain.items() if name not in ("source", "versions")}
