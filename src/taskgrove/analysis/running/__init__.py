"""One analysis process from its start to its end; use ``taskgrove.analysis.executor``."""
