"""Patterns over the paths of nodes."""

from __future__ import annotations

import re

import pytest

from taskgrove.errors import UsageError
from taskgrove.story.path_globs import match_paths, path_of_command

LEAVES = [
    "configure/check",
    "configure/configure_pst/pst-01",
    "configure/configure_pst/pst-02",
    "configure/deep/configure_pst/pst-03",
    "configure/[odd]+name",
]
COMPOSITES = ["configure", "configure/configure_pst", "configure/deep"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("configure/check", [0]),
        ("configure/configure_pst/**", [1, 2]),
        ("configure/configure_pst", [1, 2]),
        ("configure/configure_pst/pst-0[13-9]", [1]),
        ("configure/configure_pst/pst-0[!1]", [2]),
        ("configure/configure_pst/pst-0?", [1, 2]),
        ("**/pst-*", [1, 2, 3]),
        ("**/configure_pst/*", [1, 2, 3]),
        ("configure/*", [0, 1, 2, 3, 4]),  # composites, too
        ("configure/d*", [3]),
        ("configure/[[]odd]+name", [4]),
        ("**", [0, 1, 2, 3, 4]),
    ],
)
def test_what_patterns_match(pattern: str, found: list[int]) -> None:
    assert list(match_paths([pattern], LEAVES, COMPOSITES)) == [LEAVES[n] for n in found]


def test_the_first_pattern_that_matches_is_told() -> None:
    assert match_paths(["**/pst-01", "**/pst-*"], LEAVES)["configure/configure_pst/pst-01"] == (
        "**/pst-01"
    )


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        (
            "configure_pst/*",
            r"did you mean '\*\*/configure_pst/\*'\? It matches configure/configure",
        ),
        ("configure/configure_psd/**", "did you mean 'configure/configure_pst'"),
        ("pst-1", r"did you mean '\*\*/pst-01'\? It matches configure/configure_pst/pst-01"),
        ("pst-01*", "did you mean 'configure/configure_pst/pst-01'"),
        ("QQQQQQQQQ", "the paths begin with 'configure'"),
        ("a/*/b/configure[", "did you mean 'configure"),
    ],
)
def test_a_pattern_that_matches_nothing_names_near_misses(pattern: str, hint: str) -> None:
    with pytest.raises(UsageError, match="matches no leaf") as caught:
        match_paths([pattern], LEAVES, COMPOSITES)
    assert re.search(hint, caught.value.hint or ""), caught.value.hint


def test_a_step_may_be_named_by_its_command_where_that_is_clear() -> None:
    steps = [("tune/a", "phase"), ("tune/b", "gain"), ("tune/c", "gain"), ("tune/in/d", "lock")]
    assert path_of_command("tune/phase", steps) == "tune/a"
    assert path_of_command("tune/in/lock", steps) == "tune/in/d"
    for other in ("tune/gain", "tune/lock", "phase", "tune/nothing"):
        assert path_of_command(other, steps) is None
