"""Results of analyses as JSON text, for files and for the record: no pickle, nothing lost.

The text is the plain form (:mod:`taskgrove.analysis.plain.form`) written as JSON: arrays as
base64 with dtype and shape, NaN and infinity as words, since JSON has no numbers for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from taskgrove.analysis.plain.form import PlainTypes, from_plain, to_plain
from taskgrove.errors import AnalysisError


def dump_json(obj: Any, *, indent: int | None = None) -> str:
    """Return an object of seed 004, or any value that has a plain form, as JSON.

    Args:
        obj: The object.
        indent: Spaces for each level, for people; None writes one line.

    Raises:
        AnalysisError: A part has no plain form; the error has its place.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(
        to_plain(obj), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )


def load_json(text: str | bytes, types: PlainTypes | Iterable[type] | None = None) -> Any:
    """Return the object that :func:`dump_json` wrote.

    Args:
        text: The JSON; bytes are UTF-8.
        types: Further classes whose objects are made again, besides those of seed 004, such as
            the class of an analysis' parameters; objects of others become dicts of their fields
            with the key ``__class__``. ``REGISTRY.plain_types()`` holds those of all analyses.

    Raises:
        AnalysisError: The text is not JSON, or not of this form.
    """
    if types is not None and not isinstance(types, PlainTypes):
        types = PlainTypes(types)
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise AnalysisError(f"this is not JSON: {str(exc)[:200] or 'nested too deep'}") from exc
    return from_plain(plain, types=types)
