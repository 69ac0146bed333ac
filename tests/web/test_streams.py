"""What a browser is sent while it looks: everything once, only what is new, after any break."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.testing import ManualClock
from taskgrove.web.record_answers import one_node
from taskgrove.web.run_feed import MESSAGE_NODES, RunFeed, head_of, usual_of
from tests.store.recording import (
    PATIENCE_S,
    end_and_wait,
    new_recorder,
    run_recorded,
)
from tests.web.conftest import Site
from tests.web.live_run import LiveRun, kept_up_to, last_sequence
from tests.web.page_process import stream

LEAVES = MESSAGE_NODES + 500


@pytest.fixture
def record(record_url: str, tmp_path: Path) -> str:
    """A record of each kind of database, with one run that has ended."""
    with new_recorder(record_url, tmp_path) as made:
        run_recorded(made, "good")
    return record_url


@pytest.fixture
def recorder(record: str, tmp_path: Path) -> Iterator[Recorder]:
    with new_recorder(record, tmp_path / "more") as made:
        yield made


def paths_of(batch: Any) -> list[str]:
    data = (part.partition(b"data: ")[2] for part in batch.messages)
    return [row["path"] for rows in data for row in msgspec.json.decode(rows)]


def test_a_feed_tells_each_node_once_however_often_it_changed(
    record: str, recorder: Recorder
) -> None:
    run = LiveRun(recorder)
    with Store.open(record) as store:
        kept_up_to(store, run)
        feed = RunFeed(History(store), "live")
        first = feed.since(0)
        assert paths_of(first) == ["root", "root/leaf-0", "root/leaf-1"]
        assert feed.since(first.position).messages == ()
        for progress in range(1, 90):
            run.tell(path="root/leaf-1", progress=progress)
        kept_up_to(store, run)
        assert feed.refresh(has_news=True)
        second = feed.since(first.position)
        assert paths_of(second) == ["root/leaf-1"]
        assert second.position == run.sequence
        assert b'"progress":89' in second.messages[0]
        run.end_leaf("leaf-0")
        kept_up_to(store, run)
        feed.refresh(has_news=True)
        assert paths_of(feed.since(second.position)) == ["root/leaf-0"]
        # One that has less gets more; one of another record gets all.
        assert paths_of(feed.since(first.position)) == ["root/leaf-0", "root/leaf-1"]
        assert paths_of(feed.since(10**9)) == ["root", "root/leaf-0", "root/leaf-1"]
        end_and_wait(recorder, "live")


def test_a_feed_stays_with_its_run_and_has_its_nodes_at_hand(
    record: str, recorder: Recorder
) -> None:
    with Store.open(record) as store:
        feed = RunFeed(History(store), "last")
        assert feed.run_id == "good"
        run = LiveRun(recorder)
        kept_up_to(store, run)
        assert not feed.refresh(has_news=True)
        assert feed.node("root/other") is None
        told = feed.node("root/group")
        assert told is not None
        assert (told["state"], told["run_id"]) == ("completed", "good")
        assert told == one_node(History(store), "good", "root/group")
        end_and_wait(recorder, "live")


def test_the_words_about_a_live_run_are_those_of_the_record(
    record: str, recorder: Recorder
) -> None:
    run = LiveRun(recorder, leaves=30)
    with Store.open(record) as store:
        kept_up_to(store, run)
        clock, history = ManualClock(wall_ns=time.time_ns()), History(store)
        feed = RunFeed(history, "live", clock)
        for number in range(20):
            run.tell(
                path=f"root/leaf-{number}", kind="finished", status=TaskStatus.FAILED,
                result_code=ResultCode.FAILED, message="no lock" if number % 2 else "no beam",
            )  # fmt: skip
        kept_up_to(store, run)
        clock.advance(600)  # the words are due
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(History, "whole", None)  # the nodes are at hand, and not read again
            assert feed.refresh(has_news=True)
        _, told = feed.head(0) or (0, b"")
        location, usual = store.location, usual_of(history, history.find("live"))
        kept = head_of(history.whole("live"), location, clock.wall_ns(), usual)
        assert msgspec.json.decode(told) == msgspec.json.decode(msgspec.json.encode(kept))
        assert kept["groups"]
        end_and_wait(recorder, "live")


def test_a_feed_of_another_server_goes_on_at_the_same_number(
    record: str, recorder: Recorder
) -> None:
    run = LiveRun(recorder)
    run.tell(path="root/leaf-0", kind="started", progress=0)
    with Store.open(record) as store:
        kept_up_to(store, run)
        position = RunFeed(History(store), "live").since(0).position
        again = RunFeed(History(store), "live")
        assert again.since(position).messages == ()
        run.end_leaf("leaf-0")
        kept_up_to(store, run)
        newest = RunFeed(History(store), "live").since(position)
        assert "root/leaf-0" in paths_of(newest)
        end_and_wait(recorder, "live")


def test_the_number_comes_with_the_last_part_only(record: str, recorder: Recorder) -> None:
    run = LiveRun(recorder, leaves=LEAVES)
    with Store.open(record) as store:
        kept_up_to(store, run)
        batch = RunFeed(History(store), "live").since(0)
        assert [b"\nid: " in part for part in batch.messages] == [False, True]
        assert len(paths_of(batch)) == len(set(paths_of(batch))) == LEAVES + 1
        end_and_wait(recorder, "live")


def test_a_stream_tells_of_a_run_until_its_end(site: Site, recorder: Recorder) -> None:
    run = LiveRun(recorder)
    kept_up_to(site.store, run)
    states: dict[str, str] = {}
    with stream(site.server.port, "/api/runs/live/stream", site.cookie) as messages:
        numbers = []
        for kind, number, data in messages:
            if kind == "nodes":
                states.update((row["path"], row["state"]) for row in data)
                numbers += [int(number)] if number else []
            if len(numbers) == 1 and run.sequence == 4:
                run.end_leaf("leaf-0")
                run.end_leaf("leaf-1")
            if states.get("root/leaf-1") == "completed":
                break
        assert states == {
            "root": "running", "root/leaf-0": "completed", "root/leaf-1": "completed"
        }  # fmt: skip
        assert numbers == sorted(numbers)
        run.tell(
            path="root", kind="finished", status=TaskStatus.COMPLETED, result_code=ResultCode.OK
        )
        end_and_wait(recorder, "live")
        for kind, _, data in messages:
            if kind == "head" and data["outcome"] == "ok":
                break
        assert not data["is_living"]
    with stream(site.server.port, f"/api/runs/live/stream?from={numbers[-1]}", site.cookie) as rest:
        for kind, _, data in rest:
            if kind == "nodes":
                assert {row["path"]: row["state"] for row in data}["root"] == "completed"
                break


def test_a_stream_of_no_run_says_so(site: Site) -> None:
    with stream(site.server.port, "/api/runs/other/stream", site.cookie) as messages:
        kinds = [(kind, data) for kind, _, data in messages]
    assert kinds[-1][0] == "gone"
    assert "no run" in kinds[-1][1]["error"]


def test_the_list_hears_of_a_new_run(site: Site, recorder: Recorder) -> None:
    with stream(site.server.port, "/api/stream", site.cookie) as messages:
        first = next(data for kind, _, data in messages if kind == "changed")
        LiveRun(recorder)
        for kind, _, data in messages:
            if (
                kind == "changed"
                and data > first
                and last_sequence(History(site.store), "live") >= 0
            ):
                break
        end_and_wait(recorder, "live")


def test_a_browser_that_does_not_read_harms_nobody(site: Site, recorder: Recorder) -> None:
    run = LiveRun(recorder, leaves=LEAVES)
    kept_up_to(site.store, run)
    sleeper = socket.create_connection(("127.0.0.1", site.server.port))
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.sendall(
        b"GET /api/runs/live/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: "
        + site.cookie.encode() + b"\r\n\r\n"
    )  # fmt: skip
    done = threading.Event()
    with stream(site.server.port, "/api/runs/live/stream", site.cookie) as messages:
        seen = 0
        for progress in (10, 20, 30):
            for number in range(LEAVES):
                run.tell(path=f"root/leaf-{number}", progress=progress)
        for kind, _, data in messages:
            seen += kind == "nodes"
            if kind == "nodes" and any(row["progress"] == 30 for row in data if "progress" in row):
                done.set()
                break
    assert done.wait(PATIENCE_S)
    sleeper.close()
    end_and_wait(recorder, "live")
