"""Trees as HTML, from events and from what is at hand."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.view.snapshot import RunView
from taskgrove.view.task_view import view_of
from taskgrove.view.tree_html import render_html
from tests.unit.event_streams import beam_run


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


PLAIN_TAGS = {"div", "table", "tr", "td", "p", "b", "ul", "li"}


@given(st.text())
def test_what_a_device_says_never_becomes_markup(words: str) -> None:
    for evil in (words, f"<script>{words}</script>", f'" onload="{words}', f"</td>{words}"):
        seen = read(render_html(RunView().apply_all(beam_run(2, failed=(1,), words=evil))))
        assert seen.tags <= PLAIN_TAGS
        assert seen.attributes <= {"class", "style", "colspan"}


def test_the_words_are_there() -> None:
    seen = read(render_html(RunView().apply_all(beam_run(3, failed=(1,), words="<b>no</b> clock"))))
    text = " ".join(seen.words)
    assert "mid-pst/beam/01: <b>no</b> clock" in text
    assert "PST success 2/3" in text


def tree() -> Task:
    return Task(
        "night",
        subtasks=[
            LeafTask.from_callable(lambda: None, name="good"),
            LeafTask.from_callable(lambda: (3, "no <i>light</i>"), name="bad"),
        ],
        is_root=True,
    )


def test_a_task_shows_itself_before_it_runs_and_stays_open() -> None:
    task = tree()
    assert "waiting" in render_html(task)
    task.add(LeafTask.from_callable(lambda: None, name="later"))
    assert "later" in render_html(task)


def test_a_handle_shows_its_outcome() -> None:
    with MainTaskExecutor(max_workers=1) as executor:
        handle = executor.submit_main_task(tree())
        assert handle.wait(30)
        html = render_html(handle)
    seen = " ".join(read(html).words)
    assert "FAILED" in seen
    assert "no <i>light</i>" in seen


def test_the_view_of_a_finished_tree_knows_its_ends() -> None:
    with MainTaskExecutor(max_workers=1) as executor:
        task = tree()
        executor.submit_main_task(task).wait(30)
    view = view_of(task)
    assert {path: node.state for path, node in view.nodes.items()} == {
        "night": "failed",
        "night/good": "completed",
        "night/bad": "failed",
    }
    assert view.nodes["night/good"].elapsed_s() is None


def test_composed_facts_are_in_the_view() -> None:
    leaf = LeafTask("beam", "x/y/z", "Configure", timeout=3, retries=2)
    task = Task("t", TaskExecutionType.PARALLEL, subtasks=[leaf], rule="quorum: 0.5")
    view = view_of(task)
    beam = view.nodes["t/beam"].composed
    assert beam is not None
    assert (beam.target, beam.command_name, beam.timeout_s, beam.retries) == (
        "x/y/z",
        "Configure",
        3.0,
        2,
    )
    group = view.nodes["t"].composed
    assert group is not None
    assert group.rule is not None


def test_other_things_are_refused() -> None:
    shown: Any = 42
    with pytest.raises(TypeError, match="cannot show int"):
        render_html(shown)


def test_a_notebook_shows_trees_without_a_further_import() -> None:
    script = (
        "from taskgrove import LeafTask, MainTaskExecutor, Task\n"
        "tree = Task('root', subtasks=[LeafTask.from_callable(bool, name='ask')])\n"
        "assert 'ask' in tree._repr_html_()\n"
        "with MainTaskExecutor() as executor:\n"
        "    handle = executor.submit_main_task(tree)\n"
        "    assert 'ask' in handle._repr_html_()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)
