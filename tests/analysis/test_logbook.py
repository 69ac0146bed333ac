"""A logbook is told what happens, and whatever it does, nobody waits for it."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.analysis.describing import summary_values
from taskgrove.analysis.drawn_page import PageReference
from taskgrove.analysis.logbook import HttpLogbook, Logbook, LogbookCounts
from taskgrove.analysis.publishing.logbook_entries import (
    FINAL,
    MAX_FILE_BYTES,
    flat_parameters,
    status_entry,
)
from taskgrove.analysis.publishing.logbook_queue import LogbookQueue
from taskgrove.analysis.publishing.logbook_trouble import LogbookTrouble
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots, TaskStatus
from taskgrove.errors import UsageError
from tests.logbook_server import LIMIT_S, Handler, Server, StartServer, logbook_servers, silent

ORIGIN = PageOrigin("run-1", "observe/fit", "fit-rings", 5, "exp1", 12)
OTHER = PageOrigin("run-2", "observe/fit", "fit-rings")


@pytest.fixture
def start() -> Iterator[StartServer]:
    with logbook_servers() as started:
        yield started


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def connect(troubles: list[str]) -> Iterator[Callable[..., HttpLogbook]]:
    made: list[HttpLogbook] = []

    def one(url: str, **options: Any) -> HttpLogbook:
        settings = {"backoff_s": 0.01, "timeout_s": LIMIT_S, "on_trouble": troubles.append}
        logbook = HttpLogbook(url, **{**settings, **options})
        made.append(logbook)
        return logbook

    yield one
    for logbook in made:
        logbook.close(5)


def settled(logbook: HttpLogbook, **counts: int) -> LogbookCounts:
    """Wait until the counts are as given; posting is the only thing that changes them."""
    deadline = time.monotonic() + LIMIT_S
    while (found := logbook.counts) != LogbookCounts(**counts):
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    return found


def first_of(troubles: list[str], words: str = "") -> str:
    """Return the first trouble that is told with these words; it is counted before."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := [text for text in troubles if words in text]):
        assert time.monotonic() < deadline, f"not told, but {troubles}"
        time.sleep(0.005)
    return found[0]


# -- what is posted -----------------------------------------------------------------------------


def test_statuses_and_parameters_are_posted_as_documented(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    server = start()
    logbook: Logbook = connect(server.url, token="s3cret")
    logbook.post_status(ORIGIN, TaskStatus.RUNNING)
    server.wait_for(1)
    logbook.post_parameters(ORIGIN, {"distance": 0.1, "fit": {"rings": 5}})
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED, "5 rings")
    server.wait_for(3)
    assert logbook.close(LIMIT_S)
    running, parameters, completed = server.posts
    assert running.path == "/api/runs?x=1"
    assert running.headers["authorization"] == "Bearer s3cret"
    assert running.headers["content-type"] == "application/json"
    common = {
        "schema": 1, "run_id": "run-1", "path": "observe/fit", "analysis": "fit-rings",
        "experiment": "exp1", "experiment_run": 12,
    }  # fmt: skip
    for post in (running, parameters, completed):
        assert post.headers["idempotency-key"] == post.body.pop("id")
        assert post.body.pop("at").endswith("Z")
    assert running.body.pop("at_ns") < completed.body.pop("at_ns")
    assert running.body == {
        **common, "kind": "status", "status": "RUNNING", "final": False, "message": ""
    }  # fmt: skip
    assert completed.body == {
        **common, "kind": "status", "status": "COMPLETED", "final": True, "message": "5 rings"
    }  # fmt: skip
    assert parameters.body["parameters"] == {"distance": 0.1, "fit.rings": 5}
    assert troubles == []


def test_a_message_takes_its_files_along(
    tmp_path: Path,
    start: StartServer,
    connect: Callable[..., HttpLogbook],
    troubles: list[LogbookTrouble],
) -> None:
    (tmp_path / "scan.csv").write_text("x,y\n1,2\n")
    (tmp_path / "map.ccp4").write_bytes(bytes(range(256)))
    os.mkfifo(tmp_path / "pipe")  # opening it would block
    with (tmp_path / "huge.bin").open("wb") as huge:
        huge.truncate(MAX_FILE_BYTES)
    names = ["scan.csv", "map.ccp4", "none.txt", "pipe", "huge.bin"]
    server = start()
    logbook = connect(server.url)
    logbook.post_message(ORIGIN, "a map", tags=["density"], files=[tmp_path / it for it in names])
    assert logbook.close(LIMIT_S)
    (post,) = server.posts
    assert (post.body["kind"], post.body["message"]) == ("message", "a map")
    assert post.body["tags"] == ["density"]
    first, second, *lacking = post.body["files"]
    assert (first["name"], first["media_type"], first["size_bytes"]) == ("scan.csv", "text/csv", 8)
    assert base64.b64decode(first["base64"]) == b"x,y\n1,2\n"
    assert base64.b64decode(second["base64"]) == bytes(range(256))
    assert lacking == [
        {"name": "none.txt", "error": "No such file or directory"},
        {"name": "pipe", "error": "it is not a regular file"},
        {"name": "huge.bin", "error": "the files of a message are longer than 16 MiB"},
    ]
    assert {trouble.why for trouble in troubles} == {"file"}
    assert len(troubles) == 3
    assert f"a file of the message of observe/fit: {tmp_path}/none.txt: No such" in troubles[0]


def test_a_trouble_has_its_parts_as_data(
    start: StartServer, connect: Callable[..., HttpLogbook], troubles: list[LogbookTrouble]
) -> None:
    logbook = connect(start(403).url)
    logbook.post_status(ORIGIN, TaskStatus.TIMEDOUT)
    logbook.close(LIMIT_S)
    (trouble,) = troubles
    assert trouble.origin is ORIGIN
    data = trouble.as_data()
    assert data.pop("logbook") == logbook.shown
    assert data == {
        "entry": "status", "status": "TIMEDOUT", "why": "answered",
        "words": "answered 403 Forbidden", "code": "403", "tries": "1",
    }  # fmt: skip
    logbook.post_message(ORIGIN, "too late")
    assert (troubles[1].entry, troubles[1].why, troubles[1].code) == ("message", "closed", None)


@pytest.mark.parametrize(
    ("summary", "parameters"),
    [
        ("a text", {}),
        ({"a": 1}, {"a": 1}),
        ([{"a": 1}, "text", {"b": {"c": 2}}], {"a": 1, "b": {"c": 2}}),
        (({"a": 1}, ElogSummaryPlots("scan", b"<p>")), {"a": 1}),
        ([{"a": 1, "b": ElogSummaryPlots("scan", b"<p>")}], {"a": 1}),
        ([{"a": 1, "b": PageReference(page="scan")}, PageReference(page="scan")], {"a": 1}),
        (None, {}),
    ],
)
def test_the_dicts_of_a_summary_are_the_parameters_of_a_run(
    summary: Any, parameters: dict[str, Any]
) -> None:
    assert summary_values(summary) == parameters


def test_the_final_statuses_are_those_after_which_none_follows() -> None:
    passing = {TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.STOPPED}
    assert {status.name for status in set(TaskStatus) - passing} == FINAL


def test_parameters_are_plain_values() -> None:
    import numpy as np

    class Spoilt:
        def __str__(self) -> str:
            raise RuntimeError

    given = {
        "f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "nan": math.nan, "none": None,
        "status": TaskStatus.FAILED, "list": [1, 2], "long": "x" * 2000, 7: "number",
        "huge": 10**30, "deep": {"er": {"x": 1}, "empty": {}}, "spoilt": Spoilt(),
        "half": "\ud800", "array": np.arange(3),
    }  # fmt: skip
    found = flat_parameters(given)
    assert found.pop("long") == "x" * 999 + "…"
    assert found == {
        "f": 0.5, "i": 3, "b": True, "nan": "nan", "none": None, "status": "FAILED",
        "list": "[1, 2]", "7": "number", "huge": str(10**30), "deep.er.x": 1, "deep.empty": "{}",
        "spoilt": "an object of type Spoilt", "half": "\\ud800", "array": "[0, 1, 2]",
    }  # fmt: skip
    many = flat_parameters({str(number): number for number in range(600)})
    assert len(many) == 501
    assert many["(left out)"] == 100


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text() | st.integers(), _VALUES, max_size=5))
def test_whatever_a_summary_holds_is_json(parameters: dict[Any, Any]) -> None:
    found = flat_parameters(parameters)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_server_error_is_tried_again_with_the_same_key(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    server = start(500, 503, 429, 201)
    logbook = connect(server.url)
    logbook.post_status(ORIGIN, TaskStatus.FAILED, "no peaks")
    server.wait_for(4)
    settled(logbook, posted=1, retried=3)
    assert len({post.headers["idempotency-key"] for post in server.posts}) == 1
    assert len({json.dumps(post.body) for post in server.posts}) == 1
    assert troubles == []


def test_what_is_refused_is_told_and_not_tried_again(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    server = start(403, 200)
    logbook = connect(server.url, token="s3cret")
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1)
    logbook.post_status(OTHER, TaskStatus.COMPLETED)
    settled(logbook, failed=1, posted=1)
    (sentence,) = troubles
    words = r"the logbook at http://127\.0\.0\.1:\d+/api/runs did not get the status COMPLETED of "
    assert re.fullmatch(words + r"observe/fit: answered 403 Forbidden \(1 try\)", sentence)
    assert "s3cret" not in sentence + repr(logbook)


def test_tries_come_to_an_end(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    server = start(500)
    logbook = connect(server.url, retries=2)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1, retried=2)
    assert len(server.posts) == 3
    assert "(3 tries)" in first_of(troubles)


def test_a_redirect_is_not_followed(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    other = start()

    def redirect(handler: Handler, server: Server) -> None:
        handler.send_response(307)
        handler.send_header("Location", other.url)
        handler.end_headers()

    server = start(redirect)
    logbook = connect(server.url, token="s3cret")
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1)
    assert "redirects are not followed" in first_of(troubles)
    assert other.posts == []


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-hello\r\n", b"\x00\xff" * 50, b"", b"HTTP/1.1 xyz\r\n\r\n", b"HTTP/9 200 OK\r\n\r\n",
     b"HTTP/1.1 200", b"x" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000],
)  # fmt: skip
def test_an_answer_that_is_none_is_tried_again(
    garbage: bytes, start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def answer(handler: Handler, server: Server) -> None:
        handler.wfile.write(garbage)

    server = start(answer, 200)
    logbook = connect(server.url)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, posted=1, retried=1)


def test_an_interim_answer_is_not_the_answer(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def answer(handler: Handler, server: Server) -> None:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 ok\r\n\r\n")

    logbook = connect(start(answer).url)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, posted=1)


def test_the_logbook_may_ask_for_more_time(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def busy(handler: Handler, server: Server) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", "1")
        handler.end_headers()

    server = start(busy, 200)
    logbook = connect(server.url)
    began = time.monotonic()
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    server.wait_for(2)
    assert time.monotonic() - began >= 1.0
    settled(logbook, posted=1, retried=1)
    # ... but not for longer than is usual.
    hurried = connect(start(busy, 200).url, max_backoff_s=0.05)
    hurried.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(hurried, posted=1, retried=1)


def test_the_time_that_is_asked_for_may_be_a_date(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def busy(handler: Handler, server: Server) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", formatdate(time.time() + 2, usegmt=True))
        handler.end_headers()

    def past(handler: Handler, server: Server) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")
        handler.end_headers()

    def odd(handler: Handler, server: Server) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", "a while")
        handler.end_headers()

    server = start(busy, past, odd, 200)
    logbook = connect(server.url)
    began = time.monotonic()
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    server.wait_for(2)
    assert time.monotonic() - began >= 0.9  # a date has whole seconds
    settled(logbook, posted=1, retried=3)


def test_a_token_that_the_logbook_echoes_is_shown_nowhere(
    start: Callable[..., Server],
    connect: Callable[..., HttpLogbook],
    troubles: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def echo(handler: Handler, server: Server) -> None:
        handler.send_response(401, f"bad {handler.headers['Authorization']}")
        handler.end_headers()

    logbook = connect(start(echo).url, token="s3cret")
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1)
    logbook.close(5)
    assert "answered 401 bad Bearer …" in troubles[0]
    assert "s3cret" not in troubles[0] + caplog.text


def dripping(handler: Handler, server: Server) -> None:
    """Answer a byte at a time, each of them in good time, and never to the end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not server.release.wait(0.02):
        handler.wfile.write(b"a")
        handler.wfile.flush()


@pytest.mark.parametrize("answer", [dripping, silent])
def test_a_slow_answer_is_given_up_at_the_limit(
    answer: Callable[..., None],
    start: Callable[..., Server],
    connect: Callable[..., HttpLogbook],
    troubles: list[str],
) -> None:
    logbook = connect(start(answer).url, timeout_s=0.2, retries=1)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, retried=1, failed=1)
    assert "no answer within 0.2 s (2 tries)" in first_of(troubles)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_logbook_that_is_not_there_is_told(
    connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    logbook = connect(f"http://127.0.0.1:{unused_port()}/", retries=1)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, retried=1, failed=1)
    assert "ConnectionRefusedError" in first_of(troubles)
    nowhere = connect("http://logbook.invalid/", retries=0)
    nowhere.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(nowhere, failed=1)
    long = connect(f"http://{'x' * 80}.invalid/")
    long.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(long, failed=1)
    first_of(troubles, "is not the name of a host")


# -- nobody waits (W4) --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dead", "silent", "dripping", "deaf"])
def test_posting_never_waits_and_closing_ends(
    kind: str, start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:  # accepts nobody
        url = {
            "dead": f"http://127.0.0.1:{unused_port()}/",
            "silent": start(silent).url,
            "dripping": start(dripping).url,
            "deaf": f"http://127.0.0.1:{deaf.getsockname()[1]}/",
        }[kind]
        logbook = connect(url)
        for number in range(200):
            origin = PageOrigin(f"run-{number}", analysis="a")
            logbook.post_status(origin, TaskStatus.RUNNING)
            logbook.post_parameters(origin, {"x": number})
            logbook.post_status(origin, TaskStatus.COMPLETED)
        if kind != "dead":  # one try alone takes LIMIT_S: nobody has waited for them
            assert logbook.counts.dropped + logbook.counts.overtaken > 0
        assert not logbook.close(0.3)
        found = logbook.counts
        assert found.waiting == found.posted == 0
        assert found.dropped + found.failed + found.overtaken == 600
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    assert logbook.counts.dropped == found.dropped + 1


def test_the_thread_begins_with_the_first_post_and_ends_with_close(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def alive() -> bool:
        return any(thread.name == "taskgrove-logbook" for thread in threading.enumerate())

    logbook = connect(start().url)
    assert not alive()
    logbook.post_status(ORIGIN, TaskStatus.RUNNING)
    assert alive()
    assert logbook.close(LIMIT_S)
    assert not alive()
    assert logbook.close(LIMIT_S)
    with HttpLogbook(start().url) as unused:
        pass
    assert unused.counts == LogbookCounts()


def test_the_end_is_tried_at_the_latest_when_closing(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    server = start(500, 200)
    logbook = connect(server.url, backoff_s=600, max_backoff_s=600)
    logbook.post_status(ORIGIN, TaskStatus.TIMEDOUT)
    settled(logbook, retried=1, waiting=1)
    assert logbook.close(LIMIT_S)
    assert server.told() == [("run-1", "TIMEDOUT")] * 2


def test_ends_go_first_when_closing(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    server = start(silent, 200)
    logbook = connect(server.url)
    logbook.post_status(PageOrigin("first"), TaskStatus.RUNNING)
    server.wait_for(1)
    logbook.post_status(PageOrigin("second"), TaskStatus.RUNNING)
    logbook.post_parameters(PageOrigin("third"), {"a": 1})
    logbook.post_status(PageOrigin("fourth"), TaskStatus.FAILED)
    closing = threading.Thread(target=logbook.close, args=(LIMIT_S,))
    closing.start()
    while logbook._close_by is None:
        time.sleep(0.005)
    server.release.set()
    closing.join(LIMIT_S)
    assert [run for run, _ in server.told()] == ["first", "fourth", "third", "second"]


def test_a_status_that_was_overtaken_is_left_out(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    server = start(silent, 200)
    logbook = connect(server.url)
    logbook.post_status(PageOrigin("blocks"), TaskStatus.RUNNING)
    server.wait_for(1)
    for status in (TaskStatus.RUNNING, TaskStatus.STOPPED, TaskStatus.RUNNING, TaskStatus.FAILED):
        logbook.post_status(ORIGIN, status)
    logbook.post_status(OTHER, TaskStatus.RUNNING)
    logbook.post_status(ORIGIN, TaskStatus.RUNNING)  # another attempt
    server.release.set()
    server.wait_for(5)  # the first is tried again, between the others or after them
    others = [told for told in server.told() if told[0] != "blocks"]
    assert others == [("run-1", "FAILED"), ("run-2", "RUNNING"), ("run-1", "RUNNING")]
    assert logbook.counts.overtaken == 3


def test_a_passing_status_is_not_tried_again_after_a_later_one(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def fail_later(handler: Handler, server: Server) -> None:
        server.release.wait(LIMIT_S)
        handler.send_response(500)
        handler.end_headers()

    server = start(fail_later, 200)
    logbook = connect(server.url)
    logbook.post_status(ORIGIN, TaskStatus.RUNNING)
    server.wait_for(1)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    server.release.set()
    settled(logbook, posted=1, overtaken=1)
    assert server.told() == [("run-1", "RUNNING"), ("run-1", "COMPLETED")]


def test_a_full_queue_drops_what_matters_least_and_says_so(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook], troubles: list[str]
) -> None:
    server = start(silent, 200)
    logbook = connect(server.url, capacity=2)
    logbook.post_status(PageOrigin("blocks"), TaskStatus.RUNNING)
    server.wait_for(1)
    logbook.post_status(PageOrigin("a"), TaskStatus.COMPLETED)
    logbook.post_status(PageOrigin("b"), TaskStatus.RUNNING)
    logbook.post_parameters(PageOrigin("c"), {})  # drops b
    logbook.post_status(PageOrigin("d"), TaskStatus.RUNNING)  # drops itself
    logbook.post_status(PageOrigin("e"), TaskStatus.FAILED)  # drops c
    logbook.post_status(PageOrigin("f"), TaskStatus.FAILED)  # drops a, the oldest end
    assert logbook.counts.dropped == 4
    assert [sentence.split(" did not get the ")[1] for sentence in troubles] == [
        f"{title}: too many entries wait"
        for title in ("status RUNNING of b", "status RUNNING of d", "parameters of c",
                      "status COMPLETED of a")
    ]  # fmt: skip
    server.answers[:] = [200]
    server.release.set()
    server.wait_for(4)  # what got no answer is tried again, sooner or later
    assert [run for run, _ in server.told() if run != "blocks"] == ["e", "f"]


def test_a_callback_that_raises_harms_nothing(
    start: Callable[..., Server], connect: Callable[..., HttpLogbook]
) -> None:
    def spoilt(sentence: str) -> None:
        raise RuntimeError(sentence)

    logbook = connect(start(400, 200).url, on_trouble=spoilt)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1)
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, failed=1, posted=1)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(TaskStatus)))),
    st.integers(1, 4),
)
def test_a_queue_keeps_its_bound_and_the_latest_ends(
    posts: list[tuple[str, TaskStatus]], capacity: int
) -> None:
    queue = LogbookQueue(capacity)
    gone = 0
    for number, (run, status) in enumerate(posts):
        entry = status_entry(PageOrigin(run), status, "", number)
        overtaken, dropped = queue.add(entry)
        gone += len(overtaken) + len(dropped)
        assert len(queue) <= capacity
        assert all(not entry.final for entry in overtaken)
    assert len(queue) + gone == len(posts)
    kept = queue.drain()
    ends = [number for number, (_, status) in enumerate(posts) if status.name in FINAL]
    assert [entry.at_ns for entry in kept if entry.final] == ends[-capacity:]


# -- the address and the token ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "logbook.example.org", "ftp://x/", "http://", "https://:443/", "http://x:99999/",
     "http://x/ y", "http://x\r\nEvil: 1/", "http://[::1/", "http://x:0/", "javascript:alert(1)"],
)  # fmt: skip
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"address of (a|the) logbook"):
        HttpLogbook(url)


def test_secrets_are_shown_nowhere() -> None:
    for make, hidden in (
        (lambda: HttpLogbook("https://user:pa55@x/"), "pa55"),
        (lambda: HttpLogbook("https://x/", token="bad\r\npa55"), "pa55"),
        (lambda: HttpLogbook("http://logbook.example.org/", token="pa55"), "pa55"),
    ):
        with pytest.raises(UsageError) as told:
            make()
        assert hidden not in str(told.value)
    logbook = HttpLogbook("https://x.example/api?key=pa55", token="pa55")
    assert "pa55" not in repr(logbook)


def test_a_token_crosses_plain_http_on_this_machine_only() -> None:
    for url in ("http://localhost:1/", "http://127.0.0.1/", "http://[::1]/", "https://x.example/"):
        HttpLogbook(url, token="t")
    with pytest.raises(UsageError, match="plain http"):
        HttpLogbook("http://127.0.0.1.example.org/", token="t")
    HttpLogbook("http://x.example/", token="t", allow_plain_token=True)


def test_numbers_are_checked() -> None:
    for options in ({"timeout_s": 0}, {"retries": -1}, {"capacity": 0}, {"backoff_s": 90}):
        with pytest.raises(UsageError):
            HttpLogbook("https://x/", **options)


def test_address_and_token_come_from_the_environment(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HttpLogbook.from_environment() is None
    server = start()
    monkeypatch.setenv("TASKGROVE_LOGBOOK_URL", server.url)
    monkeypatch.setenv("TASKGROVE_LOGBOOK_TOKEN", "from-outside")
    logbook = HttpLogbook.from_environment()
    assert logbook is not None
    logbook.post_status(ORIGIN, "RUNNING")
    assert logbook.close(LIMIT_S)
    assert server.posts[0].headers["authorization"] == "Bearer from-outside"


def test_https_is_checked_against_the_certificate(
    tmp_path: Path,
    start: Callable[..., Server],
    connect: Callable[..., HttpLogbook],
    troubles: list[str],
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    except FileNotFoundError:
        pytest.skip("needs `openssl`, to make a certificate")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    server = start(context=theirs)
    ours = ssl.create_default_context(cafile=str(certificate))
    logbook = connect(server.url, ssl_context=ours, token="s3cret")
    logbook.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(logbook, posted=1)
    doubtful = connect(server.url, retries=0)
    doubtful.post_status(ORIGIN, TaskStatus.COMPLETED)
    settled(doubtful, failed=1)
    assert "CERTIFICATE_VERIFY_FAILED" in first_of(troubles)
    assert len(server.posts) == 1
