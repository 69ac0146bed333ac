"""What writes the record while runs run; use ``taskgrove.store.recorder``."""
