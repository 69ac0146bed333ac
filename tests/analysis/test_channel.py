"""Channels between two processes (or two ends in one): nothing lost, nothing left, no harm."""

from __future__ import annotations

import array
import gc
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from taskgrove.analysis.channel.channel_messages import (
    Acknowledged,
    Heartbeat,
    Hello,
    Log,
    Progress,
    Result,
    encode_message,
)
from taskgrove.analysis.channel.child_channel import ChildChannel, rank_of
from taskgrove.analysis.channel.connection import (
    CHANNEL_VARIABLE,
    TOKEN_VARIABLE,
    Connection,
    listen,
    open_channel,
)
from taskgrove.analysis.channel.frames import ChannelError
from taskgrove.analysis.channel.shared_buffers import map_shared, write_shared
from taskgrove.analysis.plain.form import from_plain, to_plain
from tests.analysis.analysis_runs import descriptors, until


def pair() -> tuple[Connection, ChildChannel]:
    ours, theirs = open_channel()
    number = os.dup(theirs.fileno())
    theirs.close()
    return ours, ChildChannel({CHANNEL_VARIABLE: f"fd:{number}"})


def take(connection: Connection, count: int) -> list[object]:
    found: list[object] = []
    while len(found) < count:
        messages = connection.receive()
        assert not connection.at_end
        assert connection.broken is None
        found += [item.message for item in messages]
        if not messages:
            time.sleep(0.001)
    return found


def test_a_burst_arrives_whole_and_in_order() -> None:
    """Fact W2: 1 of 500 messages of a burst arrives."""
    ours, theirs = pair()
    burst = [Progress(None, str(number)) for number in range(20_000)]
    sender = threading.Thread(target=lambda: [theirs.send(item) for item in burst])
    sender.start()
    assert take(ours, len(burst)) == burst
    sender.join()
    theirs.close()
    ours.close()


def test_many_threads_may_send_at_once() -> None:
    ours, theirs = pair()

    def send(name: str) -> None:
        for number in range(500):
            theirs.send(Log(20, f"{name} {number} " + "x" * (number * 7 % 3000)))

    senders = [threading.Thread(target=send, args=(name,)) for name in "abc"]
    for sender in senders:
        sender.start()
    found = take(ours, 1500)
    for sender in senders:
        sender.join()
    for name in "abc":
        mine = [m.text.split()[1] for m in found if isinstance(m, Log) and m.text[0] == name]
        assert mine == [str(number) for number in range(500)]
    theirs.close()
    ours.close()


@pytest.mark.parametrize("kind", ["zeros", "random"])
def test_a_large_array_arrives_even_if_its_sender_ends_at_once(kind: str) -> None:
    """Fact (b): 64 MB random: 1 of 6; 0 of 5 where the task ends right after sending."""
    before = descriptors()
    ours, theirs = pair()
    size = 2_000_000
    sent = np.zeros(size) if kind == "zeros" else np.random.default_rng(1).random(size)
    buffers: list[memoryview] = []
    plain = to_plain([sent, sent[::2], np.arange(3)], buffers=buffers)
    theirs.send(Result("COMPLETED", "", plain, None, None), buffers)
    theirs.close()
    (received,) = ours.receive()
    assert isinstance(received.message, Result)
    found = from_plain(received.message.payload, buffers=received.buffers)
    assert np.array_equal(found[0], sent)
    assert np.array_equal(found[1], sent[::2])
    found[0][0] = 7.0  # what is received is ours to change
    ours.receive()
    assert ours.at_end
    ours.close()
    until(lambda: descriptors() <= before)  # what is received holds no descriptor
    mapped = _mapped_bytes()
    del received, found
    gc.collect()
    assert _mapped_bytes() < mapped, "and its memory goes with it"


def _mapped_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmSize:")[1].split()[0])


def test_back_pressure_holds_the_sender_and_loses_nothing() -> None:
    ours, theirs = pair()
    done = threading.Event()

    def send() -> None:
        for number in range(3000):
            theirs.send(Log(20, f"{number} " + "x" * 2000))
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert not done.wait(0.2), "6 MB are more than the kernel keeps"
    found = take(ours, 3000)
    assert [m.text.split()[0] for m in found if isinstance(m, Log)] == list(map(str, range(3000)))
    assert done.wait(10)
    sender.join()
    theirs.close()
    ours.close()


def test_what_the_executor_sends_waits_for_a_slow_program() -> None:
    ours, theirs = pair()
    text = "x" * 3_000_000
    ours.send(Log(20, text))
    assert ours.wants_to_write
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(theirs.wait_for(Log)[0]))
    reader.start()
    while ours.wants_to_write:
        ours.flush()
    reader.join()
    assert got == [Log(20, text)]
    theirs.close()
    ours.close()


def test_messages_before_garbage_count() -> None:
    ours, theirs = pair()
    theirs.send(Progress(1.0, "good"))
    theirs._socket.sendall(b"cos\nsystem\n(S'true'\ntR.")
    assert [item.message for item in ours.receive()] == [Progress(1.0, "good")]
    assert ours.broken is not None
    assert ours.receive() == []
    theirs.close()
    ours.close()


def test_half_a_frame_is_known_as_such() -> None:
    ours, theirs = pair()
    (piece,) = encode_message(Log(20, "never whole"))
    theirs._socket.sendall(bytes(piece)[:-3])
    theirs.close()
    assert ours.receive() == []
    ours.receive()
    assert ours.at_end
    assert ours.unfinished_bytes == len(piece) - 3
    ours.close()


def memory_of(data: bytes, seals: int) -> int:
    import fcntl

    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def test_memory_that_could_still_shrink_is_refused() -> None:
    """A reader of memory that its sender shrinks would die of a bus error."""
    with pytest.raises(ChannelError, match="can still be changed"):
        map_shared(memory_of(b"x" * 4096, 0), [4096])
    with pytest.raises(ChannelError, match="8192 shared bytes, 4096 came"):
        map_shared(memory_of(b"x" * 4096, 1 | 2 | 4 | 8), [8192])
    with pytest.raises(ChannelError, match="is not shared memory"):
        map_shared(os.open("/dev/null", os.O_RDONLY), [10])
    with pytest.raises(ChannelError, match="0 shared bytes"):
        map_shared(memory_of(b"x", 1 | 2 | 4 | 8), [0])
    found = map_shared(write_shared([b"abc", bytes(100), b"end"]), [3, 100, 3])
    assert [bytes(item) for item in found] == [b"abc", bytes(100), b"end"]


def test_descriptors_that_nobody_asked_for_do_not_fill_the_table() -> None:
    before = descriptors()
    ours, theirs = pair()
    with open("/dev/null") as null:
        rights = array.array("i", [null.fileno()] * 12)
        (piece,) = encode_message(Heartbeat())
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        theirs._socket.sendmsg([bytes(piece)], ancillary)
    ours.receive()
    assert ours.broken is not None
    assert "more descriptors" in ours.broken.message
    theirs.close()
    ours.close()
    until(lambda: descriptors() <= before)


def test_shared_buffers_without_memory_are_refused() -> None:
    ours, theirs = pair()
    pieces = encode_message(Log(20, "x"), [bytes(100)], shared_from=1)
    theirs._socket.sendall(b"".join(map(bytes, pieces)))
    assert ours.receive() == []
    assert ours.broken is not None
    assert "no memory came with it" in ours.broken.message
    theirs.close()
    ours.close()


def test_a_socket_for_programs_that_inherit_nothing() -> None:
    place = listen()
    assert place.accept() is None
    environment = {
        CHANNEL_VARIABLE: place.address,
        TOKEN_VARIABLE: place.token,
        "OMPI_COMM_WORLD_RANK": "3",
    }
    theirs = ChildChannel(environment)
    assert environment == {"OMPI_COMM_WORLD_RANK": "3"}, "what it starts is not to find it"
    assert theirs.rank == 3
    ours = place.accept()
    assert ours is not None
    assert take(ours, 1) == [Hello(place.token, 3)]
    ours.send(Acknowledged())
    assert theirs.wait_for(Acknowledged)[0] == Acknowledged()
    theirs.close()
    ours.close()
    place.socket.close()


def test_ranks_of_process_managers() -> None:
    assert rank_of({}) == 0
    assert rank_of({"SLURM_PROCID": "2"}) == 2
    assert rank_of({"PMI_RANK": "x", "SLURM_PROCID": "1"}) == 1


@pytest.mark.parametrize("address", ["", "fd:", "fd:x", "tcp:1", "unix:"])
def test_no_channel_is_an_error(address: str) -> None:
    with pytest.raises(ChannelError, match="there is no channel"):
        ChildChannel({CHANNEL_VARIABLE: address})


def test_the_guard_tells_that_the_executor_is_gone_and_stops_when_told() -> None:
    ours, theirs = pair()
    lost = threading.Event()
    theirs.keep_watch(0.01, 30.0, lost.set)
    assert take(ours, 3) == [Heartbeat()] * 3
    ours.close()
    assert lost.wait(10)
    theirs.close()
    until(lambda: not any(t.name == "taskgrove-analysis-guard" for t in threading.enumerate()))
