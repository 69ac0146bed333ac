"""What failed, in words: the parts of an explanation; use ``taskgrove.view.why``."""
