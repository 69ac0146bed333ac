"""Writing the record while runs go on; use ``taskgrove.store.recorder``."""
