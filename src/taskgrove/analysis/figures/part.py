"""A drawn figure: a piece of HTML, and the scripts and styles that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from taskgrove.errors import AnalysisError

#: The figures that can be drawn, for errors.
SUPPORTED = (
    "matplotlib figures, HoloViews objects, Panel objects, Bokeh models, plotly figures, "
    "PIL images, pandas tables, HTML or image bytes, text, paths of files to publish beside the "
    "page, and lists or dicts of these"
)


@dataclass(frozen=True)
class Asset:
    """A script that several figures may share; a page holds it once, before its figures.

    Attributes:
        label: Its name and version, such as ``plotly-5.24.1``.
        text: The script itself; it holds no ``</script``.
        attributes: Further attributes of its tag, as HTML (``type="..."``).
    """

    label: str
    text: str
    attributes: str = ""


@dataclass(frozen=True)
class Part:
    """One figure of a page.

    Attributes:
        body: Its HTML, trusted: all text in it is escaped.
        assets: The scripts that it needs, in the order in which they must come.
        head: Its styles, for the head of the page.
        raw: True when an author wrote this HTML himself, who may have meant it to load
            something from elsewhere.
        document: The whole page, byte for byte, when the figure is one by itself.
    """

    body: str
    assets: tuple[Asset, ...] = ()
    head: str = ""
    raw: bool = False
    document: bytes | None = None


def type_name(obj: object) -> str:
    """Return the name of an object's class, with the module that it comes from."""
    cls = type(obj)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def unsupported(obj: object, hint: str | None = None) -> AnalysisError:
    """Return the error for an object that cannot be drawn on a page."""
    return AnalysisError(
        f"{type_name(obj)} cannot be drawn on a page",
        hint=hint or f"supported: {SUPPORTED}",
    )
