"""Keeping secrets out of what is written: environments, command lines and plain data.

A value is redacted when its *name* says that it is a secret; values themselves are not
searched, except for passwords inside URLs. The rule is one regular expression over names, and
can be replaced or extended (``TASKGROVE_REDACT``, or an argument).
"""
