"""The log of invocations: one line each change, the last one counts, and no secret in it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.tango.server.dialect import UNSET, RawText
from taskgrove.tango.server.job import Job
from taskgrove.tango.simulation.invocations import (
    MAX_SHOWN,
    DeviceInvocations,
    Invocation,
    invocations_of,
    overlapping,
    prepare_log,
)

DONE = (ResultCode.OK, "Scan completed OK")


def job(name: str = "Scan", uid: str = "1_2_Scan", argin: Any = None) -> Job:
    return Job(name, lambda _callback, _event: None, argin=argin, uid=uid)


def play(log: DeviceInvocations, done: Job, result: Any = DONE) -> None:
    log.change(done, TaskStatus.STAGING, UNSET)
    log.change(done, TaskStatus.QUEUED, UNSET)
    log.change(done, TaskStatus.IN_PROGRESS, UNSET)
    log.change(done, TaskStatus.COMPLETED, result)


def test_a_line_for_the_call_the_beginning_and_the_end(tmp_path: Path) -> None:
    file = prepare_log(tmp_path / "log.jsonl")
    play(DeviceInvocations("a/b/1", "s1", file), job(argin='{"id": 7}'))
    lines = [json.loads(line) for line in Path(file).read_text().splitlines()]
    assert [line["status"] for line in lines] == ["STAGING", "IN_PROGRESS", "COMPLETED"]
    assert [{"begin_ns", "end_ns"} & set(line) for line in lines] == [
        set(),
        {"begin_ns"},
        {"begin_ns", "end_ns"},
    ]
    (found,) = invocations_of(file)
    assert found.begin_ns is not None
    assert found.end_ns is not None
    assert found.called_ns <= found.begin_ns <= found.end_ns
    assert (found.device, found.command, found.id) == ("a/b/1", "Scan", "1_2_Scan")
    assert (found.argin, found.result_code, found.message) == (
        '{"id": 7}',
        "OK",
        "Scan completed OK",
    )


def test_what_was_written_when_the_server_was_killed_is_read(tmp_path: Path) -> None:
    file = prepare_log(tmp_path / "log.jsonl")
    log = DeviceInvocations("a/b/1", "s1", file)
    log.change(job(), TaskStatus.STAGING, UNSET)
    log.change(job(uid="other"), TaskStatus.STAGING, UNSET)
    with Path(file).open("ab") as half:
        half.write(b'{"device": "a/b/1", "com')
    first, second = invocations_of(file)
    assert (first.begin_ns, first.end_ns, first.status) == (None, None, "STAGING")
    assert (first.number, second.number) == (1, 2)


def test_servers_share_a_file_and_none_hides_another(tmp_path: Path) -> None:
    file = prepare_log(tmp_path / "log.jsonl")
    for server in ("s1", "s2"):
        for device in ("a/b/1", "a/b/2"):
            play(DeviceInvocations(device, server, file), job())
    found = invocations_of(file)
    assert [(item.device, item.server) for item in found] == [
        ("a/b/1", "s1"),
        ("a/b/2", "s1"),
        ("a/b/1", "s2"),
        ("a/b/2", "s2"),
    ]


def test_the_attribute_holds_the_newest_and_the_newest_is_last() -> None:
    log = DeviceInvocations("a/b/1", "s1")
    for number in range(MAX_SHOWN + 5):
        play(log, job(uid=str(number)))
    shown = json.loads(log.as_json())
    assert [item["id"] for item in shown] == [str(n) for n in range(5, MAX_SHOWN + 5)]


def test_no_secret_is_logged_and_a_long_argument_is_told_by_its_digest(tmp_path: Path) -> None:
    file = prepare_log(tmp_path / "log.jsonl")
    log = DeviceInvocations("a/b/1", "s1", file)
    play(log, job(argin='{"password": "hunter2-hunter2"}'), (ResultCode.FAILED, "token=abcdef99"))
    play(log, job(argin=json.dumps({"list": list(range(500))})))
    play(log, job(argin=json.dumps({"list": list(range(501))})))
    secret, long, longer = invocations_of(file)
    assert "hunter2" not in Path(file).read_text() + log.as_json()
    assert "abcdef99" not in Path(file).read_text() + log.as_json()
    assert "password" in secret.argin
    assert "… sha256:" in long.argin
    assert len(long.argin) < 300
    assert long.argin != longer.argin


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        (UNSET, None, ""),
        ((3, "no"), "FAILED", "no"),
        ([ResultCode.OK, "yes"], "OK", "yes"),
        ([42, "?"], None, '[42,"?"]'),
        (RawText('{"result": [0, '), None, '{"result": [0, '),
        ({"x": 1}, None, '{"x":1}'),
        ("ready", None, "ready"),
    ],
)
def test_any_result_is_told(result: Any, code: str | None, message: str, tmp_path: Path) -> None:
    file = prepare_log(tmp_path / "log.jsonl")
    play(DeviceInvocations("a/b/1", "s1", file), job(), result)
    (found,) = invocations_of(file)
    assert (found.status, found.result_code, found.message) == ("COMPLETED", code, message)


def test_a_log_that_cannot_be_written_stops_no_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = DeviceInvocations("a/b/1", "s1", str(tmp_path))
    play(log, job())
    assert json.loads(log.as_json())[0]["status"] == "COMPLETED"
    assert "an invocation of a/b/1 is missing in the log" in caplog.text


def test_a_log_is_private_and_goes_on_where_it_was(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        file = prepare_log(tmp_path / "log.jsonl")
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    play(DeviceInvocations("a/b/1", "s1", file), job())
    before = Path(file).read_text()
    assert prepare_log(file) == file
    assert Path(file).read_text() == before


def test_nothing_is_appended_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("commands: {}\n")
    with pytest.raises(UsageError, match=r"map\.yaml is no log of invocations"):
        prepare_log(tmp_path / "map.yaml")
    with pytest.raises(UsageError, match="cannot be written"):
        prepare_log(tmp_path / "none" / "log.jsonl")
    with pytest.raises(UsageError, match="is no ordinary file"):
        prepare_log(tmp_path)
    with pytest.raises(UsageError, match="is no ordinary file"):
        prepare_log("/dev/null")


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    play(DeviceInvocations("a/b/1", "s1", str(file)), job())
    file.write_text(file.read_text() + "hello\n")
    with pytest.raises(UsageError, match=r"log\.jsonl, line 4: not a line"):
        invocations_of(file)


def made(command: str = "Scan", called: int = 0, end: int | None = 10, **more: Any) -> Invocation:
    fields = {"device": "a/b/1", "server": "s1", "number": called, "status": "COMPLETED"}
    return Invocation(command=command, called_ns=called, end_ns=end, **(fields | more))


@pytest.mark.parametrize(
    ("later", "overlaps"),
    [
        (made(called=9), True),
        (made(called=10), False),
        (made(called=9, device="a/b/2"), False),
        (made(called=9, status="REJECTED"), False),
        (made("Abort", called=9), False),
        (made(called=9, server="s2"), False),
        (made("Configure", called=9), True),
    ],
)
def test_two_overlap_when_the_later_is_called_before_the_earlier_ended(
    later: Invocation, overlaps: bool
) -> None:
    first = made()
    assert overlapping([first, later]) == ([(first, later)] if overlaps else [])


def test_one_that_has_not_ended_overlaps_all_that_follow() -> None:
    first, second, third = made(end=None), made(called=20, end=30), made(called=40, end=50)
    assert overlapping([first, second, third]) == [(first, second), (first, third)]
