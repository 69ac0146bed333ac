"""The attributes of one device: their types, and reading and writing them.

Threads: any thread may call any method; all of them may block for the length of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from taskgrove.errors import nearest
from taskgrove.tango.client.attribute_shape import AttributeShape, Form
from taskgrove.tango.client.dispatcher import call_out

#: The reasons by which a device, or PyTango, tells that there is no such attribute.
NO_SUCH_ATTRIBUTE: Final = ("API_AttrNotFound", "API_AttributeNotFound")
_FORMS: Final[tuple[Form, ...]] = ("SCALAR", "SPECTRUM", "IMAGE")


class DeviceAttributes:
    """The attributes of one device.

    Args:
        tango: The module ``tango``.
        proxy: Returns the proxy of the device.
    """

    def __init__(self, tango: Any, proxy: Callable[[], Any]) -> None:
        self._tango = tango
        self._proxy = proxy
        self._shapes: dict[str, AttributeShape] = {}

    def forget(self) -> None:
        """Ask the device anew for the types: it may be another one now."""
        self._shapes.clear()

    def shape(self, name: str) -> AttributeShape:
        """Return the description of an attribute; the device is asked once.

        Args:
            name: The attribute, in any case.

        Raises:
            DevFailed: The device has no such attribute, or cannot be reached.
        """
        shape = self._shapes.get(name.lower())
        if shape is None:
            with call_out():
                config = self._proxy().get_attribute_config(name)
            shape = _shape_of(self._tango, config)
            self._shapes[name.lower()] = shape
        return shape

    def read(self, shape: AttributeShape) -> Any:
        """Return the value of an attribute as conditions compare it; None where it has none.

        Raises:
            DevFailed: It cannot be read.
        """
        with call_out():
            return self.value_of(shape, self._proxy().read_attribute(shape.name))

    def value_of(self, shape: AttributeShape, found: Any) -> Any:
        """Return the value in a reply or an event; None where the device says it has none."""
        if found.quality == self._tango.AttrQuality.ATTR_INVALID:
            return None
        return shape.value_of(found.value)

    def write(self, shape: AttributeShape, value: Any, proxy: Any = None) -> None:
        """Write an attribute once.

        Args:
            shape: The attribute.
            value: The value, checked.
            proxy: Another proxy of the device, or None.

        Raises:
            DevFailed: It was not written, or it is not known whether it was.
        """
        if shape.type_name == "DevState":
            value = self._tango.DevState.values[value]
        with call_out():
            (proxy or self._proxy()).write_attribute(shape.name, value)

    def subscribe(self, shape: AttributeShape, sink: Callable[[Any], None]) -> int:
        """Subscribe to the change events of an attribute; return the number of the subscription.

        Raises:
            DevFailed: The device pushes none, or cannot be reached.
        """
        change = self._tango.EventType.CHANGE_EVENT
        with call_out():
            return int(self._proxy().subscribe_event(shape.name, change, sink))

    def unsubscribe(self, number: int) -> None:
        """End a subscription."""
        with call_out():
            self._proxy().unsubscribe_event(number)

    def near(self, name: str) -> str | None:
        """Return the attribute of the device whose name is most like ``name``, or None."""
        with call_out():
            return nearest(name, [str(item) for item in self._proxy().get_attribute_list()])


def _shape_of(tango: Any, config: Any) -> AttributeShape:
    write = tango.AttrWriteType
    labels = tuple(config.enum_labels) if config.data_type == tango.DevEnum else ()
    return AttributeShape(
        str(config.name),
        str(tango.CmdArgType.values[config.data_type]),
        _FORMS[int(config.data_format)],
        int(config.max_dim_x),
        int(config.max_dim_y),
        labels,
        is_readable=config.writable != write.WRITE,
        is_writable=config.writable != write.READ,
    )
