"""What the texts of a filter mean, and what is said of those that mean nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskgrove.errors import UsageError
from taskgrove.store.queries.run_filter import (
    RunFilter,
    from_ns,
    parse_filter,
    parse_instant,
    parse_label,
    parse_outcome,
    parse_span,
    to_ns,
)
from taskgrove.store.queries.run_outcome import RUN_OUTCOMES
from taskgrove.testing import ManualClock

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ns=to_ns(NOW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90s", NOW - timedelta(seconds=90)),
        ("30min", NOW - timedelta(minutes=30)),
        ("1.5 h", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("7 days ago", NOW - timedelta(days=7)),
        ("4w", NOW - timedelta(weeks=4)),
        ("now", NOW),
        ("today", NOW.replace(hour=0)),
        ("yesterday", NOW.replace(hour=0) - timedelta(days=1)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T07:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
        ("2026-11-20 07:30:15", datetime(2026, 11, 20, 7, 30, 15, tzinfo=UTC)),
        ("2026-11-20T07:30+02:00", datetime(2026, 11, 20, 5, 30, tzinfo=UTC)),
        ("2026-11-20T07:30Z", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime, clock: ManualClock) -> None:
    assert parse_instant(text, clock=clock) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tomorrowish", "cannot be read"),
        ("2026-13-01", "cannot be read"),
        ("7x", "no unit 'x'"),
        ("30m", "no unit 'm'"),
        ("99999999999999999w", "too long"),
        ("999999d", "before all time"),
        ("", "cannot be read"),
    ],
)
def test_texts_that_are_no_instants(text: str, words: str, clock: ManualClock) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_instant(text, what="--since", clock=clock)
    assert caught.value.message.startswith("--since")


def test_a_month_is_no_minute() -> None:
    with pytest.raises(UsageError) as caught:
        parse_span("3m")
    assert "30min" in str(caught.value.hint)


@pytest.mark.parametrize("word", RUN_OUTCOMES)
def test_every_outcome_is_understood(word: str) -> None:
    assert parse_outcome(word.upper()) == word


@pytest.mark.parametrize(
    ("word", "meant"), [("fialed", "failed"), ("cancelled", "aborted"), ("succes", "")]
)
def test_other_outcomes_name_what_is_near(word: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_outcome(word)
    assert ("did you mean" in str(caught.value.hint)) == bool(meant)
    assert meant in str(caught.value.hint)
    assert "degraded" in str(caught.value.hint)


def test_a_whole_filter(clock: ManualClock) -> None:
    found = parse_filter(
        command="conf*",
        outcomes=["failed,lost", "failed"],
        device="mid-*",
        since="7d",
        until="1d",
        labels=["shift=night", "by = ann "],
        limit=3,
        clock=clock,
    )
    assert found.outcomes == ("failed", "lost")
    assert found.labels == {"shift": "night", "by": "ann"}
    assert found.since == NOW - timedelta(days=7)
    assert found.until_ns == to_ns(NOW - timedelta(days=1))


def test_what_no_run_can_be(clock: ManualClock) -> None:
    with pytest.raises(UsageError, match="no run can be since"):
        parse_filter(since="1d", until="7d", clock=clock)
    with pytest.raises(UsageError, match="from 1"):
        RunFilter(limit=0)
    with pytest.raises(UsageError, match="no time zone"):
        RunFilter(since=datetime(2026, 1, 1))
    with pytest.raises(UsageError, match="name=value"):
        parse_label("night")
    with pytest.raises(UsageError, match="there is no outcome"):
        RunFilter(outcomes=("wrong",))  # type: ignore[arg-type]


def test_instants_survive_nanoseconds() -> None:
    instant = datetime(2026, 11, 21, 7, 18, 17, 123456, tzinfo=UTC)
    assert from_ns(to_ns(instant)) == instant
    assert from_ns(to_ns(instant) + 999) == instant


@pytest.mark.parametrize("year", ["0001-01-01", "9999-12-31"])
def test_a_time_beyond_all_runs_is_a_number_of_a_record(year: str, clock: ManualClock) -> None:
    assert -(2**63) <= to_ns(parse_instant(year, clock=clock)) < 2**63


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:00"])
def test_a_time_outside_the_calendar_is_refused(text: str, clock: ManualClock) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_instant(text, clock=clock)
