"""What an analysis says: its channel, its output, and the programs that connect to it.

Threads: all of it belongs to the supervisor's thread.
"""

from __future__ import annotations

import logging
import math
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from taskgrove.analysis.channel.channel_messages import (
    Acknowledged,
    Cancelled,
    Failed,
    Hello,
    Log,
    Message,
    Progress,
    Result,
    Started,
)
from taskgrove.analysis.channel.connection import Connection
from taskgrove.analysis.channel.frames import ChannelError
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.analysis_events import MANY
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.launch import Launched, Plan
from taskgrove.analysis.running.output import TAIL_BYTES, OutputStream, OutputSummary
from taskgrove.analysis.running.supervisor import SupervisorLoop

_LOGGER = logging.getLogger(__name__)

#: Reads of one source before others have their turn.
_DRAIN_TURNS: Final = 256
#: Lines of output that may wait for slow callbacks before further ones are left out.
_LIVE_LINES: Final = MANY // 4
#: How often a line that is drawn over and over is shown, in seconds.
_DRAWN_S: Final = 1.0
_EVENT_IN: Final = selectors.EVENT_READ
_EVENT_BOTH: Final = selectors.EVENT_READ | selectors.EVENT_WRITE


class Intake:
    """Reads all that leads to us from one analysis.

    Args:
        loop: The supervisor's loop.
        plan: What was launched.
        launched: The process and our ends.
        handle: Who is told.
        on_broken: Called with the words when what came over the channel was no message.

    Attributes:
        hurried: Set once the analysis is to end: its messages wait for nobody any more.
        heard_at: When it was last heard of (``time.monotonic()``).
        result: The result and its buffers, or None.
        failed: What it said of its failure, or None.
        cancelled: Whether it said that it was cancelled.
        trouble: What was wrong with the channel, or None.
        unfinished: Whether the channel ended in the midst of a message.
        max_rss_bytes: Most memory that it has told of.
        versions: The versions that it has told of, by name.
    """

    def __init__(
        self,
        loop: SupervisorLoop,
        plan: Plan,
        launched: Launched,
        handle: AnalysisHandle,
        on_broken: Callable[[str], object],
    ) -> None:
        self._loop = loop
        self._plan = plan
        self._launched = launched
        self._handle = handle
        self._on_broken = on_broken
        self._open: set[OutputStream | Connection] = {*launched.streams, *launched.connections}
        self._paused: set[OutputStream | Connection] = set()
        self._hidden_lines = 0
        self._drawing: set[OutputStream] = set()
        self.hurried = False
        self.heard_at = time.monotonic()
        self.result: tuple[Result, tuple[memoryview, ...]] | None = None
        self.failed: Failed | None = None
        self.cancelled = False
        self.trouble: str | None = None
        self.unfinished = False
        self.max_rss_bytes = 0
        self.versions: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """Whether something may still come."""
        return bool(self._open)

    @property
    def is_paused(self) -> bool:
        """Whether messages are left in the channel because callbacks are slow."""
        return bool(self._paused)

    def begin(self) -> None:
        """Watch everything."""
        for stream in self._launched.streams:
            self._loop.watch(stream, _EVENT_IN, partial(self._on_output, stream))
        for connection in self._launched.connections:
            self._watch(connection)
        if self._launched.listener is not None:
            self._loop.watch(self._launched.listener.socket, _EVENT_IN, self._on_connect)

    def hurry(self) -> None:
        """Read on, however slow the callbacks are: what is still to be said holds nothing up."""
        self.hurried = True
        for source in tuple(self._paused):
            self._unpause(source)

    def drain(self) -> None:
        """Read what is there."""
        self.hurry()
        if self._launched.listener is not None:
            while self._on_connect():
                pass
        for source in tuple(self._open):
            for _ in range(_DRAIN_TURNS):
                if source not in self._open or not self._read(source):
                    break

    def close(self) -> tuple[OutputSummary, ...]:
        """Close everything; return what became of the output."""
        for source in tuple(self._open):
            self._leave(source)
        self.tell_hidden()
        for connection in self._launched.connections:
            connection.close()
        if self._launched.listener is not None:
            self._loop.unwatch(self._launched.listener.socket)
            self._launched.listener.socket.close()
        return tuple(stream.close() for stream in self._launched.streams)

    def note_rss(self, found: int | None) -> None:
        """Know how much memory it holds."""
        self.max_rss_bytes = max(self.max_rss_bytes, found or 0)

    def tell_hidden(self) -> None:
        """Say how many lines of output were left out."""
        if self._hidden_lines:
            text = f"{self._hidden_lines} lines of output were not shown; the file has them"
            self._hidden_lines = 0
            self._handle.tell("log", text, level=logging.WARNING, source="executor")

    # -- output -------------------------------------------------------------------------------

    def _read(self, source: OutputStream | Connection) -> bool:
        if isinstance(source, OutputStream):
            return self._on_output(source)
        return self._on_channel(source)

    def _on_output(self, stream: OutputStream) -> bool:
        """Take a piece of output; False when there is none now, or never again."""
        data = stream.read()
        if data is None:
            return False
        if not data:
            self._leave(stream)
            last = stream.last_line()
            if last:
                self._handle.tell("log", last, source=stream.name)
            return False
        if self._handle.delivery.has_callbacks or stream.size_bytes <= TAIL_BYTES:
            self._tell_lines(stream, data)
        return True

    def _tell_lines(self, stream: OutputStream, data: bytes) -> None:
        # Output is for the file; whoever watches live may miss some of a flood, and is told so.
        room = max(0, _LIVE_LINES - self._handle.delivery.pending)
        lines, left_out = stream.lines(data, room)
        if lines:
            self.tell_hidden()
        for line in lines:
            self._handle.tell("log", line, source=stream.name)
        self._hidden_lines += left_out
        if room:
            self._tell_drawn(stream)

    def _tell_drawn(self, stream: OutputStream) -> None:
        """Show what a program draws over and over in one line, about once a second."""
        if stream in self._drawing:
            return
        text = stream.drawn()
        if text is not None:
            self._handle.tell("log", text, source=stream.name)
            self._drawing.add(stream)
            self._loop.at(time.monotonic() + _DRAWN_S, partial(self._draw_again, stream))

    def _draw_again(self, stream: OutputStream) -> None:
        self._drawing.discard(stream)
        if stream in self._open:
            self._tell_drawn(stream)

    # -- the channel --------------------------------------------------------------------------

    def _on_connect(self) -> bool:
        """Take a connection; False when there is none."""
        listener = self._launched.listener
        assert listener is not None
        connection = listener.accept()
        if connection is None:
            return False
        connection.rank = -1  # until it has said hello
        self._open.add(connection)
        self._launched.connections.append(connection)
        self._watch(connection)
        return True

    def _on_channel(self, connection: Connection) -> bool:
        """Take what a channel brings; False when there is nothing now, or never again."""
        if connection.wants_to_write:
            connection.flush()
            if not connection.wants_to_write and connection in self._open:
                self._loop.rewatch(connection, _EVENT_IN, partial(self._on_channel, connection))
        messages = connection.receive()
        if messages:
            self.heard_at = time.monotonic()
        try:
            for message, buffers in messages:
                self._on_message(connection, message, buffers)
        except ChannelError as exc:
            connection.broken = connection.broken or exc
        if connection.broken is not None:
            self._break(connection, connection.broken)
            return False
        if connection.at_end:
            self.unfinished |= connection.unfinished_bytes > 0
            self._leave(connection)
            connection.close()
            return False
        if self._handle.delivery.pending > MANY and not self.hurried:
            self._pause(connection)
            return False
        return bool(messages)

    def _on_message(
        self, connection: Connection, message: Message, buffers: tuple[memoryview, ...]
    ) -> None:
        if connection.rank < 0:
            self._greet(connection, message)
            return
        rank = f"rank {connection.rank}: " if connection.rank else ""
        match message:
            case Progress() if not connection.rank:
                self._handle.tell("progress", message.message, progress=_percent(message.percent))
            case Log():
                self._handle.tell(
                    "log", rank + message.text, level=message.level, source="analysis"
                )
            case Failed():
                self.note_rss(message.max_rss_bytes)
                if self.failed is None:
                    self.failed = Failed(rank + message.cause, message.story, None, message.chain)
            case Result() if not connection.rank:
                self.note_rss(message.max_rss_bytes)
                if self.result is not None:
                    raise ChannelError("a second result came")
                if message.status not in TaskStatus.__members__:
                    raise ChannelError(f"a result has the status {message.status!r}")
                self.result = (message, buffers)
                connection.send(Acknowledged())
            case Cancelled():
                self.cancelled = True
            case Started():
                self.versions.update(message.versions)
            case _:
                pass  # signs of life, and what only rank 0 may tell

    def _greet(self, connection: Connection, message: Message) -> None:
        listener, start = self._launched.listener, self._plan.start
        assert listener is not None
        assert start is not None
        if not isinstance(message, Hello) or message.token != listener.token or message.rank < 0:
            _LOGGER.warning("a stranger connected to the channel of %s", self._plan.spec.name)
            self._leave(connection)
            connection.close()
            return
        connection.rank = message.rank
        connection.send(start, self._plan.buffers)
        if connection.wants_to_write:
            self._loop.rewatch(connection, _EVENT_BOTH, partial(self._on_channel, connection))

    def _break(self, connection: Connection, error: ChannelError) -> None:
        self._leave(connection)
        connection.close()
        if connection.rank < 0:
            return
        self.trouble = self.trouble or error.message
        self._on_broken(f"its channel broke: {error.message}")

    # -- the watch ----------------------------------------------------------------------------

    def _watch(self, source: OutputStream | Connection) -> None:
        events = _EVENT_IN
        if isinstance(source, Connection) and source.wants_to_write:
            events = _EVENT_BOTH
        self._loop.watch(source, events, partial(self._read, source))

    def _pause(self, source: Connection) -> None:
        """Leave messages in the channel: the program waits until callbacks have caught up."""
        self._paused.add(source)
        self._loop.unwatch(source)
        unpause = partial(self._unpause, source)
        self._handle.delivery.when_few(lambda: self._loop.post(unpause))

    def _unpause(self, source: OutputStream | Connection) -> None:
        if source in self._paused:
            self._paused.discard(source)
            self.heard_at = time.monotonic()
            if source in self._open:
                self._watch(source)

    def _leave(self, source: OutputStream | Connection) -> None:
        if source in self._open:
            self._open.discard(source)
            if source in self._paused:
                self._paused.discard(source)
            else:
                self._loop.unwatch(source)


def _percent(given: float | None) -> float | None:
    return None if given is None or math.isnan(given) else min(100.0, max(0.0, given))
