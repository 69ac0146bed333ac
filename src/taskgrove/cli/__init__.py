"""The command line: one module for each verb. It needs the extra ``cli`` (typer and rich)."""
