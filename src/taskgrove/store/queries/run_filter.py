"""Which runs are meant: by command, outcome, device, time and label.

Texts of the command line are read here, with errors that name allowed values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError, nearest
from taskgrove.store.queries.run_outcome import RUN_OUTCOMES, RunOutcome

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: The largest whole number of a record's columns, to the microsecond.
_MOST_NS: Final = (2**63 - 1) // 1000 * 1000
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_UNITS: Final[dict[str, float]] = {
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
}
_UNIT_WORDS: Final = ", ".join(_UNITS)
#: Words that other systems have, so that the near miss can be named.
_OTHER_WORDS: Final[dict[str, RunOutcome]] = {
    "completed": "ok",
    "success": "ok",
    "succeeded": "ok",
    "error": "failed",
    "cancelled": "aborted",
    "active": "running",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are meant; a missing value matches every run.

    Attributes:
        command: The command, with ``*``, ``?``, ``[abc]`` and ``[!abc]`` as in a shell; it
            distinguishes case. Of a run of one analysis also the name of the analysis or of its
            leaf.
        outcomes: Their outcomes; empty means any.
        device: A device that a leaf of the run was for; signs as in ``command``.
        analysis: An analysis that the run has told the end of; signs as in ``command``.
        since: Runs that began at this instant or later; aware.
        until: Runs that began before this instant; aware.
        labels: Labels that the run must have, each with its value.
        limit: The most runs to return, newest first, from 1; None means all.

    Raises:
        UsageError: A value cannot be used.
    """

    command: str | None = None
    outcomes: tuple[RunOutcome, ...] = ()
    device: str | None = None
    analysis: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None

    def __post_init__(self) -> None:
        outcomes = tuple(dict.fromkeys(parse_outcome(word) for word in self.outcomes))
        object.__setattr__(self, "outcomes", outcomes)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"a limit is a whole number from 1, not {self.limit!r}")
        for name, instant in (("since", self.since), ("until", self.until)):
            if instant is not None and instant.tzinfo is None:
                raise UsageError(
                    f"{name} has no time zone", hint="give one, such as tzinfo=datetime.UTC"
                )

    @property
    def is_narrow(self) -> bool:
        """True where it has a condition besides the limit."""
        own = (self.command, self.outcomes, self.device, self.analysis)
        return any((*own, self.since, self.until, self.labels))

    @property
    def since_ns(self) -> int | None:
        """``since`` in nanoseconds since the epoch."""
        return None if self.since is None else to_ns(self.since)

    @property
    def until_ns(self) -> int | None:
        """``until`` in nanoseconds since the epoch."""
        return None if self.until is None else to_ns(self.until)


#: Every run.
ALL_RUNS: Final = RunFilter()


def parse_filter(
    *,
    command: str | None = None,
    outcomes: Iterable[str] = (),
    device: str | None = None,
    analysis: str | None = None,
    since: str | None = None,
    until: str | None = None,
    labels: Iterable[str] = (),
    limit: int | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> RunFilter:
    """Read a filter from texts, as the command line has them.

    Args:
        command: As :class:`RunFilter`.
        outcomes: Words for outcomes; each may be several, with commas between them.
        device: As :class:`RunFilter`.
        analysis: As :class:`RunFilter`.
        since: An instant; see :func:`parse_instant`.
        until: An instant.
        labels: ``name=value`` each.
        limit: As :class:`RunFilter`.
        clock: Relative times are counted from its time.

    Raises:
        UsageError: A text cannot be read; the error names allowed values.
    """
    words = [word for text in outcomes for word in text.split(",") if word.strip()]
    filter_ = RunFilter(
        command=command,
        outcomes=tuple(parse_outcome(word) for word in words),
        device=device,
        analysis=analysis,
        since=None if since is None else parse_instant(since, what="--since", clock=clock),
        until=None if until is None else parse_instant(until, what="--until", clock=clock),
        labels=dict(parse_label(text) for text in labels),
        limit=limit,
    )
    if filter_.since and filter_.until and filter_.since >= filter_.until:
        raise UsageError(
            f"no run can be since {since} and until {until}",
            hint="'since' is the earlier end of the time, 'until' the later one",
        )
    return filter_


def parse_outcome(word: str) -> RunOutcome:
    """Return the outcome that a word names.

    Raises:
        UsageError: There is no such outcome.
    """
    wanted = word.strip().lower()
    for outcome in RUN_OUTCOMES:
        if wanted == outcome:
            return outcome
    close = _OTHER_WORDS.get(wanted) or nearest(wanted, RUN_OUTCOMES)
    meant = f"did you mean {close!r}? " if close else ""
    raise UsageError(
        f"there is no outcome {word.strip()!r}", hint=f"{meant}allowed: {', '.join(RUN_OUTCOMES)}"
    )


def parse_label(text: str) -> tuple[str, str]:
    """Return the name and the value of a label.

    Raises:
        UsageError: It is not ``name=value``.
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise UsageError(f"a label is name=value, not {text!r}")
    return name.strip(), value.strip()


def parse_instant(text: str, *, what: str = "the time", clock: Clock = SYSTEM_CLOCK) -> datetime:
    """Return the instant that a text names.

    Args:
        text: How long ago (``90s``, ``30min``, ``2h``, ``7d``, ``4w``), ``now``, ``today`` or
            ``yesterday``, a date (``2026-11-21``), or a date and a time of ISO 8601
            (``2026-11-21T07:30``); without a time zone it is UTC.
        what: The purpose of the text, for errors.
        clock: Relative times are counted from its time.

    Raises:
        UsageError: The text is none of these.
    """
    now = from_ns(clock.wall_ns())
    wanted = text.strip()
    days = {"today": 0, "yesterday": 1}.get(wanted.lower())
    if days is not None:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=days)
    if wanted.lower() == "now":
        return now
    if (span := _SPAN.fullmatch(wanted.lower().removesuffix(" ago"))) is not None:
        return _before(now, parse_span(span.group(), what=what), what)
    return _parse_iso(wanted, what)


def parse_span(text: str, *, what: str = "the time") -> timedelta:
    """Return the length of time that a text names: ``90s``, ``30min``, ``2h``, ``7d``, ``4w``.

    Raises:
        UsageError: The text is no length of time.
    """
    span = _SPAN.fullmatch(text.strip().lower())
    if span is None:
        raise UsageError(
            f"{what} is a number and a unit, such as 90d, not {text!r}",
            hint=f"units: {_UNIT_WORDS}",
        )
    number, unit = span.groups()
    factor = _UNITS.get(unit) or _UNITS.get(_unit_meant(unit) or "")
    if factor is None or unit == "m":
        meant = "'30min' is half an hour; months have no fixed length, use d" if unit == "m" else ""
        raise UsageError(f"{what} has no unit {unit!r}", hint=meant or f"units: {_UNIT_WORDS}")
    try:
        return timedelta(seconds=float(number) * factor)
    except OverflowError:
        raise UsageError(f"{what} is too long: {text!r}") from None


def to_ns(instant: datetime) -> int:
    """Return an aware instant in nanoseconds since the epoch, to the microsecond.

    An instant for which a record has no number becomes the first or the last that has one.
    """
    exact = (instant - _EPOCH) // _MICROSECOND * 1000
    return max(-_MOST_NS, min(exact, _MOST_NS))


def from_ns(instant_ns: int) -> datetime:
    """Return nanoseconds since the epoch as an aware instant in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=instant_ns // 1000)


def _unit_meant(unit: str) -> str | None:
    whole = {
        "sec": "s", "second": "s", "min": "min", "minute": "min", "hr": "h", "hour": "h",
        "day": "d", "week": "w",
    }  # fmt: skip
    return whole.get(unit.removesuffix("s"))


def _before(now: datetime, span: timedelta, what: str) -> datetime:
    try:
        return now - span
    except OverflowError:
        raise UsageError(f"{what} is before all time") from None


def _parse_iso(text: str, what: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{what} cannot be read: {text!r}",
            hint="allowed: 2h, 7d, today, yesterday, 2026-11-21, 2026-11-21T07:30 (UTC)",
        ) from None
