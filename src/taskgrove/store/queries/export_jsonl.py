r"""Runs as JSON lines: for each a header, then its events as they are on the wire.

A header is an object with ``"record": "run"``; every line until the next header is an event
of that run (:func:`taskgrove.events.decode_event`). :func:`read_jsonl` reads both back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from taskgrove.errors import UsageError
from taskgrove.events import TaskEvent, decode_event, encode_event
from taskgrove.store.queries.run_rows import RequestRow, RunRow, RunSummary, VerdictRow
from taskgrove.story.run_node import RunNode

#: Version of the header; a reader refuses one that it does not know.
EXPORT_VERSION: Final = 1
_HEADER_MARK: Final = b'{"record":"run"'
#: The key and the lease mean something in their own store only.
_HEADER_NAMES: Final = tuple(
    name for name in RunRow.__struct_fields__ if name not in ("run_key", "lease")
)


class ReadableRuns(Protocol):
    """The part of a :class:`~taskgrove.store.history.History` that exports need."""

    def run(self, run: RunSummary, /) -> RunRow: ...  # noqa: D102 - as of a History
    def nodes(self, run: RunSummary, /) -> list[RunNode]: ...  # noqa: D102
    def events(self, run: RunSummary, /) -> Iterator[TaskEvent]: ...  # noqa: D102
    def verdicts(self, run: RunSummary, /) -> Iterable[VerdictRow]: ...  # noqa: D102
    def requests(self, run: RunSummary, /) -> Iterable[RequestRow]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """One run of an export.

    Attributes:
        header: The facts of the run besides its events, as plain data.
        events: Its events, in order.
    """

    header: dict[str, Any]
    events: tuple[TaskEvent, ...]


def header_of(
    run: RunRow, verdicts: Iterable[VerdictRow] = (), requests: Iterable[RequestRow] = ()
) -> dict[str, Any]:
    """Return the facts of a run besides its events, as plain data.

    Args:
        run: The run.
        verdicts: The verdicts of operators on it.
        requests: The requests of operators to it.
    """
    held = {name: getattr(run, name) for name in _HEADER_NAMES}
    said = [asdict(verdict) for verdict in verdicts]
    head = {"record": "run", "version": EXPORT_VERSION, "outcome": run.outcome}
    asked = [{"request": it.request, "answer": it.answer} for it in requests]
    return {**head, **held, "verdicts": said, "requests": asked}


def jsonl_of(history: ReadableRuns, runs: Iterable[RunSummary]) -> Iterator[bytes]:
    """Yield the lines of an export, each with its end.

    Args:
        history: The record.
        runs: The runs, in the order wanted.
    """
    for run in runs:
        header = header_of(history.run(run), history.verdicts(run), history.requests(run))
        yield msgspec.json.encode(header) + b"\n"
        for event in history.events(run):  # so whatever is written can be read
            yield encode_event(event) + b"\n"


def export_jsonl(history: ReadableRuns, runs: Iterable[RunSummary], file: str | Path) -> int:
    """Write runs and their events into a file of JSON lines.

    Args:
        history: The record.
        runs: The runs, in the order wanted.
        file: The file.

    Returns:
        How many runs were written.
    """
    count = 0
    with Path(file).open("wb") as opened:
        for line in jsonl_of(history, runs):
            opened.write(line)
            count += line.startswith(_HEADER_MARK)
    return count


def read_jsonl(lines: Iterable[bytes | str]) -> Iterator[ExportedRun]:
    """Yield the runs of an export.

    Args:
        lines: The lines, such as an open file's.

    Raises:
        UsageError: The lines are no export, or one of a newer version.
        msgspec.ValidationError: A line is no event, or one of a newer schema.
    """
    header: dict[str, Any] | None = None
    events: list[TaskEvent] = []
    for number, given in enumerate(lines, 1):
        line = given.encode() if isinstance(given, str) else given
        if not line.strip():
            continue
        if line.startswith(_HEADER_MARK):
            if header is not None:
                yield ExportedRun(header, tuple(events))
            header, events = _header(line, number), []
        elif header is None:
            raise UsageError(f"line {number} is no header of a run: this is no export")
        else:
            events.append(decode_event(line))
    if header is not None:
        yield ExportedRun(header, tuple(events))


def _header(line: bytes, number: int) -> dict[str, Any]:
    header: dict[str, Any] = msgspec.json.decode(line, type=dict)
    if header.get("version", 0) > EXPORT_VERSION:
        raise UsageError(
            f"line {number} has export version {header['version']},"
            f" this version reads up to {EXPORT_VERSION}"
        )
    return header
