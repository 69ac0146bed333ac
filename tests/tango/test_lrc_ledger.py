"""The ledger: what each change sends, in which order, and what the attributes say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import TaskStatus
from taskgrove.tango.server.dialect import OLD_DEVICE, UNSET, Dialect, RawText, encode_result
from taskgrove.tango.server.ledger import (
    FINISHED_KEPT_S,
    MAX_FINISHED,
    MAX_TRACKED,
    CommandLedger,
)


class HandClock:
    """A clock whose hands the test turns."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall_ns(self) -> int:
        return int(self.now_s * 1e9)


def names(pushes: list) -> list[str]:
    return [name for name, _ in pushes]


def run_to_end(ledger: CommandLedger, name: str = "Configure") -> str:
    uid = ledger.add(name)
    ledger.update(uid, status=TaskStatus.QUEUED)
    ledger.update(uid, status=TaskStatus.IN_PROGRESS)
    ledger.update(uid, status=TaskStatus.COMPLETED, result=(0, "done"))
    return uid


def test_events_of_one_change_come_in_the_order_of_real_devices():
    ledger = CommandLedger()
    uid = ledger.add("Configure")
    ledger.update(uid, status=TaskStatus.IN_PROGRESS)
    pushes = ledger.update(uid, status=TaskStatus.COMPLETED, progress=99, result=(0, "done"))
    assert names(pushes) == [
        "longRunningCommandResult",
        "longRunningCommandProgress",
        "longRunningCommandStatus",
        "longRunningCommandInProgress",
        "_lrcEvent",
        "lrcExecuting",
        "lrcFinished",
    ]
    event = dict(pushes)["_lrcEvent"]
    assert event[0] == uid
    assert json.loads(event[1]) == {"status": 5, "progress": 99, "result": [0, "done"]}


def test_queue_executing_and_finished_are_disjoint():
    ledger = CommandLedger()
    uids = [run_to_end(ledger), ledger.add("Scan"), ledger.add("End")]
    ledger.update(uids[1], status=TaskStatus.IN_PROGRESS)
    ledger.update(uids[2], status=TaskStatus.QUEUED)
    sets = [
        {json.loads(text)["uid"] for text in ledger.read(name)}
        for name in ("lrcFinished", "lrcExecuting", "lrcQueue")
    ]
    assert sets == [{uid} for uid in uids]


def test_v1_forgets_a_finished_command_after_ten_seconds_lrc_finished_does_not():
    clock = HandClock()
    ledger = CommandLedger(clock=clock)
    uid = run_to_end(ledger)
    clock.now_s += FINISHED_KEPT_S - 0.1
    assert ledger.status_name(uid) == "COMPLETED"
    assert ledger.read("longRunningCommandStatus") == [uid, "COMPLETED"]
    clock.now_s += 0.2
    assert ledger.status_name(uid) == "NOT_FOUND"
    assert ledger.read("longRunningCommandStatus") == []
    assert [json.loads(text)["uid"] for text in ledger.read("lrcFinished")] == [uid]


def test_a_final_command_never_changes():
    ledger = CommandLedger()
    uid = run_to_end(ledger)
    assert ledger.update(uid, status=TaskStatus.FAILED, result=(3, "late")) == []
    assert ledger.status_name(uid) == "COMPLETED"


@given(st.lists(st.sampled_from(["run", "queue", "reject"]), max_size=250))
def test_no_attribute_outgrows_its_length(steps):
    ledger = CommandLedger()
    waiting = 0
    for step in steps:
        if step == "run":
            run_to_end(ledger)
        elif step == "queue" and waiting < 33:
            waiting += 1
            ledger.update(ledger.add("Scan"), status=TaskStatus.QUEUED)
        else:
            uid = ledger.add("Scan")
            ledger.update(uid, status=TaskStatus.REJECTED, result=(5, "full"))
        assert len(ledger.read("longRunningCommandStatus")) <= 2 * MAX_TRACKED
        assert len(ledger.read("longRunningCommandIDsInQueue")) <= MAX_TRACKED
        assert len(ledger.read("lrcFinished")) <= MAX_FINISHED
        assert len(ledger.read("lrcQueue")) == waiting  # what waits is never forgotten


@pytest.mark.parametrize(
    ("spelling", "key"),
    [("present", "submitted_time"), ("misspelt", "sumbitted_time"), ("absent", None)],
)
def test_submitted_time_as_the_dialect_has_it(spelling, key):
    ledger = CommandLedger(Dialect(submitted_time=spelling))
    entry = run_to_end(ledger) and json.loads(ledger.read("lrcFinished")[0])
    found = {name for name in entry if name.endswith("itted_time")}
    assert found == ({key} if key else set())
    assert entry["status"] == "COMPLETED"
    assert entry["finished_time"].endswith("+00:00")


def test_an_old_device_sends_no_v2_and_bare_results_only():
    ledger = CommandLedger(OLD_DEVICE)
    assert ledger.read("longRunningCommandInProgress") == ["", ""]
    uid = ledger.add("Configure")
    pushes = ledger.update(uid, status=TaskStatus.IN_PROGRESS)
    assert not any(name.startswith(("_lrc", "lrc")) for name in names(pushes))
    assert OLD_DEVICE.shape_result((0, "done"), abnormal=False) == "done"
    assert OLD_DEVICE.shape_result((3, "boom"), abnormal=True) is UNSET


def test_raw_text_goes_out_as_it_stands():
    assert encode_result(RawText("{nonsense")) == "{nonsense"
    assert encode_result((0, "done")) == '[0,"done"]'
    ledger = CommandLedger()
    uid = ledger.add("Configure")
    pushes = ledger.update(uid, status=TaskStatus.COMPLETED, result=RawText("{nonsense"))
    assert dict(pushes)["_lrcEvent"] == [uid, "{nonsense"]


def test_flush_interval_out_of_range_is_refused():
    with pytest.raises(ValueError, match="allowed is 0 to 10"):
        Dialect(flush_s=11.0)


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary() | st.floats() | st.just(object()),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.none() | st.text() | st.integers(), inner)
        ),
    )
)
def test_whatever_a_command_returns_can_be_sent(result):
    ledger = CommandLedger()
    uid = ledger.add("Configure")
    pushes = dict(ledger.update(uid, status=TaskStatus.COMPLETED, result=result))
    texts = [pushes["longRunningCommandResult"][1], pushes["_lrcEvent"][1]]
    texts.append(pushes["lrcFinished"][-1])
    assert all(text.isascii() for text in texts)  # TANGO carries Latin-1 only
    last, event, finished = map(json.loads, texts)
    assert event["status"] == 5
    assert event["result"] == finished["result"] == last


def test_a_command_that_is_only_staged_is_listed_too() -> None:
    ledger = CommandLedger()
    uid = ledger.add("Configure")
    ledger.update(uid, status=TaskStatus.STAGING, progress=0)
    assert ledger.read("longRunningCommandStatus") == [uid, "STAGING"]
    ledger.update(uid, status=TaskStatus.IN_PROGRESS)
    assert ledger.read("longRunningCommandProgress") == [uid, "0"]
