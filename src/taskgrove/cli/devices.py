"""What the command line itself asks of devices: does it answer, what does an attribute say.

Commands go through the client of :mod:`taskgrove.tango`; this is for guards and for
``doctor``. Needs the extra ``tango``; importing this module does not.

Threads: a :class:`DeviceReader` may be called by any thread; ``_lock`` guards its proxies.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from taskgrove.errors import DeviceError, MissingExtraError

#: How long one answer may take, in seconds.
TIMEOUT_S: Final = 3.0
_AT_ONCE: Final = 16
_NO_HOST: Final = "API_TangoHostNotSet"
_UNKNOWN: Final = ("DB_DeviceNotDefined", "API_DeviceNotDefined")
_NO_DATABASE: Final = "TANGO_HOST is not set, so there is no database to look the name up in"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a device answers.

    Attributes:
        device: The name that was tried, as the map has it.
        answers: True when it answered.
        took_s: How long that took, in seconds.
        state: What it said its state is; empty without an answer.
        problem: Why not; empty when it answered.
        hint: What to do about it; empty when it answered.
        unknown: True where the database does not know it.
    """

    device: str
    answers: bool
    took_s: float
    state: str = ""
    problem: str = ""
    hint: str = ""
    unknown: bool = False


def import_tango(what: str) -> Any:
    """Return PyTango.

    Args:
        what: What needs it, for the error.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import tango  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("tango", what) from exc
    return tango


class DeviceReader:
    """Reads attributes of devices, each over one proxy.

    Raises:
        MissingExtraError: PyTango is not installed.
    """

    def __init__(self, what: str = "reading a device") -> None:
        self._tango = import_tango(what)
        self._proxies: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, device: str, attribute: str) -> Any:
        """Return the value of an attribute; of an enumeration, its label.

        Args:
            device: The TANGO name, as the map has it.
            attribute: The attribute's name, in any case.

        Raises:
            AttributeError: The device has no such attribute.
            DeviceError: It cannot be asked; the message says why, the hint what to do.
        """
        if not self._can_look_up(device):
            raise DeviceError(
                f"{attribute} of {device} cannot be read: {_NO_DATABASE}",
                device=device,
                hint=_hint_for(_NO_HOST),
            )
        try:
            proxy = self._proxy(device)
            value = proxy.read_attribute(attribute).value
            return self._label(proxy, attribute, value)
        except self._tango.DevFailed as exc:
            error = exc.args[0]
            if error.reason in ("API_AttrNotFound", "API_AttributeNotFound"):
                raise AttributeError(f"{device} has no attribute {attribute}") from exc
            raise DeviceError(
                f"{attribute} of {device} cannot be read: {_words(exc)}",
                device=device,
                hint=_hint_for(error.reason),
            ) from exc

    def ping(self, device: str) -> Reach:
        """Return whether a device answers, and how it was tried."""
        began = time.monotonic()
        if not self._can_look_up(device):
            hint = _hint_for(_NO_HOST)
            return Reach(device, False, 0.0, problem=_NO_DATABASE, hint=hint)
        try:
            proxy = self._proxy(device)
            proxy.ping()
            state = str(proxy.state())
        except self._tango.DevFailed as exc:
            return Reach(
                device,
                False,
                time.monotonic() - began,
                problem=_words(exc),
                hint=_hint_for(exc.args[0].reason),
                unknown=exc.args[0].reason in _UNKNOWN,
            )
        return Reach(device, True, time.monotonic() - began, state)

    def ping_all(self, devices: list[str]) -> list[Reach]:
        """Return whether each device answers, in the given order; they are asked at once."""
        if not devices:
            return []
        with ThreadPoolExecutor(min(_AT_ONCE, len(devices))) as pool:
            return list(pool.map(self.ping, devices))

    def _can_look_up(self, device: str) -> bool:
        # Asked before the proxy is made: cppTango would write to standard error by itself.
        return "://" in device or bool(self._tango.ApiUtil.get_env_var("TANGO_HOST"))

    def _proxy(self, device: str) -> Any:
        with self._lock:
            proxy = self._proxies.get(device)
        if proxy is None:
            proxy = self._tango.DeviceProxy(device)
            proxy.set_timeout_millis(int(TIMEOUT_S * 1000))
            with self._lock:
                proxy = self._proxies.setdefault(device, proxy)
        return proxy

    def _label(self, proxy: Any, attribute: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        config = proxy.get_attribute_config(attribute)
        labels = list(config.enum_labels)
        if config.data_type == self._tango.DevEnum and 0 <= value < len(labels):
            return labels[value]
        return value


def _words(exc: Any) -> str:
    # The outermost error says what the client could not do, the first one why.
    errors = exc.args
    first = str(errors[0].desc).strip().splitlines()[0]
    return f"{errors[0].reason}: {first}"


def _hint_for(reason: str) -> str:
    if reason == _NO_HOST:
        return (
            "set TANGO_HOST to the host:port of the TANGO database, or name the "
            "device with its address: tango://host:port/domain/family/member#dbase=no"
        )
    if reason in ("API_CantConnectToDatabase", "API_CommandFailed"):
        return "the TANGO database does not answer: is TANGO_HOST right, and is it running?"
    if reason in _UNKNOWN:
        return "the database does not know the device: compare the name with the map"
    return "start its server, or look at the server's log; 'taskgrove simulate' has stand-ins"
