"""Large payloads by reference: complete, hashed, and read back without pickle."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taskgrove.analysis.payload_reference import PayloadReference
from taskgrove.analysis.payload_store import load_payload, store_payload
from taskgrove.analysis.plain.json_form import dump_json, load_json
from taskgrove.errors import AnalysisError


def test_what_is_small_stays(tmp_path: Path) -> None:
    payload = {"a": np.zeros(3), "b": [1, (2,)]}
    kept = store_payload(payload, tmp_path / "x")
    assert kept["a"] is payload["a"]
    assert kept["b"] == payload["b"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(1000.0).reshape(10, 100), np.arange(1000.0).reshape(10, 100).T,
        np.zeros(1000, "datetime64[ns]"), np.zeros(300, [("a", "i4"), ("b", "U3")]),
        np.arange(4000)[::2], np.full(2000, np.nan, np.complex64),
    ],
    ids=lambda array: str(array.dtype),
)  # fmt: skip
def test_an_array_comes_back_from_its_file(tmp_path: Path, array: Any) -> None:
    reference = store_payload(array, tmp_path, 1000)
    assert isinstance(reference, PayloadReference)
    path = Path(reference.path)
    assert (reference.kind, path.suffix, path.is_absolute()) == ("npy", ".npy", True)
    raw = path.read_bytes()
    assert reference.size_bytes == len(raw)
    assert reference.sha256 == hashlib.sha256(raw).hexdigest()
    found = load_payload(reference, root=tmp_path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert np.array_equal(
        np.load(path, allow_pickle=False), array, equal_nan=array.dtype.kind == "c"
    )


def test_large_parts_leave_and_small_ones_stay(tmp_path: Path) -> None:
    payload = {"image": np.ones(1000), "raw": (b"y" * 2000, 3), "small": np.zeros(2), 5: "x"}
    kept = store_payload(payload, tmp_path, 1000)
    assert kept["image"].kind == "npy"
    assert kept["raw"][0].kind == "bytes"
    assert kept["raw"][1:] == (3,)
    assert kept["small"] is payload["small"]
    through = load_json(dump_json(kept))  # a reference is data itself
    found = load_payload(through, root=tmp_path)
    np.testing.assert_array_equal(found["image"], payload["image"])
    assert found["raw"] == payload["raw"]


def test_what_is_still_large_is_kept_as_json(tmp_path: Path) -> None:
    payload = {"image": np.ones(1000), "list": list(range(1000))}
    reference = store_payload(payload, tmp_path, 1000)
    assert reference.kind == "json"
    found = load_payload(reference)
    np.testing.assert_array_equal(found["image"], payload["image"])
    assert found["list"] == payload["list"]


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    one = store_payload(np.ones(1000), tmp_path, 10)
    two = store_payload(np.ones(1000), tmp_path, 10)
    assert one == two
    assert len(list(tmp_path.iterdir())) == 1


def test_w1_objects_are_refused_before_a_file_is_there(tmp_path: Path) -> None:
    for payload in (np.array([object()] * 1000), [np.array([{}] * 1000)], {"a": object()}):
        with pytest.raises(AnalysisError):
            store_payload(payload, tmp_path, 10)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_is_noticed(tmp_path: Path) -> None:
    reference = store_payload(np.ones(1000), tmp_path, 10)
    path = Path(reference.path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(AnalysisError, match="has changed"):
        load_payload(reference)
    path.write_bytes(raw[:-5])
    with pytest.raises(AnalysisError, match="has changed"):
        load_payload(reference)
    path.unlink()
    with pytest.raises(AnalysisError, match="cannot be read"):
        load_payload(reference)


def test_a_pickle_behind_a_reference_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npy"
    np.save(path, np.array([print]), allow_pickle=True)
    raw = path.read_bytes()
    evil = PayloadReference(str(path), len(raw), hashlib.sha256(raw).hexdigest(), "npy")
    with pytest.raises(AnalysisError, match="holds no array"):
        load_payload(evil)


def test_a_reference_leads_nowhere_else(tmp_path: Path) -> None:
    reference = store_payload(b"x" * 100, tmp_path / "a", 10)
    assert load_payload(reference, root=tmp_path / "a") == b"x" * 100
    with pytest.raises(AnalysisError, match="lies outside"):
        load_payload(reference, root=tmp_path / "b")
    link = tmp_path / "a" / "link"
    link.symlink_to(__file__)
    with pytest.raises(AnalysisError, match="lies outside"):
        load_payload(PayloadReference(str(link), 1, "", "bytes"), root=tmp_path / "a")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnalysisError, match="No space left") as caught:
        store_payload(np.ones(1000), tmp_path, 10)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_many_threads_may_keep_the_same_content(tmp_path: Path) -> None:
    found: list[PayloadReference] = []
    threads = [
        threading.Thread(target=lambda: found.append(store_payload(np.ones(9999), tmp_path, 10)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(found)) == 1
    assert len(found) == 8
    assert len(list(tmp_path.iterdir())) == 1
