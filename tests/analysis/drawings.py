"""Figures of every library that a page can hold, for tests."""

from __future__ import annotations

from typing import Any


def matplotlib_figure(title: str = "Rings", points: int = 20) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    axes = figure.subplots()
    axes.plot(range(points), [value * value % 17 for value in range(points)])
    axes.set_title(title)
    return figure


def bokeh_plot(title: str = "Counts") -> Any:
    from bokeh.plotting import figure

    plot = figure(title=title, height=250, width=500)
    plot.line([1, 2, 3], [3, 1, 2])
    return plot


def plotly_figure(title: str = "Fit") -> Any:
    import plotly.graph_objects as go

    return go.Figure(go.Scatter(x=[1, 2, 3], y=[3, 1, 2]), layout={"title": title})


def pil_image(mode: str = "RGB") -> Any:
    from PIL import Image

    return Image.linear_gradient("L").resize((120, 60)).convert(mode)


def holoviews_image(label: str = "Detector") -> Any:
    import holoviews as hv
    import numpy as np

    return hv.Image(np.arange(300.0).reshape(15, 20), label=label)


def panel_tabs() -> Any:
    import panel as pn

    return pn.Tabs(
        ("Words", pn.pane.Markdown("# A heading\n\n<b>bold</b>")),
        ("Figure", pn.pane.Matplotlib(matplotlib_figure("In a tab"))),
        ("Plot", pn.pane.Bokeh(bokeh_plot("In another"))),
    )


def pandas_table() -> Any:
    import pandas as pd

    return pd.DataFrame({"ring": [1, 2], "radius": [10.25, 20.5], "note": ["<script>", "b"]})
