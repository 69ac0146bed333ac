"""A result may be deep, and may hold the same value many times: looking for figures ends."""

from __future__ import annotations

import re

import numpy as np
import pytest

from taskgrove.analysis import ElogSummaryPlots
from taskgrove.analysis.channel.child_result import holds_plots
from taskgrove.analysis.payload_store import store_payload
from taskgrove.analysis.plain import form
from taskgrove.analysis.plain.form import to_plain
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.summary_plots import collect_plots, convert_payload
from taskgrove.errors import AnalysisError
from tests.analysis.analysis_runs import Runs
from tests.analysis.sample_tasks import (
    GivesDoubled,
    NoParameters,
    RaisesDoubled,
    SumsUpDoubled,
)

PLOTS = ElogSummaryPlots("a", b"<p>")


class Counting(list):
    """A list that knows how often it was looked into."""

    asked = 0

    def __iter__(self):
        self.asked += 1
        return super().__iter__()


def nested(inner, levels):
    value = inner
    for _ in range(levels):
        value = [value]
    return value


def doubled(inner, levels):
    value = inner
    for _ in range(levels):
        value = {"a": value, "b": value}
    return value


@pytest.mark.parametrize("around", [nested, doubled])
@pytest.mark.parametrize(("inner", "found"), [(PLOTS, True), (1, False)])
def test_what_stands_in_many_places_is_looked_into_once(around, inner, found):
    counting = Counting([inner])
    assert holds_plots(around(counting, 16)) is found
    assert counting.asked == 1


def test_a_result_that_holds_itself_is_looked_into_once():
    endless = Counting()
    endless.extend([endless, [endless]])
    assert holds_plots(endless) is False
    assert endless.asked == 1


@pytest.fixture
def few_parts(monkeypatch):
    monkeypatch.setattr(form, "MAX_PARTS", 1_000)


class Endless(list):
    """A list whose items have no end."""

    def __iter__(self):
        while True:
            yield 1


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(doubled(1, 12), id="dicts"),
        pytest.param(list(range(1_000)), id="one-list"),
        pytest.param(Endless(), id="endless"),
        pytest.param({1: {2: [(0, 0)] * 1_000}}, id="tuples"),
        pytest.param(np.broadcast_to(np.array(None, dtype=object), (10**12,)), id="objects"),
    ],
)
def test_a_value_of_too_many_parts_is_refused_where_they_are_too_many(few_parts, value):
    with pytest.raises(AnalysisError, match="has more than 1000 parts") as caught:
        to_plain({"frames": value})
    assert caught.value.key is not None
    assert caught.value.key.startswith("['frames']")
    assert caught.value.hint == "give numbers as arrays, or write a file and return its path"


def test_an_array_is_one_part_however_many_numbers_it_holds(few_parts):
    assert to_plain([np.zeros(5_000), [0] * 900])[1] == [0] * 900


def test_a_mapping_whose_last_key_is_no_text_has_its_items_written_once():
    inner = Counting([1])
    value = inner
    for _ in range(16):
        value = {"a": value, 1: 2}
    buffers = []
    to_plain(value, buffers=buffers)
    assert inner.asked == 1


def test_what_stands_in_many_places_is_converted_and_kept_once(tmp_path):
    counting = Counting([PLOTS])
    assert collect_plots(doubled(counting, 16)) == [PLOTS]
    assert counting.asked < 4
    data = np.zeros(1_000)
    kept = store_payload(doubled([data], 6), tmp_path, 1_000_000)
    assert kept["a"] is kept["b"]
    changed = convert_payload(doubled([ElogSummaryPlots("a", "text")], 6))
    assert changed["a"] is changed["b"]
    assert isinstance(collect_plots(changed)[0].figures, bytes)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (GivesDoubled, r"the value\['frames'\].* cannot be sent: the whole has more than"),
        (RaisesDoubled, r"ValueError: \['frame 12', \["),
    ],
)
def test_an_analysis_that_gives_or_raises_what_has_no_end_fails(analyses: Runs, task, said):
    result = analyses.run(task, NoParameters()).result().task_result
    assert result.task_status is TaskStatus.FAILED
    assert re.search(said, result.summary)


def test_a_summary_that_has_no_end_is_told_in_part(analyses: Runs):
    result = analyses.run(SumsUpDoubled, NoParameters()).result().task_result
    assert result.task_status is TaskStatus.COMPLETED
    assert result.summary.startswith("frames: [[")
