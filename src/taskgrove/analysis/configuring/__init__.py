"""How a configuration is read, resolved and checked; use ``taskgrove.analysis.configuration``."""
