"""What a person may do from the terminal that shows a run: keys, the lines about them, answers.

Threads: one thread, the one that shows the run, calls everything here. The run answers on a
thread of its own; an answer is only queued there.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence

from taskgrove.cli.decisions import Decisions, Press
from taskgrove.cli.key_input import Keys, keys_of_terminal
from taskgrove.cli.open_steps import OpenSteps
from taskgrove.events import TaskEvent
from taskgrove.events.new_request import new_request
from taskgrove.events.steering_request import (
    Steer,
    SteeringVerb,
)
from taskgrove.view.phrases import LINES_SHOWN
from taskgrove.view.steering_words import answer_line
from taskgrove.view.terminal_text import Charset, safe_text
from taskgrove.view.tree_lines import Segment


def held_words(path: str, words: str, advice: Callable[[str], str] | None) -> str:
    """Return the line about a held step for a person who has no keys.

    Args:
        path: The step.
        words: Why it is held.
        advice: As of :class:`RunControls`.
    """
    more = "" if advice is None else f"; {advice(path)} (or accept, skip, fail)"
    return f"{safe_text(path)}: held: {safe_text(words)}{more}"


class RunControls:
    """The keys and the open decisions of one run that is shown.

    Args:
        steer: Takes the requests; it returns at once. None: there are no keys.
        advice: Returns a command line that decides on a held step, by its path; it is told where
            there are no keys. None: there is none.

    Attributes:
        steps: The steps on which a decision is open.
    """

    def __init__(
        self, steer: Steer | None = None, advice: Callable[[str], str] | None = None
    ) -> None:
        self.steps = OpenSteps()
        self._steer = steer
        self._advice = advice
        self._keys: Keys | None = None
        self._decisions = Decisions(self.steps, self._ask)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def open(self) -> None:
        """Take the keys of the terminal, where there are some."""
        if self._steer is not None:
            self._keys = keys_of_terminal()

    def take(self, events: Sequence[TaskEvent]) -> None:
        """Act on the keys since the last call, then take in new events.

        In this order, because a key means what was shown when it was pressed.
        """
        if self._keys is not None:
            self._decisions.press(self._keys.read())
        new = self.steps.take(events)
        self._decisions.settle()
        if self._keys is None and self._advice is not None:
            held = [step for step in new if step.is_held]
            words = [held_words(step.path, step.words, self._advice) for step in held[:LINES_SHOWN]]
            if len(held) > LINES_SHOWN:
                words.append(f"… and {len(held) - LINES_SHOWN:,} more are held")
            for line in words:
                self.tell(line)

    def tell(self, text: str) -> None:
        """Have a line told with the answers; called by any thread."""
        self._answers.put(text)

    def tell_answers(self, say: Callable[[str], object]) -> None:
        """Tell what came since the last call."""
        while not self._answers.empty():
            say(self._answers.get_nowait())

    def lines(self, width: int, charset: Charset, now_ns: int) -> list[list[Segment]]:
        """Return the lines about the keys; the arguments are those of ``Decisions.lines``."""
        if self._keys is None:
            return []
        return self._decisions.lines(width, charset, now_ns)

    def close(self) -> None:
        """Give the terminal back; the run has ended, or is left."""
        self._decisions.act(Press.CLOSE)
        if self._keys is not None:
            self._keys.close()

    def _ask(self, verb: SteeringVerb, path: str, why: str) -> None:
        assert self._steer is not None  # else there are no keys
        request = new_request(verb, path, why=why)
        self._steer(request, lambda answer: self.tell(answer_line(request, answer)))
