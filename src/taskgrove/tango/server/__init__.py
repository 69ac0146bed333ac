"""The device's side of long-running commands; use ``taskgrove.tango.lrc_server``."""
