"""One device's commands in flight, and how events, polls and replies meet.

Events are hints: an event may come before the reply of the call that it belongs to, twice, or
never. A slow poll reconciles what events lost, and faster polls follow any sign of trouble.

Threads: a session is used on the client's dispatcher thread, without locks. Calls that may block
are handed to the lanes, and their outcome comes back through the client's inbox.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final, Protocol

from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, CauseKind
from taskgrove.tango.client.abort import AbortDesk, OnAnswer
from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import CommandNews, CommandState, LrcCommand, Source
from taskgrove.tango.client.contact import Contact, ContactNews, ContactState
from taskgrove.tango.client.dispatcher import Dispatcher
from taskgrove.tango.client.doubt import Doubt, candidates, is_called_again, unknown_fate
from taskgrove.tango.client.failure import Failure
from taskgrove.tango.client.link import DeviceLink
from taskgrove.tango.client.lists import Snapshot
from taskgrove.tango.client.polls import WATCH_INTERVAL_S, Polls
from taskgrove.tango.client.protocol import CommandFacts, decode_event
from taskgrove.tango.client.strangers import Strangers

_LOGGER = logging.getLogger(__name__)

#: An event may be this late behind a poll (some devices send theirs in batches), in seconds.
_EVENT_LAG_S: Final = 2.0
#: How soon a device is polled after PyTango reported lost events, in seconds.
_AFTER_ERROR_S: Final = 0.1
#: An error this soon after a subscription comes from its first read, in seconds.
_FIRST_READ_S: Final = 2.0
#: Polls that must have found an end without its result; the first may have begun before it.
_POLLS_FOR_RESULT: Final = 2


class Closable(Protocol):
    """Something of a client that ends with it."""

    def client_closed(self) -> None:
        """End, because the client is closed."""
        ...


class DeviceSession:
    """The commands of one device.

    Args:
        device: The device's TANGO name.
        settings: Times and limits.
        dispatcher: The thread of the client.
    """

    def __init__(self, device: str, settings: LrcSettings, dispatcher: Dispatcher) -> None:
        #: The blocking side of the device, set once before anything else is called.
        self.link: DeviceLink
        self.abort_desk: AbortDesk
        self.contact = Contact(device)
        #: By id; more than one follows an id that was attached to as well.
        self.commands: dict[str, list[LrcCommand]] = {}
        self.doubts: list[Doubt] = []
        #: The waits for values of attributes.
        self.waits: set[Closable] = set()
        #: The commands whose call is out.
        self.calling: set[LrcCommand] = set()
        #: False until the ids that were there before were looked at.
        self.has_learnt = False
        #: Held by the thread that looks at the ids; the calls of other threads come after.
        self.learning = threading.Lock()
        self.dispatcher = dispatcher
        self._settings = settings
        self._at = dispatcher.after
        self._strangers = Strangers()
        self._polls = Polls(self, self.contact, settings, dispatcher)
        self._ahead: dict[str, None] = {}

    # -- from the invoking thread, through the inbox ------------------------------
    def begin(self, command: LrcCommand, deadline: float | None) -> None:
        """Take note that a command is about to be called; give it up at its deadline."""
        self.calling.add(command)
        if deadline is not None:
            self._at(deadline - time.monotonic(), lambda: self._give_up(command))

    def accept(
        self,
        command: LrcCommand,
        command_id: str,
        status: TaskStatus | None,
        source: Source = "reply",
        note: str = "",
    ) -> None:
        """Follow a command that the device accepted; earlier events are replayed."""
        if source == "reply":
            self._polls.answered(ContactNews.REPLY)
        command.protocol = self.link.protocol
        command.breaks_before = self.contact.breaks
        command.heard_at = time.monotonic() if source == "reply" else 0.0
        early = self._strangers.claim(command_id)
        if not command.begin(command_id, None if early else status, source, note):
            self._strangers.see(command_id)
            return
        self.commands.setdefault(command_id, []).append(command)
        for facts in early:
            self._give(command, facts, "event")
        if not command.is_over:
            self._polls.within(self._polls.interval())

    def doubt(self, command: LrcCommand, sent_at: float, failure: Failure) -> None:
        """Find out the fate of a call that failed after it may have been sent."""
        self.contact.breaks += 1
        self.trouble()
        if command.move(CommandNews.CALL_BROKEN):
            self.doubts.append(Doubt(command, sent_at, failure))
        self._polls.within(0.05)

    def attach(self, command: LrcCommand, command_id: str) -> None:
        """Follow a command that runs already."""
        self.abort_desk.note_command()  # it may be younger than the last Abort
        self.accept(command, command_id, None, "poll")
        self._polls.within(0.0)

    def abort(self, on_answer: OnAnswer | None) -> None:
        """Have the device aborted."""
        self.abort_desk.ask(on_answer, slow=self.is_slow)

    def learn(self, found: Snapshot, read_at: float) -> None:
        """Take note of the ids that existed before the first command of this client."""
        for facts in found.facts:
            if facts.command_id not in self.commands:
                self._strangers.see(facts.command_id, read_at)

    def release(self, command: LrcCommand) -> None:
        """Stop following a command, because its caller asks for that."""
        command.move(CommandNews.RELEASE)
        self._forget(command)

    def in_flight(self) -> list[LrcCommand]:
        """Return every command that is followed, those in doubt included."""
        known = [command for followers in self.commands.values() for command in followers]
        return known + [doubt.command for doubt in self.doubts]

    def close(self) -> None:
        """End every command, because the client is closed."""
        self.contact.move(ContactNews.CLOSE)
        self.abort_desk.close()
        for wait in tuple(self.waits):
            wait.client_closed()
        for command in (*self.calling, *self.in_flight()):
            text = "the client was closed; the command may go on"
            command.fail(text, Cause(kind="abandoned"), may_retry=False)

    # -- events --------------------------------------------------------------------
    def on_event(self, slot: str, value: Any) -> None:
        """Take one change event."""
        commands = self.commands
        self.link.heard()
        for facts in decode_event(slot, value):
            followers = commands.get(facts.command_id)
            if followers is not None:
                self._give_all(followers, facts, "event")
            else:
                self._ahead.pop(facts.command_id, None)
                self._strangers.remember(facts)

    def on_event_error(self, generation: int, reason: str) -> None:
        """Take an error that PyTango sent in place of an event."""
        if generation != self.link.generation:
            return
        _LOGGER.debug("%s: event error %s", self.link.device, reason)
        # A new subscription reads once, and an attribute that cannot be read is no dead channel.
        is_first_read = time.monotonic() - self.link.subscribed_at < _FIRST_READ_S
        if reason == "API_EventTimeout" or (reason != "API_MissedEvents" and not is_first_read):
            # The channel is dead or was revived: only a new subscription is sure to hear.
            self.trouble()
        if self.commands or self.doubts:
            self.contact.watch()
            self._polls.within(_AFTER_ERROR_S)

    def link_broken(self) -> None:
        """Take note that the connection to the device's server broke."""
        self.contact.move(ContactNews.TROUBLE)
        self.contact.breaks += 1
        if self.commands or self.doubts:
            self._polls.within(0.05)

    # -- polls ---------------------------------------------------------------------
    @property
    def is_slow(self) -> bool:
        """True while a call of the device is likely to block."""
        return self.contact.is_slow

    def wanted(self) -> tuple[str, ...] | None:
        """Return the ids that are waited for, or None when there is nothing to poll for."""
        return tuple(self.commands) if self.commands or self.doubts else None

    def quiet_until(self) -> float:
        """Return until when no poll is due, because the device tells of its commands by itself.

        A command whose event got lost tells nothing from then on, so that a poll follows.

        Returns:
            An instant (monotonic seconds), which may have passed.
        """
        contact = self.contact
        if self.doubts or contact.is_watched or contact.state is not ContactState.SOUND:
            return 0.0
        heard_at = min(
            (
                0.0 if it.has_result or it.state is not CommandState.FOLLOWED else it.heard_at
                for followers in self.commands.values()
                for it in followers
            ),
            default=0.0,
        )
        return heard_at + self._settings.poll_interval_s if self.link.has_events else 0.0

    def poll_told(self, ids: tuple[str, ...], found: Snapshot) -> None:
        """Take the result of a poll."""
        now = time.monotonic()
        for facts in found.facts:
            followers = self.commands.get(facts.command_id)
            if followers is not None:
                self._give_all(followers, facts, "poll")
            elif self.doubts:
                self._strangers.remember(facts)
            else:
                self._strangers.see(facts.command_id)
        listed = {facts.command_id for facts in found.facts if facts.status is not None}
        for command_id in ids:
            if command_id not in listed:
                for command in self.commands.get(command_id, [])[:]:
                    self._unlisted(command, found, now)
            for command in self.commands.get(command_id, ()):
                command.polls_for_result += command.state is CommandState.RESULT_DUE
        self._settle_doubts(now)

    def _unlisted(self, command: LrcCommand, found: Snapshot, now: float) -> None:
        """Decide about a command that no list holds."""
        facts = found.checked.get(command.command_id)
        if facts is not None and facts.status is not TaskStatus.NOT_FOUND:
            self._give(command, facts, "poll")
            return
        if command.state is CommandState.RESULT_DUE:
            return
        if facts is None and not found.readable and self.link.protocol:
            return  # the lists cannot be read now: the command is followed by events
        if command.move(CommandNews.NOT_FOUND):
            command.missed_since = now
            self._polls.within(0.25)
            return
        missed_s = now - command.missed_since
        if command.has_result and missed_s > WATCH_INTERVAL_S:
            command.end_without_status()
            self._over(command)
        elif self.contact.breaks > command.breaks_before and missed_s > 0.2:
            text = (
                f"{command.command_name} was lost with the server: the connection broke, and "
                f"since it is back the device does not know the command ({command.command_id})"
            )
            self._close(command, text, self._cause("restarted"), may_retry=True)
        elif missed_s > self._settings.not_found_grace_s:
            text = (
                f"the device does not know {command.command_name} any more "
                f"({command.command_id}); how it ended is not known"
            )
            self._close(command, text, self._cause("forgotten"), may_retry=False)
        else:
            self._polls.within(WATCH_INTERVAL_S)

    # -- decisions -----------------------------------------------------------------
    def _give_all(self, followers: list[LrcCommand], facts: CommandFacts, source: Source) -> None:
        for command in tuple(followers):
            self._give(command, facts, source)

    def _give(self, command: LrcCommand, facts: CommandFacts, source: Source) -> None:
        had_result, before = command.has_result, command.state
        if source == "event":
            command.heard_at = self.link.heard_at
        command.take(facts, source, "its end was found by a poll" if source == "poll" else "")
        if command.is_over:
            self._over(command, told_by_poll=source == "poll")
        elif command.state is CommandState.RESULT_DUE:
            if before is not CommandState.RESULT_DUE:
                self._wait_for_result(command, time.monotonic() + self._settings.lost_after_s)
        elif command.has_result and not had_result:
            # The status that belongs to a result follows it at once, unless it was lost.
            self._polls.within(min(0.2, self._settings.poll_interval_s))

    def _wait_for_result(self, command: LrcCommand, give_up_at: float) -> None:
        self._polls.within(0.0)
        grace_s = self._settings.result_grace_s
        self._at(grace_s, lambda: self._result_is_due(command, give_up_at))

    def _result_is_due(self, command: LrcCommand, give_up_at: float) -> None:
        """End a command that has a status and no result, once polls have not found the result.

        The result may say that the command failed: a device that is slow to answer must not turn
        that into a good end.
        """
        if command.state is not CommandState.RESULT_DUE:
            return
        if command.polls_for_result >= _POLLS_FOR_RESULT or time.monotonic() >= give_up_at:
            command.end_without_result()
            self._over(command)
        else:
            self._wait_for_result(command, give_up_at)

    def _give_up(self, command: LrcCommand) -> None:
        """End a command whose deadline has passed; the device is not told."""
        if not command.is_over:
            text = "its limit expired before the device told of its end; it may go on"
            self._close(command, text, Cause(kind="timed_out"))

    def _over(self, command: LrcCommand, *, told_by_poll: bool = False) -> None:
        self._forget(command)
        if told_by_poll and self.link.has_events:
            self._ahead[command.command_id] = None
            self._at(_EVENT_LAG_S, lambda: self._suspect_deafness(command.command_id))

    def _forget(self, command: LrcCommand) -> None:
        """Drop a command; its id is remembered as one that is known."""
        self.doubts = [doubt for doubt in self.doubts if doubt.command is not command]
        followers = self.commands.get(command.command_id, [])
        if command in followers:
            followers.remove(command)
            if not followers:
                del self.commands[command.command_id]
                self._strangers.see(command.command_id)

    def _close(
        self,
        command: LrcCommand,
        text: str,
        cause: Cause,
        *,
        may_retry: bool = False,
        failure: Failure | None = None,
    ) -> None:
        error = failure.errors if failure is not None and failure.errors else None
        command.fail(text, cause, may_retry=may_retry, error=error)
        self._forget(command)

    def lose_all(self, why: str, *, ended: bool, failure: Failure) -> None:
        """End every command, because the device is lost.

        Args:
            why: The reason.
            ended: Whether the commands have ended with their server.
            failure: The failure of the last poll.
        """
        fate = "" if ended else "; what became of the command is not known"
        doubts, self.doubts = self.doubts, []
        self.contact.give_up()
        for command in self.in_flight():
            if command.state is CommandState.RESULT_DUE:
                command.end_without_result()
                self._over(command)
            else:
                text = f"{command.command_name} did not end: {why}{fate}"
                cause = self._cause("died" if ended else "silent", failure)
                self._close(command, text, cause, may_retry=ended, failure=failure)
        for doubt in doubts:
            cause = self._cause("fate_unknown", doubt.failure)
            self._close(doubt.command, f"{why}; {unknown_fate(doubt)}", cause, failure=failure)

    def _settle_doubts(self, now: float) -> None:
        """Adopt the one command that a broken call can have started, or tell the truth."""
        is_over = now - (self.contact.found_at or now) > self._settings.adopt_grace_s
        rivals = [*(doubt.command for doubt in self.doubts), *self.calling]
        # For all doubts before any is closed: a command in a closed doubt is no rival any more.
        found = [(doubt, candidates(doubt, rivals, self._strangers)) for doubt in self.doubts]
        for doubt, new in found:
            if len(new) > 1 and not is_over and is_called_again(doubt, self.calling):
                continue  # the reply of that call will name its command
            if len(new) == 1:
                self.doubts.remove(doubt)
                note = "the call's reply was lost; the command was found on the device"
                self.accept(doubt.command, new[0], TaskStatus.QUEUED, "poll", note)
            elif new or is_over:
                cause = doubt.failure.cause("fate_unknown")
                self._close(doubt.command, unknown_fate(doubt), cause, failure=doubt.failure)
        if self.doubts:
            self.contact.found_at = self.contact.found_at or now
            self._polls.within(0.25)

    def _cause(self, kind: CauseKind, failure: Failure | None = None) -> Cause:
        return self.contact.cause(kind, self.link.heard_at, failure)

    def trouble(self) -> None:
        """Take a sign that events may be lost: subscribe again before the next use."""
        self.contact.move(ContactNews.TROUBLE)
        self.contact.found_at = None
        self._ahead.clear()
        self.link.mark_stale()

    def _suspect_deafness(self, command_id: str) -> None:
        """Subscribe again when a poll found an end whose event never came."""
        if command_id in self._ahead:
            _LOGGER.debug("%s: no event of the end of %s", self.link.device, command_id)
            self.trouble()
