"""``taskgrove version``."""

from __future__ import annotations

from taskgrove import __version__
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.events import SCHEMA_VERSION


@verb
def version() -> int:
    """Print the versions of taskgrove and of its event schema."""
    Terminal().say(f"taskgrove {__version__}, event schema {SCHEMA_VERSION}")
    return ExitCode.OK
