"""Where the words of the command line go: a terminal, a pipe, or nowhere any more.

Everything that is shown passes through here, and is made harmless and encodable on
the way. A reader that goes away (``| head``) ends the words, not the command: a
telescope is not stopped because nobody looks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from taskgrove.cli.surroundings import shown_rule
from taskgrove.errors import AnalysisError, CommandError, MapError, TaskgroveError
from taskgrove.story.node_state import NodeState
from taskgrove.view.states import STATE_STYLES
from taskgrove.view.terminal_text import (
    UNICODE,
    charset_for,
    encodable,
    safe_lines,
    safe_text,
    wrapped,
)
from taskgrove.view.tree_lines import Segment
from taskgrove.view.why import Explanation
from taskgrove.view.why.rendering import commands_of, lists_of

#: How many problems of a map, or reasons of a refusal, are listed.
_LISTED = 20
#: Our own signs, for streams that cannot show them; what devices say is written out instead.
_IN_ASCII = str.maketrans({"…": "...", "→": "->", "·": "-", "\u00d7": "x"})


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the decision to the caller; rich itself would end the process."""
        raise BrokenPipeError


class Terminal:
    """Standard output and standard error.

    Args:
        json: True where standard output carries events, so that words go to standard error.
        live: False to show calm lines on a terminal too.

    Attributes:
        words: The console that words go to.
        is_live: True where a moving tree can be shown.
        gone: True once the reader of the words went away.
    """

    def __init__(self, *, json: bool = False, live: bool = True) -> None:
        self._out = _console(sys.stdout)
        self._err = _console(sys.stderr)
        self.words = self._err if json else self._out
        self.gone = False
        self.is_live = (
            live and not json and self.words.is_terminal and not self.words.is_dumb_terminal
        )
        self._encoding = getattr(self.words.file, "encoding", None)
        self.charset = charset_for(self._encoding)

    @property
    def width(self) -> int:
        """Columns of the terminal; 100 where the words go to a pipe."""
        return self.words.width if self.words.is_terminal else 100

    def say(self, text: str = "", style: str = "") -> None:
        """Print words, each line made harmless; long lines are not broken in a pipe."""
        for line in safe_lines(shown_rule().said(text)):
            self._print(self.words, self.styled([(line, style)]))

    def say_line(self, segments: list[Segment]) -> None:
        """Print one line of styled pieces, which are harmless already."""
        self._print(self.words, self.styled(segments))

    def styled(self, segments: list[Segment]) -> Text:
        """Return styled pieces as rich text; nothing in them is read as markup."""
        text = Text()
        for piece, style in segments:
            shown = encodable(self._in_charset(piece), self._encoding)
            text.append(shown, STATE_STYLES.get(style, style))
        return text

    def say_explanation(self, words: Explanation) -> None:
        """Print why a run ended so: the first line in the colour of its outcome, then the rest."""
        whole = commands_of(words)
        for line in self._broken(words.sentence, whole):
            self.say_headline(line, words.shown_as)
        for title, items in lists_of(words):
            self.say(f"{title}:", "bold")
            for item in items:
                self.say_item(item, whole)

    def say_headline(self, text: str, state: NodeState) -> None:
        """Print the first line about an outcome, in the colour of its state."""
        self.say(text, f"bold {STATE_STYLES[state]}".replace("bold bold", "bold"))

    def say_paragraph(self, text: str) -> None:
        """Print a paragraph of our own, broken between words on a terminal."""
        for line in self._broken(text):
            self.say(line)

    def _broken(self, text: str, whole: Sequence[str] = ()) -> list[str]:
        wide = max(20, self.width)
        return wrapped(text, wide, whole=whole) if self.words.is_terminal else [text]

    def say_item(self, text: str, whole: Sequence[str] = ()) -> None:
        """Print one item of a list; on a terminal a long one is broken between words.

        Args:
            text: The item.
            whole: Parts of it that stay whole, such as command lines.
        """
        lines = [f"  - {safe_text(text)}"]
        if self.words.is_terminal:
            lines = wrapped(lines[0], max(20, self.width), "    ", whole)
        for line in lines:
            self.say(line)

    def say_error(self, error: BaseException) -> None:
        """Print one clear block about an error on standard error."""
        first, *rest = error_lines(error)
        block = [("error: ", "bold red"), (first, "bold")]
        encoding = getattr(self._err.file, "encoding", None)
        lines = [block, *[[(line, "")] for line in rest]]
        for segments in lines:
            text = Text()
            for piece, style in segments:
                text.append(encodable(piece, encoding), style)
            self._print(self._err, text)

    def write(self, data: bytes) -> None:
        """Write bytes to standard output as they are."""
        if self.gone:
            return
        if sys.stdout is None:  # closed by whoever started us
            self.gone = True
            return
        with self.ends_when_gone():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def _print(self, console: Console, text: Text) -> None:
        if self.gone and console is self.words:
            return
        with self.ends_when_gone(console):
            console.print(text, soft_wrap=not console.is_terminal, highlight=False)

    @contextlib.contextmanager
    def ends_when_gone(self, console: Console | None = None) -> Iterator[None]:
        """Let the words end, and not the command, where what the block writes reaches nobody.

        The reader has gone, the terminal has closed, or the disk is full.

        Args:
            console: What the block writes to; None: standard output.
        """
        try:
            yield
        except OSError as exc:
            stream = sys.stdout if console is None else console.file
            if console is None or console is self.words:
                self.gone = True
            silence(stream)
            if not isinstance(exc, BrokenPipeError) and stream is not sys.stderr:
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"taskgrove: standard output cannot be written: {exc}\n")

    def _in_charset(self, text: str) -> str:
        return text if self.charset is UNICODE or text.isascii() else text.translate(_IN_ASCII)


def silence(stream: IO[str]) -> None:
    """Send what is still to be written to a stream that broke nowhere, so that exit stays quiet."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def flush_streams() -> None:
    """Write what is left; where that cannot be done, leave nothing for the exit to fail at."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # None: closed by whoever started us
                stream.flush()
        except OSError:
            silence(stream)


def error_lines(error: BaseException) -> list[str]:
    """Return an error as harmless lines: what, where, what is allowed, what to do next.

    Secrets are redacted: an error may quote a value that it does not like.
    """
    rule = shown_rule()
    if isinstance(error, MapError) and error.map_path:
        rule.remember({error.map_path.rpartition(".")[2]: error.found})
    message = error.message if isinstance(error, TaskgroveError) else str(error)
    if isinstance(error, MapError):
        message = error.problem
    elif isinstance(error, CommandError) and error.reasons:
        message = error.summary  # the reasons get lines of their own
    lines = [safe_text(message)]
    if isinstance(error, MapError):
        lines += _map_lines(error)
    elif isinstance(error, TaskgroveError) and error.path:
        lines.append(f"  at:      {safe_text(error.path)}")
    if isinstance(error, AnalysisError):
        lines += _also_lines(error.problems[1:])
    if isinstance(error, CommandError):
        lines += [f"  because: {safe_text(reason)}" for reason in error.reasons[:_LISTED]]
    if isinstance(error, TaskgroveError) and error.hint:
        lines.append(f"  hint:    {safe_text(error.hint)}")
    return [rule.said(line) for line in lines]


def _map_lines(error: MapError) -> list[str]:
    lines = []
    if error.file is not None:
        line = "" if error.line is None else f", line {error.line}"
        lines.append(f"  file:    {safe_text(error.file)}{line}")
    if error.map_path:
        lines.append(f"  at:      {safe_text(error.map_path)}")
    if error.found is not None:
        name = (error.map_path or "").rpartition(".")[2]
        found = shown_rule().plain({name: error.found})[name]
        lines.append(f"  found:   {safe_text(repr(found))[:200]}")
    if error.allowed:
        lines.append(f"  allowed: {', '.join(safe_text(item) for item in error.allowed)}")
    return lines + _also_lines(error.problems[1:])


def _also_lines(problems: Sequence[str]) -> list[str]:
    lines = [f"  also:    {safe_text(problem)}" for problem in problems[:_LISTED]]
    if len(problems) > _LISTED:
        lines.append(f"  also:    {len(problems) - _LISTED} more")
    return lines


def _console(stream: IO[str]) -> Console:
    # Nothing that a device says is markup, an emoji code or something to highlight.
    console = _Console(file=stream, markup=False, emoji=False, highlight=False)
    if console.is_dumb_terminal and "COLUMNS" not in os.environ:
        # rich takes 80 columns there; the terminal knows how many it has.
        with contextlib.suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(stream.fileno())
            console.size = ConsoleDimensions(columns or console.width, rows or console.height)
    return console
