"""Analyses: programs that are described, supervised, and whose results are published."""
