"""The attributes that a simulated device has beside its own: they are read, written and pushed.

Threads: TANGO's threads read and write them; the device's worker changes them when a command has
ended. ``_lock`` guards the values, and is never held while an event is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from taskgrove.errors import MissingExtraError
from taskgrove.tango.simulation.stand_ins import MAX_DIM, value_type

try:
    import tango
except ImportError as error:  # pragma: no cover - tested where the extra is missing
    raise MissingExtraError("tango", "simulating TANGO devices") from error


class StandInAttributes:
    """The further attributes of one simulated device.

    Args:
        device: The device, while it is initialised.
        values: Each attribute with its value at the start, which tells its type.
    """

    def __init__(self, device: Any, values: Mapping[str, Any]) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._values = dict(values)
        read, write = type(device).read_stand_in, type(device).write_stand_in
        for name, value in values.items():
            device.add_attribute(_attribute(name, value), read, write)
            device.set_change_event(name, True, False)

    def change(self, name: str, value: Any) -> None:
        """Set an attribute and tell of it; one that the device does not have is left alone."""
        with self._lock:
            if name not in self._values:
                return
            self._values[name] = value
        self._device.push_change_event(name, value)

    def read(self, attribute: Any) -> None:
        """Give TANGO the value of an attribute."""
        with self._lock:
            attribute.set_value(self._values[attribute.get_name()])

    def write(self, attribute: Any) -> None:
        """Take the value that a client writes."""
        value = attribute.get_write_value()
        self.change(attribute.get_name(), value.tolist() if hasattr(value, "tolist") else value)


def _attribute(name: str, value: Any) -> Any:
    """Return the description of an attribute, by its value."""
    kind, both = getattr(tango, value_type(value)), tango.AttrWriteType.READ_WRITE
    if not isinstance(value, (list, tuple)):
        return tango.Attr(name, kind, both)
    if value and isinstance(value[0], (list, tuple)):
        return tango.ImageAttr(name, kind, both, MAX_DIM, MAX_DIM)
    return tango.SpectrumAttr(name, kind, both, MAX_DIM)
