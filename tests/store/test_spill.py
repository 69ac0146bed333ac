"""The spill keeps entries in order, within bounds, and through a crash."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from taskgrove.store.recording import spill as spill_module
from taskgrove.store.recording.spill import Spill, orphans_of, spill_folders, take_orphan
from taskgrove.store.recording.spill_file import EndEntry, Entry, EventEntry, RunEntry, read_entries

RECORD = "postgresql://me@host/runs"


def entries(count: int, first: int = 1, size: int = 10) -> list[Entry]:
    return [EventEntry("run", first + n, b"x" * size) for n in range(count)]


def drained(spill: Spill, limit: int = 3) -> list[Entry]:
    found: list[Entry] = []
    while not spill.is_empty:
        some, mark = spill.peek(limit)
        assert some == spill.peek(limit)[0]  # looking changes nothing
        found += some
        spill.drop(mark)
    spill.clear()
    return found


def test_what_is_kept_aside_comes_back_in_order(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    mixed: list[Entry] = [
        RunEntry("run", {"run_id": "run", "created_ns": 5}, {"pid": 1}, False),
        *entries(10),
        EndEntry("run", (5, 0, None, "", 7)),
    ]
    assert spill.add(mixed[:4]) == []
    assert spill.add(mixed[4:]) == []
    assert spill.durable
    assert spill.size_bytes > 100
    assert [str(e) for e in drained(spill)] == [
        str(e) if not isinstance(e, EndEntry) else str(EndEntry("run", (5, 0, None, "", 7)))
        for e in mixed
    ]
    assert list(tmp_path.iterdir()) == []
    assert spill.size_bytes == 0
    spill.close()


def test_it_can_be_filled_and_drained_again(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    for start in (1, 50):
        spill.add(entries(5, start))
        assert [e.sequence for e in drained(spill)] == list(range(start, start + 5))
    spill.add(entries(4))
    _, mark = spill.peek(2)
    spill.drop(mark)
    spill.add(entries(2, 5))  # while it is being drained
    assert [e.sequence for e in drained(spill)] == [3, 4, 5, 6]
    spill.close()


def test_the_limit_holds_and_what_does_not_fit_is_handed_back(tmp_path: Path) -> None:
    spill = Spill(RECORD, 500, tmp_path)
    rejected = spill.add(entries(20, size=50))
    assert rejected
    assert rejected == entries(20, size=50)[-len(rejected) :]
    assert spill.size_bytes <= 500
    assert spill.is_crowded
    assert len(spill.add(entries(20, size=50))) == 20
    drained(spill)
    assert not spill.is_crowded
    assert spill.add(entries(2)) == []
    drained(spill)
    spill.close()


def test_where_no_file_can_be_written_memory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").touch()
    spill = Spill(RECORD, 10**6, tmp_path / "taken")
    assert spill.add(entries(5)) == []
    assert not spill.durable
    assert "nothing can be kept aside on the disk" in str(spill.trouble)
    assert [e.sequence for e in drained(spill)] == [1, 2, 3, 4, 5]
    assert spill.durable
    monkeypatch.setattr(spill_module, "MEMORY_LIMIT_BYTES", 200)
    assert len(spill.add(entries(20, size=50))) > 0
    assert spill.size_bytes <= 200
    spill.close()


def test_a_disk_that_fills_up_leaves_the_order_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(3))
    real = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, data[:15])  # a part of it fits

    monkeypatch.setattr(os, "write", full)
    spill.add(entries(3, 4))
    assert not spill.durable
    monkeypatch.undo()
    spill.add(entries(3, 7))  # what is newer must not overtake what is in memory
    assert [e.sequence for e in drained(spill)] == list(range(1, 10))
    spill.close()


def test_what_a_process_left_is_found_by_its_record(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(3))
    (path,) = orphans_of(RECORD, tmp_path)
    assert orphans_of("another", tmp_path) == []
    assert take_orphan(path) is None  # its owner lives
    spill.close()
    fd = take_orphan(path)
    assert fd is not None
    assert take_orphan(path) is None  # somebody is at it
    assert [entry.sequence for entry, _ in read_entries(fd)] == [1, 2, 3]
    os.close(fd)


@pytest.mark.parametrize("cut", [1, 5, 9, 12])
def test_an_entry_that_was_cut_off_ends_the_file(tmp_path: Path, cut: int) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(3))
    spill.close()
    (path,) = orphans_of(RECORD, tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    with path.open("rb") as file:
        assert [entry.sequence for entry, _ in read_entries(file.fileno())] == [1, 2]


def test_no_cut_of_an_entry_of_any_kind_is_damage(tmp_path: Path) -> None:
    row = {"run_id": "run", "created_ns": 5, "progress": 0, "parent_run_id": None, "user": "é" * 40}
    kinds: list[Entry] = [
        RunEntry("run", row, {"pid": 2**31, "pid_started": 1.5}, True),
        EventEntry("run", 70_000, b"x" * 300),
        EndEntry("run", (5, 0, None, "no lock", 2**60)),
    ]
    gaps: list[tuple[int, int]] = []
    for entry in kinds:
        spill = Spill(RECORD, 10**6, tmp_path)
        spill.add([entry])
        spill.close()
        (path,) = orphans_of(RECORD, tmp_path)
        with path.open("rb") as file:
            for end in range(path.stat().st_size):
                damaged = read_entries(file.fileno(), 0, end, lambda *gap: gaps.append(gap))
                assert list(damaged) == []
        path.unlink()
    assert gaps == [], "msgspec may have changed how it reports truncated data"


@pytest.mark.parametrize(
    ("byte", "size"), [*((n, 10) for n in range(0, 40, 3)), (2, 3_000_000), (20, 3_000_000)]
)
def test_a_damaged_entry_is_passed_over(tmp_path: Path, byte: int, size: int) -> None:
    spill = Spill(RECORD, 10**8, tmp_path)
    spill.add(entries(3, size=size))
    spill.close()
    (path,) = orphans_of(RECORD, tmp_path)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third + byte] ^= 0xFF
    path.write_bytes(data)
    gaps: list[tuple[int, int]] = []
    with path.open("rb") as file:
        found = read_entries(file.fileno(), on_damage=lambda *gap: gaps.append(gap))
        assert [entry.sequence for entry, _ in found] == [1, 3]
    assert gaps == [(third, 2 * third)]


def test_a_last_entry_whose_length_is_wrong_is_not_cut_off(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(2))
    spill.close()
    (path,) = orphans_of(RECORD, tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 2] ^= 0xFF
    path.write_bytes(data)
    gaps: list[tuple[int, int]] = []
    with path.open("rb") as file:
        assert len(list(read_entries(file.fileno(), on_damage=lambda *gap: gaps.append(gap)))) == 1
    assert gaps == [(len(data) // 2, len(data))]


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_file_that_is_damaged_under_its_owner_stays(tmp_path: Path, damaged: int) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(3))
    (path,) = orphans_of(RECORD, tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 * damaged + 20] ^= 0xFF
    path.write_bytes(data)
    assert len(drained(spill, limit=1)) == 2
    assert path.read_bytes() == data
    spill.add(entries(1))
    assert spill.path != path
    drained(spill)
    assert orphans_of(RECORD, tmp_path) == [path]


def test_a_write_that_failed_leaves_no_part_behind_later_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    real = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 1_000:
            raise OSError(28, "No space left on device")
        return real(fd, data[:-500])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        spill.add(entries(1, size=2_000))
    _, mark = spill.peek(1)
    spill.drop(mark)
    spill.add(entries(1))
    assert spill.path is not None
    assert spill.path.stat().st_size == spill.size_bytes
    spill.close()


def test_entries_larger_than_a_read_come_back(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**8, tmp_path)
    spill.add(entries(3, size=3_000_000))
    assert [len(e.body) for e in drained(spill) if isinstance(e, EventEntry)] == [3_000_000] * 3
    spill.close()


def test_spills_are_private_and_in_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = spill_folders()[0]
    assert str(folder).startswith(os.environ["XDG_STATE_HOME"])
    spill = Spill(RECORD, 10**6)
    spill.add(entries(1))
    assert spill.path is not None
    assert spill.path.parent == folder
    assert spill.path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    drained(spill)
    spill.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    spill.add(entries(1))
    spill.close()
    (path,) = orphans_of(RECORD, tmp_path)
    target = tmp_path / "elsewhere"
    path.rename(target)
    path.symlink_to(target)
    assert take_orphan(path) is None
    with target.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it
