"""Folders, index and record of published pages, and what goes to logbooks."""
