"""TANGO devices: the client for long-running commands, the runner of DEVICE leaves, and more.

Importing this package does not import PyTango; a part that needs PyTango raises a
:class:`~taskgrove.errors.MissingExtraError` that names the extra where it is missing.
"""

from taskgrove.tango.client.abort import AbortAnswer as AbortAnswer
from taskgrove.tango.client.client_settings import LrcSettings as LrcSettings
from taskgrove.tango.client.command import LrcCommand as LrcCommand
from taskgrove.tango.client.command import LrcUpdate as LrcUpdate
from taskgrove.tango.device_runner import DeviceRunner as DeviceRunner
from taskgrove.tango.lrc_client import LrcClient as LrcClient
