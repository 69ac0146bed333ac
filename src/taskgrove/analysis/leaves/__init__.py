"""Analyses as leaves of a tree; use ``taskgrove.analysis.analysis_runner``."""
