"""A result may be deep, and may hold the same value many times: looking for figures ends."""

from __future__ import annotations

import pytest

from taskgrove.analysis import ElogSummaryPlots
from taskgrove.analysis.channel.child_result import holds_plots

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
