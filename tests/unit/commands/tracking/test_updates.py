"""How an update of a subtask is read and decided on: pure functions."""

from __future__ import annotations

import pytest

from taskgrove.commands.tracking.updates import NO_CONTEXT, decide, read_update
from taskgrove.control_model import MOVES, ResultCode, TaskStatus
from taskgrove.moves import IGNORE

RUNNING, QUEUED, COMPLETED = TaskStatus.IN_PROGRESS, TaskStatus.QUEUED, TaskStatus.COMPLETED
LOST = TaskStatus.NOT_FOUND


def update(status=None, progress=None, **fields):
    return read_update(status, progress, None, None, fields, None)


@pytest.mark.parametrize("now", TaskStatus)
@pytest.mark.parametrize("reported", TaskStatus)
def test_a_reported_status_is_decided_by_the_table(now, reported):
    assert decide(now, update(reported), False) is MOVES[now, reported]
    assert decide(now, update(reported), True) is IGNORE


@pytest.mark.parametrize("reported", TaskStatus)
def test_a_subtask_that_has_not_reported_takes_every_status(reported):
    assert decide(None, update(reported), False) is reported


@pytest.mark.parametrize(
    ("now", "progress", "after"),
    [
        (None, None, None), (None, 0, None), (None, 5, RUNNING), (QUEUED, 5, RUNNING),
        (QUEUED, None, QUEUED), (RUNNING, 5, RUNNING), (LOST, 5, LOST),
        (COMPLETED, 5, IGNORE), (COMPLETED, None, IGNORE),
    ],
)  # fmt: skip
def test_progress_tells_that_a_subtask_has_begun(now, progress, after):
    assert decide(now, update(progress=progress), False) is after


def test_an_update_is_read_without_its_record():
    read = read_update(COMPLETED, 250, (3, "boom"), None, {"device_name": "a/b/1"}, "x/y/z")
    assert (read.status, read.progress, read.device) == (COMPLETED, 100, "a/b/1")
    assert (read.code, read.message) == (ResultCode.FAILED, "a/b/1: boom")
    assert read.context is NO_CONTEXT
    assert read_update(None, None, (3, "boom"), None, {}, "x/y/z").message == "x/y/z: boom"
