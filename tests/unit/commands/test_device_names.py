"""Spellings of one device's name."""

from __future__ import annotations

import pytest

from taskgrove.commands.device_names import device_key


@pytest.mark.parametrize(
    "other",
    [
        "Low-PST/Beam/01",
        "tango:low-pst/beam/01",
        "tango://db.site.org:10000/low-pst/beam/01",
        "tango://DB:10000/low-pst/Beam/01#dbase=yes",
    ],
)
def test_a_name_is_the_same_in_every_spelling(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANGO_HOST", "db.site.org:10000,db2.site.org:10000")
    assert device_key(other) == device_key("low-pst/beam/01")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.0.1.1"])
def test_this_machine_has_many_names(host: str) -> None:
    address = f"tango://{host}:4711/low-pst/beam/01"
    assert device_key(address) == device_key("tango://localhost:4711/LOW-PST/beam/01#dbase=no")


@pytest.mark.parametrize(
    "other",
    [
        "tango://localhost:4712/low-pst/beam/01#dbase=no",
        "tango://10.0.0.7:4711/low-pst/beam/01#dbase=no",
        "tango://localhost:4711/low-pst/beam/02#dbase=no",
        "low-pst/beam/01",
    ],
)
def test_other_devices_have_other_keys(other: str) -> None:
    assert device_key(other) != device_key("tango://localhost:4711/low-pst/beam/01#dbase=no")
