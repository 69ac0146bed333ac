"""The scripts of BokehJS, named so that a page with several figures holds each of them once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from bokeh import __version__ as _bokeh_version

from taskgrove.analysis.figures.part import Asset

_NAME: Final = re.compile(r"\s*/\* BEGIN ([\w.-]+?)(?:\.min)?\.js \*/")


def named_scripts(scripts: Iterable[tuple[str, str]]) -> tuple[Asset, ...]:
    """Return scripts, each given as the attributes of its tag and its text, as assets.

    A script of BokehJS is named by its first line: loaded twice, it would lose its state. Any
    other is named by its content.
    """
    found = []
    for attributes, text in scripts:
        named = _NAME.match(text)
        if named is not None:
            label = f"{named.group(1)}-{_bokeh_version}"
        else:
            label = f"part-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}"
        found.append(Asset(label, text.strip(), attributes))
    return tuple(found)
