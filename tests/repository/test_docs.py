"""The documentation says what is true: its samples are made here, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.aggregation.rules import parse_rule
from taskgrove.control_model import ResultCode, TaskStatus

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OUTCOMES = (ROOT / "docs" / "outcomes.md").read_text(encoding="utf-8")


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_decision_has_its_number_a_status_and_what_was_rejected() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{n:04}" for n in range(len(records))]
    for record in records[1:]:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {record.name[:4]}: ")
        assert "\nStatus: " in text
        titles = ["The question", "The decision", "What else was considered", "What follows"]
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == titles


def beams() -> list[SubtaskResult]:
    codes = {3: (ResultCode.FAILED, "no lock"), 11: (ResultCode.FAILED, "no lock")}
    return [
        SubtaskResult(
            f"pst-beam-{number:02}",
            TaskStatus.COMPLETED,
            codes.get(number, (ResultCode.OK, "done")),
            f"mid-pst/beam/{number:02}",
        )
        for number in range(1, 17)
    ]


def test_the_degraded_message_is_as_shown() -> None:
    group = TaskAggregationPolicy("configure_pst").aggregate(beams())
    children = [
        SubtaskResult("cbf-subarray-01", TaskStatus.COMPLETED, device_name="mid-cbf/subarray/01"),
        SubtaskResult(
            "configure_pst",
            group.status,
            (group.result, group.message),
            failed_devices=["mid-pst/beam/03", "mid-pst/beam/11"],
            health_state=group.health_state,
        ),
    ]
    outcome = TaskAggregationPolicy("configure", is_root=True).aggregate(children)
    assert outcome.health_state == "DEGRADED"
    assert f"```\n{outcome.message}\n```" in OUTCOMES


def test_the_line_of_a_decision_is_as_shown() -> None:
    policy = TaskAggregationPolicy("configure_pst", rule=parse_rule({"quorum": 0.8}))
    decision = policy.aggregate(beams()).decision
    assert decision is not None
    assert f"```\n{decision.line}\n```" in OUTCOMES


def test_every_status_is_explained() -> None:
    table = OUTCOMES.split("| status |")[1].split("\n\n")[0]
    said = {
        name: row.rstrip(" |").endswith("yes")
        for row in table.splitlines()[2:]
        for name in re.findall(r"[A-Z_]{3,}", row.split("|")[1])
    }
    assert said == {status.name: status.is_final for status in TaskStatus}


def test_pictures_are_small_and_each_is_shown() -> None:
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 150_000, picture.name
        assert f"images/{picture.name})" in pages, picture.name
