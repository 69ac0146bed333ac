"""The keys by which a person decides on held steps, pauses a run and aborts it.

A key that decides opens a line for the reason; Enter on that line asks the run. The path of the
step stands on the line, so a step that comes and goes meanwhile is never decided on by mistake.

Threads: a :class:`Decisions` belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Final, TypeAlias

from taskgrove.cli.open_steps import OpenStep, OpenSteps
from taskgrove.events.steering_request import SteeringVerb
from taskgrove.moves import IGNORE, Answer, step, table_of
from taskgrove.view.phrases import clock_text, seconds_between
from taskgrove.view.terminal_text import Charset, clip, duration_text, safe_text
from taskgrove.view.tree_lines import Segment

#: Takes a request: what, on which node (empty: the run), and why.
Ask: TypeAlias = Callable[[SteeringVerb, str, str], object]

_DECIDING: Final[Mapping[str, SteeringVerb]] = {
    "r": "retry", "a": "accept", "s": "skip", "f": "fail",
}  # fmt: skip
#: How many characters a reason has at most, when it is typed here.
_REASON_LIMIT: Final = 1000
_NEXT, _PREVIOUS = frozenset(("n", "down", "right")), frozenset(("N", "up", "left"))


class KeyStage(Enum):
    """What the keys do."""

    CHOOSING = auto()
    """They choose a step, or begin a request."""
    GIVING_REASON = auto()
    """They write the reason of a request."""
    CONFIRMING = auto()
    """They confirm an abort."""
    CLOSED = auto()
    """Nothing: the run has ended, or is being aborted."""


class Press(Enum):
    """What a key asks for."""

    DECIDE = auto()
    """Begin a decision on the chosen step."""
    ABORT = auto()
    """Begin an abort."""
    SUBMIT = auto()
    """Send the request."""
    CANCEL = auto()
    """Leave the request."""
    CLOSE = auto()
    """The run has ended, or is being aborted: it takes no request of these keys."""


_S, _P = KeyStage, Press
# fmt: off
MOVES: Final = table_of(KeyStage, Press, {
    _S.CHOOSING: {
        _P.DECIDE: _S.GIVING_REASON, _P.ABORT: _S.CONFIRMING, _P.SUBMIT: IGNORE,
        _P.CANCEL: IGNORE, _P.CLOSE: _S.CLOSED,
    },
    _S.GIVING_REASON: {
        _P.DECIDE: IGNORE, _P.ABORT: IGNORE, _P.SUBMIT: _S.CHOOSING,
        _P.CANCEL: _S.CHOOSING, _P.CLOSE: _S.CLOSED,
    },
    _S.CONFIRMING: {
        _P.DECIDE: IGNORE, _P.ABORT: IGNORE, _P.SUBMIT: _S.CHOOSING,
        _P.CANCEL: _S.CHOOSING, _P.CLOSE: _S.CLOSED,
    },
    _S.CLOSED: {
        _P.DECIDE: IGNORE, _P.ABORT: IGNORE, _P.SUBMIT: IGNORE,
        _P.CANCEL: IGNORE, _P.CLOSE: IGNORE,
    },
})
# fmt: on


class Decisions:
    """The keys and the lines of a run that is shown.

    Args:
        steps: The steps on which a decision is open.
        ask: Takes the requests.

    Attributes:
        stage: What the keys do.
    """

    def __init__(self, steps: OpenSteps, ask: Ask) -> None:
        self.stage = KeyStage.CHOOSING
        self._steps = steps
        self._ask = ask
        self._chosen: str | None = None
        self._verb: SteeringVerb = "retry"
        self._path = ""
        self._reason = ""
        self._hint = ""

    @property
    def chosen(self) -> OpenStep | None:
        """The step that the keys decide on."""
        steps = self._steps.steps
        found = steps.get(self._chosen or "")
        return found or next(iter(steps.values()), None)

    def press(self, keys: Iterable[str]) -> None:
        """Take keys, in order."""
        for key in keys:
            self._hint = ""
            if self.stage is KeyStage.GIVING_REASON:
                self._write(key)
            elif self.stage is KeyStage.CONFIRMING:
                self.act(Press.SUBMIT if key in ("y", "Y") else Press.CANCEL)
            elif self.stage is KeyStage.CHOOSING:
                self._choose(key)

    def settle(self) -> None:
        """Leave a request that nobody takes any more; called after new events."""
        if self._steps.aborting:
            if self.stage in (KeyStage.GIVING_REASON, KeyStage.CONFIRMING):
                self._hint = "nothing was asked: the run is being aborted"
            self.act(Press.CLOSE)
        elif self.stage is KeyStage.GIVING_REASON and self._path not in self._steps.steps:
            self.act(Press.CANCEL)
            self._hint = f"{safe_text(self._path)} is not held any more"

    def act(self, press: Press) -> None:
        """Carry out what a key asks for."""
        before, cell = self.stage, MOVES[self.stage, press]
        self.stage = step(MOVES, before, press, "keys")
        if isinstance(cell, Answer):
            return
        if press is Press.DECIDE:
            chosen = self.chosen
            self._path, self._reason = "" if chosen is None else chosen.path, ""
        elif press is Press.SUBMIT:
            confirmed = before is KeyStage.CONFIRMING
            self._ask(*(("abort", "", "") if confirmed else (self._verb, self._path, self._reason)))

    def _choose(self, key: str) -> None:
        chosen = self.chosen
        if key == "x":
            self.act(Press.ABORT)
        elif key == "p":
            self._ask("continue" if self._steps.pause else "pause", "", "")
        elif chosen is None:
            return
        elif key in _DECIDING:
            self._verb = _DECIDING[key]
            self.act(Press.DECIDE)
        elif key in _NEXT or key in _PREVIOUS:
            paths = list(self._steps.steps)
            further = paths.index(chosen.path) + (1 if key in _NEXT else -1)
            self._chosen = paths[further % len(paths)]

    def _write(self, key: str) -> None:
        if key == "enter":
            self._reason = self._reason.strip()
            if self._verb == "accept" and not self._reason:
                self._hint = "an accepted failure needs a reason"
            else:
                self.act(Press.SUBMIT)
        elif key == "escape":
            self.act(Press.CANCEL)
        elif key == "backspace":
            self._reason = self._reason[:-1]
        elif key == "clear":
            self._reason = ""
        elif len(key) == 1 and len(self._reason) < _REASON_LIMIT:
            self._reason += key

    # -- the lines ------------------------------------------------------------------------------

    def lines(self, width: int, charset: Charset, now_ns: int) -> list[list[Segment]]:
        """Return the lines below the tree: the pause, the chosen step, the keys.

        Args:
            width: Columns of the terminal.
            charset: The signs that it can show.
            now_ns: Now, on the clock of the run's events.
        """
        if self.stage is KeyStage.CLOSED:
            return [[(clip(self._hint, width, charset.ellipsis), "yellow")]] if self._hint else []
        told: list[Segment] = []
        pause, chosen = self._steps.pause, self.chosen
        if pause is not None:
            request = pause.request
            by = f" by {safe_text(request.who)}" if request is not None and request.who else ""
            why = f": {safe_text(request.why)}" if request is not None and request.why else ""
            told.append((f"paused{by} for {_time(pause.since_ns, now_ns)}{why}", "bold yellow"))
        if chosen is not None:
            told += self._about(chosen, now_ns)
        if self._hint:
            told.append((self._hint, "yellow"))
        told.append((self._key_line(chosen, width), "bold" if chosen else "dim"))
        return [[(clip(text, width, charset.ellipsis), style)] for text, style in told]

    def _about(self, chosen: OpenStep, now_ns: int) -> list[Segment]:
        paths = list(self._steps.steps)
        number = f" {paths.index(chosen.path) + 1:,}/{len(paths):,}" if len(paths) > 1 else ""
        wait = chosen.wait
        since = _time(wait.since_ns, now_ns)
        attempt = f", attempt {chosen.attempt}" if chosen.attempt > 1 else ""
        until = "" if wait.until_ns is None else f", until {clock_text(wait.until_ns, now_ns)}"
        head = f"{wait.how}{number} for {since}{until}: {safe_text(chosen.path)}"
        return [(head + attempt, "bold yellow"), (f"  {safe_text(chosen.words)}", "")]

    def _key_line(self, chosen: OpenStep | None, width: int) -> str:
        if self.stage is KeyStage.CONFIRMING:
            return "Abort the run? y: yes, any other key: no"
        if self.stage is KeyStage.GIVING_REASON:
            none = "" if self._verb == "accept" else "Enter: none, "
            asked = f"Why {self._verb} {safe_text(self._path)}? ({none}Esc: back) "
            return asked + _end_of(self._reason, max(10, width - len(asked) - 1)) + "_"
        words = []
        if chosen is not None:
            words += [f"{key} {verb}" for key, verb in _DECIDING.items()]
            words += ["n next"] * (len(self._steps.steps) > 1)
        words += ["p continue" if self._steps.pause else "p pause", "x abort"]
        return "  ".join(words)


def _end_of(text: str, room: int) -> str:
    return text if len(text) <= room else text[-room:]


def _time(since_ns: int, now_ns: int) -> str:
    return duration_text(seconds_between(since_ns, now_ns))
