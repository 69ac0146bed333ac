"""A page made of figures: a dict becomes tabs, a list is drawn one below the other.

The page is one file that needs no network. Tabs are radio buttons and style only, so they work
without script; a hidden tab keeps its width, because figures measure where they are drawn.
A Content-Security-Policy in the page itself forbids its scripts to load anything from
elsewhere, unless an author wrote HTML of his own into it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from taskgrove.analysis.figures.kinds import render_one
from taskgrove.analysis.figures.part import Asset, Part
from taskgrove.errors import AnalysisError

#: Lists and dicts of figures may be nested this deep.
MAX_DEPTH: Final = 10
#: Stands where a publisher tells the origin of a page: directly after ``<body>``.
ORIGIN_MARK: Final = "<!--taskgrove:origin-->"
#: An attribute in the tag of every script of a library, so that a publisher can share it.
ASSET_ATTRIBUTE: Final = "data-taskgrove-asset"

_POLICY: Final = (
    "default-src 'none'; script-src 'self' file: blob: 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src 'self' file: data: blob:; media-src data: blob:; "
    "font-src data:; connect-src data: blob:; worker-src blob:; child-src blob:; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE: Final = """
:root{color-scheme:light}
body{margin:0;padding:12px;background:#fff;color:#1f2328;
font:16px/1.4 system-ui,sans-serif;overflow-x:auto}
figure{margin:0 0 20px}
figure>img{max-width:100%;height:auto;display:block}
.table{overflow-x:auto}
figure table{border-collapse:collapse;border:0;font-size:15px;font-variant-numeric:tabular-nums}
figure :is(th,td){border:0;border-bottom:1px solid #d0d7de;padding:4px 14px 4px 0;text-align:left;
vertical-align:top}
figure thead th{border-bottom:2px solid #59636e;position:sticky;top:0;background:#fff}
figure tbody tr:hover>*{background:#f6f8fa}
pre.text{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:14px/1.45 ui-monospace,monospace}
.place{display:grid;grid-template-columns:minmax(0,1fr);min-height:85vh}
iframe.document{width:100%;height:85vh;border:1px solid #d0d7de;box-sizing:border-box}
.tabs>input{position:absolute;opacity:0}
.tabs>label{display:inline-block;padding:8px 14px;margin:0 2px 12px 0;cursor:pointer;
border-bottom:3px solid transparent;overflow-wrap:anywhere}
.tabs>input:checked+label{border-bottom-color:#0b6e99;font-weight:600}
.tabs>input:focus-visible+label{outline:2px solid #0b6e99;outline-offset:-2px}
.tabs>.panels>.panel{visibility:hidden;height:0;overflow:hidden}
@media print{.tabs>.panels>.panel{visibility:inherit;height:auto;overflow:visible}}
"""


def render_figures(figures: Any, *, title: str = "Summary plots") -> bytes:
    """Return figures as one page of HTML: UTF-8, or the author's own document byte for byte.

    Only the library that an object's class comes from is imported, and only for that object.

    Args:
        figures: A matplotlib figure, a HoloViews or Panel object, a Bokeh model, a plotly
            figure, a PIL image, a pandas table; bytes, which are HTML or an image file; text, which
            is shown as it stands, tags included, unless its class says that it is HTML
            (``markupsafe.Markup``); a list of these, drawn one below the other; a dict of these,
            drawn as tabs. Lists and dicts nest.
        title: The title of the page's window.

    Raises:
        AnalysisError: Something in it cannot be drawn; the error names its type.
    """
    if not isinstance(figures, (list, tuple, Mapping)):
        alone = render_one(figures, title)
        if alone.document is not None:
            return alone.document
    numbers = itertools.count(1)
    whole = _compose(figures, title, numbers, ())
    return _document(whole, title).encode("utf-8", "replace")


def _compose(figures: Any, label: str, numbers: Iterator[int], inside: tuple[int, ...]) -> Part:
    if not isinstance(figures, (list, tuple, Mapping)):
        part = render_one(figures, label)
        return Part(f"<figure>{part.body}</figure>", part.assets, part.head, part.raw)
    if not figures:
        raise AnalysisError(f"{label or 'the page'} holds no figure")
    if len(inside) >= MAX_DEPTH or id(figures) in inside:
        raise AnalysisError(f"figures are nested more than {MAX_DEPTH} deep, at {label}")
    inside = (*inside, id(figures))
    if isinstance(figures, Mapping):
        names = [str(key) for key in figures]
        parts = [
            _compose(value, name, numbers, inside) for name, value in zip(names, figures.values())
        ]
        return _joined(_tabs(names, [part.body for part in parts], next(numbers)), parts)
    parts = [_compose(value, label, numbers, inside) for value in figures]
    return _joined("\n".join(part.body for part in parts), parts)


def _joined(body: str, parts: list[Part]) -> Part:
    # By their label: the same script, loaded twice, would lose its state.
    assets: dict[str, Asset] = {}
    for asset in (asset for part in parts for asset in part.assets):
        assets.setdefault(asset.label, asset)
    head = dict.fromkeys(part.head for part in parts if part.head)
    return Part(body, tuple(assets.values()), "\n".join(head), any(part.raw for part in parts))


def _tabs(names: list[str], bodies: list[str], number: int) -> str:
    group = f"taskgrove-tabs-{number}"
    heads, panels, rules = [], [], []
    for index, (name, body) in enumerate(zip(names, bodies)):
        tab = f"{group}-{index}"
        checked = " checked" if index == 0 else ""
        heads.append(
            f'<input type="radio" name="{group}" id="{tab}"{checked}>'
            f'<label for="{tab}">{escape(name) if name.strip() else "(no name)"}</label>'
        )
        panels.append(f'<section class="panel" id="{tab}-panel">{body}</section>')
        rules.append(f"#{tab}:checked~.panels>#{tab}-panel")
    shown = ",".join(rules) + "{visibility:inherit;height:auto;overflow:visible}"
    return (
        f'<style>{shown}</style><div class="tabs">{"".join(heads)}'
        f'<div class="panels">{"".join(panels)}</div></div>'
    )


def _document(whole: Part, title: str) -> str:
    policy = (
        ""
        if whole.raw
        else f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
    )
    scripts = "\n".join(_script(asset) for asset in whole.assets)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{policy}<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f"{whole.head}\n{scripts}\n</head>\n<body>\n{ORIGIN_MARK}\n{whole.body}\n</body>\n</html>\n"
    )


def _script(asset: Asset) -> str:
    if "</script" in asset.text.lower():
        raise AnalysisError(f"the script {asset.label} holds </script: a page cannot contain it")
    extra = f" {asset.attributes}" if asset.attributes else ""
    return f'<script {ASSET_ATTRIBUTE}="{escape(asset.label)}"{extra}>{asset.text}</script>'
