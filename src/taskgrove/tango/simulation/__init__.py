"""The simulated devices and their processes; use ``taskgrove.tango.simulator``."""
