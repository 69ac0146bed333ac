"""Where the words of the command line go: a terminal, a pipe, or nowhere any more.

Everything that is shown passes through here, and is made harmless and encodable on
the way. A reader that goes away (``| head``) ends the words, not the command: a
telescope is not stopped because nobody looks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Final

from taskgrove.cli.error_words import error_lines
from taskgrove.cli.surroundings import shown_rule
from taskgrove.story.node_state import NodeState
from taskgrove.view.states import STATE_STYLES
from taskgrove.view.terminal_text import (
    UNICODE,
    charset_for,
    encodable,
    safe_lines,
    safe_text,
    width_of,
    wrapped,
)
from taskgrove.view.tree_lines import Segment

if TYPE_CHECKING:
    from taskgrove.view.why import Explanation

#: Our own signs, for streams that cannot show them; what devices say is written out instead.
_IN_ASCII = str.maketrans({"…": "...", "→": "->", "·": "-", "\u00d7": "x"})


#: Words of a style, as a terminal takes them (ECMA-48, SGR).
_SGR: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35",
    "cyan": "36", "underline": "4",
}  # fmt: skip


class Stream:
    """A standard stream, and what its reader can show.

    Attributes:
        is_terminal: True where it is a terminal, or ``FORCE_COLOR`` says that it is to be one.
        is_dumb: True for a terminal that only shows lines.
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.encoding: str | None = getattr(file, "encoding", None)
        forced = os.environ.get("TTY_COMPATIBLE", "")
        coloured = os.environ.get("FORCE_COLOR")
        if forced in ("0", "1"):
            self.is_terminal = forced == "1"
        elif coloured is not None:
            self.is_terminal = coloured != ""
        else:
            self.is_terminal = file is not None and not file.closed and file.isatty()
        dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
        self.is_dumb = self.is_terminal and dumb
        self._codes = self.is_terminal and not dumb and not os.environ.get("NO_COLOR")

    @property
    def can_move(self) -> bool:
        """True where lines can move: on a terminal, and if rich is installed."""
        return self.is_terminal and not self.is_dumb and find_spec("rich") is not None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines: those of the environment, else of the terminal, else 80 and 25."""
        columns = lines = 0
        for number in (0, 1, 2):
            with contextlib.suppress(OSError, ValueError):
                columns, lines = os.get_terminal_size(number)
                break
        said = os.environ.get("COLUMNS", ""), os.environ.get("LINES", "")
        columns = int(said[0]) if said[0].isdigit() else columns
        lines = int(said[1]) if said[1].isdigit() else lines
        return columns or 80, lines or 25

    def print(self, text: str) -> None:
        """Write a line at once: a pipe's reader waits for it."""
        self.file.write(f"{text}\n")
        self.file.flush()

    def coded(self, segments: Sequence[Segment]) -> str:
        """Return styled pieces as text with the codes of their styles, where it shows colours."""
        if not self._codes:
            return "".join(piece for piece, _ in segments)
        return "".join(
            f"\x1b[{';'.join(map(_SGR.__getitem__, style.split()))}m{piece}\x1b[0m"
            if style and piece
            else piece
            for piece, style in segments
        )


class Terminal:
    """Standard output and standard error.

    Args:
        json: True where standard output carries events, so that words go to standard error.
        live: False to show calm lines on a terminal too.

    Attributes:
        words: The stream that words go to.
        is_live: True where a moving tree can be shown.
        gone: True once the reader of the words went away.
        above: Prints above what moves at the foot of the terminal, while something does.
    """

    def __init__(self, *, json: bool = False, live: bool = True) -> None:
        self._out = Stream(sys.stdout)
        self._err = Stream(sys.stderr)
        self.words = self._err if json else self._out
        self.gone = False
        self.above: Callable[[str], None] | None = None
        self.is_live = live and not json and self.words.can_move
        self.charset = charset_for(self.words.encoding)

    @property
    def width(self) -> int:
        """Columns of the terminal; 100 where the words go to a pipe."""
        return self.words.size[0] if self.words.is_terminal else 100

    def say(self, text: str = "", style: str = "") -> None:
        """Print words, each line made harmless; long lines are not broken in a pipe."""
        for line in safe_lines(shown_rule().said(text)):
            self.say_line([(line, style)])

    def say_line(self, segments: Sequence[Segment]) -> None:
        """Print one line of styled pieces, which are harmless already."""
        if self.gone:
            return
        for line in self._fitting(self.words, self._shown(segments), fold=self.above is not None):
            text = self.words.coded(line)
            with self.ends_when_gone(self.words):
                (self.above or self.words.print)(text)

    def coded(self, segments: Sequence[Segment]) -> str:
        """Return styled pieces, which are harmless already, as the terminal takes them."""
        return self.words.coded(self._shown(segments))

    def _shown(self, segments: Sequence[Segment]) -> list[Segment]:
        encoding = self.words.encoding
        return [
            (encodable(self._in_charset(piece), encoding), STATE_STYLES.get(style, style))
            for piece, style in segments
        ]

    @staticmethod
    def _fitting(stream: Stream, segments: list[Segment], *, fold: bool) -> list[list[Segment]]:
        """Return a line as lines that are no wider than the terminal.

        Args:
            stream: Where it is shown.
            segments: The line.
            fold: Whether parts that cannot be broken, such as command lines, are folded, too. Those
                that the terminal folds are still one line when they are copied.
        """
        if not stream.is_terminal:
            return [segments]
        text, width = "".join(piece for piece, _ in segments), max(20, stream.size[0])
        if width_of(text) <= width:
            return [segments]
        lines = wrapped(text, width)
        if fold:
            lines = [part for line in lines for part in _folded(line, width)]
        return [[(line, segments[-1][1])] for line in lines]

    def say_explanation(self, words: Explanation) -> None:
        """Print why a run ended so: the first line in the colour of its outcome, then the rest."""
        from taskgrove.view.why.rendering import commands_of, lists_of  # noqa: PLC0415 - slow

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
        for segments in [block, *[[(line, "")] for line in rest]]:
            known = [(encodable(piece, self._err.encoding), style) for piece, style in segments]
            for line in self._fitting(self._err, known, fold=False):
                if not (self.gone and self._err is self.words):
                    with self.ends_when_gone(self._err):
                        self._err.print(self._err.coded(line))

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

    @contextlib.contextmanager
    def ends_when_gone(self, stream: Stream | None = None) -> Iterator[None]:
        """Let the words end, and not the command, where what the block writes reaches nobody.

        The reader has gone, the terminal has closed, or the disk is full.

        Args:
            stream: What the block writes to; None: standard output.
        """
        try:
            yield
        except OSError as exc:
            file = sys.stdout if stream is None else stream.file
            if stream is None or stream is self.words:
                self.gone = True
            silence(file)
            if not isinstance(exc, BrokenPipeError) and file is not sys.stderr:
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"taskgrove: standard output cannot be written: {exc}\n")

    def _in_charset(self, text: str) -> str:
        return text if self.charset is UNICODE or text.isascii() else text.translate(_IN_ASCII)


def _folded(line: str, width: int) -> Iterator[str]:
    """Yield a line that has no more blanks to break at in parts that fit, as a terminal would."""
    while width_of(line) > width:
        end = width
        while width_of(line[:end]) > width:
            end -= 1
        yield line[:end]
        line = line[end:]
    yield line


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
