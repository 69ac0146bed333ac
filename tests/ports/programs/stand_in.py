"""What the stand-ins for programs have in common: each takes exactly one command line."""

import sys


def expect(*words: str) -> None:
    """Fail unless the command line is this one, letter for letter."""
    if sys.argv[1:] != list(words):
        sys.exit(f"Error: expected {list(words)}, got {sys.argv[1:]}")
