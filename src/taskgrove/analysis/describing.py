"""The end of an analysis as text and data, for its caller and for the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from taskgrove.analysis.drawn_page import PageReference
from taskgrove.analysis.payload_store import load_payload, store_payload
from taskgrove.analysis.plain.form import PlainTypes, from_plain, to_plain
from taskgrove.analysis.plain.json_form import dump_json, load_json
from taskgrove.analysis.plain.types import fields_of
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.errors import AnalysisError
from taskgrove.events.foreign_values import readable
from taskgrove.redaction import Redaction

#: Larger parts of a payload are kept in files, in bytes.
INLINE_PAYLOAD_BYTES: Final = 64 << 10
#: The folder of such files, in the working folder of the analysis.
PAYLOAD_FOLDER: Final = "payloads"
_NOT_KEPT: Final = "payload_not_kept"


def parameters_json(parameters: Any, redaction: Redaction) -> str:
    """Return the fields of parameters as one line of JSON, secrets redacted.

    A value that has no plain form becomes its text.
    """
    return _json(_parameters(parameters, redaction))


def parameters_in_words(parameters: Any, redaction: Redaction) -> dict[str, str]:
    """Return the fields of parameters, each as a text for people, secrets redacted."""
    plain = _parameters(parameters, redaction)
    return {name: _words_of(value) for name, value in plain.items()}


def words_of_parameters(text: str) -> dict[str, str]:
    """Return the parameters that :attr:`taskgrove.events.AnalysisDetail.parameters` describes.

    Args:
        text: The JSON of the detail; what cannot be read gives no parameters.
    """
    try:
        plain = json.loads(text)
    except ValueError:
        return {}
    return {name: _words_of(value) for name, value in plain.items()}


def _words_of(plain: Any) -> str:
    try:
        return readable(from_plain(plain))
    except AnalysisError:  # a secret inside it was redacted
        return readable(plain)


def _parameters(parameters: Any, redaction: Redaction) -> dict[str, Any]:
    if parameters is None:
        return {}
    plain: dict[str, Any] = redaction.plain(
        {name: _plain(value) for name, value in fields_of(parameters).items()}
    )
    return plain


def _plain(value: Any) -> Any:
    try:
        return to_plain(value)
    except AnalysisError:
        return readable(value)


def summary_text(summary: Any) -> str:
    """Return a summary as text; an analysis may give a dict, which is ``name: value; ...``.

    Plots are replaced by the name of their page.
    """
    if isinstance(summary, str):
        return readable(summary)
    from taskgrove.analysis.summary_plots import map_plots  # noqa: PLC0415 - seldom needed

    return readable(map_plots(summary, lambda plots: {"page": plots.display_name}))


def summary_values(summary: Any) -> dict[Any, Any]:
    """Return the values that a summary holds by name: its dicts, merged, without its plots.

    A summary is a text, a dict, or a list of dicts and plots.
    """
    parts = summary if isinstance(summary, (list, tuple)) else (summary,)
    found: dict[Any, Any] = {}
    for part in parts:
        if isinstance(part, Mapping) and not isinstance(part, PageReference):
            found.update(
                (name, value)
                for name, value in part.items()
                if not isinstance(value, (PageReference, ElogSummaryPlots))
            )
    return found


def summary_json(summary: Any, redaction: Redaction) -> str:
    """Return the values of a summary as one line of JSON, secrets redacted.

    Plots are replaced by the name of their page, large values by their size.
    """
    values = summary_values(summary)
    if not values:
        return "{}"
    from taskgrove.analysis.summary_plots import map_plots  # noqa: PLC0415 - seldom needed

    values = map_plots(values, lambda plots: {"page": plots.display_name})
    text = _json(redaction.plain({str(name): _plain(value) for name, value in values.items()}))
    return text if len(text) <= 2 * INLINE_PAYLOAD_BYTES else _json(_too_large(len(text)))


def payload_json(payload: Any, folder: Path | None) -> str:
    """Return a payload as one line of JSON, its large parts as references to files.

    Args:
        payload: The payload.
        folder: The folder below which large parts are kept; None: only the size of a large
            payload is kept.

    Raises:
        AnalysisError: It has no plain form, or a file cannot be written.
    """
    if folder is not None:
        kept = store_payload(payload, folder / PAYLOAD_FOLDER, INLINE_PAYLOAD_BYTES)
        return dump_json(kept)
    buffers: list[memoryview] = []
    plain = to_plain(payload, buffers=buffers)
    size = sum(buffer.nbytes for buffer in buffers)
    if size <= INLINE_PAYLOAD_BYTES:
        text = _json(to_plain(payload) if buffers else plain)
        if len(text) <= 2 * INLINE_PAYLOAD_BYTES:
            return text
        size = len(text)
    return _json(_too_large(size))


def _too_large(size: int) -> dict[str, Any]:
    return {_NOT_KEPT: {"size_bytes": size}}


def read_payload(text: str, *, types: PlainTypes | None = None) -> Any:
    """Return the payload that :attr:`taskgrove.events.AnalysisDetail.payload` describes.

    Args:
        text: The JSON of the detail.
        types: Classes whose objects are made again, besides those of seed 004.

    Raises:
        AnalysisError: The text is no payload, a file is gone or has changed, or the payload was
            too large to be kept.
    """
    found = load_json(text, types)
    if isinstance(found, dict) and found.keys() == {_NOT_KEPT}:
        raise AnalysisError(
            "the payload was too large to be kept",
            hint="give the analysis a work_dir: large payloads are kept there",
        )
    return load_payload(found, types=types)


def _json(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
