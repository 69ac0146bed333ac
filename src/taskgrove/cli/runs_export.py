"""``taskgrove runs export``: runs as JSON lines, as Parquet, or as a report to mail."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import StoreError, UnknownRunError, UsageError, nearest
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.history import History
from taskgrove.store.queries.export_jsonl import jsonl_of
from taskgrove.store.queries.run_filter import parse_filter
from taskgrove.store.queries.run_rows import RunSummary

_FORMATS: Final = ("jsonl", "parquet", "html")
_SUFFIXES: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".html": "html"}


@verb
def export_runs(
    filters: opt.Filters,
    runs: opt.Runs = None,
    db: opt.Database = None,
    output: opt.Output = None,
    format_: opt.Format = None,
    limit: opt.Limit = None,
) -> int:
    """Write runs as JSON lines, as Parquet files, or as one page that needs no network."""
    wanted = _format_of(format_, output)
    which = parse_filter(**filters, limit=limit)
    target = None if output in (None, "-") else output
    if wanted == "parquet" and target is None:
        raise UsageError("Parquet goes into a folder", hint="name it with --output FOLDER")
    terminal = Terminal(json=True)
    with history_of_runs(db) as history:
        _check_target(target, history.store.file)
        chosen: Sequence[RunSummary] = (
            [history.find(run) for run in runs] if runs else history.runs(which)
        )
        if not chosen:
            line = quoted_line(history.store.location, "runs", "list")
            raise UnknownRunError("no runs match", hint=f"{line} lists all runs")
        _export(terminal, history, chosen, wanted, target)
    if target is not None:
        many = f"{len(chosen):,} runs" if len(chosen) != 1 else "1 run"
        terminal.say(f"wrote {many} to {target}")
    return ExitCode.OK


def _check_target(target: str | None, record: Path | None) -> None:
    if target is None or record is None:
        return
    own = [record, *(Path(f"{record}{suffix}") for suffix in ("-wal", "-shm"))]
    if Path(target).exists() and any(it.exists() and it.samefile(target) for it in own):
        raise UsageError(
            f"{target} is a file of this record and is not overwritten",
            hint="name another file",
        )


def _format_of(given: str | None, output: str | None) -> str:
    if given is not None:
        if given in _FORMATS:
            return given
        close = nearest(given, _FORMATS)
        raise UsageError(
            f"there is no format {given!r}",
            hint=f"{f'did you mean {close!r}? ' if close else ''}allowed: {', '.join(_FORMATS)}",
        )
    suffix = Path(output or "").suffix.lower()
    if suffix and suffix not in _SUFFIXES:
        raise UsageError(
            f"the ending {suffix!r} names no format",
            hint=f"allowed: {', '.join(_SUFFIXES)}; or say --format",
        )
    return _SUFFIXES.get(suffix, "jsonl")


def _export(
    terminal: Terminal,
    history: History,
    runs: Sequence[RunSummary],
    wanted: str,
    target: str | None,
) -> None:
    if wanted == "parquet":
        from taskgrove.store.queries.export_parquet import export_parquet  # noqa: PLC0415 - an extra

        assert target is not None
        with _told(target):
            export_parquet(history, runs, target)
        return
    if wanted == "html":
        from taskgrove.report import render_report  # noqa: PLC0415 - rarely needed

        page = render_report(history, runs).encode()
        _write(terminal, target, [page])
        return

    _write(terminal, target, jsonl_of(history, runs))


def _write(terminal: Terminal, target: str | None, chunks: Iterable[bytes]) -> None:
    if target is None:
        for chunk in chunks:
            terminal.write(chunk)
        return
    with _told(target):
        place = Path(target)
        if place.exists() and not place.is_file() and not place.is_dir():
            _write_into(place, chunks)  # a device or a pipe: nothing takes its place
            return
        place = place.resolve()  # a link stays, and leads to the new file
        # A file that stood there before stays whole until the new one is.
        part = Path(f"{place}.part-{os.getpid()}")
        try:
            _write_into(part, chunks)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


def _write_into(file: Path, chunks: Iterable[bytes]) -> None:
    with file.open("wb") as opened:
        for chunk in chunks:
            opened.write(chunk)


@contextmanager
def _told(target: str) -> Iterator[None]:
    """Turn errors of the file system into usage errors; errors of the record pass."""
    try:
        yield
    except StoreError:
        raise
    except OSError as exc:
        raise UsageError(f"{target} cannot be written: {exc.strerror or exc}") from exc
