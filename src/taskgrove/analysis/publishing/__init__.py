"""Folders, index and record of published pages, and entries of logbooks."""
