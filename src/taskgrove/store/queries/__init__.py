"""What is read from the record; use ``taskgrove.store.history``."""
