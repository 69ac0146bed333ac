"""PIL images, as PNG within the page."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Final, cast

from PIL import Image

from taskgrove.analysis.figures.html_text import image_tag
from taskgrove.analysis.figures.part import Part, unsupported

#: Modes that PNG holds, and browsers show, as they are.
_PNG_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})


def render(obj: object, label: str) -> Part:
    """Return a PIL image as a part.

    Pixels of more than eight bits (counts of a detector) are spread over the grey scale, from
    the least to the greatest.
    """
    if not isinstance(obj, Image.Image):
        raise unsupported(obj)
    image = obj
    if image.mode == "F" or image.mode.startswith("I"):
        image = _spread(image)
    elif image.mode not in _PNG_MODES:
        image = image.convert("RGBA" if image.mode.endswith(("A", "a")) else "RGB")
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return Part(image_tag(buffer.getvalue(), "image/png", label))


def _spread(image: Image.Image) -> Image.Image:
    counts = image.convert("I").convert("F") if image.mode != "F" else image
    low, high = (float(value) for value in cast("tuple[float, float]", counts.getextrema()))
    scale = 255.0 / (high - low) if math.isfinite(high - low) and high > low else 0.0
    offset = -low * scale if scale else 0.0
    return counts.point(lambda value: value * scale + offset).convert("L")
