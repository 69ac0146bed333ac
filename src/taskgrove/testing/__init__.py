"""Doubles and assertions for tests of programs that use taskgrove, and for our own tests.

Nothing here needs a control system or a test framework: an assertion that fails
raises :class:`AssertionError`, and its text lists the calls or events that came instead.
"""

from taskgrove.testing.callback_recorder import CallbackRecorder as CallbackRecorder
from taskgrove.testing.event_log import EventLog as EventLog
from taskgrove.testing.fake_device_runner import FakeCall as FakeCall
from taskgrove.testing.fake_device_runner import FakeDeviceRunner as FakeDeviceRunner
from taskgrove.testing.fake_device_runner import Script as Script
from taskgrove.testing.manual_clock import ManualClock as ManualClock
