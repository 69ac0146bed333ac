"""Queries of the record; use ``taskgrove.store.history``."""
