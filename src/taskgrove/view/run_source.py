"""What advice about a run needs besides its events: what it was composed from, and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from taskgrove.store.database.advice import db_option, typed_again
from taskgrove.story.run_story import RunStory


def with_source(story: RunStory, source: Mapping[str, Any], location: str | None) -> RunStory:
    """Return the story of a recorded run with what command lines about it need.

    Args:
        story: What its nodes tell.
        source: What it was composed from; empty where only its program can tell.
        location: The record, as ``Store.location`` names it, so that command lines in advice
            work on it; None: they are those of the usual record.
    """
    file = source.get("file")
    return replace(
        story,
        map_file=file if isinstance(file, str) else None,
        can_resume=bool(source),
        recorded=True,
        options=() if location is None else db_option(location),
        resume_options=typed_again(source),
    )
