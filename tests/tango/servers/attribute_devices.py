"""A plain device with attributes of every type, and what the tests of steps need beside them."""

from __future__ import annotations

import sys
import threading
from enum import IntEnum

import tango
import tango.server
from tango import Attr, AttrWriteType, DevState, ImageAttr, SpectrumAttr
from tango.server import Device, attribute, command

TYPES = (
    "DevBoolean", "DevUChar", "DevShort", "DevUShort", "DevLong", "DevULong", "DevLong64",
    "DevULong64", "DevFloat", "DevDouble", "DevString",
)  # fmt: skip


class Gate(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class AttributeDevice(Device):
    """``<form>_<type>`` can be read and written; ``Push`` tells of a change, ``Put`` does not."""

    def init_device(self):
        super().init_device()
        self.set_state(DevState.ON)
        self._values = {}
        self._pushed = 0.0
        self._gate = Gate.CLOSED
        self._written = 0
        self.set_change_event("pushed", True, False)
        self.set_change_event("State", True, False)

    def initialize_dynamic_attributes(self):
        for name in TYPES:
            kind = getattr(tango, name)
            for made in (
                Attr(f"scalar_{name}", kind, AttrWriteType.READ_WRITE),
                SpectrumAttr(f"spectrum_{name}", kind, AttrWriteType.READ_WRITE, 4),
                ImageAttr(f"image_{name}", kind, AttrWriteType.READ_WRITE, 3, 2),
            ):
                self.add_attribute(made, self.read_any, self.write_any)

    def read_any(self, attr):
        form, _, name = attr.get_name().partition("_")
        zero = {"DevString": "", "DevBoolean": False}.get(name, 0)
        value = self._values.get(attr.get_name())
        if value is None:
            value = {"scalar": zero, "spectrum": [zero], "image": [[zero]]}[form]
        attr.set_value(value)

    def write_any(self, attr):
        self._written += 1
        self._values[attr.get_name()] = attr.get_write_value()

    @attribute(dtype=float)
    def pushed(self):
        return self._pushed

    @attribute(dtype=int)
    def written(self):
        return self._written

    @attribute(dtype=Gate, access=AttrWriteType.READ_WRITE)
    def gate(self):
        return self._gate

    @gate.write
    def gate(self, value):
        self._gate = Gate(value)

    gates = attribute(
        dtype=(Gate,), max_dim_x=3, access=AttrWriteType.READ_WRITE, fget="read_gates",
        fset="write_gates",
    )  # fmt: skip

    def read_gates(self):
        return self._values.get("gates", [Gate.OPEN, Gate.CLOSED])

    def write_gates(self, value):
        self._values["gates"] = [Gate(item) for item in value]

    only_written = attribute(dtype=float, access=AttrWriteType.WRITE, fset="write_only")

    def write_only(self, value):
        self._values["only"] = value

    limited = attribute(
        dtype=float, access=AttrWriteType.READ_WRITE, min_value=-1, max_value=1,
        fget="read_limited", fset="write_only",
    )  # fmt: skip

    def read_limited(self):
        return 0.5

    @attribute(dtype=float)
    def broken(self):
        raise RuntimeError("the sensor is not connected")

    @attribute(dtype=float)
    def invalid(self):
        return 0.0, 0.0, tango.AttrQuality.ATTR_INVALID

    refusing = attribute(
        dtype=float, access=AttrWriteType.READ_WRITE, fget="read_limited", fset="write_refusing"
    )

    def write_refusing(self, value):
        raise RuntimeError(f"{value} is not safe now")

    slow = attribute(
        dtype=float, access=AttrWriteType.READ_WRITE, fget="read_limited", fset="write_slow"
    )

    def write_slow(self, value):
        threading.Event().wait(value)

    @command(dtype_in=float)
    def Push(self, value):
        self._pushed = value
        self.push_change_event("pushed", value)

    @command(dtype_in=float)
    def Put(self, value):
        self._pushed = value

    @command(dtype_in=str)
    def Go(self, name):
        self.set_state(getattr(DevState, name))

    @command(dtype_in=float, dtype_out=float)
    def Double(self, value):
        return 2 * value

    @command(dtype_in=float)
    def Sleep(self, seconds):
        threading.Event().wait(seconds)


if __name__ == "__main__":
    chosen = globals()[sys.argv.pop(2)]
    tango.server.run([chosen], args=[sys.argv[0], *sys.argv[1:]])
