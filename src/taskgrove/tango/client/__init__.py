"""The parts of the client for long-running commands; use ``taskgrove.tango.lrc_client``."""
