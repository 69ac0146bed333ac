"""A device server that a TANGO database knows: motors and a pump."""

import sys

from tango.server import Device, attribute, command, run


class Motor(Device):
    """Moves at once."""

    def init_device(self):
        super().init_device()
        self._position = 0.0

    @attribute(dtype=float)
    def position(self):
        return self._position

    @command(dtype_in=float)
    def MoveTo(self, position):
        self._position = position


class Pump(Device):
    """Has nothing of its own."""


run([Motor, Pump], args=["motor_server", *sys.argv[1:]])
