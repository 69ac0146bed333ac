"""``taskgrove version``."""

from __future__ import annotations

from importlib import metadata

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.events import SCHEMA_VERSION


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@verb
def version() -> int:
    """Print the version of taskgrove and of its event schema."""
    own = installed_version("taskgrove") or "(not installed: run from its sources)"
    Terminal().say(f"taskgrove {own}, event schema {SCHEMA_VERSION}")
    return ExitCode.OK
