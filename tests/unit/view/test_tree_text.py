"""Text trees: what is shown, folded and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import ASCII, UNICODE, width_of
from taskgrove.view.tree_html import render_html
from taskgrove.view.tree_lines import format_line, name_width
from taskgrove.view.tree_text import build_lines, render_plain
from tests.unit.event_streams import Stream, beam_run


def view_of_beams(beams: int = 16, **kinds: object) -> RunView:
    return RunView().apply_all(beam_run(beams, **kinds))  # type: ignore[arg-type]


def test_the_whole_tree_at_80_columns() -> None:
    text = render_plain(view_of_beams(3, failed=(2,)), width=80)
    assert text.splitlines() == [
        "configure          ! degraded      0.0 s  1 of 2 succeeded → DEGRADED",
        "├─ cbf-subarray-01 ✓ completed     0.0 s  ████████ 100%  low-cbf/subarray/01",
        "└─ configure_pst   ! degraded      0.0 s  PST success 2/3 → DEGRADED",
        "   ├─ pst-beam-01  ✓ completed     0.0 s  ████████ 100%  mid-pst/beam/01",
        "   ├─ pst-beam-02  ✗ failed        0.0 s  mid-pst/beam/02: band 3 not locked",
        "   └─ pst-beam-03  ✓ completed     0.0 s  ████████ 100%  mid-pst/beam/03",
    ]


def view_of_steps_on_one_device() -> RunView:
    """A tree whose leaves have names of their own, as entries of a map give them."""
    stream = Stream()
    device, told = "low-cbf/subarray/01", "ends the scan"
    stream.composed("observe", "SEQUENTIAL", ("conf", "scan", "cbf-subarray-01-2", "end", "lock"))
    for name, command in {"conf": "Configure", "scan": "Scan", "cbf-subarray-01-2": "Go"}.items():
        target = {"target": device, "command_name": command}
        stream.composed(f"observe/{name}", "DEVICE", **target)
    stream.composed("observe/end", "DEVICE", target=device, command_name="End", description=told)
    stream.composed("observe/lock", "INTERNAL", target="Manager", command_name="check_lock")
    stream.running("observe/conf", 30, devices=(device,))
    failure = f"{device}: no lock"
    stream.ended("observe/scan", TaskStatus.FAILED, ResultCode.FAILED, failure)
    return RunView().apply_all(stream.events)


def test_a_name_that_does_not_tell_the_device_has_command_and_device_beside_it() -> None:
    lines = render_plain(view_of_steps_on_one_device(), width=100).splitlines()
    assert [line[59:].strip() for line in lines[1:]] == [
        "Configure low-cbf/subarray/01",
        "y/01: no lock  Scan",  # the failure tells the device
        "low-cbf/subarray/01",  # the name tells it
        "End low-cbf/subarray/01  ends the scan",
        "",
    ]
    assert "low-cbf/subarray/01: no lock  Scan" in lines[2]
    html = render_html(view_of_steps_on_one_device())
    assert ">Configure low-cbf/subarray/01<" in html
    assert ">low-cbf/subarray/01: no lock Scan<" in html


def test_command_and_device_lose_their_middle_on_a_narrow_terminal() -> None:
    view = view_of_steps_on_one_device()
    lines = render_plain(view, width=80).splitlines()
    assert lines[1].endswith("Configure…ubarray/01")
    assert lines[2].endswith("no lock  Scan")
    for width in range(20, 100):
        text = render_plain(view, width=width, charset=ASCII)
        assert text.isascii()
        assert all(width_of(line) <= width for line in text.splitlines())


def test_a_command_is_told_although_another_word_holds_it() -> None:
    stream = Stream()
    stream.composed("go", "DEVICE", target="x/y/z", command_name="On")
    stream.ended("go", TaskStatus.FAILED, ResultCode.FAILED, "x/y/z: wrong configuration")
    text = render_plain(RunView().apply_all(stream.events))
    assert text.endswith("x/y/z: wrong configuration  On")


def test_ascii_signs_need_nothing_but_ascii() -> None:
    text = render_plain(view_of_beams(50, failed=(2,), running=(3, 4)), width=80, charset=ASCII)
    assert text.replace("→", "->").isascii()
    assert "`- pst-beam-...: 47 completed, 2 running" in text


def test_a_large_group_folds_by_status_and_shows_what_failed() -> None:
    view = view_of_beams(10_000, failed=(7, 9_000), running=range(100, 143))
    lines = render_plain(view, width=80).splitlines()
    assert len(lines) == 6
    assert "pst-beam-07" in lines[3]
    assert "✗ failed" in lines[3]
    assert "pst-beam-9000" in lines[4]
    assert lines[5].strip() == "└─ pst-beam-…: 9,955 completed, 43 running"


def test_many_failures_are_counted_where_not_all_fit() -> None:
    lines = render_plain(view_of_beams(1000, failed=range(1, 501))).splitlines()
    assert sum("✗ failed" in line for line in lines) == 20
    assert lines[-1].strip() == "└─ pst-beam-…: 480 failed, 500 completed"


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 140),
    beams=st.integers(1, 120),
    data=st.data(),
)
def test_it_always_fits(height: int, width: int, beams: int, data: st.DataObject) -> None:
    numbers = st.sets(st.integers(1, beams), max_size=20)
    view = view_of_beams(beams, failed=data.draw(numbers), running=data.draw(numbers))
    for charset in (UNICODE, ASCII):
        text = render_plain(view, width=width, max_lines=height, charset=charset, now_s=200)
        lines = text.splitlines()
        assert len(lines) <= height
        assert all(width_of(line) <= width for line in lines)


def test_a_low_terminal_folds_the_beams_and_keeps_the_failure() -> None:
    lines = build_lines(view_of_beams(16, failed=(3,), running=(5,)), max_lines=8)
    assert len(lines) <= 8
    labels = [line.name for line in lines]
    assert "pst-beam-03" in labels
    assert "pst-beam-…: 14 completed, 1 running" in labels


def test_trouble_inside_a_folded_part_is_shown() -> None:
    stream = Stream()
    names = tuple(f"part-{number:03d}" for number in range(100))
    stream.composed("root", "PARALLEL", names)
    for name in names:
        stream.composed(f"root/{name}", "SEQUENTIAL", ("step",))
        stream.running(f"root/{name}")
    stream.ended("root/part-050/step", TaskStatus.FAILED, ResultCode.FAILED, "broken")
    text = render_plain(RunView().apply_all(stream.events))
    assert "part-050" in text
    assert "broken" in text
    assert "part-0…: 99 running" in text


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;title\x07", "[bold red]x[/]", "a\nb\rc", "\u202e"])
def test_what_a_device_says_does_nothing(evil: str) -> None:
    view = view_of_beams(2, failed=(1,), words=evil)
    lines = build_lines(view)
    names = name_width(lines, 200)
    for line in lines:
        for piece, _ in format_line(line, 200, names):
            assert piece.isprintable()
    if "[" in evil and "\x1b" not in evil:
        assert evil in render_plain(view, width=200)


def test_an_abort_is_told_with_its_rungs() -> None:
    stream = Stream()
    stream.composed("a", "DEVICE", target="x/y/z")
    stream.running("a")
    stream.note("a", "abort-asked")
    view = RunView().apply_all(stream.events)
    assert "asked to stop 2.0 s ago, no answer yet" in render_plain(view, now_s=102.003, width=100)
    stream.note("a", "abort-acknowledged")
    view = RunView().apply_all(stream.events)
    assert "acknowledged" in render_plain(view, now_s=102, width=100)
    stream.note("a", "abandoned")
    stream.ended("a", TaskStatus.ABORTED, ResultCode.ABORTED, "x/y/z: given up")
    view = RunView().apply_all(stream.events)
    assert "abandoned: it did not stop when asked" in render_plain(view, width=100)


def test_a_very_deep_tree_keeps_its_names_readable() -> None:
    stream = Stream()
    path = "n0"
    stream.running(path)
    for number in range(1, 300):
        path = f"{path}/n{number}"
    stream.running(path)
    lines = render_plain(RunView().apply_all(stream.events), width=80).splitlines()
    assert len(lines) == 300
    assert all(width_of(line) <= 80 for line in lines)
    assert "n299" in lines[-1]


def test_nothing_yet_is_an_empty_tree() -> None:
    assert render_plain(RunView()) == ""


def test_a_node_that_is_to_be_kept_is_not_folded_among_many_that_failed() -> None:
    view = view_of_beams(200, failed=range(1, 200))
    kept = "configure/configure_pst/pst-beam-150"
    folded = [line.path for line in build_lines(view) if line.path]
    assert kept not in folded
    lines = build_lines(view, keep=[kept])
    shown = [line.path for line in lines if line.path]
    assert kept in shown
    assert len(shown) == len(folded)
    assert shown[-1] == kept  # behind the first that failed
