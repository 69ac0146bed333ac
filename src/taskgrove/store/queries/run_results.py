"""The results of analyses over many runs: a row for each analysis, a column for each value.

Names of values begin with ``payload``, ``summary`` or ``parameters``; keys inside follow after
dots (``payload.fit.distance``). One query reads all rows; no event is read.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from taskgrove.errors import UsageError, nearest
from taskgrove.store.queries.flat_values import flat_values, part_of
from taskgrove.store.queries.listing import Listing, frame_of
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_conditions import conditions_of
from taskgrove.store.queries.run_filter import RunFilter, from_ns
from taskgrove.store.queries.run_outcome import RunOutcome, outcome_word

#: The beginnings of names of values; the first two are columns without being asked for.
ROOTS: Final = ("payload", "summary", "parameters")


class _Detail(msgspec.Struct):
    """The parts of :class:`~taskgrove.events.AnalysisDetail` that a row needs."""

    parameters: str = "{}"
    payload: str = "null"
    summary: str = ""
    summary_values: str = "{}"
    duration_s: float | None = None


_decode = msgspec.json.Decoder(_Detail).decode


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The result of one analysis of a run, the last attempt at it.

    Attributes:
        run_id: The run.
        command: Its command.
        outcome: Its outcome.
        created_ns: When the run was submitted, UTC, nanoseconds since the epoch.
        path: The path of the analysis' leaf.
        analysis: The analysis' name.
        status: The name of its own status.
        duration_s: How long its process ran, in seconds; None: it never ran.
        values: Its values by their whole names: numbers, texts, truth values, None, and lists of
            these. A part of a payload that is kept in a file is the name of the file.
    """

    run_id: str
    command: str
    outcome: RunOutcome
    created_ns: int
    path: str
    analysis: str
    status: str
    duration_s: float | None
    values: Mapping[str, Any]
    _detail: _Detail = field(repr=False, compare=False)

    FRAME_COLUMNS = ("created_at",)

    @property
    def created_at(self) -> datetime:
        """When the run was submitted."""
        return from_ns(self.created_ns)

    def value(self, name: str) -> Any:
        """Return a value by its whole name, also one inside a list; None: there is none."""
        if name in self.values:
            return self.values[name]
        root, *keys = name.split(".")
        if root not in ROOTS or not keys:
            return None
        text = self._detail.summary_values if root == "summary" else getattr(self._detail, root)
        return part_of(text, keys)


class ValueColumn(NamedTuple):
    """A column of values.

    Attributes:
        title: Its name, as short as it is unique.
        name: The whole name of its values.
    """

    title: str
    name: str


class ResultTable(Listing[ResultRow]):
    """Results of analyses, newest run first; within a run as they ended."""

    def columns(self, wanted: Iterable[str] = ()) -> list[ValueColumn]:
        """Return the columns that are asked for, or else all values of payloads and summaries.

        Args:
            wanted: Names: whole ones, or without ``payload`` or ``summary`` at their beginning;
                ``*`` and ``?`` as in a shell.

        Raises:
            UsageError: No row has such a value; the hint names the nearest.
        """
        names = list(dict.fromkeys(name for row in self for name in row.values))
        asked = list(wanted)
        if not asked:
            shown = [name for name in names if not name.startswith("parameters")]
        else:
            shown = list(dict.fromkeys(it for word in asked for it in self._meant(word, names)))
        counts = Counter(map(_short, dict.fromkeys([*shown, *_unasked(names)])))
        return [
            ValueColumn(_short(name) if counts[_short(name)] == 1 else name, name) for name in shown
        ]

    def _meant(self, word: str, names: Sequence[str]) -> list[str]:
        if any(sign in word for sign in "*?["):
            found = [it for it in names if fnmatch.fnmatchcase(it, word)]
            found = found or [it for it in names if fnmatch.fnmatchcase(_short(it), word)]
        else:
            whole = [word, *(f"{root}.{word}" for root in ROOTS[:2])]
            found = next(([it] for it in whole if it in names), [])
            if not found:  # perhaps an item of a list
                inside = (it for it in whole if any(row.value(it) is not None for row in self))
                found = next(([it] for it in inside), [])
        if found or not self:
            return found
        known = [*names, *map(_short, names)]
        close = nearest(word, known)
        some = ", ".join(dict.fromkeys(map(_short, names))) or "none"
        raise UsageError(
            f"no result has a value {word!r}",
            hint=f"did you mean {close!r}?" if close else f"there are: {some[:400]}",
        )

    def records(self, wanted: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return a mapping for each row: its facts, then its values by the titles of columns.

        Arguments and errors are those of :meth:`columns`.
        """
        columns = self.columns(wanted)
        return [
            {**_facts(row), **{column.title: row.value(column.name) for column in columns}}
            for row in self
        ]

    def by_run(self, wanted: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return a mapping for each run: its facts, then the values of all of its analyses.

        Where a run has several analyses, the name of a value begins with the step of its analysis:
        its path below the root.

        Arguments and errors are those of :meth:`columns`.
        """
        columns = self.columns(wanted)
        has_steps = len({row.run_id for row in self}) < len(self)
        found: dict[str, dict[str, Any]] = {}
        names: dict[str, None] = {}
        for row in self:
            step = f"{row.path.partition('/')[2]}." if has_steps else ""
            run = found.setdefault(row.run_id, {name: getattr(row, name) for name in RUN_FACTS})
            for column in columns:
                value = row.value(column.name)
                if value is not None:
                    run[f"{step}{column.title}"] = value
                    names[f"{step}{column.title}"] = None
        whole = dict.fromkeys([*RUN_FACTS, *names])
        return [{**whole, **run} for run in found.values()]

    def to_frame(self, wanted: Iterable[str] = (), *, by_run: bool = False) -> Any:
        """Return a pandas DataFrame, a line for each row of :meth:`records`.

        Args:
            wanted: As :meth:`columns`.
            by_run: Whether it has a line for each run, as :meth:`by_run`.

        Raises:
            MissingExtraError: pandas is not installed.
            UsageError: No row has a value that is asked for.
        """
        if by_run:
            return frame_of(self.by_run(wanted), None if self else RUN_FACTS)
        columns = [*FACTS, *(column.title for column in self.columns(wanted))]
        return frame_of(self.records(wanted), columns)


#: The facts of a run besides the values of its analyses.
RUN_FACTS: Final = ("run_id", "command", "outcome", "created_at")
#: The facts of each row besides its values.
FACTS: Final = (
    "run_id", "command", "outcome", "created_at", "path", "analysis", "status", "duration_s",
)  # fmt: skip


def _facts(row: ResultRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in FACTS}


def _short(name: str) -> str:
    """Return a name without ``payload`` or ``summary`` before it; facts keep their names."""
    root, _, rest = name.partition(".")
    return rest if rest and root in ROOTS[:2] and rest not in FACTS else name


def _unasked(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("parameters")]


def results_of(reader: Reader, which: RunFilter) -> ResultTable:
    """Return the results of analyses of the runs that a filter lets through.

    Args:
        reader: Reads the store.
        which: The filter; its limit counts runs that have results, and where it names an analysis,
            only the results of that one are returned.
    """
    if which.analysis is None:  # those that have any
        which = replace(which, analysis="*")
    where, parameters = conditions_of(reader, which)
    condition, name = reader.glob("a.analysis", which.analysis or "*")
    limit = "" if which.limit is None else f" LIMIT {int(which.limit)}"
    rows = reader.rows(
        "SELECT r.run_id, r.command, r.state, r.status, r.result_code, r.health_state,"  # noqa: S608
        " r.created_ns, p.path, a.analysis, a.status, a.detail"
        f" FROM (SELECT r.run_key AS chosen FROM runs r{where}"
        f" ORDER BY r.created_ns DESC, r.run_key DESC{limit}) AS c"
        " JOIN runs r ON r.run_key = c.chosen JOIN analyses a ON a.run_key = r.run_key"
        f" AND {condition} JOIN paths p ON p.path_key = a.path_key"
        " ORDER BY r.created_ns DESC, r.run_key DESC, a.sequence",
        [*parameters, name],
    )
    last: dict[tuple[str, str], ResultRow] = {}
    for run_id, command, *outcome, created_ns, path, of, status, detail in rows:
        last.pop((run_id, path), None)  # the last attempt counts, at its own place
        last[run_id, path] = _row_of(
            run_id, command, outcome_word(*outcome), created_ns, path, of, status, detail
        )
    return ResultTable(last.values())


def _row_of(
    run_id: str,
    command: str,
    outcome: RunOutcome,
    created_ns: int,
    path: str,
    analysis: str,
    status: str,
    body: Any,
) -> ResultRow:
    try:
        detail = _decode(bytes(body))
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        detail = _Detail(summary=f"this row cannot be read: {exc}")
    values = flat_values(detail.payload, "payload")
    summary = flat_values(detail.summary_values, "summary")
    if not summary and detail.summary:
        summary = {"summary": detail.summary}
    return ResultRow(
        run_id, command, outcome, created_ns, path, analysis, status, detail.duration_s,
        {**values, **summary, **flat_values(detail.parameters, "parameters")}, detail,
    )  # fmt: skip
