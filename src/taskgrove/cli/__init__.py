"""The command line: one module for each verb. It needs the extra ``cli`` (click and rich)."""
